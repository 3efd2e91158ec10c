//! What the body of a response may hold, as tables.

use crate::shape::{Kind, OPEN, Shape, closed};

static BREAKPOINT: Shape = closed(&[("mode", Kind::OneOf(&["explicit"])), ("ttl", Kind::OneOf(&["30m", "12h"]))], &[]);
static INPUT_TEXT: Shape = closed(&[("text", Kind::Text), ("prompt_cache_breakpoint", Kind::Object(&BREAKPOINT))], &["text"]);
static INPUT_IMAGE: Shape = closed(
    &[
        ("detail", Kind::OneOf(&["low", "high", "auto", "original"])),
        ("image_url", Kind::Text),
        ("file_id", Kind::Text),
        ("prompt_cache_breakpoint", Kind::Object(&BREAKPOINT)),
    ],
    &[],
);
static INPUT_FILE: Shape = closed(
    &[
        ("file_data", Kind::Text),
        ("file_id", Kind::Text),
        ("file_url", Kind::Text),
        ("filename", Kind::Text),
        ("detail", Kind::Text),
        ("prompt_cache_breakpoint", Kind::Object(&BREAKPOINT)),
    ],
    &[],
);
static AUDIO: Shape = closed(&[("data", Kind::Text), ("format", Kind::OneOf(&["wav", "mp3"]))], &["data", "format"]);
static INPUT_AUDIO: Shape =
    closed(&[("input_audio", Kind::Object(&AUDIO)), ("prompt_cache_breakpoint", Kind::Object(&BREAKPOINT))], &["input_audio"]);
static OUTPUT_TEXT: Shape =
    closed(&[("text", Kind::Text), ("annotations", Kind::List(&Kind::Any)), ("logprobs", Kind::List(&Kind::Any))], &["text"]);
static REFUSAL: Shape = closed(&[("refusal", Kind::Text)], &["refusal"]);
static PART: Kind = Kind::Tagged {
    tag: "type",
    default: None,
    cases: &[
        ("input_text", &INPUT_TEXT),
        ("input_image", &INPUT_IMAGE),
        ("input_file", &INPUT_FILE),
        ("input_audio", &INPUT_AUDIO),
        ("output_text", &OUTPUT_TEXT),
        ("refusal", &REFUSAL),
    ],
};
const CONTENT: Kind = Kind::Either(&[Kind::Text, Kind::List(&PART)]);
const STATUS: Kind = Kind::OneOf(&["in_progress", "completed", "incomplete"]);

static MESSAGE: Shape = closed(
    &[
        ("role", Kind::OneOf(&["user", "assistant", "system", "developer"])),
        ("content", CONTENT),
        ("id", Kind::Text),
        ("status", STATUS),
        ("phase", Kind::OneOf(&["commentary", "final_answer"])),
    ],
    &["role", "content"],
);
static FUNCTION_CALL: Shape = closed(
    &[
        ("id", Kind::Text),
        ("call_id", Kind::Text),
        ("name", Kind::Text),
        ("arguments", Kind::Text),
        ("status", STATUS),
        ("namespace", Kind::Text),
        ("caller", Kind::Any),
    ],
    &["call_id", "name", "arguments"],
);
static CALL_OUTPUT: Shape =
    closed(&[("id", Kind::Text), ("call_id", Kind::Text), ("output", CONTENT), ("status", STATUS)], &["call_id", "output"]);
static CUSTOM_CALL: Shape = closed(
    &[
        ("id", Kind::Text),
        ("call_id", Kind::Text),
        ("name", Kind::Text),
        ("input", Kind::Text),
        ("status", STATUS),
        ("namespace", Kind::Text),
    ],
    &["call_id", "name", "input"],
);
static SUMMARY: Kind = Kind::Tagged { tag: "type", default: None, cases: &[("summary_text", &SUMMARY_TEXT)] };
static THOUGHT: Kind = Kind::Tagged { tag: "type", default: None, cases: &[("reasoning_text", &SUMMARY_TEXT)] };
static SUMMARY_TEXT: Shape = closed(&[("text", Kind::Text)], &["text"]);
static REASONING: Shape = closed(
    &[
        ("id", Kind::Text),
        ("summary", Kind::List(&SUMMARY)),
        ("content", Kind::List(&THOUGHT)),
        ("encrypted_content", Kind::Text),
        ("status", STATUS),
    ],
    &["summary"],
);
static REFERENCE: Shape = closed(&[("id", Kind::Text)], &["id"]);
static ITEM: Kind = Kind::Tagged {
    tag: "type",
    default: Some("message"),
    cases: &[
        ("message", &MESSAGE),
        ("function_call", &FUNCTION_CALL),
        ("function_call_output", &CALL_OUTPUT),
        ("custom_tool_call", &CUSTOM_CALL),
        ("custom_tool_call_output", &CALL_OUTPUT),
        ("reasoning", &REASONING),
        ("item_reference", &REFERENCE),
        ("compaction", &OPEN),
        ("compaction_trigger", &OPEN),
        ("configuration_update", &OPEN),
        ("additional_tools", &OPEN),
        ("tool_search_call", &OPEN),
        ("tool_search_output", &OPEN),
        ("mcp_list_tools", &OPEN),
        ("mcp_approval_request", &OPEN),
        ("mcp_approval_response", &OPEN),
        ("mcp_call", &OPEN),
        ("web_search_call", &OPEN),
        ("file_search_call", &OPEN),
        ("code_interpreter_call", &OPEN),
        ("image_generation_call", &OPEN),
        ("computer_call", &OPEN),
        ("computer_call_output", &OPEN),
        ("local_shell_call", &OPEN),
        ("local_shell_call_output", &OPEN),
        ("shell_call", &OPEN),
        ("shell_call_output", &OPEN),
        ("apply_patch_call", &OPEN),
        ("apply_patch_call_output", &OPEN),
    ],
};
static FUNCTION: Shape = closed(
    &[
        ("name", Kind::Text),
        ("description", Kind::Text),
        ("parameters", Kind::Object(&OPEN)),
        ("strict", Kind::Bool),
        ("defer_loading", Kind::Bool),
        ("allowed_callers", Kind::List(&Kind::Text)),
        ("output_schema", Kind::Object(&OPEN)),
        ("async", Kind::Bool),
    ],
    &["name"],
);
static CUSTOM: Shape = closed(
    &[
        ("name", Kind::Text),
        ("description", Kind::Text),
        ("format", Kind::Object(&OPEN)),
        ("defer_loading", Kind::Bool),
        ("allowed_callers", Kind::Any),
    ],
    &["name"],
);
static TOOL: Kind = Kind::Tagged {
    tag: "type",
    default: None,
    cases: &[
        ("function", &FUNCTION),
        ("custom", &CUSTOM),
        ("namespace", &OPEN),
        ("tool_search", &OPEN),
        ("web_search", &OPEN),
        ("web_search_preview", &OPEN),
        ("file_search", &OPEN),
        ("computer", &OPEN),
        ("computer_use_preview", &OPEN),
        ("code_interpreter", &OPEN),
        ("image_generation", &OPEN),
        ("mcp", &OPEN),
        ("local_shell", &OPEN),
        ("shell", &OPEN),
        ("apply_patch", &OPEN),
        ("programmatic_tool_calling", &OPEN),
    ],
};
static EMPTY: Shape = closed(&[], &[]);
static SCHEMA: Shape = closed(
    &[("name", Kind::Text), ("schema", Kind::Object(&OPEN)), ("strict", Kind::Bool), ("description", Kind::Text)],
    &["name", "schema"],
);
static TEXT: Shape = closed(
    &[
        (
            "format",
            Kind::Tagged { tag: "type", default: None, cases: &[("text", &EMPTY), ("json_object", &EMPTY), ("json_schema", &SCHEMA)] },
        ),
        ("verbosity", Kind::OneOf(&["low", "medium", "high"])),
    ],
    &[],
);
static EFFORT: Shape = closed(
    &[
        ("effort", Kind::OneOf(&["none", "minimal", "low", "medium", "high", "xhigh", "max"])),
        ("summary", Kind::OneOf(&["auto", "concise", "detailed"])),
        ("generate_summary", Kind::OneOf(&["auto", "concise", "detailed"])),
        ("mode", Kind::OneOf(&["standard", "pro"])),
        ("context", Kind::OneOf(&["auto", "current_turn", "all_turns"])),
    ],
    &[],
);
static STREAM_OPTIONS: Shape = closed(&[("include_obfuscation", Kind::Bool)], &[]);
static INCLUDE: Kind = Kind::OneOf(&[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]);
/// The whole body.
pub(super) static REQUEST: Shape = closed(
    &[
        ("model", Kind::Text),
        ("input", Kind::Either(&[Kind::Text, Kind::List(&ITEM)])),
        ("instructions", Kind::Text),
        ("max_output_tokens", Kind::Integer),
        ("max_tool_calls", Kind::Integer),
        ("temperature", Kind::Number),
        ("top_p", Kind::Number),
        ("top_logprobs", Kind::Integer),
        ("truncation", Kind::OneOf(&["auto", "disabled"])),
        ("store", Kind::Bool),
        ("background", Kind::Bool),
        ("previous_response_id", Kind::Text),
        ("conversation", Kind::Any),
        ("prompt", Kind::Object(&OPEN)),
        ("include", Kind::List(&INCLUDE)),
        ("reasoning", Kind::Object(&EFFORT)),
        ("text", Kind::Object(&TEXT)),
        ("tools", Kind::List(&TOOL)),
        ("tool_choice", Kind::Either(&[Kind::OneOf(&["none", "auto", "required"]), Kind::Object(&OPEN)])),
        ("parallel_tool_calls", Kind::Bool),
        ("service_tier", Kind::OneOf(&["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"])),
        ("stream", Kind::Bool),
        ("stream_options", Kind::Object(&STREAM_OPTIONS)),
        ("prompt_cache_key", Kind::Text),
        ("prompt_cache_options", Kind::Object(&OPEN)),
        ("prompt_cache_retention", Kind::OneOf(&["in_memory", "in-memory", "24h"])),
        ("safety_identifier", Kind::Text),
        ("user", Kind::Text),
        ("metadata", Kind::Map(&Kind::Text)),
        ("moderation", Kind::Object(&OPEN)),
        ("context_management", Kind::List(&Kind::Any)),
        ("image", Kind::Object(&OPEN)),
        ("access_programs", Kind::Any),
        ("client_metadata", Kind::Object(&OPEN)),
        ("sim", Kind::Any),
    ],
    &["model"],
);
