//! What the body of a chat completion may hold, as tables.

use crate::shape::{Kind, OPEN, Shape, closed};

static BREAKPOINT: Shape = closed(&[("mode", Kind::OneOf(&["explicit"])), ("ttl", Kind::OneOf(&["30m", "12h"]))], &[]);
const MARK: (&str, Kind) = ("prompt_cache_breakpoint", Kind::Object(&BREAKPOINT));

static TEXT: Shape = closed(&[("text", Kind::Text), MARK], &["text"]);
static IMAGE_URL: Shape = closed(&[("url", Kind::Text), ("detail", Kind::OneOf(&["auto", "low", "high", "original"]))], &["url"]);
static IMAGE: Shape = closed(&[("image_url", Kind::Object(&IMAGE_URL)), MARK], &["image_url"]);
static CLIP: Shape = closed(&[("data", Kind::Text), ("format", Kind::OneOf(&["wav", "mp3"]))], &["data", "format"]);
static AUDIO: Shape = closed(&[("input_audio", Kind::Object(&CLIP)), MARK], &["input_audio"]);
static FILE_DATA: Shape = closed(&[("file_data", Kind::Text), ("file_id", Kind::Text), ("filename", Kind::Text)], &[]);
static FILE: Shape = closed(&[("file", Kind::Object(&FILE_DATA)), MARK], &["file"]);
static REFUSAL: Shape = closed(&[("refusal", Kind::Text)], &["refusal"]);

static TEXT_PART: Kind = Kind::Tagged { tag: "type", default: None, cases: &[("text", &TEXT)] };
static USER_PART: Kind =
    Kind::Tagged { tag: "type", default: None, cases: &[("text", &TEXT), ("image_url", &IMAGE), ("input_audio", &AUDIO), ("file", &FILE)] };
static ASSISTANT_PART: Kind = Kind::Tagged { tag: "type", default: None, cases: &[("text", &TEXT), ("refusal", &REFUSAL)] };
const TEXTS: Kind = Kind::Either(&[Kind::Text, Kind::List(&TEXT_PART)]);

static SYSTEM: Shape = closed(&[("content", TEXTS), ("name", Kind::Text)], &["content"]);
static USER: Shape = closed(&[("content", Kind::Either(&[Kind::Text, Kind::List(&USER_PART)])), ("name", Kind::Text)], &["content"]);
static CALLED: Shape = closed(&[("name", Kind::Text), ("arguments", Kind::Text)], &["name", "arguments"]);
static FUNCTION_CALL: Shape = closed(&[("id", Kind::Text), ("function", Kind::Object(&CALLED))], &["id", "function"]);
static CUSTOM_CALLED: Shape = closed(&[("name", Kind::Text), ("input", Kind::Text)], &["name", "input"]);
static CUSTOM_CALL: Shape = closed(&[("id", Kind::Text), ("custom", Kind::Object(&CUSTOM_CALLED))], &["id", "custom"]);
static CALL: Kind = Kind::Tagged { tag: "type", default: None, cases: &[("function", &FUNCTION_CALL), ("custom", &CUSTOM_CALL)] };
static AUDIO_ID: Shape = closed(&[("id", Kind::Text)], &["id"]);
static ASSISTANT: Shape = closed(
    &[
        ("content", Kind::Either(&[Kind::Text, Kind::List(&ASSISTANT_PART)])),
        ("refusal", Kind::Text),
        ("name", Kind::Text),
        ("audio", Kind::Object(&AUDIO_ID)),
        ("tool_calls", Kind::List(&CALL)),
        ("function_call", Kind::Object(&CALLED)),
        ("annotations", Kind::List(&Kind::Any)),
    ],
    &[],
);
static RESULT: Shape = closed(&[("content", TEXTS), ("tool_call_id", Kind::Text)], &["content", "tool_call_id"]);
static OLD_RESULT: Shape = closed(&[("content", Kind::Text), ("name", Kind::Text)], &["name"]);
static MESSAGE: Kind = Kind::Tagged {
    tag: "role",
    default: None,
    cases: &[
        ("system", &SYSTEM),
        ("developer", &SYSTEM),
        ("user", &USER),
        ("assistant", &ASSISTANT),
        ("tool", &RESULT),
        ("function", &OLD_RESULT),
    ],
};
static OFFERED: Shape =
    closed(&[("name", Kind::Text), ("description", Kind::Text), ("parameters", Kind::Object(&OPEN)), ("strict", Kind::Bool)], &["name"]);
static FUNCTION: Shape = closed(&[("function", Kind::Object(&OFFERED))], &["function"]);
static CUSTOM_OFFERED: Shape = closed(&[("name", Kind::Text), ("description", Kind::Text), ("format", Kind::Object(&OPEN))], &["name"]);
static CUSTOM: Shape = closed(&[("custom", Kind::Object(&CUSTOM_OFFERED))], &["custom"]);
static TOOL: Kind = Kind::Tagged { tag: "type", default: None, cases: &[("function", &FUNCTION), ("custom", &CUSTOM)] };
static EMPTY: Shape = closed(&[], &[]);
static SCHEMA: Shape =
    closed(&[("name", Kind::Text), ("schema", Kind::Object(&OPEN)), ("strict", Kind::Bool), ("description", Kind::Text)], &["name"]);
static JSON_SCHEMA: Shape = closed(&[("json_schema", Kind::Object(&SCHEMA))], &["json_schema"]);
static STREAM_OPTIONS: Shape = closed(&[("include_usage", Kind::Bool), ("include_obfuscation", Kind::Bool)], &[]);

/// The whole body.
pub(super) static REQUEST: Shape = closed(
    &[
        ("model", Kind::Text),
        ("messages", Kind::List(&MESSAGE)),
        ("max_completion_tokens", Kind::Integer),
        ("max_tokens", Kind::Integer),
        ("temperature", Kind::Number),
        ("top_p", Kind::Number),
        ("n", Kind::Integer),
        ("stop", Kind::Either(&[Kind::Text, Kind::List(&Kind::Text)])),
        ("presence_penalty", Kind::Number),
        ("frequency_penalty", Kind::Number),
        ("logit_bias", Kind::Map(&Kind::Number)),
        ("logprobs", Kind::Bool),
        ("top_logprobs", Kind::Integer),
        ("seed", Kind::Integer),
        ("user", Kind::Text),
        ("safety_identifier", Kind::Text),
        ("prompt_cache_key", Kind::Text),
        ("prompt_cache_options", Kind::Object(&OPEN)),
        ("prompt_cache_retention", Kind::OneOf(&["in_memory", "in-memory", "24h"])),
        ("metadata", Kind::Map(&Kind::Text)),
        ("store", Kind::Bool),
        ("service_tier", Kind::OneOf(&["auto", "default", "flex", "scale", "priority", "fast"])),
        ("reasoning_effort", Kind::OneOf(&["none", "minimal", "low", "medium", "high", "xhigh", "max"])),
        ("verbosity", Kind::OneOf(&["low", "medium", "high"])),
        ("modalities", Kind::List(&Kind::OneOf(&["text", "audio"]))),
        ("audio", Kind::Object(&OPEN)),
        ("prediction", Kind::Object(&OPEN)),
        ("moderation", Kind::Object(&OPEN)),
        ("web_search_options", Kind::Object(&OPEN)),
        (
            "response_format",
            Kind::Tagged { tag: "type", default: None, cases: &[("text", &EMPTY), ("json_object", &EMPTY), ("json_schema", &JSON_SCHEMA)] },
        ),
        ("tools", Kind::List(&TOOL)),
        ("tool_choice", Kind::Either(&[Kind::OneOf(&["none", "auto", "required"]), Kind::Object(&OPEN)])),
        ("parallel_tool_calls", Kind::Bool),
        ("stream", Kind::Bool),
        ("stream_options", Kind::Object(&STREAM_OPTIONS)),
        ("functions", Kind::List(&Kind::Object(&OFFERED))),
        ("function_call", Kind::Any),
        ("sim", Kind::Any),
    ],
    &["model", "messages"],
);
