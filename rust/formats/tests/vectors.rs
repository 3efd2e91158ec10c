//! Provider bodies and streams of `tests/vectors`, as clients get them on both manners, and what is read out of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use fairlead_formats::error::ProviderError;
use fairlead_formats::identity::Identity;
use fairlead_formats::reply::{Reply, ReplyScan};
use fairlead_formats::splice::Edits;
use fairlead_formats::sse::Framer;
use fairlead_formats::tap::{Action, Tap};
use fairlead_ir::{Dialect, Manner, NanoUsd, Usage};

const COST: NanoUsd = NanoUsd(123_450);
/// What is billed where the provider sent no figures.
const BILLED: Usage = Usage {
    prompt_tokens: 41,
    cache_read_tokens: 1,
    completion_tokens: 5,
    reasoning_tokens: 2,
    cache_write_tokens: 0,
    cache_write_1h_tokens: 0,
    web_searches: 0,
};

/// What is spoken on the byte path: a dialect, or a small relative of chat.
#[derive(Clone, Copy)]
enum Spoken {
    Dialect(Dialect),
    Completions,
    Embeddings,
}

const ALL: [Spoken; 6] = [
    Spoken::Dialect(Dialect::OpenaiChat),
    Spoken::Dialect(Dialect::OpenaiResponses),
    Spoken::Dialect(Dialect::AnthropicMessages),
    Spoken::Dialect(Dialect::GeminiGenerate),
    Spoken::Completions,
    Spoken::Embeddings,
];

impl Spoken {
    fn folder(self) -> &'static str {
        match self {
            Spoken::Dialect(dialect) => dialect.name(),
            Spoken::Completions => "openai_completions",
            Spoken::Embeddings => "openai_embeddings",
        }
    }

    fn scan(self) -> ReplyScan {
        match self {
            Spoken::Dialect(dialect) => ReplyScan::new(dialect),
            Spoken::Completions => ReplyScan::completions(),
            Spoken::Embeddings => ReplyScan::embeddings(),
        }
    }

    /// There are no streams of embeddings.
    fn tap(self, identity: Identity, withhold_usage: bool) -> Option<Tap> {
        match self {
            Spoken::Dialect(dialect) => Some(Tap::new(dialect, Arc::new(identity), withhold_usage)),
            Spoken::Completions => Some(Tap::completions(Arc::new(identity), withhold_usage)),
            Spoken::Embeddings => None,
        }
    }
}

#[test]
fn replies() {
    for_each("reply", &ALL, check_reply);
}

#[test]
fn streams() {
    for_each("stream", &ALL[..5], check_stream);
}

fn check_reply(spoken: Spoken, path: &Path) {
    let body = fs::read(path).unwrap();
    let read = read_reply(spoken, &body, body.len());
    // A provider's bytes come in any pieces.
    (1..body.len().min(60)).for_each(|step| assert_eq!(read_reply(spoken, &body, step), read, "{} cut by {step}", path.display()));
    compare(path, "facts", format!("{read:#?}\n").as_bytes());
    check_at_once(spoken, path, &body);
    let Ok(reply) = read else { return };
    for manner in [Manner::Native, Manner::Openrouter] {
        let mut edits = Edits::new();
        reply.edits(&body, &identity(manner), &BILLED, COST, &mut edits).unwrap();
        let mut out = Vec::new();
        edits.apply(&body, &mut out).unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok(), "{}", path.display());
        compare(path, suffix(manner), &out);
    }
}

/// What is read in one pass is what two passes read, and usual replies are; of what two passes refuse nothing is, wherever it is damaged.
fn check_at_once(spoken: Spoken, path: &Path, body: &[u8]) {
    if !matches!(spoken, Spoken::Dialect(Dialect::OpenaiChat) | Spoken::Completions) {
        assert_eq!(spoken.scan().read_at_once(body), None, "{}", path.display());
        return;
    }
    let in_two = |body: &[u8]| {
        let mut scan = spoken.scan();
        scan.feed(body).and_then(|()| scan.finish(body)).ok()
    };
    // Names with an escape are left to the two.
    let is_usual = !String::from_utf8_lossy(body).contains("\\u0063hoices");
    assert_eq!(spoken.scan().read_at_once(body), in_two(body).filter(|_| is_usual), "{}", path.display());
    let mut damaged = body.to_vec();
    for at in 0..body.len() {
        for byte in *b"\"\\{}[],:0-x \x00\x80\xc3" {
            damaged[at] = byte;
            if let Some(reply) = spoken.scan().read_at_once(&damaged) {
                assert_eq!(in_two(&damaged), Some(reply), "{} with {byte:#x} at {at}", path.display());
            }
            damaged[at] = body[at];
        }
        let cut = [&body[..at], &body[at + 1..]].concat();
        if let Some(reply) = spoken.scan().read_at_once(&cut) {
            assert_eq!(in_two(&cut), Some(reply), "{} without {at}", path.display());
        }
    }
}

fn read_reply(spoken: Spoken, body: &[u8], step: usize) -> Result<Reply, ProviderError> {
    let mut scan = spoken.scan();
    body.chunks(step).for_each(|slice| scan.feed(slice).unwrap());
    scan.finish(body)
}

fn check_stream(spoken: Spoken, path: &Path) {
    let stream = fs::read(path).unwrap();
    for manner in [Manner::Native, Manner::Openrouter] {
        let (out, facts) = relay(spoken, manner, &stream);
        compare(path, suffix(manner), &out);
        // What is read does not depend on the manner, except for what is done with each event.
        if manner == Manner::Native {
            compare(path, "facts", facts.as_bytes());
        }
    }
}

/// What the relay does, without a network.
fn relay(spoken: Spoken, manner: Manner, stream: &[u8]) -> (Vec<u8>, String) {
    let mut tap = spoken.tap(identity(manner), manner == Manner::Native).unwrap();
    let mut framer = Framer::new(1 << 20);
    let (mut out, mut facts, mut from) = (Vec::new(), String::new(), 0);
    while let Some(end) = framer.next_end(stream, from).unwrap() {
        let event = &stream[from..end];
        from = end;
        let sight = tap.inspect(event);
        facts.push_str(&summary(&sight));
        match sight.action {
            Action::Pass => out.extend_from_slice(event),
            Action::Rewrite => tap.rewrite(event, sight.bill.then_some(COST), &mut out),
            Action::Withhold => {}
        }
    }
    assert_eq!(from, stream.len(), "the vector ends with a whole event");
    let facts = format!(
        "{facts}\nusage: {:?}\nprompt_usage: {:?}\nreported_cost: {:?}\nfinish: {:?}\nupstream_id: {:?}\nsaw_content: {}\ncontent_bytes: {}\nterminal: {}\nerror: {:?}\n",
        tap.usage(),
        tap.prompt_usage(),
        tap.reported_cost(),
        tap.finish(),
        tap.upstream_id(),
        tap.saw_content(),
        tap.content_bytes(),
        tap.terminal(),
        tap.error(),
    );
    (out, facts)
}

/// One line per event: what is done with it, then the flags that are set.
fn summary(sight: &fairlead_formats::tap::Sight) -> String {
    let flags = [
        (sight.first_content, "first_content"),
        (sight.usage, "usage"),
        (sight.bill, "bill"),
        (sight.finish, "finish"),
        (sight.terminal, "terminal"),
        (sight.end, "end"),
        (sight.error, "error"),
        (sight.keep_alive, "keep_alive"),
    ];
    let set: Vec<_> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    format!("{:?} {}", sight.action, set.join(" ")).trim_end().to_owned() + "\n"
}

fn identity(manner: Manner) -> Identity {
    Identity::new(manner, "gen-0193a1b2-0000-7000-8000-00000000abcd", "acme/fast", "Acme", 1_763_600_000)
}

fn suffix(manner: Manner) -> &'static str {
    match manner {
        Manner::Native => "v1",
        Manner::Openrouter => "api_v1",
    }
}

fn for_each(extension: &str, all: &[Spoken], check: fn(Spoken, &Path)) {
    for spoken in all {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(spoken.folder());
        let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|found| found == extension));
        paths.sort();
        assert!(paths.len() >= 5, "vectors are missing in {}", folder.display());
        paths.iter().for_each(|path| check(*spoken, path));
    }
}

fn compare(path: &Path, suffix: &str, found: &[u8]) {
    let golden = PathBuf::from(format!("{}.{suffix}", path.display()));
    if env::var_os("FAIRLEAD_BLESS").is_some() {
        fs::write(&golden, found).unwrap();
        return;
    }
    let expected = fs::read(&golden).unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
    assert_eq!(String::from_utf8_lossy(found), String::from_utf8_lossy(&expected), "{}", golden.display());
}
