//! What really happened, request by request: the ground truth for tests of metering and money.

use crate::identity;
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

/// Records are kept in blocks of this many, and dropped by the block.
const BLOCK_RECORDS: usize = 16_384;
/// Different names (models) kept; further ones are recorded as `other`.
const MAX_NAMES: usize = 1_024;

/// Which API a request spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenaiChat,
    AnthropicMessages,
    /// The same, at Vertex AI.
    AnthropicVertex,
    OpenaiResponses,
    GeminiGenerate,
    BedrockConverse,
    OpenaiCompletions,
    OpenaiEmbeddings,
}

impl Dialect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OpenaiChat => "openai_chat",
            Self::AnthropicMessages => "anthropic_messages",
            Self::AnthropicVertex => "anthropic_vertex",
            Self::OpenaiResponses => "openai_responses",
            Self::GeminiGenerate => "gemini_generate",
            Self::BedrockConverse => "bedrock_converse",
            Self::OpenaiCompletions => "openai_completions",
            Self::OpenaiEmbeddings => "openai_embeddings",
        }
    }

    /// The id of the reply to request number `request`, in the dialect's style.
    pub(crate) fn reply_id(self, seed: u64, request: u64) -> String {
        match self {
            Self::OpenaiChat => identity::id("chatcmpl-", 29, seed, request),
            Self::AnthropicMessages => identity::id("msg_01", 22, seed, request),
            Self::AnthropicVertex => identity::id("msg_vrtx_01", 22, seed, request),
            Self::OpenaiResponses => identity::id("resp_", 50, seed, request),
            Self::GeminiGenerate => identity::id("", 22, seed, request),
            // Bedrock's replies have no id of their own.
            Self::BedrockConverse => self.request_id(seed, request),
            Self::OpenaiCompletions => identity::id("cmpl-", 29, seed, request),
            // Neither have embeddings, but the ledger wants something to tell them apart.
            Self::OpenaiEmbeddings => self.request_id(seed, request),
        }
    }

    /// The id of request number `request` itself, which a header of the reply has.
    pub(crate) fn request_id(self, seed: u64, request: u64) -> String {
        match self {
            Self::BedrockConverse => identity::uuid(!seed, request),
            _ => identity::id("req_", 24, !seed, request),
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was written.
    Complete,
    /// The simulator ended the connection in the middle (scripted, or because it was stopped).
    Cut,
    /// The caller left before the end.
    ClientGone,
    /// A scripted fault instead of, or behind, the reply.
    Fault,
    /// The request was wrong.
    Refused,
}

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Complete, "complete"),
    (Outcome::Cut, "cut"),
    (Outcome::ClientGone, "client_gone"),
    (Outcome::Fault, "fault"),
    (Outcome::Refused, "refused"),
];

impl Outcome {
    fn index(self) -> usize {
        OUTCOMES.iter().position(|&(outcome, _)| outcome == self).unwrap_or_default()
    }

    fn name(self) -> &'static str {
        OUTCOMES.get(self.index()).map_or("", |&(_, name)| name)
    }
}

/// One request. About 90 bytes, so that millions can be kept.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Number of the request in order of arrival; the reply's id follows from it.
    pub(crate) request: u64,
    pub(crate) tag: u64,
    pub(crate) received_unix_ms: u64,
    /// From the receipt to the first byte written, and to the end.
    pub(crate) head_after_ms: Option<u32>,
    pub(crate) end_after_ms: u32,
    pub(crate) body_bytes: u32,
    pub(crate) body_crc32: u32,
    pub(crate) prompt_tokens: u32,
    pub(crate) cached_tokens: u32,
    pub(crate) cache_write_tokens: u32,
    pub(crate) reasoning_tokens: u32,
    /// What the reply would have had, what was made of it, and what the socket took.
    pub(crate) planned_tokens: u32,
    pub(crate) produced_tokens: u32,
    pub(crate) delivered_tokens: u32,
    /// A handle from [`Ledger::intern`].
    pub(crate) model: u16,
    pub(crate) status: u16,
    pub(crate) dialect: Option<Dialect>,
    pub(crate) stream: bool,
    pub(crate) outcome: Outcome,
    pub(crate) fault: Option<&'static str>,
}

/// What the provider charges for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Billed {
    prompt_tokens: u64,
    cached_tokens: u64,
    completion_tokens: u64,
}

impl Billed {
    fn add(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
    }

    fn write_json(self, out: &mut String) {
        let Self { prompt_tokens, cached_tokens, completion_tokens } = self;
        push(
            out,
            format_args!(r#"{{"prompt_tokens":{prompt_tokens},"cached_tokens":{cached_tokens},"completion_tokens":{completion_tokens}}}"#),
        );
    }
}

impl Record {
    /// Charged if a caller who leaves stops the meter: the prompt, and what was produced until the leaving was seen.
    /// A request that got no 200 costs nothing.
    fn billed_if_cancel_stops(&self) -> Billed {
        self.billed(self.produced_tokens)
    }

    /// Charged if the provider goes on producing for a caller who left. Faults are the provider's own: it charges what it produced.
    fn billed_if_cancel_ignored(&self) -> Billed {
        let left = self.outcome == Outcome::ClientGone && self.fault.is_none();
        self.billed(if left { self.planned_tokens } else { self.produced_tokens })
    }

    fn billed(&self, completion_tokens: u32) -> Billed {
        if self.status != 200 {
            return Billed::default();
        }
        Billed {
            prompt_tokens: u64::from(self.prompt_tokens),
            cached_tokens: u64::from(self.cached_tokens),
            completion_tokens: u64::from(completion_tokens),
        }
    }
}

/// All records since the start or the last reset, the oldest dropped when there are too many, and their totals, which lose nothing.
#[derive(Debug)]
pub(crate) struct Ledger {
    seed: u64,
    capacity_blocks: usize,
    blocks: VecDeque<Vec<Record>>,
    dropped: u64,
    totals: Totals,
    names: Vec<String>,
    handles: HashMap<String, u16>,
}

#[derive(Debug, Default)]
struct Totals {
    requests: u64,
    outcomes: [u64; OUTCOMES.len()],
    prompt_tokens: u64,
    cached_tokens: u64,
    completion_tokens: u64,
    delivered_tokens: u64,
    billed_if_cancel_stops: Billed,
    billed_if_cancel_ignored: Billed,
}

impl Ledger {
    /// An empty ledger for up to `capacity` records (rounded up to whole blocks, at least one); `seed` is that of the reply ids.
    pub(crate) fn new(seed: u64, capacity: usize) -> Self {
        Self {
            seed,
            capacity_blocks: capacity.div_ceil(BLOCK_RECORDS).max(1),
            blocks: VecDeque::new(),
            dropped: 0,
            totals: Totals::default(),
            names: vec!["other".to_owned()],
            handles: HashMap::new(),
        }
    }

    /// The handle of a model's name.
    pub(crate) fn intern(&mut self, name: &str) -> u16 {
        if let Some(&handle) = self.handles.get(name) {
            return handle;
        }
        if self.names.len() >= MAX_NAMES {
            return 0;
        }
        let handle = u16::try_from(self.names.len()).unwrap_or(0);
        self.names.push(name.to_owned());
        self.handles.insert(name.to_owned(), handle);
        handle
    }

    pub(crate) fn push(&mut self, record: Record) {
        self.totals.add(&record);
        if self.blocks.back().is_none_or(|block| block.len() == BLOCK_RECORDS) {
            if self.blocks.len() == self.capacity_blocks {
                self.dropped += self.blocks.pop_front().map_or(0, |block| block.len() as u64);
            }
            self.blocks.push_back(Vec::new());
        }
        if let Some(block) = self.blocks.back_mut() {
            block.push(record);
        }
    }

    /// Forgets all records and totals; the next one is number 1 again.
    pub(crate) fn reset(&mut self) {
        self.blocks.clear();
        self.dropped = 0;
        self.totals = Totals::default();
    }

    /// `{"records": […], "totals": {…}}` with the records of a sequence number above `after`, at most `limit` of them.
    /// Sequence numbers count from 1 in the order in which requests ended. `open` is the number of requests in the works.
    /// `received` adds what there is of a request, as JSON.
    pub(crate) fn json(&self, after: u64, limit: usize, open: u64, received: impl Fn(u64) -> Option<String>) -> String {
        let mut out = String::from("{\"records\":[");
        let skip = usize::try_from(after.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        let (block, within) = (skip / BLOCK_RECORDS, skip % BLOCK_RECORDS);
        let kept = self.blocks.iter().skip(block).flatten().skip(within).take(limit);
        let first = self.dropped + skip as u64 + 1;
        for (sequence, record) in (first..).zip(kept) {
            if sequence > first {
                out.push(',');
            }
            self.write_record(sequence, record, &mut out);
            if let Some(received) = received(record.request) {
                out.pop();
                push(&mut out, format_args!(r#","received":{received}}}"#));
            }
        }
        out.push_str("],\"totals\":");
        self.totals.write_json(open, self.dropped, &mut out);
        out.push('}');
        out
    }

    fn write_record(&self, sequence: u64, record: &Record, out: &mut String) {
        let Record { request, tag, received_unix_ms, end_after_ms, body_bytes, body_crc32, status, stream, .. } = *record;
        let Record { prompt_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, .. } = *record;
        let Record { planned_tokens, produced_tokens, delivered_tokens, .. } = *record;
        push(out, format_args!(r#"{{"sequence":{sequence},"request":{request},"tag":{tag},"reply_id":"#));
        text(out, record.dialect.map(|dialect| dialect.reply_id(self.seed, request)).as_deref());
        out.push_str(",\"model\":");
        text(out, self.names.get(usize::from(record.model)).map(String::as_str));
        out.push_str(",\"dialect\":");
        text(out, record.dialect.map(Dialect::name));
        push(out, format_args!(r#","stream":{stream},"status":{status},"outcome":"{}","fault":"#, record.outcome.name()));
        text(out, record.fault);
        push(out, format_args!(r#","received_bytes":{body_bytes},"body_crc32":"{body_crc32:08x}","prompt_tokens":{prompt_tokens}"#));
        push(
            out,
            format_args!(
                r#","cached_tokens":{cached_tokens},"cache_write_tokens":{cache_write_tokens},"reasoning_tokens":{reasoning_tokens}"#
            ),
        );
        push(out, format_args!(r#","planned_tokens":{planned_tokens},"completion_tokens":{produced_tokens}"#));
        push(out, format_args!(r#","delivered_tokens":{delivered_tokens},"billed":{{"cancel_stops":"#));
        record.billed_if_cancel_stops().write_json(out);
        out.push_str(",\"cancel_ignored\":");
        record.billed_if_cancel_ignored().write_json(out);
        push(out, format_args!(r#"}},"received_unix_ms":{received_unix_ms},"head_after_ms":"#));
        match record.head_after_ms {
            Some(after_ms) => push(out, format_args!("{after_ms}")),
            None => out.push_str("null"),
        }
        push(out, format_args!(r#","end_after_ms":{end_after_ms}}}"#));
    }
}

impl Totals {
    fn add(&mut self, record: &Record) {
        self.requests += 1;
        if let Some(count) = self.outcomes.get_mut(record.outcome.index()) {
            *count += 1;
        }
        self.prompt_tokens += u64::from(record.prompt_tokens);
        self.cached_tokens += u64::from(record.cached_tokens);
        self.completion_tokens += u64::from(record.produced_tokens);
        self.delivered_tokens += u64::from(record.delivered_tokens);
        self.billed_if_cancel_stops.add(record.billed_if_cancel_stops());
        self.billed_if_cancel_ignored.add(record.billed_if_cancel_ignored());
    }

    fn write_json(&self, open: u64, dropped: u64, out: &mut String) {
        let Self { requests, prompt_tokens, cached_tokens, completion_tokens, delivered_tokens, .. } = *self;
        push(out, format_args!(r#"{{"requests":{requests},"open":{open},"dropped_records":{dropped}"#));
        for (&(_, name), count) in OUTCOMES.iter().zip(self.outcomes) {
            push(out, format_args!(r#","{name}":{count}"#));
        }
        push(out, format_args!(r#","prompt_tokens":{prompt_tokens},"cached_tokens":{cached_tokens}"#));
        push(
            out,
            format_args!(r#","completion_tokens":{completion_tokens},"delivered_tokens":{delivered_tokens},"billed":{{"cancel_stops":"#),
        );
        self.billed_if_cancel_stops.write_json(out);
        out.push_str(",\"cancel_ignored\":");
        self.billed_if_cancel_ignored.write_json(out);
        out.push_str("}}");
    }
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(arguments);
}

fn text(out: &mut String, value: Option<&str>) {
    // Display of a JSON value is its JSON.
    push(out, format_args!("{}", serde_json::Value::from(value)));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use serde_json::Value;

    fn record(request: u64, outcome: Outcome) -> Record {
        Record {
            request,
            tag: 0,
            received_unix_ms: 1_700_000_000_000,
            head_after_ms: Some(1),
            end_after_ms: 2,
            body_bytes: 100,
            body_crc32: 0xabc,
            prompt_tokens: 10,
            cached_tokens: 4,
            cache_write_tokens: 0,
            reasoning_tokens: 0,
            planned_tokens: 9,
            produced_tokens: 5,
            delivered_tokens: 3,
            model: 0,
            status: 200,
            dialect: Some(Dialect::OpenaiChat),
            stream: true,
            outcome,
            fault: None,
        }
    }

    fn parsed(ledger: &Ledger, after: u64, limit: usize) -> Value {
        serde_json::from_str(&ledger.json(after, limit, 2, |_| None)).unwrap()
    }

    #[test]
    fn the_two_policies_differ_only_for_callers_who_left() {
        let check = |outcome, status, fault, stops: u64, ignored: u64| {
            let record = Record { status, fault, ..record(1, outcome) };
            assert_eq!(record.billed_if_cancel_stops().completion_tokens, stops, "{outcome:?} {status}");
            assert_eq!(record.billed_if_cancel_ignored().completion_tokens, ignored, "{outcome:?} {status}");
        };
        check(Outcome::Complete, 200, None, 5, 5);
        check(Outcome::ClientGone, 200, None, 5, 9);
        check(Outcome::ClientGone, 200, Some("stall"), 5, 5);
        check(Outcome::Cut, 200, Some("cut"), 5, 5);
        check(Outcome::Fault, 503, Some("status"), 0, 0);
        check(Outcome::Refused, 400, None, 0, 0);
    }

    #[test]
    fn pages_by_sequence() {
        let mut ledger = Ledger::new(1, 100);
        let model = ledger.intern("sim/\"fast\"");
        for request in 0..10 {
            ledger.push(Record { model, ..record(request, Outcome::Complete) });
        }
        let page = parsed(&ledger, 7, 2);
        let records = page["records"].as_array().unwrap();
        assert_eq!(records.iter().map(|record| record["sequence"].as_u64().unwrap()).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(records[0]["model"], "sim/\"fast\"");
        assert_eq!(records[0]["reply_id"], Dialect::OpenaiChat.reply_id(1, 7));
        assert_eq!(page["totals"]["requests"], 10);
        assert_eq!(page["totals"]["open"], 2);
        assert_eq!(page["totals"]["billed"]["cancel_stops"]["completion_tokens"], 50);
        assert_eq!(parsed(&ledger, 10, 2)["records"].as_array().unwrap().len(), 0);
        ledger.reset();
        assert_eq!(parsed(&ledger, 0, 99)["totals"]["requests"], 0);
    }

    #[test]
    fn drops_the_oldest_and_says_so() {
        let mut ledger = Ledger::new(1, BLOCK_RECORDS);
        for request in 0..=BLOCK_RECORDS as u64 {
            ledger.push(record(request, Outcome::Complete));
        }
        let page = parsed(&ledger, 0, usize::MAX);
        assert_eq!(page["totals"]["dropped_records"], BLOCK_RECORDS);
        assert_eq!(page["totals"]["requests"], BLOCK_RECORDS + 1);
        assert_eq!(page["records"].as_array().unwrap().len(), 1);
        assert_eq!(page["records"][0]["sequence"], BLOCK_RECORDS + 1);
    }

    #[test]
    fn names_are_bounded() {
        let mut ledger = Ledger::new(1, 1);
        let handles: Vec<_> = (0..5_000).map(|number| ledger.intern(&format!("model-{number}"))).collect();
        assert_eq!(ledger.names.len(), MAX_NAMES);
        assert_eq!(handles.last(), Some(&0));
        assert_eq!(ledger.intern("model-3"), handles[3]);
    }
}
