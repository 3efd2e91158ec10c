//! The object that every reply and every event of a reply's life is wrapped in.
//!
//! Strict clients want all of its members. What OpenAI repeats of the request is not known here and stands as its default.

use fairlead_ir::{ErrorKind, NanoUsd, StopReason, Usage};

use crate::error::Details;
use crate::openai_chat::error::write_metadata;
use crate::write::Object;

/// What an envelope says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    /// JSON, quotes included.
    pub(crate) id: &'a [u8],
    /// As `id`.
    pub(crate) model: &'a [u8],
    /// Unix seconds.
    pub(crate) created_s: u64,
    pub(crate) status: Status<'a>,
    /// The array of items as JSON.
    pub(crate) output: &'a [u8],
    /// As JSON; none while it is not known.
    pub(crate) usage: Option<&'a [u8]>,
    /// As JSON.
    pub(crate) service_tier: Option<&'a [u8]>,
    /// On `/api/v1`: the provider's display name.
    pub(crate) provider: Option<&'a str>,
    /// Of a reply that the gateway keeps: the id of the response it went on from, as JSON.
    pub(crate) kept_after: Option<&'a [u8]>,
}

/// How far a reply is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Status<'a> {
    InProgress,
    Completed,
    /// With the reason.
    Incomplete(&'static str),
    Failed {
        code: &'a str,
        message: &'a str,
        /// On `/api/v1`: what else is known of it.
        more: Option<(ErrorKind, Details<'a>)>,
    },
}

impl Status<'_> {
    /// As `status` spells it, and as the event that tells of it ends.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Status::InProgress => "in_progress",
            Status::Completed => "completed",
            Status::Incomplete(_) => "incomplete",
            Status::Failed { .. } => "failed",
        }
    }

    /// The status of a reply that ended so. `refusal`: it holds the words of one.
    pub(crate) fn of(reason: StopReason, native: &str, refusal: bool) -> Status<'_> {
        match reason {
            StopReason::MaxTokens | StopReason::ContextWindow => Status::Incomplete("max_output_tokens"),
            StopReason::ContentFilter => Status::Incomplete("content_filter"),
            StopReason::Refusal if !refusal => Status::Incomplete("content_filter"),
            StopReason::Failed => Status::Failed { code: "server_error", message: native, more: None },
            _ => Status::Completed,
        }
    }
}

impl Envelope<'_> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut json = Object::open(out);
        self.write_members(&mut json);
        json.close();
    }

    /// All members, into an object that may get more.
    pub(crate) fn write_members(&self, json: &mut Object<'_>) {
        json.raw("id", self.id).text("object", "response").number("created_at", self.created_s).text("status", self.status.word());
        json.raw("background", b"false").raw("completed_at", b"null");
        match self.status {
            Status::Failed { code, message, more } => {
                json.object("error", |error| {
                    error.text("code", code).text("message", message);
                    if let Some((kind, details)) = &more {
                        error.object("metadata", |metadata| write_metadata(*kind, details, metadata));
                    }
                });
                json.optional_text("error_type", more.map(|(kind, _)| kind.row().openrouter));
            }
            _ => {
                json.raw("error", b"null");
            }
        }
        match self.status {
            Status::Incomplete(reason) => {
                json.object("incomplete_details", |details| {
                    details.text("reason", reason);
                });
            }
            _ => {
                json.raw("incomplete_details", b"null");
            }
        }
        json.raw("frequency_penalty", b"null").raw("instructions", b"null").raw("max_output_tokens", b"null").raw("metadata", b"{}");
        json.raw("model", self.model).optional_text("provider", self.provider).raw("output", self.output);
        json.raw("parallel_tool_calls", b"true")
            .raw("presence_penalty", b"null")
            .raw("previous_response_id", self.kept_after.unwrap_or(b"null"));
        json.raw("reasoning", br#"{"effort":null,"summary":null}"#);
        if let Some(tier) = self.service_tier {
            json.raw("service_tier", tier);
        }
        json.flag("store", self.kept_after.is_some()).raw("temperature", b"null").raw("text", br#"{"format":{"type":"text"}}"#);
        json.text("tool_choice", "auto").raw("tools", b"[]").raw("top_p", b"null").text("truncation", "disabled");
        json.raw("usage", self.usage.unwrap_or(b"null")).raw("user", b"null");
    }
}

/// The figures of a reply, with what it cost where that is known.
pub(crate) fn write_usage(usage: &Usage, cost: Option<NanoUsd>, openrouter: bool, out: &mut Vec<u8>) {
    let (input, output) = (usage.total_prompt_tokens(), usage.completion_tokens);
    let mut json = Object::open(out);
    json.number("input_tokens", input).object("input_tokens_details", |details| {
        details.number("cached_tokens", usage.cache_read_tokens);
        details.number("cache_write_tokens", usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens));
    });
    json.number("output_tokens", output).object("output_tokens_details", |details| {
        details.number("reasoning_tokens", usage.reasoning_tokens);
    });
    json.number("total_tokens", input.saturating_add(output));
    if let Some(cost) = cost {
        cost.write(json.key("cost"));
        if openrouter {
            json.flag("is_byok", false);
        }
    }
    json.close();
}
