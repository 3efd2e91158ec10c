//! One try at one endpoint: the request as the provider shall get it, sent, and its reply's head.

use super::Admitted;
use super::call::Presence;
use super::failure::Failure;
use super::head::Head;
use super::intake::Intake;
use crate::upstream::{Exchange, ExchangeError, Outgoing};
use crate::worker::Worker;
use bytes::Bytes;
use fairlead_formats::request;
use fairlead_formats::splice::{Edits, Piece};
use fairlead_ir::{ErrorKind, Manner};
use fairlead_snapshot::{Operation, Origin, Principal, Snapshot, Target};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// A request ready to be sent.
pub(crate) struct Attempting {
    worker: Rc<Worker>,
    snapshot: Arc<Snapshot>,
    origin: Arc<Origin>,
    outgoing: Outgoing,
    turn: u32,
    now: Instant,
}

/// Below this many bytes a body is copied behind the head.
const COPY_BELOW_BYTES: usize = 8 << 10;

impl Attempting {
    /// Splices the body and writes the head.
    pub(crate) fn prepare(admitted: &Admitted<'_>, intake: &Intake, now: Instant) -> Result<Attempting, Failure> {
        let Admitted { worker, snapshot, principal, choice, dialect, manner, head: client } = *admitted;
        let endpoint = choice.endpoint(snapshot);
        let internal = || Failure::new(ErrorKind::Internal, "the request could not be prepared for the provider");
        let target = endpoint.target(dialect).ok_or_else(internal)?;
        let hashed_user =
            intake.facts.user.as_deref().filter(|_| manner == Manner::Openrouter).map(|user| hashed_user(worker, principal, user));
        let wanted = request::Target {
            upstream_model: &endpoint.upstream_model,
            manner,
            hashed_user: hashed_user.as_deref(),
            stream_options: !endpoint.traits.no_stream_options,
        };
        let mut edits = worker.edits.borrow_mut();
        edits.clear();
        request::edits(&intake.facts, &wanted, &mut edits).map_err(|_| internal())?;
        let bytes = edits.result_len(intake.bytes as usize);
        let turn = worker.turn();
        let operation = if intake.facts.stream { Operation::Stream } else { Operation::Generate };
        let line = target.request_line(operation).ok_or_else(internal)?;
        let outgoing = match intake.frames.as_slice() {
            // One write of one buffer is cheaper than gathering slices while there is little to copy.
            [only] if bytes <= COPY_BELOW_BYTES => {
                let mut text = head(line, target, client, bytes, bytes, turn);
                edits.apply(only, &mut text).map_err(|_| internal())?;
                Outgoing::new(text, Vec::new())
            }
            frames => Outgoing::new(head(line, target, client, bytes, 0, turn), spliced(frames, &edits).map_err(|_| internal())?),
        };
        Ok(Attempting { worker: worker.clone(), snapshot: snapshot.clone(), origin: target.origin.clone(), outgoing, turn, now })
    }

    /// Sends it and waits for the head. How far it got can be seen in `presence`.
    pub(crate) async fn send(self, presence: Rc<Presence>) -> Result<Exchange, ExchangeError> {
        let Attempting { worker, snapshot, origin, outgoing, turn, now } = self;
        let timeouts = &snapshot.settings.timeouts;
        let exchange = Exchange::open(&worker.upstream, &origin, &outgoing, timeouts, turn, now, &presence.dispatch).await;
        if presence.dispatch.stale.get().is_some() {
            worker.counters.resent.add(1);
        }
        exchange
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

/// The request's head, in a buffer with room for `room` more bytes.
fn head(line: &[u8], target: &Target, client: &Head<'_>, body_bytes: usize, room: usize, turn: u32) -> Vec<u8> {
    let prepared = &target.heads[turn as usize % target.heads.len()];
    let passed: usize = client.passed.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let defaults: usize = target.defaults.iter().map(|(_, line)| line.len()).sum();
    let mut head = Vec::with_capacity(line.len() + prepared.len() + passed + defaults + LENGTH_LINE_BYTES + room);
    head.extend_from_slice(line);
    head.extend_from_slice(prepared);
    for (name, line) in &target.defaults {
        if !client.passes(name) {
            head.extend_from_slice(line);
        }
    }
    for (name, value) in &client.passed {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"content-length: ");
    head.extend_from_slice(itoa::Buffer::new().format(body_bytes).as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// `content-length: `, twenty digits, and the two line ends.
const LENGTH_LINE_BYTES: usize = 40;
