//! A chat request as agents send them: instructions, tools with schemas, turns with calls, results full of escapes, a picture by its address.

use serde_json::{Value, json};

/// The size of the request that the goal is about.
pub(crate) const BYTES: usize = 40_000;

/// What must be in it whatever the dialect: an instruction, the picture, a tool, a description, the first call's argument, the last question.
pub(crate) const MARKS: [&str; 6] = ["harbour master", "chart", "read_file_0", "Reads part 7", "src/file_0.rs", "Which file is next?"];

/// A chat request of about `bytes` bytes. Converse takes no addresses: for it the picture is `with_the_request`.
pub(crate) fn chat(bytes: usize, with_the_request: bool) -> Vec<u8> {
    let picture = if with_the_request { "data:image/png;base64,iVBORw0KGgochartAAAA" } else { "https://example.org/chart.png" };
    let mut messages = vec![
        json!({"role": "system", "content": format!("You are the harbour master's assistant. {}", PROSE.repeat(12))}),
        json!({"role": "user", "content": [
            {"type": "text", "text": "What does this chart say?"},
            {"type": "image_url", "image_url": {"url": picture}},
        ]}),
    ];
    let tools: Vec<Value> = (0..10).map(tool).collect();
    let mut number = 0;
    let size = |messages: &[Value]| serde_json::to_vec(messages).unwrap().len();
    let rest = bytes - serde_json::to_vec(&tools).unwrap().len();
    while size(&messages) < rest {
        messages.extend(round(number));
        number += 1;
    }
    messages.push(json!({"role": "user", "content": "Which file is next?"}));
    let body = json!({
        "model": "gpt-5-mini", "messages": messages, "tools": tools, "tool_choice": "auto", "parallel_tool_calls": true,
        "max_completion_tokens": 4096, "temperature": 0.7, "stream": true, "stream_options": {"include_usage": true},
    });
    serde_json::to_vec(&body).unwrap()
}

const PROSE: &str = "The harbour was quiet, and nobody on the pier had seen the boat leave before dawn. ";

fn tool(number: usize) -> Value {
    json!({"type": "function", "function": {
        "name": format!("read_file_{number}"),
        "description": format!("Reads part {number} of a file from the disk. Lines are numbered from 1."),
        "parameters": {"type": "object", "additionalProperties": false, "required": ["path"], "properties": {
            "path": {"type": "string", "description": "The path from the root of the tree."},
            "offset": {"type": "integer", "minimum": 0, "description": "The first line."},
            "limit": {"type": "integer", "minimum": 1, "maximum": 2000},
            "manner": {"type": "string", "enum": ["plain", "numbered", "folded"]},
        }},
    }})
}

/// A question, two calls, their results, and what the model says to them.
fn round(number: usize) -> Vec<Value> {
    let ids = [format!("call_{number}_a"), format!("call_{number}_b")];
    let call = |at: usize| {
        let arguments = json!({"path": format!("src/file_{number}.rs"), "offset": at * 40, "limit": 40, "manner": "numbered"});
        json!({"id": ids[at], "type": "function", "function": {"name": format!("read_file_{}", number % 10), "arguments": arguments.to_string()}})
    };
    let code: String = (0..12).map(|line| format!("{line:>6}\tlet value_{line} = \"a\\tb\"; // grüße, line {line}\n")).collect();
    let result = |at: usize| json!({"role": "tool", "tool_call_id": ids[at], "content": code});
    vec![
        json!({"role": "user", "content": format!("Read file {number}. {}", PROSE.repeat(3))}),
        json!({"role": "assistant", "content": "I will read it in two parts.", "tool_calls": [call(0), call(1)]}),
        result(0),
        result(1),
        json!({"role": "assistant", "content": format!("File {number} binds values.\n\n{}", PROSE.repeat(4))}),
    ]
}
