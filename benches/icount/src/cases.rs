//! The cases: a request read and written, a decision, limits, and frames of a stream from every dialect to every other one.

use std::hint::black_box;
use std::sync::Arc;

use fairlead_formats::identity::Identity;
use fairlead_formats::traits::Traits;
use fairlead_formats::translate::{Bridge, Target, Wanted, dialects, stream::Stream};
use fairlead_ir::{Dialect, Manner};
use serde_json::Value;

use crate::frames::{self, Kind};
use crate::limits;
use crate::request;
use crate::routing;

/// A piece of work.
pub(crate) struct Case {
    /// What it is, in words without white space: kind, then dialects.
    pub(crate) name: String,
    /// Into how many items the figure is divided.
    pub(crate) items: usize,
    /// Everything before what is counted.
    pub(crate) prepare: Box<dyn FnMut() -> Work>,
}

/// What is counted. What it returns says that something was done.
pub(crate) type Work = Box<dyn FnMut() -> usize>;

const EVENT_BYTES: usize = 1 << 20;

/// Every case, the parse that requests are compared with first.
pub(crate) fn all() -> Vec<Case> {
    let mut all = vec![parse()];
    all.extend(Dialect::ALL.map(request_to));
    all.extend(routing::cases());
    all.extend(limits::cases());
    for kind in [Kind::Text, Kind::Arguments] {
        for source in Dialect::ALL {
            let targets = Dialect::ALL.into_iter().filter(|target| *target != source);
            all.extend(targets.filter_map(|target| stream_to(kind, source, target)));
        }
    }
    all
}

/// One parse of the request into a tree, and its end.
fn parse() -> Case {
    let body: Arc<[u8]> = request::chat(request::BYTES, false).into();
    let prepare = move || -> Work {
        let body = body.clone();
        Box::new(move || serde_json::from_slice::<Value>(black_box(&body)).unwrap().as_object().map_or(0, serde_json::Map::len))
    };
    Case { name: "request.parse".to_owned(), items: 1, prepare: Box::new(prepare) }
}

/// The chat request in another dialect: checked, read, written.
fn request_to(dialect: Dialect) -> Case {
    let body: Arc<[u8]> = request::chat(request::BYTES, dialect == Dialect::BedrockConverse).into();
    let made = translated(&body, dialect);
    let text = String::from_utf8(made).unwrap();
    assert!(serde_json::from_str::<Value>(&text).is_ok());
    assert!(request::MARKS.iter().all(|mark| text.contains(mark)), "{dialect:?} lost a mark");
    let prepare = move || -> Work {
        let body = body.clone();
        Box::new(move || translated(black_box(&body), dialect).len())
    };
    Case { name: format!("request.{}", dialect.name()), items: 1, prepare: Box::new(prepare) }
}

fn translated(body: &[u8], dialect: Dialect) -> Vec<u8> {
    let request = dialects::decode_request(Dialect::OpenaiChat, body).unwrap();
    let target = Target { max_output_tokens: Some(8192), ..Target::new(dialect, "lab-model") };
    dialects::encode_request(&request, &target).unwrap().body
}

/// Frames in the middle of a stream, each as a read of its own.
fn stream_to(kind: Kind, source: Dialect, target: Dialect) -> Option<Case> {
    let told = Arc::new(frames::of(kind, source)?);
    let begun = move |told: &frames::Told| {
        let wanted = Wanted { source, identity: Arc::new(identity()), bridge: Arc::new(Bridge::default()), json_array: false };
        let mut stream = Stream::new(target, Traits::NONE, EVENT_BYTES, wanted);
        let mut out = Vec::with_capacity(1 << 20);
        stream.feed(&told.head, &mut out);
        (stream, out)
    };
    check(kind, target, &told, begun(&told));
    let items = told.frames.len();
    let prepare = move || -> Work {
        let told = told.clone();
        let (mut stream, mut out) = begun(&told);
        Box::new(move || {
            for frame in &told.frames {
                stream.feed(black_box(frame), &mut out);
            }
            out.len()
        })
    };
    Some(Case { name: format!("{}.{}.{}", kind.name(), source.name(), target.name()), items, prepare: Box::new(prepare) })
}

/// What the caller reads is what the provider said.
fn check(kind: Kind, target: Dialect, told: &frames::Told, (mut stream, mut out): (Stream, Vec<u8>)) {
    told.frames.iter().for_each(|frame| stream.feed(frame, &mut out));
    stream.feed(&told.tail, &mut out);
    stream.finish(None, &mut out);
    assert_eq!(frames::told(kind, target, &out), told.text, "{target:?}");
}

fn identity() -> Identity {
    Identity::new(Manner::Native, "gen-0193a1b2-0000-7000-8000-00000000abcd", "acme/fast", "Acme", 1_763_600_000)
}
