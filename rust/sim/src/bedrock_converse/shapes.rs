//! What the body of a request to Converse may hold, as tables.

use crate::shape::{Kind, OPEN, Shape, closed};

static S3: Shape = closed(&[("uri", Kind::Text), ("bucketOwner", Kind::Text)], &["uri"]);
static BYTES: Shape = closed(&[("bytes", Kind::Text), ("s3Location", Kind::Object(&S3))], &[]);
static IMAGE: Shape =
    closed(&[("format", Kind::OneOf(&["png", "jpeg", "gif", "webp"])), ("source", Kind::Union(&BYTES))], &["format", "source"]);
static TEXT_ONLY: Shape = closed(&[("text", Kind::Text)], &[]);
static DOCUMENT_SOURCE: Shape = closed(
    &[("bytes", Kind::Text), ("s3Location", Kind::Object(&S3)), ("text", Kind::Text), ("content", Kind::List(&Kind::Union(&TEXT_ONLY)))],
    &[],
);
static CITATIONS: Shape = closed(&[("enabled", Kind::Bool)], &["enabled"]);
static DOCUMENT: Shape = closed(
    &[
        ("format", Kind::OneOf(&["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"])),
        ("name", Kind::Text),
        ("source", Kind::Union(&DOCUMENT_SOURCE)),
        ("context", Kind::Text),
        ("citations", Kind::Object(&CITATIONS)),
    ],
    &["name", "source"],
);
static VIDEO: Shape = closed(
    &[("format", Kind::OneOf(&["mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"])), ("source", Kind::Union(&BYTES))],
    &["format", "source"],
);
static AUDIO: Shape = closed(&[("format", Kind::Text), ("source", Kind::Union(&BYTES))], &["format", "source"]);
static TOOL_USE: Shape = closed(
    &[("toolUseId", Kind::Text), ("name", Kind::Text), ("input", Kind::Object(&OPEN)), ("type", Kind::OneOf(&["server_tool_use"]))],
    &["toolUseId", "name", "input"],
);
static SEARCH_RESULT: Shape = closed(
    &[
        ("source", Kind::Text),
        ("title", Kind::Text),
        ("content", Kind::List(&Kind::Object(&TEXT_ONLY))),
        ("citations", Kind::Object(&CITATIONS)),
    ],
    &["source", "title", "content"],
);
static RESULT_PART: Shape = closed(
    &[
        ("json", Kind::Any),
        ("text", Kind::Text),
        ("image", Kind::Object(&IMAGE)),
        ("document", Kind::Object(&DOCUMENT)),
        ("video", Kind::Object(&VIDEO)),
        ("searchResult", Kind::Object(&SEARCH_RESULT)),
    ],
    &[],
);
static TOOL_RESULT: Shape = closed(
    &[
        ("toolUseId", Kind::Text),
        ("content", Kind::List(&Kind::Union(&RESULT_PART))),
        ("status", Kind::OneOf(&["success", "error"])),
        ("type", Kind::Text),
    ],
    &["toolUseId", "content"],
);
static CACHE_POINT: Shape = closed(&[("type", Kind::OneOf(&["default"])), ("ttl", Kind::OneOf(&["5m", "1h"]))], &["type"]);
static REASONING_TEXT: Shape = closed(&[("text", Kind::Text), ("signature", Kind::Text)], &["text"]);
static REASONING: Shape = closed(&[("reasoningText", Kind::Object(&REASONING_TEXT)), ("redactedContent", Kind::Text)], &[]);
static BLOCK: Shape = closed(
    &[
        ("text", Kind::Text),
        ("image", Kind::Object(&IMAGE)),
        ("document", Kind::Object(&DOCUMENT)),
        ("video", Kind::Object(&VIDEO)),
        ("audio", Kind::Object(&AUDIO)),
        ("toolUse", Kind::Object(&TOOL_USE)),
        ("toolResult", Kind::Object(&TOOL_RESULT)),
        ("guardContent", Kind::Object(&OPEN)),
        ("cachePoint", Kind::Object(&CACHE_POINT)),
        ("reasoningContent", Kind::Union(&REASONING)),
        ("citationsContent", Kind::Object(&OPEN)),
        ("searchResult", Kind::Object(&SEARCH_RESULT)),
        ("toolAddition", Kind::Object(&OPEN)),
        ("toolRemoval", Kind::Object(&OPEN)),
    ],
    &[],
);
static MESSAGE: Shape =
    closed(&[("role", Kind::OneOf(&["user", "assistant", "system"])), ("content", Kind::List(&Kind::Union(&BLOCK)))], &["role", "content"]);
static SYSTEM: Shape =
    closed(&[("text", Kind::Text), ("guardContent", Kind::Object(&OPEN)), ("cachePoint", Kind::Object(&CACHE_POINT))], &[]);
static INFERENCE: Shape = closed(
    &[("maxTokens", Kind::Integer), ("temperature", Kind::Number), ("topP", Kind::Number), ("stopSequences", Kind::List(&Kind::Text))],
    &[],
);
static INPUT_SCHEMA: Shape = closed(&[("json", Kind::Object(&OPEN))], &[]);
static TOOL_SPEC: Shape = closed(
    &[("name", Kind::Text), ("description", Kind::Text), ("inputSchema", Kind::Union(&INPUT_SCHEMA)), ("strict", Kind::Bool)],
    &["name", "inputSchema"],
);
static SYSTEM_TOOL: Shape = closed(&[("name", Kind::Text)], &["name"]);
static TOOL: Shape = closed(
    &[("toolSpec", Kind::Object(&TOOL_SPEC)), ("systemTool", Kind::Object(&SYSTEM_TOOL)), ("cachePoint", Kind::Object(&CACHE_POINT))],
    &[],
);
static NOTHING: Shape = closed(&[], &[]);
static CHOICE: Shape =
    closed(&[("auto", Kind::Object(&NOTHING)), ("any", Kind::Object(&NOTHING)), ("tool", Kind::Object(&SYSTEM_TOOL))], &[]);
static TOOL_CONFIG: Shape = closed(&[("tools", Kind::List(&Kind::Union(&TOOL))), ("toolChoice", Kind::Union(&CHOICE))], &["tools"]);
static SCHEMA: Shape = closed(&[("schema", Kind::Text), ("name", Kind::Text), ("description", Kind::Text)], &["schema"]);
static STRUCTURE: Shape = closed(&[("jsonSchema", Kind::Object(&SCHEMA))], &[]);
static TEXT_FORMAT: Shape =
    closed(&[("type", Kind::OneOf(&["json_schema"])), ("structure", Kind::Union(&STRUCTURE))], &["type", "structure"]);
static OUTPUT: Shape =
    closed(&[("textFormat", Kind::Object(&TEXT_FORMAT)), ("effort", Kind::OneOf(&["low", "medium", "high", "xhigh", "max"]))], &[]);
static LATENCY: Shape = closed(&[("latency", Kind::OneOf(&["standard", "optimized"]))], &[]);
static TIER: Shape = closed(&[("type", Kind::OneOf(&["priority", "default", "flex", "reserved"]))], &["type"]);
/// What Claude takes beside what Converse knows; `sim` is the simulator's.
pub(super) static ADDITIONAL: Shape = closed(
    &[
        ("thinking", Kind::Object(&OPEN)),
        ("top_k", Kind::Integer),
        ("anthropic_beta", Kind::List(&Kind::Text)),
        ("output_config", Kind::Object(&OPEN)),
        ("context_management", Kind::Object(&OPEN)),
        ("tool_choice", Kind::Object(&OPEN)),
        ("sim", Kind::Any),
    ],
    &[],
);
/// The whole body.
pub(super) static REQUEST: Shape = closed(
    &[
        ("messages", Kind::List(&Kind::Object(&MESSAGE))),
        ("system", Kind::List(&Kind::Union(&SYSTEM))),
        ("inferenceConfig", Kind::Object(&INFERENCE)),
        ("toolConfig", Kind::Object(&TOOL_CONFIG)),
        ("guardrailConfig", Kind::Object(&OPEN)),
        ("additionalModelRequestFields", Kind::Any),
        ("promptVariables", Kind::Object(&OPEN)),
        ("additionalModelResponseFieldPaths", Kind::List(&Kind::Text)),
        ("requestMetadata", Kind::Map(&Kind::Text)),
        ("performanceConfig", Kind::Object(&LATENCY)),
        ("serviceTier", Kind::Object(&TIER)),
        ("outputConfig", Kind::Object(&OUTPUT)),
    ],
    &[],
);
