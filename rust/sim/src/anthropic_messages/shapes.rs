//! What the body of a message request may hold, as tables.

use crate::shape::{Kind, OPEN, Shape, closed};

static CACHE_CONTROL: Shape = closed(&[("type", Kind::OneOf(&["ephemeral"])), ("ttl", Kind::OneOf(&["5m", "1h"]))], &["type"]);
const MARK: (&str, Kind) = ("cache_control", Kind::Object(&CACHE_CONTROL));

static TEXT: Shape = closed(&[("text", Kind::Text), ("citations", Kind::List(&Kind::Any)), MARK], &["text"]);
static BASE64_IMAGE: Shape = closed(
    &[("media_type", Kind::OneOf(&["image/jpeg", "image/png", "image/gif", "image/webp"])), ("data", Kind::Text)],
    &["media_type", "data"],
);
static URL: Shape = closed(&[("url", Kind::Text)], &["url"]);
static FILE: Shape = closed(&[("file_id", Kind::Text)], &["file_id"]);
const IMAGE_SOURCE: Kind = Kind::Tagged { tag: "type", default: None, cases: &[("base64", &BASE64_IMAGE), ("url", &URL), ("file", &FILE)] };
static IMAGE: Shape = closed(&[("source", IMAGE_SOURCE), MARK], &["source"]);
static BASE64_DOCUMENT: Shape = closed(&[("media_type", Kind::OneOf(&["application/pdf"])), ("data", Kind::Text)], &["media_type", "data"]);
static PLAIN_DOCUMENT: Shape = closed(&[("media_type", Kind::OneOf(&["text/plain"])), ("data", Kind::Text)], &["media_type", "data"]);
static CONTENT_DOCUMENT: Shape = closed(&[("content", Kind::Either(&[Kind::Text, Kind::List(&Kind::Any)]))], &["content"]);
const DOCUMENT_SOURCE: Kind = Kind::Tagged {
    tag: "type",
    default: None,
    cases: &[("base64", &BASE64_DOCUMENT), ("text", &PLAIN_DOCUMENT), ("content", &CONTENT_DOCUMENT), ("url", &URL), ("file", &FILE)],
};
static CITATIONS: Shape = closed(&[("enabled", Kind::Bool)], &[]);
static DOCUMENT: Shape = closed(
    &[("source", DOCUMENT_SOURCE), ("title", Kind::Text), ("context", Kind::Text), ("citations", Kind::Object(&CITATIONS)), MARK],
    &["source"],
);
static SEARCH_RESULT: Shape = closed(
    &[
        ("source", Kind::Text),
        ("title", Kind::Text),
        ("content", Kind::List(&Kind::Tagged { tag: "type", default: None, cases: &[("text", &TEXT)] })),
        ("citations", Kind::Object(&CITATIONS)),
        MARK,
    ],
    &["source", "title", "content"],
);
// Thoughts cannot carry marks.
static THINKING: Shape = closed(&[("thinking", Kind::Text), ("signature", Kind::Text)], &["thinking", "signature"]);
static REDACTED: Shape = closed(&[("data", Kind::Text)], &["data"]);
static TOOL_USE: Shape = closed(
    &[("id", Kind::Text), ("name", Kind::Text), ("input", Kind::Object(&OPEN)), ("caller", Kind::Any), ("toolset_name", Kind::Text), MARK],
    &["id", "name", "input"],
);
static TOOL_REFERENCE: Shape = closed(&[("tool_name", Kind::Text), MARK], &["tool_name"]);
static RESULT_PART: Kind = Kind::Tagged {
    tag: "type",
    default: None,
    cases: &[
        ("text", &TEXT),
        ("image", &IMAGE),
        ("document", &DOCUMENT),
        ("search_result", &SEARCH_RESULT),
        ("tool_reference", &TOOL_REFERENCE),
        ("browser_state", &OPEN),
    ],
};
static TOOL_RESULT: Shape = closed(
    &[("tool_use_id", Kind::Text), ("content", Kind::Either(&[Kind::Text, Kind::List(&RESULT_PART)])), ("is_error", Kind::Bool), MARK],
    &["tool_use_id"],
);
static BLOCK: Kind = Kind::Tagged {
    tag: "type",
    default: None,
    cases: &[
        ("text", &TEXT),
        ("image", &IMAGE),
        ("document", &DOCUMENT),
        ("search_result", &SEARCH_RESULT),
        ("thinking", &THINKING),
        ("redacted_thinking", &REDACTED),
        ("tool_use", &TOOL_USE),
        ("tool_result", &TOOL_RESULT),
        ("server_tool_use", &OPEN),
        ("web_search_tool_result", &OPEN),
        ("web_fetch_tool_result", &OPEN),
        ("code_execution_tool_result", &OPEN),
        ("bash_code_execution_tool_result", &OPEN),
        ("text_editor_code_execution_tool_result", &OPEN),
        ("tool_search_tool_result", &OPEN),
        ("container_upload", &OPEN),
        ("compaction", &OPEN),
        ("fallback", &OPEN),
        ("mcp_tool_use", &OPEN),
        ("mcp_tool_result", &OPEN),
        ("tool_addition", &OPEN),
        ("tool_removal", &OPEN),
    ],
};
static MESSAGE: Shape = closed(
    &[("role", Kind::OneOf(&["user", "assistant", "system"])), ("content", Kind::Either(&[Kind::Text, Kind::List(&BLOCK)]))],
    &["role", "content"],
);
static SYSTEM: Kind = Kind::Tagged { tag: "type", default: None, cases: &[("text", &TEXT)] };
static FORMAT: Shape = closed(&[("schema", Kind::Object(&OPEN))], &["schema"]);
static OUTPUT_CONFIG: Shape = closed(
    &[
        ("effort", Kind::OneOf(&["low", "medium", "high", "xhigh", "max"])),
        ("format", Kind::Tagged { tag: "type", default: None, cases: &[("json_schema", &FORMAT)] }),
        ("task_budget", Kind::Object(&OPEN)),
    ],
    &[],
);
static PARALLEL: Shape = closed(&[("disable_parallel_tool_use", Kind::Bool)], &[]);
static NAMED: Shape = closed(&[("name", Kind::Text), ("disable_parallel_tool_use", Kind::Bool)], &["name"]);
static NOTHING: Shape = closed(&[], &[]);
const CHOICE: Kind =
    Kind::Tagged { tag: "type", default: None, cases: &[("auto", &PARALLEL), ("any", &PARALLEL), ("tool", &NAMED), ("none", &NOTHING)] };
static METADATA: Shape = closed(&[("user_id", Kind::Text)], &[]);

/// A tool of the caller's own; hosted tools are anything.
pub(super) static TOOL: Shape = closed(
    &[
        ("type", Kind::OneOf(&["custom"])),
        ("name", Kind::Text),
        ("description", Kind::Text),
        ("input_schema", Kind::Object(&OPEN)),
        ("strict", Kind::Bool),
        ("defer_loading", Kind::Bool),
        ("eager_input_streaming", Kind::Bool),
        ("input_examples", Kind::List(&Kind::Object(&OPEN))),
        ("allowed_callers", Kind::List(&Kind::Text)),
        MARK,
    ],
    &["name", "input_schema"],
);

/// The whole body.
pub(super) static REQUEST: Shape = closed(
    &[
        ("model", Kind::Text),
        ("max_tokens", Kind::Integer),
        ("messages", Kind::List(&Kind::Object(&MESSAGE))),
        ("system", Kind::Either(&[Kind::Text, Kind::List(&SYSTEM)])),
        ("stop_sequences", Kind::List(&Kind::Text)),
        ("stream", Kind::Bool),
        ("thinking", Kind::Object(&OPEN)),
        ("output_config", Kind::Object(&OUTPUT_CONFIG)),
        ("tools", Kind::List(&Kind::Object(&OPEN))),
        ("tool_choice", CHOICE),
        MARK,
        ("metadata", Kind::Object(&METADATA)),
        ("service_tier", Kind::OneOf(&["auto", "standard_only"])),
        ("speed", Kind::OneOf(&["standard", "fast"])),
        ("inference_geo", Kind::Text),
        ("container", Kind::Any),
        ("diagnostics", Kind::Object(&OPEN)),
        ("temperature", Kind::Number),
        ("top_p", Kind::Number),
        ("top_k", Kind::Integer),
        ("context_management", Kind::Object(&OPEN)),
        ("compaction", Kind::Object(&OPEN)),
        ("mcp_servers", Kind::List(&Kind::Any)),
        ("fallbacks", Kind::Any),
        ("fallback_credit_token", Kind::Text),
        ("billing_policy", Kind::Any),
        ("thread", Kind::Any),
        ("sim", Kind::Any),
    ],
    &["model", "messages"],
);

/// Fields that need a beta, and how its name begins.
pub(super) const BETAS: &[(&str, &str)] = &[
    ("/context_management", "context-management-"),
    ("/compaction", "compact-"),
    ("/mcp_servers", "mcp-client-"),
    ("/fallbacks", "server-side-fallback-"),
    ("/thinking/block_binding", "thinking-binding-controls-"),
    ("/speed", "fast-mode-"),
    ("/output_config/task_budget", "task-budgets-"),
    ("/thread", "message-threads-"),
];
