//! One try at one endpoint: the request as the provider shall get it, sent, and its reply's head.

use super::failure::Failure;
use super::intake::Intake;
use super::plan::Choice;
use crate::server::worker::Worker;
use crate::upstream::{Exchange, ExchangeError, Outgoing};
use bytes::Bytes;
use fairlead_formats::request;
use fairlead_formats::splice::{Edits, Piece};
use fairlead_ir::{Dialect, ErrorKind, Manner};
use fairlead_snapshot::{Origin, Principal, Snapshot, Target};
use http::HeaderMap;
use std::rc::Rc;
use std::sync::Arc;

/// A request ready to be sent.
pub(crate) struct Attempting {
    worker: Rc<Worker>,
    snapshot: Arc<Snapshot>,
    origin: Arc<Origin>,
    outgoing: Outgoing,
    turn: u32,
}

/// Headers of the client that providers may see; all others stay here. Most of all its key.
const PASSED: [(&str, &str); 6] = [
    ("anthropic-version", "anthropic-version"),
    ("anthropic-beta", "anthropic-beta"),
    ("x-anthropic-beta", "anthropic-beta"),
    ("openai-beta", "openai-beta"),
    ("traceparent", "traceparent"),
    ("tracestate", "tracestate"),
];

impl Attempting {
    /// Splices the body and writes the head.
    #[expect(clippy::too_many_arguments, reason = "everything a request is made of, once")]
    pub(crate) fn prepare(
        worker: &Rc<Worker>,
        snapshot: &Arc<Snapshot>,
        principal: &Principal,
        choice: Choice,
        dialect: Dialect,
        manner: Manner,
        headers: &HeaderMap,
        intake: &Intake,
    ) -> Result<Attempting, Failure> {
        let endpoint = choice.endpoint(snapshot);
        let internal = || Failure::new(ErrorKind::Internal, "the request could not be prepared for the provider");
        let target = endpoint.target(dialect).ok_or_else(internal)?;
        let mut edits = Edits::default();
        let hashed_user =
            intake.facts.user.as_deref().filter(|_| manner == Manner::Openrouter).map(|user| hashed_user(worker, principal, user));
        let wanted = request::Target {
            upstream_model: &endpoint.upstream_model,
            manner,
            hashed_user: hashed_user.as_deref(),
            stream_options: !choice.provider(snapshot).has_quirk("no_stream_options"),
        };
        request::edits(&intake.facts, &wanted, &mut edits).map_err(|_| internal())?;
        let body = spliced(&intake.frames, &edits).map_err(|_| internal())?;
        let bytes = body.iter().map(Bytes::len).sum();
        let turn = worker.turn();
        let outgoing = Outgoing::new(head(target, headers, bytes, turn), body.iter().cloned());
        Ok(Attempting { worker: worker.clone(), snapshot: snapshot.clone(), origin: target.origin.clone(), outgoing, turn })
    }

    /// Sends it and waits for the head.
    pub(crate) async fn send(self) -> Result<Exchange, ExchangeError> {
        let exchange =
            Exchange::open(&self.worker.upstream, &self.origin, &self.outgoing, &self.snapshot.settings.timeouts, self.turn).await?;
        if exchange.resent {
            self.worker.counters.resent.add(1);
        }
        Ok(exchange)
    }
}

/// What a provider sees instead of an end user's name: the same for the same user of the same account, and meaningless elsewhere.
fn hashed_user(worker: &Worker, principal: &Principal, user: &str) -> String {
    let hash = worker.shared.hasher.hash(format!("user {} {user}", principal.account).as_bytes());
    hash.iter().take(16).fold(String::from("user-"), |text, byte| text + &format!("{byte:02x}"))
}

/// The body after the edits, as slices of what came and of the edits' own bytes.
pub(crate) fn spliced(frames: &[Bytes], edits: &Edits) -> Result<Vec<Bytes>, fairlead_formats::splice::Misplaced> {
    let mut pieces = Vec::new();
    edits.apply_slices(frames, &mut pieces)?;
    let new = Bytes::copy_from_slice(edits.new_bytes());
    Ok(pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Original { frame, range } => frames[frame].slice(range),
            Piece::New { range } => new.slice(range),
        })
        .collect())
}

fn head(target: &Target, headers: &HeaderMap, body_bytes: usize, turn: u32) -> Vec<u8> {
    let prepared = &target.heads[turn as usize % target.heads.len()];
    let mut head = Vec::with_capacity(prepared.len() + 256);
    head.extend_from_slice(prepared);
    for (name, line) in &target.defaults {
        if !headers.contains_key(name.as_str()) {
            head.extend_from_slice(line);
        }
    }
    for (theirs, ours) in PASSED {
        for value in headers.get_all(theirs) {
            head.extend_from_slice(ours.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"content-length: ");
    head.extend_from_slice(itoa::Buffer::new().format(body_bytes).as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    head
}
