//! One try at one endpoint: the request as the provider shall get it, sent, and its reply's head.

use super::call::Presence;
use super::failure::Failure;
use super::intake::Intake;
use super::translate::Translated;
use super::{Admitted, tier};
use crate::upstream::{Exchange, ExchangeError, Outgoing};
use crate::worker::{Worker, unix_ms};
use bytes::Bytes;
use fairlead_formats::request;
use fairlead_formats::sigv4::{Credentials, Scope, Unsigned, body_sha256, sign};
use fairlead_formats::splice::{Edits, Piece};
use fairlead_ir::{Dialect, ErrorKind, Manner, Tier};
use fairlead_snapshot::{ANTHROPIC_VERSION, Origin, Principal, Secret, Signing, Snapshot, Target};
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
    /// Makes the body what the provider shall get, `translated` or spliced, and writes the head.
    pub(crate) fn prepare(
        admitted: &Admitted<'_>,
        intake: &Intake,
        translated: Option<&Translated>,
        now: Instant,
    ) -> Result<Attempting, Failure> {
        let Admitted { worker, snapshot, choice, .. } = *admitted;
        let outgoing = match translated {
            None => Self::spliced(admitted, intake),
            Some(translated) => Self::written(admitted, translated),
        };
        let internal = || Failure::new(ErrorKind::Internal, "the request could not be prepared for the provider");
        let (outgoing, turn) = outgoing.ok_or_else(internal)?;
        let origin = choice.target(snapshot).ok_or_else(internal)?.origin.clone();
        Ok(Attempting { worker: worker.clone(), snapshot: snapshot.clone(), origin, outgoing, turn, now })
    }

    /// The client's own bytes but for the edits.
    fn spliced(admitted: &Admitted<'_>, intake: &Intake) -> Option<(Outgoing, u32)> {
        let Admitted { worker, snapshot, principal, choice, manner, .. } = *admitted;
        let endpoint = choice.endpoint(snapshot);
        let hashed_user =
            intake.facts.user.as_deref().filter(|_| manner == Manner::Openrouter).map(|user| hashed_user(worker, principal, user));
        let wanted = request::Target {
            upstream_model: &endpoint.upstream_model,
            manner,
            hashed_user: hashed_user.as_deref(),
            stream_options: !endpoint.traits.no_stream_options,
            raw_predict: endpoint.traits.raw_predict,
            tier: tier::word(admitted, intake),
            limit_name: intake.said.as_deref().and_then(|said| said.limit_name(endpoint.traits)),
        };
        let mut edits = worker.edits.borrow_mut();
        edits.clear();
        request::edits(&intake.facts, &wanted, &mut edits).ok()?;
        let bytes = edits.result_len(intake.bytes as usize);
        let head = RequestHead::new(admitted, bytes, admitted.turn.unwrap_or_else(|| worker.turn()))?;
        let outgoing = match intake.frames.as_slice() {
            // One write of one buffer is cheaper than gathering slices while there is little to copy.
            [only] if bytes <= COPY_BELOW_BYTES && !head.is_signed() => {
                let mut text = head.write(bytes, &[]);
                edits.apply(only, &mut text).ok()?;
                Outgoing::new(text, Vec::new())
            }
            frames => {
                let pieces = spliced(frames, &edits).ok()?;
                Outgoing::new(head.write(0, &pieces), pieces)
            }
        };
        Some((outgoing, head.turn))
    }

    fn written(admitted: &Admitted<'_>, translated: &Translated) -> Option<(Outgoing, u32)> {
        let body = &translated.body;
        let head = RequestHead::new(admitted, body.len(), translated.turn)?;
        let outgoing = if body.len() <= COPY_BELOW_BYTES {
            let mut text = head.write(body.len(), std::slice::from_ref(body));
            text.extend_from_slice(body);
            Outgoing::new(text, Vec::new())
        } else {
            Outgoing::new(head.write(0, std::slice::from_ref(body)), vec![body.clone()])
        };
        Some((outgoing, head.turn))
    }

    /// Sends it and waits for the head. How far it got can be seen in `presence`.
    pub(crate) async fn send(self, presence: Rc<Presence>) -> Result<Exchange, ExchangeError> {
        let Attempting { worker, snapshot, origin, outgoing, turn, now } = self;
        let timeouts = &snapshot.settings.timeouts;
        let open = Exchange::open(&worker.upstream, &origin, &outgoing, timeouts, turn, now, &presence.dispatch);
        let exchange = presence.noting(open).await;
        if presence.dispatch.stale.get().is_some() {
            worker.counters.resent.add(1);
        }
        exchange
    }
}

/// What a provider sees instead of an end user's name: the same for the same user of the same account, and meaningless elsewhere.
pub(crate) fn hashed_user(worker: &Worker, principal: &Principal, user: &str) -> String {
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

/// What a request's head is made of.
struct RequestHead<'a> {
    admitted: &'a Admitted<'a>,
    target: &'a Target,
    line: &'a [u8],
    body_bytes: usize,
    /// Chooses the credential.
    turn: u32,
}

impl<'a> RequestHead<'a> {
    fn new(admitted: &'a Admitted<'a>, body_bytes: usize, turn: u32) -> Option<RequestHead<'a>> {
        let Admitted { snapshot, choice, .. } = *admitted;
        let target = choice.target(snapshot)?;
        Some(RequestHead { admitted, target, line: target.request_line(choice.operation)?, body_bytes, turn })
    }

    fn is_signed(&self) -> bool {
        self.target.signing.is_some()
    }

    /// The head in a buffer with room for `room` more bytes. `body` is what a signature covers.
    fn write(&self, room: usize, body: &[Bytes]) -> Vec<u8> {
        let Admitted { choice, dialect, head: client, snapshot, .. } = *self.admitted;
        let prepared = &self.target.heads[self.turn as usize % self.target.heads.len()];
        // Where the body says the version, no header says another.
        let version_in_body = choice.endpoint(snapshot).traits.raw_predict;
        let passed = || client.passed_to(dialect, choice.upstream).filter(|(name, _)| !version_in_body || *name != ANTHROPIC_VERSION);
        let passed_bytes: usize = passed().map(|(name, value)| name.len() + value.len() + 4).sum();
        let defaults: usize = self.target.defaults.iter().map(|(_, line)| line.len()).sum();
        let mut head = Vec::with_capacity(self.line.len() + prepared.len() + passed_bytes + defaults + LENGTH_LINE_BYTES + room);
        self.target.write_request_line(self.line, self.turn as usize, &mut head);
        head.extend_from_slice(prepared);
        for (name, line) in &self.target.defaults {
            if !passed().any(|(passed, _)| passed == name) {
                head.extend_from_slice(line);
            }
        }
        let mut add = |name: &str, value: &[u8]| {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        };
        passed().for_each(|(name, value)| add(name, value));
        if dialect != choice.upstream && choice.endpoint(snapshot).traits.block_binding && choice.upstream == Dialect::AnthropicMessages {
            add("anthropic-beta", BINDING_CONTROLS);
        }
        if choice.asks == Some(Tier::Fast)
            && choice.upstream == Dialect::AnthropicMessages
            && !passed().any(|(_, beta)| beta.windows(FAST_MODE_ANY.len()).any(|part| part == FAST_MODE_ANY))
        {
            add("anthropic-beta", FAST_MODE);
        }
        if let Some(signing) = &self.target.signing {
            self.sign(signing, body).iter().for_each(|(name, value)| add(name, value.as_bytes()));
        }
        add("content-length", itoa::Buffer::new().format(self.body_bytes).as_bytes());
        head.extend_from_slice(b"\r\n");
        head
    }

    fn sign(&self, signing: &Signing, body: &[Bytes]) -> Vec<(&'static str, String)> {
        let (path, query) = self.target.path_and_query(self.admitted.choice.operation).unwrap_or_default();
        let unsigned = Unsigned {
            method: "POST",
            path,
            query,
            headers: &[("host", &signing.host), ("content-type", "application/json")],
            body_sha256: body_sha256(body.iter().map(|piece| &**piece)),
        };
        let key = &signing.credentials[self.turn as usize % signing.credentials.len()];
        let credentials = Credentials {
            access_key_id: &key.access_key_id,
            secret_access_key: key.secret_access_key.expose(),
            session_token: key.session_token.as_ref().map(Secret::expose),
        };
        sign(&unsigned, &credentials, &Scope { region: &signing.region, service: &signing.service }, unix_ms() / 1000)
    }
}

/// Lets a request say what becomes of thoughts whose prefix has changed; translated requests say so.
const BINDING_CONTROLS: &[u8] = b"thinking-binding-controls-2026-08-01";

/// Without it Anthropic does not know `speed`.
const FAST_MODE: &[u8] = b"fast-mode-2026-02-01";
const FAST_MODE_ANY: &[u8] = b"fast-mode-";

/// `content-length: `, twenty digits, and the two line ends.
const LENGTH_LINE_BYTES: usize = 40;
