//! Requests in both directions: what each spelling means, what each trait changes, what is lost and said to be.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::block::{Arguments, Citation, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape, ToolCall, ToolResult};
use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Block, Dialect, Kind, Losses, Member, Origin, Raw, Request, Role, Text, Tool, ToolChoice, ToolKind, Turn};
use serde_json::{Value, json};

use super::decode::decode;
use super::encode::encode;
use crate::json::is_complete;
use crate::traits::Traits;
use crate::translate::{Bridge, Target};

fn read(body: &Value) -> Request<'static> {
    let text = body.to_string().into_bytes().leak();
    decode(text).unwrap()
}

fn fault(body: &Value) -> String {
    decode(body.to_string().as_bytes()).unwrap_err().to_string()
}

/// The body, and the losses as path and severity.
pub(super) fn written_for(request: &Request<'_>, target: &Target<'_>) -> (Value, Vec<(String, &'static str)>) {
    let (mut out, mut losses, mut bridge) = (Vec::new(), Losses::new(), Bridge::of(request));
    encode(request, target, &mut out, &mut losses, &mut bridge).unwrap();
    assert!(is_complete(&out), "{}", String::from_utf8_lossy(&out));
    let losses = losses.as_slice().iter().map(|loss| (loss.path.clone(), loss.severity.name())).collect();
    (serde_json::from_slice(&out).unwrap(), losses)
}

pub(super) fn target(traits: &[&str]) -> Target<'static> {
    Target { traits: Traits::from_names(traits).unwrap(), ..Target::new(Dialect::OpenaiChat, "m") }
}

/// A request of another dialect with these turns.
fn foreign(turns: Vec<Turn<'static>>) -> Request<'static> {
    Request { turns, ..Request::new(Dialect::AnthropicMessages) }
}

fn turn(role: Role, at: usize, blocks: Vec<Block<'static>>) -> Turn<'static> {
    Turn { blocks, ..Turn::new(role, Origin::item("messages", at)) }
}

fn text(text: &'static str) -> Block<'static> {
    Block::text(Text::word(text), Origin::item("messages", 0).part("content", 0))
}

fn call(id: &'static str, arguments: Arguments<'static>) -> Block<'static> {
    let call = ToolCall { id: Text::word(id), name: Text::word("f"), arguments };
    Block::new(Kind::ToolCall(call), Origin::item("messages", 1).part("content", 0))
}

fn result(id: &'static str, content: Vec<Block<'static>>) -> Block<'static> {
    let result = ToolResult { id: Text::word(id), name: None, content, is_error: false, free: false };
    Block::new(Kind::ToolResult(result), Origin::item("messages", 2).part("content", 0))
}

fn image() -> Block<'static> {
    let source = MediaSource::Base64 { mime: Text::word("image/png"), data: Text::word("AA==") };
    let media = fairlead_ir::block::Media { class: MediaClass::Image, source, detail: None, name: None };
    Block::new(Kind::Media(media), Origin::item("messages", 2).part("content", 1))
}

fn thought(text: Option<&'static str>, seal: Option<&'static str>) -> Block<'static> {
    let parts = text.map(|text| ThoughtPart { shape: ThoughtShape::Full, text: Text::word(text) }).into_iter().collect();
    let block = Block::new(Kind::Thought(Thought { parts, ..Thought::default() }), Origin::item("messages", 1).part("content", 0));
    Block { seal: seal.map(|data| Seal { data: Text::word(data), maker: None }), ..block }
}

// --- in ---------------------------------------------------------------------------------------------------------------

#[test]
fn parameters_in_every_spelling() {
    let check = |body: Value, look: &dyn Fn(&Request<'_>) -> bool| assert!(look(&read(&body)), "{body}");
    check(json!({"max_tokens": 7}), &|request| request.max_output_tokens == Some(7) && request.rest.is_empty());
    check(json!({"max_tokens": 7, "max_completion_tokens": 7}), &|request| request.rest.is_empty());
    check(json!({"max_tokens": 7, "max_completion_tokens": 9}), &|request| {
        request.max_output_tokens == Some(9) && request.rest.len() == 1 && request.rest[0].name.is("max_tokens")
    });
    check(json!({"temperature": null, "stop": null, "tools": null, "reasoning": null}), &|request| {
        *request == Request::new(Dialect::OpenaiChat)
    });
    check(json!({"stop": "a"}), &|request| request.sampling.stop == [Text::word("a")]);
    check(json!({"stop": ["a", "b"]}), &|request| request.sampling.stop.len() == 2);
    check(json!({"reasoning_effort": "xhigh"}), &|request| request.reasoning.effort == Some(Effort::Xhigh));
    check(json!({"reasoning_effort": "low", "reasoning": {"effort": "low"}}), &|request| request.reasoning.effort == Some(Effort::Low));
    check(json!({"reasoning": {"max_tokens": 2000, "exclude": true}}), &|request| {
        request.reasoning.budget_tokens == Some(2000) && request.reasoning.show == Some(Show::Nothing)
    });
    check(json!({"include_reasoning": false}), &|request| request.reasoning.show == Some(Show::Nothing));
    check(json!({"include_reasoning": true}), &|request| request.reasoning.show == Some(Show::Full));
    check(json!({"reasoning": {"enabled": false}}), &|request| request.reasoning.enabled == Some(false));
    check(json!({"reasoning": {"summary": "auto"}}), &|request| request.reasoning.show == Some(Show::Summary) && request.rest.is_empty());
    check(json!({"safety_identifier": "u"}), &|request| request.labels.user == Some(Text::word("u")) && request.rest.is_empty());
    check(json!({"user": "u", "safety_identifier": "u"}), &|request| request.rest.is_empty());
    check(json!({"stream_options": {"include_usage": true}}), &|request| request.labels.include_usage == Some(true));
    check(json!({"provider": {"order": ["a"]}, "session_id": "s", "usage": {"include": true}}), &|request| request.rest.is_empty());
    check(json!({"logit_bias": {"50256": -100}, "n": 2, "top_logprobs": 3}), &|request| {
        request.sampling.logit_bias == Some(Raw::json(br#"{"50256":-100}"#)) && request.sampling.choices == Some(2)
    });
    check(json!({"some_new_thing": 1, "another": null}), &|request| request.rest.len() == 1 && request.rest[0].name.is("some_new_thing"));
}

#[test]
fn tools_in_every_spelling() {
    let tool = |tool: Value| read(&json!({"tools": [tool]})).tools.remove(0);
    let function = tool(json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": true}}));
    assert_eq!((function.name, function.strict), (Text::word("f"), Some(true)));
    assert_eq!(function.kind, ToolKind::Function { parameters: Some(Raw::json(br#"{"type":"object"}"#)) });
    let marked = tool(json!({"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral", "ttl": "1h"}}));
    assert!(marked.cache.is_some());
    assert_eq!(tool(json!({"type": "custom", "custom": {"name": "p"}})).kind, ToolKind::Custom { format: None });
    assert!(matches!(tool(json!({"type": "web_search_preview_2025"})).kind, ToolKind::WebSearch { .. }));
    assert!(matches!(tool(json!({"type": "openrouter:web_search"})).kind, ToolKind::WebSearch { .. }));
    assert!(matches!(tool(json!({"type": "code_interpreter"})).kind, ToolKind::Hosted { .. }));
    let search = read(&json!({"web_search_options": {"search_context_size": "low"}, "tools": []})).tools;
    assert_eq!(search[0].origin, Origin::member("web_search_options"));
    let legacy = read(&json!({"functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}}));
    assert_eq!((legacy.tools[0].name.clone(), legacy.tool_choice.clone()), (Text::word("f"), Some(ToolChoice::Named(Text::word("f")))));
    assert!(Bridge::of(&legacy).legacy_functions);
}

#[test]
fn choices_in_every_spelling() {
    let check =
        |choice: Value, expected: ToolChoice<'_>| assert_eq!(read(&json!({"tool_choice": choice})).tool_choice, Some(expected), "{choice}");
    check(json!("auto"), ToolChoice::Auto);
    check(json!("none"), ToolChoice::None);
    check(json!("any"), ToolChoice::Required);
    check(json!({"type": "function", "function": {"name": "f"}}), ToolChoice::Named(Text::word("f")));
    check(json!({"type": "custom", "custom": {"name": "f"}}), ToolChoice::Named(Text::word("f")));
    let allowed =
        json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}});
    check(allowed, ToolChoice::Allowed { required: true, names: vec![Text::word("f")] });
    check(json!({"type": "mcp"}), ToolChoice::Other(Raw::json(br#"{"type":"mcp"}"#)));
}

#[test]
fn messages_become_turns() {
    let body = json!({"messages": [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}], "name": "ann"},
        {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "assistant", "content": "so", "refusal": "no", "reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a", "signature": "s"}]},
    ]});
    let turns = read(&body).turns;
    assert_eq!(
        turns.iter().map(|turn| turn.role).collect::<Vec<_>>(),
        [Role::Developer, Role::User, Role::Assistant, Role::User, Role::Assistant]
    );
    assert!(turns[1].blocks[0].cache.is_some() && turns[1].name == Some(Text::word("ann")));
    assert!(
        matches!(&turns[2].blocks[..], [Block { kind: Kind::Thought(_), .. }, Block { kind: Kind::ToolCall(call), .. }] if call.arguments == Arguments::Quoted(Text::word("{}")))
    );
    assert!(
        matches!(&turns[3].blocks[..], [Block { kind: Kind::ToolResult(result), .. }] if result.content.len() == 2 && result.id.is("c"))
    );
    assert_eq!(turns[4].blocks.len(), 3, "the same thought under two names is one");
    assert_eq!(turns[4].blocks[0].seal.as_ref().map(|seal| &seal.data), Some(&Text::word("s")));
    assert_eq!(turns[3].blocks[0].origin.to_string(), "messages[3]");
}

#[test]
fn a_signature_with_a_calls_id_is_the_calls() {
    let body = json!({"messages": [{"role": "assistant", "content": null,
        "reasoning_details": [{"type": "reasoning.encrypted", "data": "sig", "id": "c1", "format": "google-gemini-v1", "index": 0}],
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]});
    let blocks = read(&body).turns.remove(0).blocks;
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].seal.as_ref().map(|seal| &seal.data), Some(&Text::word("sig")));
}

#[test]
fn legacy_functions_find_their_results() {
    let body = json!({"messages": [
        {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    ]});
    let (out, losses) = written_for(&read(&body), &target(&[]));
    assert_eq!(out["messages"][0]["tool_calls"][0]["id"], "call_0_0");
    assert_eq!(out["messages"][1], json!({"role": "tool", "tool_call_id": "call_0_0", "name": "f", "content": "1"}));
    assert_eq!(losses, []);
}

#[test]
fn faults_name_their_place() {
    for (body, expected) in [
        (json!({"model": 1}), r#""model" must be a string"#),
        (json!({"messages": {}}), r#""messages" must be an array"#),
        (json!({"messages": [{}]}), r#""messages[0]" must have a role"#),
        (json!({"messages": [{"role": "robot"}]}), r#""messages[0].role" must be system, developer, user, assistant, tool or function"#),
        (json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), r#""messages[0].content[0]" must have text"#),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}),
            r#""messages[0].tool_calls[0].function" must have a name"#,
        ),
        (json!({"max_tokens": -1}), r#""max_tokens" must be a whole number that is not negative"#),
        (json!({"temperature": "0.5"}), r#""temperature" must be a number"#),
        (json!({"reasoning": {"effort": "huge"}}), r#""reasoning.effort" must be none, minimal, low, medium, high, xhigh or max"#),
        (json!({"reasoning_effort": "low", "reasoning": {"effort": "high"}}), r#""reasoning_effort" differs from reasoning.effort"#),
        (json!({"tools": [{"type": "function"}]}), r#""tools[0]" must have a function"#),
        (json!({"tool_choice": "maybe"}), r#""tool_choice" must be none, auto, required or an object"#),
        (json!({"response_format": {}}), r#""response_format" must have a type"#),
        (json!({"response_format": {"type": "json_schema"}}), r#""response_format" must have a json_schema"#),
        (json!({"stop": [1]}), r#""stop[0]" must be a string"#),
        (json!({"stream": "yes"}), r#""stream" must be true or false"#),
        (json!([]), "the body must be an object"),
    ] {
        assert_eq!(fault(&body), expected, "{body}");
    }
}

// --- out --------------------------------------------------------------------------------------------------------------

#[track_caller]
fn check(request: &Request<'_>, traits: &[&str], expected: &Value, losses: &[(&str, &'static str)]) {
    let (out, lost) = written_for(request, &target(traits));
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(out.get(name).unwrap_or(&Value::Null), value, "{name} of {out}");
    }
    assert_eq!(lost, losses.iter().map(|(path, severity)| ((*path).to_owned(), *severity)).collect::<Vec<_>>(), "{out}");
}

fn own(body: Value) -> Request<'static> {
    read(&body)
}

#[test]
fn limits_and_sampling_follow_the_traits() {
    let limit = own(json!({"max_tokens": 9}));
    check(&limit, &[], &json!({"max_completion_tokens": 9, "max_tokens": null}), &[]);
    check(&limit, &["legacy_max_tokens"], &json!({"max_tokens": 9, "max_completion_tokens": null}), &[]);
    let both = own(json!({"max_tokens": 7, "max_completion_tokens": 9}));
    check(&both, &["legacy_max_tokens"], &json!({"max_tokens": 9}), &[("max_tokens", "dropped")]);
    let sampling = own(json!({"temperature": 0.5, "top_k": 3, "seed": 1, "frequency_penalty": 1, "stop": ["a"]}));
    check(&sampling, &["open_sampling"], &json!({"temperature": 0.5, "top_k": 3, "seed": 1, "frequency_penalty": 1, "stop": ["a"]}), &[]);
    check(&sampling, &["random_seed"], &json!({"random_seed": 1, "seed": null}), &[("top_k", "dropped")]);
    check(
        &sampling,
        &["no_sampling", "no_seed", "no_penalties", "no_stop"],
        &json!({"temperature": null, "top_k": null, "seed": null, "frequency_penalty": null, "stop": null}),
        &[("temperature", "dropped"), ("top_k", "dropped"), ("frequency_penalty", "dropped"), ("seed", "dropped"), ("stop", "dropped")],
    );
    let mut stops = foreign(vec![]);
    stops.sampling.stop = ["a", "b", "c", "d", "e"].map(Text::word).to_vec();
    check(&stops, &[], &json!({"stop": ["a", "b", "c", "d"]}), &[("stop_sequences", "changed")]);
    check(&stops, &["open_sampling"], &json!({"stop": ["a", "b", "c", "d", "e"]}), &[]);
}

#[test]
fn usage_is_asked_for_whatever_the_client_wished() {
    let stream = own(json!({"stream": true, "stream_options": {"include_usage": false, "include_obfuscation": false}}));
    check(&stream, &[], &json!({"stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false}}), &[]);
    check(&stream, &["no_stream_options"], &json!({"stream": true, "stream_options": null}), &[]);
    check(&own(json!({"stream": false})), &[], &json!({"stream": null, "stream_options": null}), &[]);
}

#[test]
fn effort_and_budget_find_their_place() {
    let budget = own(json!({"reasoning": {"max_tokens": 8000}, "max_tokens": 10000}));
    check(&budget, &["openrouter_reasoning"], &json!({"reasoning": {"max_tokens": 8000}, "reasoning_effort": null}), &[]);
    check(&budget, &[], &json!({"reasoning_effort": "high", "reasoning": null}), &[("reasoning.max_tokens", "changed")]);
    let off = own(json!({"reasoning": {"enabled": false}}));
    check(&off, &[], &json!({"reasoning_effort": "none"}), &[]);
    check(&off, &["always_thinking"], &json!({"reasoning_effort": null}), &[("reasoning.enabled", "changed")]);
    let hidden = own(json!({"reasoning": {"exclude": true, "effort": "low"}}));
    check(&hidden, &["openrouter_reasoning"], &json!({"reasoning": {"effort": "low", "exclude": true}}), &[]);
    assert!(Bridge::of(&hidden).hide_thoughts);
    check(&hidden, &[], &json!({"reasoning_effort": "low"}), &[]);
    let snapped = Target { efforts: &[Effort::Low, Effort::Medium, Effort::High], ..target(&[]) };
    let (out, losses) = written_for(&own(json!({"reasoning_effort": "max"})), &snapped);
    assert_eq!((out["reasoning_effort"].as_str(), losses), (Some("high"), vec![("reasoning_effort".to_owned(), "changed")]));
    let never_off = Target { efforts: &[Effort::None, Effort::Low], ..target(&["always_thinking"]) };
    assert_eq!(written_for(&off, &never_off).0["reasoning_effort"], "low");
    let thoughtless = Target { efforts: &[Effort::None], ..target(&[]) };
    let (out, losses) = written_for(&own(json!({"reasoning_effort": "max"})), &thoughtless);
    assert_eq!((&out["reasoning_effort"], losses), (&Value::Null, vec![("reasoning_effort".to_owned(), "dropped")]));
    let (out, losses) = written_for(&off, &thoughtless);
    assert_eq!((&out["reasoning_effort"], losses), (&Value::Null, vec![]));
    let detailed = own(json!({"reasoning": {"summary": "detailed", "mode": "pro"}}));
    check(&detailed, &["openrouter_reasoning"], &json!({"reasoning": {"summary": "detailed", "mode": "pro"}}), &[]);
}

#[test]
fn forms_of_reply_have_a_ladder() {
    let schema = own(json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {"type": "object"}}}}));
    check(
        &schema,
        &[],
        &json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {"type": "object"}}}}),
        &[],
    );
    let told = "Answer with JSON that fits this JSON Schema, and with nothing else: {\"type\":\"object\"}";
    let messages = json!([{"role": "system", "content": told}, {"role": "system", "content": "s"}, {"role": "user", "content": "u"}]);
    check(
        &schema,
        &["no_json_schema"],
        &json!({"response_format": {"type": "json_object"}, "messages": messages}),
        &[("response_format", "changed")],
    );
    check(
        &schema,
        &["no_json_schema", "no_json_object"],
        &json!({"response_format": null, "messages": messages}),
        &[("response_format", "changed")],
    );
    let merged = json!([{"role": "user", "content": [{"type": "text", "text": told}, {"type": "text", "text": "s"}, {"type": "text", "text": "u"}]}]);
    check(&schema, &["no_json_schema", "no_system_role"], &json!({"messages": merged}), &[("response_format", "changed")]);
    let mut unnamed = foreign(vec![]);
    unnamed.output.format = Some(Format::JsonSchema { name: None, description: None, schema: Raw::json(b"{}"), strict: None });
    check(&unnamed, &[], &json!({"response_format": {"type": "json_schema", "json_schema": {"name": "response", "schema": {}}}}), &[]);
    check(
        &own(json!({"response_format": {"type": "grammar", "grammar": "g"}})),
        &[],
        &json!({"response_format": {"type": "grammar", "grammar": "g"}}),
        &[],
    );
}

#[test]
fn instructions_stand_where_the_endpoint_takes_them() {
    let request = own(
        json!({"messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": "u"}, {"role": "system", "content": "late"}]}),
    );
    check(
        &request,
        &[],
        &json!({"messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": "u"}, {"role": "system", "content": "late"}]}),
        &[],
    );
    let reminder = json!({"role": "user", "content": "<system-reminder>\nlate\n</system-reminder>"});
    check(
        &request,
        &["no_developer_role", "no_mid_system"],
        &json!({"messages": [{"role": "system", "content": "d"}, {"role": "user", "content": "u"}, reminder]}),
        &[("messages[2]", "changed")],
    );
    let first = json!({"role": "user", "content": [{"type": "text", "text": "d"}, {"type": "text", "text": "u"}]});
    check(&request, &["no_system_role"], &json!({"messages": [first, reminder]}), &[("messages[2]", "changed")]);
    let alone = own(json!({"messages": [{"role": "system", "content": "s"}]}));
    check(&alone, &["no_system_role"], &json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "s"}]}]}), &[]);
}

#[test]
fn tool_results_become_messages_of_their_own_and_come_first() {
    let request = foreign(vec![
        turn(
            Role::Assistant,
            1,
            vec![text("so"), call("c1", Arguments::Json(Raw::json(br#"{"a":1}"#))), call("c2", Arguments::Json(Raw::json(b"{}")))],
        ),
        turn(Role::User, 2, vec![text("and"), result("c1", vec![text("1"), image()]), result("c2", vec![text("2"), text("3")])]),
    ]);
    let calls = json!([
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
        {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]);
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
    let expected = json!({"messages": [
        {"role": "assistant", "content": "so", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "1\n(See the attachment in the next user message.)"},
        {"role": "tool", "tool_call_id": "c2", "content": "2\n3"},
        {"role": "user", "content": [{"type": "text", "text": "Returned by the tool call c1:"}, picture, {"type": "text", "text": "and"}]},
    ]});
    check(&request, &[], &expected, &[("messages[2].content[1]", "changed")]);
    let kept = json!({"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "1"}, picture]});
    let (out, losses) = written_for(&request, &target(&["media_tool_results"]));
    assert_eq!((&out["messages"][1], losses), (&kept, vec![]));
}

#[test]
fn results_that_are_objects_become_their_text() {
    let object = Block::new(Kind::Opaque { word: Text::word("json"), raw: Raw::json(br#"{"ok":true}"#) }, Origin::default());
    let mut failed = result("", vec![object]);
    if let Kind::ToolResult(result) = &mut failed.kind {
        (result.is_error, result.name) = (true, Some(Text::word("f")));
    }
    let request =
        foreign(vec![turn(Role::Assistant, 1, vec![call("", Arguments::Json(Raw::json(b"{}")))]), turn(Role::User, 2, vec![failed])]);
    let (out, losses) = written_for(&request, &target(&[]));
    assert_eq!(out["messages"][0]["tool_calls"][0]["id"], "call_0_0");
    assert_eq!(out["messages"][1], json!({"role": "tool", "tool_call_id": "call_0_0", "content": "{\"ok\":true}"}));
    assert_eq!(losses, [("messages[2].content[0]".to_owned(), "hint")]);
}

#[test]
fn results_without_ids_find_their_calls() {
    let none = || Arguments::Json(Raw::json(b"{}"));
    let named = |block: Block<'static>, name: &'static str| match block.kind {
        Kind::ToolCall(call) => Block { kind: Kind::ToolCall(ToolCall { name: Text::word(name), ..call }), ..block },
        Kind::ToolResult(result) => Block { kind: Kind::ToolResult(ToolResult { name: Some(Text::word(name)), ..result }), ..block },
        kind => Block { kind, ..block },
    };
    let calls = ["f", "g", "f"].map(|name| named(call("", none()), name)).to_vec();
    let results = ["g", "f", "f"].map(|name| named(result("", vec![text("r")]), name)).to_vec();
    let (out, _) = written_for(&foreign(vec![turn(Role::Assistant, 0, calls), turn(Role::User, 1, results)]), &target(&[]));
    let ids: Vec<&str> = out["messages"].as_array().unwrap()[1..].iter().map(|message| message["tool_call_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["call_0_1", "call_0_0", "call_0_2"]);
}

#[test]
fn earlier_thoughts_go_where_the_endpoint_wants_them() {
    let request = foreign(vec![turn(Role::Assistant, 1, vec![thought(Some("hm"), Some("sig")), text("a")])]);
    let message = |traits: &[&str]| {
        let (out, losses) = written_for(&request, &target(traits));
        (out["messages"][0].clone(), losses.into_iter().map(|(_, severity)| severity).collect::<Vec<_>>())
    };
    assert_eq!(message(&[]), (json!({"role": "assistant", "content": "a"}), vec!["hint"]));
    assert_eq!(message(&["reasoning_in"]), (json!({"role": "assistant", "content": "a", "reasoning": "hm"}), vec!["hint"]));
    assert_eq!(message(&["reasoning_content_in"]), (json!({"role": "assistant", "content": "a", "reasoning_content": "hm"}), vec!["hint"]));
    let entry = json!({"type": "reasoning.text", "text": "hm", "signature": "sig", "format": "anthropic-claude-v1", "index": 0});
    assert_eq!(message(&["openrouter_reasoning"]), (json!({"role": "assistant", "content": "a", "reasoning_details": [entry]}), vec![]));
    let silent = foreign(vec![turn(Role::Assistant, 1, vec![text("a")])]);
    let (out, _) = written_for(&silent, &target(&["reasoning_content_required"]));
    assert_eq!(out["messages"][0], json!({"role": "assistant", "content": "a", "reasoning_content": ""}));
}

#[test]
fn arguments_in_the_endpoints_shape() {
    let request = |arguments| foreign(vec![turn(Role::Assistant, 1, vec![call("c", arguments)])]);
    let function = |request: &Request<'_>, traits: &[&str]| {
        written_for(request, &target(traits)).0["messages"][0]["tool_calls"][0]["function"].clone()
    };
    let quoted = request(Arguments::Quoted(Text::escaped(br#"{\"a\":1}"#)));
    assert_eq!(function(&quoted, &[]), json!({"name": "f", "arguments": "{\"a\":1}"}));
    assert_eq!(function(&quoted, &["object_arguments"]), json!({"name": "f", "arguments": {"a": 1}}));
    let broken = request(Arguments::Quoted(Text::escaped(br#"{\"a\":"#)));
    check(&broken, &["object_arguments"], &json!({}), &[("messages[1].content[0]", "changed")]);
    assert_eq!(function(&broken, &["object_arguments"])["arguments"], json!({"_raw": "{\"a\":"}));
    let free = request(Arguments::Free(Text::word("patch")));
    assert_eq!(written_for(&free, &target(&[])).0["messages"][0]["tool_calls"][0]["custom"], json!({"name": "f", "input": "patch"}));
    assert_eq!(function(&free, &["no_custom_tools"]), json!({"name": "f", "arguments": "{\"input\":\"patch\"}"}));
}

#[test]
fn tools_follow_the_traits() {
    let strict = own(
        json!({"tools": [{"type": "function", "function": {"name": "f", "strict": true}}], "tool_choice": "required", "parallel_tool_calls": false}),
    );
    let tool = json!([{"type": "function", "function": {"name": "f", "strict": true}}]);
    check(&strict, &[], &json!({"tools": tool, "tool_choice": "required", "parallel_tool_calls": false}), &[]);
    check(
        &strict,
        &["no_strict_tools", "no_forced_tool_choice", "no_parallel_tool_calls"],
        &json!({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto", "parallel_tool_calls": null}),
        &[("tools[0]", "dropped"), ("tool_choice", "changed"), ("parallel_tool_calls", "dropped")],
    );
    let custom = own(
        json!({"tools": [{"type": "custom", "custom": {"name": "p", "description": "d", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: \"a\""}}}}]}),
    );
    let (out, losses) = written_for(&custom, &target(&["no_custom_tools"]));
    assert_eq!(out["tools"][0]["function"]["parameters"]["required"], json!(["input"]));
    assert!(out["tools"][0]["function"]["description"].as_str().unwrap().contains("lark"));
    assert_eq!(losses, [("tools[0]".to_owned(), "changed")]);
    check(
        &custom,
        &[],
        &json!({"tools": [{"type": "custom", "custom": {"name": "p", "description": "d", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: \"a\""}}}}]}),
        &[],
    );
}

#[test]
fn names_that_chat_does_not_take_come_back() {
    let mut request = foreign(vec![]);
    let kind = ToolKind::Function { parameters: None };
    let tool = Tool {
        name: Text::word("mcp.read"),
        description: None,
        kind,
        strict: None,
        cache: None,
        origin: Origin::item("tools", 0),
        rest: vec![],
    };
    request.tools.push(tool);
    request.tool_choice = Some(ToolChoice::Named(Text::word("mcp.read")));
    let (mut out, mut losses, mut bridge) = (Vec::new(), Losses::new(), Bridge::of(&request));
    encode(&request, &target(&[]), &mut out, &mut losses, &mut bridge).unwrap();
    let out: Value = serde_json::from_slice(&out).unwrap();
    let sent = out["tools"][0]["function"]["name"].as_str().unwrap();
    assert_eq!(out["tool_choice"]["function"]["name"], sent);
    assert_eq!(bridge.original(&Text::escaped(sent.as_bytes())).0, Text::word("mcp.read"));
}

#[test]
fn searches_of_other_dialects_become_a_parameter() {
    let mut request = foreign(vec![]);
    let tool = |kind| Tool {
        name: Text::EMPTY,
        description: None,
        kind,
        strict: None,
        cache: None,
        origin: Origin::item("tools", 0),
        rest: vec![],
    };
    request.tools.push(tool(ToolKind::WebSearch { raw: Raw::json(br#"{"type":"web_search_20250305","name":"web_search","max_uses":5}"#) }));
    check(&request, &[], &json!({"web_search_options": {}, "tools": null}), &[("tools[0]", "changed")]);
    request.tools[0] = tool(ToolKind::Hosted { word: Text::word("bash_20250124"), raw: Raw::json(b"{}") });
    request.tool_choice = Some(ToolChoice::Required);
    check(&request, &[], &json!({"tools": null, "tool_choice": null}), &[("tools[0]", "dropped"), ("tool_choice", "dropped")]);
}

#[test]
fn cache_marks_go_where_they_are_taken() {
    let request = own(
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "u", "cache_control": {"type": "ephemeral", "ttl": "5m"}}]}]}),
    );
    let content = |traits: &[&str]| written_for(&request, &target(traits)).0["messages"][0]["content"].clone();
    assert_eq!(
        content(&["cache_control_parts"]),
        json!([{"type": "text", "text": "u", "cache_control": {"type": "ephemeral", "ttl": "5m"}}])
    );
    assert_eq!(
        content(&["cache_breakpoints"]),
        json!([{"type": "text", "text": "u", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}])
    );
    check(&request, &[], &json!({"messages": [{"role": "user", "content": "u"}]}), &[("messages[0].content[0]", "hint")]);
    let automatic = Target { automatic_cache: true, ..target(&["cache_control_parts"]) };
    assert_eq!(written_for(&own(json!({})), &automatic).0["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(written_for(&request, &automatic).0.get("cache_control"), None, "the caller marked something");
}

#[test]
fn labels_of_other_dialects() {
    let mut request = foreign(vec![]);
    request.labels.metadata = Some(Raw::json(br#"{"k":"v"}"#));
    request.labels.store = Some(false);
    request.labels.service_tier = Some(Text::word("standard_only"));
    request.rest.push(Member { name: Text::word("container"), value: Raw::json(b"1") });
    let expected = json!({"metadata": null, "store": null, "service_tier": "default", "container": null});
    check(&request, &[], &expected, &[("metadata", "hint"), ("container", "dropped")]);
}

#[test]
fn a_prefill_is_refused_where_the_endpoint_refuses_it() {
    let request = own(json!({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "{"}]}));
    let encoded = encode(&request, &target(&["no_prefill"]), &mut Vec::new(), &mut Losses::new(), &mut Bridge::default());
    assert_eq!(encoded.unwrap_err().param.as_deref(), Some("messages"));
    check(&request, &[], &json!({}), &[]);
}

#[test]
fn media_that_cannot_be_read_are_losses() {
    let media = |class, source| {
        Block::new(Kind::Media(fairlead_ir::block::Media { class, source, detail: None, name: None }), Origin::item("messages", 0))
    };
    let url = |url| MediaSource::Url { url: Text::word(url), mime: None };
    for (block, traits, severity) in [
        (media(MediaClass::Image, url("gs://b/o.png")), &[][..], Some("dropped")),
        (media(MediaClass::Image, url("https://e.org/o.png")), &[], None),
        (media(MediaClass::Image, MediaSource::File(Text::word("f"))), &[], Some("dropped")),
        (media(MediaClass::Document, url("https://e.org/o.pdf")), &[], Some("dropped")),
        (media(MediaClass::Document, url("https://e.org/o.pdf")), &["openrouter_reasoning"], None),
        (media(MediaClass::Document, MediaSource::Plain(Text::word("t"))), &[], Some("changed")),
        (media(MediaClass::Audio, url("https://e.org/o.mp3")), &[], Some("dropped")),
        (media(MediaClass::Video, url("https://e.org/o.mp4")), &[], None),
    ] {
        let (_, losses) = written_for(&foreign(vec![turn(Role::User, 0, vec![block.clone()])]), &target(traits));
        assert_eq!(losses.first().map(|(_, severity)| *severity), severity, "{block:?}");
    }
}

#[test]
fn citations_of_other_dialects_are_hints() {
    let citation = Citation { url: None, title: None, quote: None, range: None, raw: Raw::json(b"{}") };
    let cited = Block::new(Kind::Text { text: Text::word("a"), citations: vec![citation] }, Origin::item("messages", 0));
    check(
        &foreign(vec![turn(Role::Assistant, 0, vec![cited])]),
        &[],
        &json!({"messages": [{"role": "assistant", "content": "a"}]}),
        &[("messages[0]", "hint")],
    );
}
