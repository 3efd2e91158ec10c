//! The optional `"sim": {…}` field of a request body: what the caller wants to go differently from the model's defaults.

use crate::call::Fields;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Bounds on what one request can make the simulator produce.
const MAX_TOKENS: u32 = 10_000_000;
const MAX_TOKEN_BYTES: u32 = 64 << 20;

/// All that can be scripted. An absent field means: as the model does it. Unknown fields are an error that names them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Script {
    /// Any number of the caller's; the ledger repeats it, so that a record can be found without knowing the reply's id.
    pub(crate) tag: u64,

    /// Silence before the head.
    pub(crate) delay_ms: Option<u32>,
    /// From the head to the first token. A unary reply waits as long as its stream would have taken.
    pub(crate) first_token_ms: Option<u32>,
    /// From one token to the next.
    pub(crate) pace_ms: Option<u32>,

    /// Number of text tokens.
    pub(crate) tokens: Option<u32>,
    /// Text of every text token.
    pub(crate) token_text: Option<String>,
    /// Or its length: so many letters.
    pub(crate) token_bytes: Option<u32>,
    pub(crate) reasoning_tokens: Option<u32>,
    /// The reasoning is shown as an opaque block only.
    pub(crate) redacted: bool,
    /// The model declines with these words.
    pub(crate) refusal: Option<String>,
    pub(crate) content_filter: Option<ContentFilter>,
    /// Number of calls; the offered tools are called in turn.
    pub(crate) tool_calls: Option<u32>,
    /// The arguments of every call, as they stand (need not be JSON).
    pub(crate) arguments: Option<String>,
    /// Bytes of arguments per piece; 0 is taken as 1.
    pub(crate) argument_bytes: Option<u32>,
    pub(crate) tool_anomalies: Vec<ToolAnomaly>,

    /// Whether the request is judged as the real provider does it.
    pub(crate) strict: Option<bool>,

    pub(crate) prompt_tokens: Option<u32>,
    /// Of the prompt's tokens, those read from the cache …
    pub(crate) cached_tokens: Option<u32>,
    /// … and those written to it.
    pub(crate) cache_write_tokens: Option<u32>,
    pub(crate) usage: UsageReport,
    /// The tier that served, whichever was asked for; where the dialect tells.
    pub(crate) service_tier: Option<String>,

    /// The reason to report; `null`: none.
    #[serde(deserialize_with = "nullable")]
    pub(crate) finish: Option<Option<String>>,
    pub(crate) opening: Opening,
    pub(crate) terminal: Terminal,

    pub(crate) split: Split,
    /// Stream frames per write; 0 is taken as 1.
    pub(crate) batch: u32,
    /// As the dialect has it, if absent.
    pub(crate) line_ending: Option<LineEnding>,
    /// False: `Content-Length` for a unary reply, end of connection for a stream.
    pub(crate) chunked: Option<bool>,
    pub(crate) connection: AfterReply,
    /// Further reply headers; one that the reply has anyway is replaced.
    pub(crate) headers: BTreeMap<String, String>,

    /// Raw text between the frames.
    pub(crate) extra_frames: Vec<ExtraFrame>,
    /// The unary body, as it stands.
    pub(crate) reply: Option<Box<RawValue>>,
    /// The whole stream, frame by frame, as it stands.
    pub(crate) reply_frames: Option<Vec<String>>,

    pub(crate) fault: Option<Fault>,
}

/// What the reply claims to have used. The ledger knows the truth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UsageReport {
    #[default]
    Normal,
    Absent,
    Zero,
    /// The final figures two times (streams only).
    Twice,
    /// Half of the completion first, then the final figures (streams only).
    Changing,
    /// 2^63 of everything.
    Huge,
    /// −1 of everything.
    Negative,
}

/// What the provider's own filter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ContentFilter {
    /// It blocks the prompt: there is no reply, or an error where the dialect has that.
    Prompt,
    /// It ends the reply behind its text.
    Output,
}

/// What is odd about tool calls; where a dialect has no such thing, nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToolAnomaly {
    /// Deltas have no index.
    NoIndex,
    /// Every index is 0.
    ZeroIndex,
    /// Indices begin at 1.
    ShiftedIndex,
    /// Calls have no id.
    NoId,
    /// Every delta has the id.
    RepeatedId,
    /// Every delta has the name.
    RepeatedName,
    /// The name comes in the second delta.
    LateName,
    /// Arguments are empty text instead of an object.
    EmptyArguments,
    /// Arguments come in one piece; in chat completions the whole call does.
    Whole,
    /// Arguments are an object instead of text.
    ObjectArguments,
    /// The pieces of several calls come in turns.
    Interleaved,
}

/// How a stream begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Opening {
    #[default]
    Normal,
    /// The first event comes two times.
    Twice,
    /// A keep-alive comes before it: a `ping` where the dialect has that, else a comment.
    PingFirst,
}

/// How often a stream's last event (`[DONE]`, `message_stop`) comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Terminal {
    #[default]
    Normal,
    Absent,
    Twice,
}

/// How the bytes of a reply are cut into writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub(crate) enum Split {
    /// One write per frame or batch; a unary reply is one write.
    #[default]
    None,
    /// That many bytes of body per write, each its own chunk where the body is chunked.
    Payload(usize),
    /// Every byte of the reply, head and chunk sizes included, is a write.
    EveryByte,
}

impl TryFrom<serde_json::Value> for Split {
    type Error = &'static str;

    fn try_from(value: serde_json::Value) -> Result<Self, Self::Error> {
        match (value.as_u64().and_then(|bytes| usize::try_from(bytes).ok()), value.as_str()) {
            (Some(bytes), _) if bytes > 0 => Ok(Self::Payload(bytes)),
            (_, Some("byte")) => Ok(Self::EveryByte),
            _ => Err("split must be a positive number of bytes or \"byte\""),
        }
    }
}

/// What ends a line of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LineEnding {
    Lf,
    Crlf,
    Cr,
}

impl LineEnding {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::Crlf => "\r\n",
            Self::Cr => "\r",
        }
    }
}

/// What becomes of the connection after a complete reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AfterReply {
    #[default]
    Keep,
    /// Announced by `Connection: close`.
    Close,
    /// Closed without having said so: the caller's pool holds a dead connection.
    Drop,
}

/// Raw text put in after the stream's frame number `after_frames`; a bare string comes after the first. Beyond the last frame: at the end.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "an extra frame must be a string or {\"after_frames\": number, \"raw\": string}")]
pub(crate) enum ExtraFrame {
    Text(String),
    Placed(PlacedFrame),
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlacedFrame {
    after_frames: u64,
    raw: String,
}

impl ExtraFrame {
    pub(crate) fn after_frames(&self) -> u64 {
        match self {
            Self::Text(_) => 1,
            Self::Placed(frame) => frame.after_frames,
        }
    }

    pub(crate) fn raw(&self) -> &str {
        match self {
            Self::Text(raw) | Self::Placed(PlacedFrame { raw, .. }) => raw,
        }
    }
}

/// What goes wrong. `after_frames` counts the stream's own frames; a unary reply has none, there it is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Fault {
    /// Another status, with the dialect's error body or with `body` (a string goes out as it is).
    Status { status: u16, retry_after: Option<String>, body: Option<serde_json::Value> },
    /// 200, then an error in the dialect's shape as the last event (unary: as the body).
    ErrorEvent {
        #[serde(default)]
        after_frames: u64,
    },
    /// The connection ends in the middle, `after_bytes` into the next frame (unary: into the body).
    Cut {
        #[serde(default)]
        after_frames: u64,
        #[serde(default)]
        how: CutBy,
        #[serde(default)]
        after_bytes: usize,
    },
    /// Silence with the connection open, until the caller leaves (unary: after half the body).
    Stall {
        #[serde(default)]
        after_frames: u64,
    },
    /// The same before the head.
    StallHead {},
    /// Bytes that are neither the dialect nor UTF-8, then a proper end of the message.
    Garbage {
        #[serde(default)]
        after_frames: u64,
    },
    /// 200 and a body of no bytes.
    Empty {},
    /// The connection ends without an answer.
    CloseBeforeHead {},
    /// An answer that breaks HTTP's framing.
    BadFraming { which: BadFraming },
    /// Keep-alive comments for ever (unary: spaces), until the caller leaves.
    Comments {
        #[serde(default)]
        after_frames: u64,
        #[serde(default = "default_comment_interval_ms")]
        every_ms: u32,
    },
}

fn default_comment_interval_ms() -> u32 {
    10
}

impl Fault {
    /// The name it has in scripts and in the ledger.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::ErrorEvent { .. } => "error_event",
            Self::Cut { .. } => "cut",
            Self::Stall { .. } => "stall",
            Self::StallHead {} => "stall_head",
            Self::Garbage { .. } => "garbage",
            Self::Empty {} => "empty",
            Self::CloseBeforeHead {} => "close_before_head",
            Self::BadFraming { .. } => "bad_framing",
            Self::Comments { .. } => "comments",
        }
    }

    /// After how many frames it strikes; `None`: before the first, instead of the reply.
    pub(crate) fn after_frames(&self) -> Option<u64> {
        match *self {
            Self::ErrorEvent { after_frames }
            | Self::Cut { after_frames, .. }
            | Self::Stall { after_frames }
            | Self::Garbage { after_frames }
            | Self::Comments { after_frames, .. } => Some(after_frames),
            Self::Status { .. } | Self::StallHead {} | Self::Empty {} | Self::CloseBeforeHead {} | Self::BadFraming { .. } => None,
        }
    }
}

/// How a cut connection ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CutBy {
    #[default]
    Fin,
    Rst,
}

/// Which rule of HTTP/1.1 the reply breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BadFraming {
    /// `Content-Length` and `Transfer-Encoding` together.
    ClTe,
    /// Two `Content-Length` that differ.
    DupCl,
    /// A chunk size that is no number.
    BadChunk,
    /// Lines of the head that end in LF alone.
    BareLf,
}

impl Script {
    /// The script in `text`, or what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Fields(mut script): Fields<Self> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        script.check()?;
        script.extra_frames.sort_by_key(ExtraFrame::after_frames);
        Ok(script)
    }

    /// Whether tool calls are to be odd in this way.
    pub(crate) fn has(&self, anomaly: ToolAnomaly) -> bool {
        self.tool_anomalies.contains(&anomaly)
    }

    fn check(&self) -> Result<(), String> {
        if self.token_text.is_some() && self.token_bytes.is_some() {
            return Err("token_text and token_bytes exclude each other".to_owned());
        }
        for (name, value, limit) in [
            ("tokens", self.tokens, MAX_TOKENS),
            ("reasoning_tokens", self.reasoning_tokens, MAX_TOKENS),
            ("token_bytes", self.token_bytes, MAX_TOKEN_BYTES),
        ] {
            if value.is_some_and(|value| value > limit) {
                return Err(format!("{name} may be {limit} at most"));
            }
        }
        for (name, value) in &self.headers {
            let name_fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte));
            if !name_fits || value.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
                return Err(format!("headers: {name:?} is not a header that can be sent"));
            }
            if ["content-length", "transfer-encoding", "connection"].iter().any(|framing| framing.eq_ignore_ascii_case(name)) {
                return Err(format!("headers: {name:?} belongs to the framing; use chunked, connection or the fault bad_framing"));
            }
        }
        if self.reply.as_ref().is_some_and(|reply| !reply.get().starts_with('{')) {
            return Err("reply must be an object".to_owned());
        }
        if let Some(Fault::Status { status, retry_after, .. }) = &self.fault {
            if !(400..=599).contains(status) {
                return Err(format!("fault: status {status} is not an error"));
            }
            if retry_after.iter().flat_map(|text| text.bytes()).any(|byte| !(b' '..0x7f).contains(&byte)) {
                return Err("fault: retry_after is not a header value".to_owned());
            }
        }
        Ok(())
    }
}

/// `Some(None)` for an explicit null, which `Option` alone takes for absence.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, needle: &str| {
            let error = Script::parse(text).unwrap_err();
            assert!(error.contains(needle), "{text}: {error}");
        };
        check(r#"{"tokns":1}"#, "unknown field `tokns`");
        check(r#"{"tokens":-1}"#, "invalid value");
        check(r#"{"tokens":10000001}"#, "at most");
        check(r#"{"token_bytes":99999999}"#, "at most");
        check(r#"{"token_bytes":1,"token_text":"x"}"#, "exclude");
        check(r#"{"usage":"none"}"#, "unknown variant `none`");
        check(r#"{"split":0}"#, "positive number");
        check(r#"{"split":"word"}"#, "\"byte\"");
        check(r#"{"fault":{"kind":"cut","after":1}}"#, "unknown field `after`");
        check(r#"{"fault":{"kind":"empty","after_frames":1}}"#, "unknown field `after_frames`");
        check(r#"{"fault":{"kind":"explode"}}"#, "unknown variant `explode`");
        check(r#"{"fault":{"kind":"status","status":200}}"#, "not an error");
        check(r#"{"fault":{"kind":"status","status":503,"retry_after":"1\r\nx: y"}}"#, "retry_after");
        check(r#"{"headers":{"a b":"c"}}"#, "a b");
        check(r#"{"headers":{"a":"c\r\nd: e"}}"#, "\"a\"");
        check(r#"{"headers":{"Content-Length":"5"}}"#, "framing");
        check(r#"{"reply":[]}"#, "object");
        check(r#"{"extra_frames":[{"raw":"x"}]}"#, "after_frames");
        check("[]", "expected an object");
    }

    #[test]
    fn null_finish_is_not_an_absent_one() {
        assert_eq!(Script::parse("{}").unwrap().finish, None);
        assert_eq!(Script::parse(r#"{"finish":null}"#).unwrap().finish, Some(None));
        assert_eq!(Script::parse(r#"{"finish":"stop"}"#).unwrap().finish, Some(Some("stop".to_owned())));
    }

    #[test]
    fn extra_frames_are_in_order() {
        let script = Script::parse(r#"{"extra_frames":[{"after_frames":5,"raw":"b"},"a",{"after_frames":5,"raw":"c"}]}"#).unwrap();
        assert_eq!(script.extra_frames.iter().map(ExtraFrame::raw).collect::<String>(), "abc");
    }

    #[test]
    fn the_manual_has_every_field() {
        let manual = include_str!("../README.md");
        let errors = [r#"{"?":1}"#, r#"{"fault":{"kind":"?"}}"#].map(|script| Script::parse(script).unwrap_err());
        // Errors list what there is in back quotes.
        let quoted = errors.iter().flat_map(|error| error.split('`').skip(1).step_by(2));
        let names: Vec<_> = quoted.filter(|name| *name != "?").collect();
        assert!(names.len() > 30, "{names:?}");
        for name in names {
            assert!(manual.contains(&format!("`{name}`")), "{name}");
        }
    }
}
