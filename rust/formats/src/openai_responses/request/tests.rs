#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use fairlead_ir::block::{
    Arguments, CacheMark, CacheTtl, Citation, Media, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape, ToolCall,
    ToolResult,
};
use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Block, Dialect, Kind, Losses, Member, Origin, Raw, Request, Role, Text, Tool, ToolChoice, ToolKind, Turn};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode::decode;
use super::encode::encode;
use crate::read::Reader;
use crate::traits::Traits;
use crate::translate::{Bridge, Target};

// --- reading ---

#[test]
fn a_fault_names_its_place() {
    let check = |body: Value, expected: &str| {
        let body = body.to_string();
        assert_eq!(decode(body.as_bytes()).unwrap_err().to_string(), expected, "{body}");
    };
    check(json!([]), "the body must be an object");
    check(json!({"model": 1}), r#""model" must be a string"#);
    check(json!({"stream": "yes"}), r#""stream" must be true or false"#);
    check(json!({"input": 1}), r#""input" must be a string or an array"#);
    check(json!({"input": ["a"]}), r#""input[0]" must be an object"#);
    check(json!({"input": [{}]}), r#""input[0]" has neither a "type" nor a "role""#);
    check(json!({"input": [{"role": "tool", "content": ""}]}), r#""input[0].role" must be user, assistant, system or developer"#);
    check(json!({"input": [{"type": "message", "content": "a"}]}), r#""input[0]" has no "role""#);
    check(json!({"input": [{"type": "function_call_output", "output": "a"}]}), r#""input[0]" has no "call_id""#);
    check(json!({"input": [{"type": "function_call", "name": "a", "arguments": "{}"}]}), r#""input[0]" has no "call_id""#);
    check(json!({"input": [{"role": "user", "content": 1}]}), r#""input[0].content" must be a string or an array"#);
    check(json!({"input": [{"role": "user", "content": [{"text": "a"}]}]}), r#""input[0].content[0]" has no "type""#);
    check(json!({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}), r#""input[0].content[0]" has no "text""#);
    check(
        json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
        r#""input[0].content[0]" names neither an address nor data nor a file"#,
    );
    check(json!({"input": [{"type": "function_call", "call_id": "c"}]}), r#""input[0]" has no "name""#);
    check(json!({"input": [{"type": "function_call_output", "call_id": "c"}]}), r#""input[0]" has no "output""#);
    check(json!({"input": [{"type": "function_call_output", "call_id": 1, "output": ""}]}), r#""input[0].call_id" must be a string"#);
    check(json!({"tools": [{"type": "function"}]}), r#""tools[0]" has no "name""#);
    check(json!({"tools": [{"name": "f"}]}), r#""tools[0]" has no "type""#);
    check(json!({"tools": [{"type": "function", "name": "f", "parameters": []}]}), r#""tools[0].parameters" must be an object"#);
    check(json!({"tool_choice": "any"}), r#""tool_choice" must be auto, none, required or an object"#);
    check(json!({"reasoning": {"effort": "huge"}}), r#""reasoning.effort" must be none, minimal, low, medium, high, xhigh or max"#);
    check(json!({"reasoning": {"summary": "long"}}), r#""reasoning.summary" must be auto, concise or detailed"#);
    check(json!({"text": {"format": {"type": "json_schema", "name": "a"}}}), r#""text.format" has no "schema""#);
    check(json!({"max_output_tokens": -1}), r#""max_output_tokens" must be a whole number that is not negative"#);
    check(json!({"metadata": "a"}), r#""metadata" must be an object"#);
    check(
        json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"ttl": "1w"}}]}]}),
        r#""input[0].content[0].prompt_cache_breakpoint.ttl" must be 5m, 30m, 1h or 12h"#,
    );
}

#[test]
fn null_counts_as_absent() {
    let body = br#"{"model":"m","instructions":null,"input":null,"tools":null,"tool_choice":null,"temperature":null,"previous_response_id":null,
        "reasoning":{"effort":null,"summary":null},"text":{"format":null,"verbosity":null},"include":null,"stream":null,"background":null}"#;
    let expected = Request { model: Text::word("m"), ..Request::new(Dialect::OpenaiResponses) };
    assert_eq!(decode(body).unwrap(), expected);
}

#[test]
fn instructions_stand_before_the_input_wherever_they_are_written() {
    let request = decode(br#"{"input":"hi","instructions":"be brief"}"#).unwrap();
    let turns: Vec<_> = request.turns.iter().map(|turn| (turn.role, turn.origin.to_string())).collect();
    assert_eq!(turns, [(Role::System, "instructions".to_owned()), (Role::User, "input".to_owned())]);
}

#[test]
fn consecutive_items_of_the_assistant_are_one_turn_and_so_are_answers() {
    let body = json!({"input": [
        {"role": "user", "content": "weather?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbA"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "looking", "annotations": []}], "id": "msg_1", "status": "completed"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}", "id": "fc_1", "status": "completed"},
        {"type": "custom_tool_call", "call_id": "b", "name": "patch", "input": "*** Begin"},
        {"type": "function_call_output", "call_id": "a", "output": "sun"},
        {"type": "custom_tool_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "ok"}]},
        {"role": "user", "content": "thanks"},
    ]})
    .to_string();
    let request = decode(body.as_bytes()).unwrap();
    let shape: Vec<_> = request.turns.iter().map(|turn| (turn.role, turn.blocks.len())).collect();
    assert_eq!(shape, [(Role::User, 1), (Role::Assistant, 4), (Role::User, 2), (Role::User, 1)]);
    let assistant = &request.turns[1].blocks;
    assert_eq!(assistant[0].seal, Some(Seal { data: Text::word("c2VhbA"), maker: None }));
    assert!(matches!(&assistant[2].kind, Kind::ToolCall(call) if call.arguments == Arguments::Quoted(Text::word("{}"))));
    assert!(matches!(&assistant[3].kind, Kind::ToolCall(call) if matches!(call.arguments, Arguments::Free(_))));
    assert!(assistant.iter().all(|block| block.rest.is_empty()), "ids and statuses are no losses");
    let free: Vec<_> = request.turns[2].blocks.iter().map(|block| matches!(&block.kind, Kind::ToolResult(result) if result.free)).collect();
    assert_eq!(free, [false, true]);
    assert_eq!(request.turns[2].blocks[1].origin.to_string(), "input[6]");
}

#[test]
fn the_phase_of_a_message_is_kept_with_its_first_block() {
    let body =
        br#"{"input":[{"role":"assistant","phase":"commentary","content":"a"},{"role":"assistant","phase":"final_answer","content":"b"}]}"#;
    let request = decode(body).unwrap();
    let phases: Vec<_> = request.turns[0].blocks.iter().map(|block| block.rest.clone()).collect();
    let phase = |value: &'static str| vec![Member { name: Text::word("../phase"), value: Raw::json(value.as_bytes()) }];
    assert_eq!(phases, [phase(r#""commentary""#), phase(r#""final_answer""#)]);
}

#[test]
fn items_of_hosted_tools_are_carried_as_they_are() {
    let body = json!({"input": [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        {"type": "local_shell_call_output", "id": "l", "output": "ok"},
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_2"},
        {"type": "compaction", "encrypted_content": "x"},
    ]})
    .to_string();
    let request = decode(body.as_bytes()).unwrap();
    let words: Vec<_> = request
        .turns
        .iter()
        .flat_map(|turn| turn.blocks.iter().map(|block| (turn.role, &block.kind)))
        .map(|(role, kind)| match kind {
            Kind::Opaque { word, .. } => (role, std::str::from_utf8(word.as_bytes()).unwrap().to_owned()),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (Role::Assistant, "web_search_call"),
        (Role::User, "local_shell_call_output"),
        (Role::Assistant, "item_reference"),
        (Role::Assistant, "item_reference"),
        (Role::Assistant, "compaction"),
    ];
    assert_eq!(words, expected.map(|(role, word)| (role, word.to_owned())));
}

/// What Codex 0.169 sends, shortened.
fn codex() -> Value {
    json!({
        "model": "openai/gpt-6.1-sol",
        "instructions": "You are Codex.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "fix it"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "**Plan**"}], "encrypted_content": "gAAAA=="},
            {"type": "custom_tool_call", "status": "completed", "call_id": "call_1", "name": "apply_patch", "input": "*** Begin Patch\n"},
            {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Done"},
        ],
        "tools": [
            {"type": "function", "name": "shell", "description": "Runs", "strict": false, "parameters": {"type": "object", "properties": {}}},
            {"type": "custom", "name": "apply_patch", "description": "Patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
            {"type": "tool_search"},
            {"type": "web_search", "external_web_access": false},
            {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "read"}]},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": true,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": false,
        "stream": true,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199",
        "client_metadata": {"a": "b"},
        "text": {"verbosity": "low"},
    })
}

#[test]
fn what_codex_sends_is_understood() {
    let body = codex().to_string();
    let request = decode(body.as_bytes()).unwrap();
    assert!(request.stream);
    assert_eq!(
        (request.reasoning.effort, request.reasoning.show, request.reasoning.seals),
        (Some(Effort::Medium), Some(Show::Summary), Some(true))
    );
    assert_eq!(request.labels.store, Some(false));
    let roles: Vec<_> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::System, Role::Developer, Role::User, Role::Assistant, Role::User]);
    assert_eq!(request.leading_instructions(), 2);
    let kinds: Vec<_> = request.tools.iter().map(|tool| kind_of(&tool.kind)).collect();
    assert_eq!(kinds, ["function", "custom", "tool_search", "web search", "namespace"]);
    let rest: Vec<_> = request.rest.iter().map(|member| member.name.clone()).collect();
    assert_eq!(rest, [Text::word("client_metadata")], "what has a place elsewhere is no loss there");
}

fn kind_of(kind: &ToolKind<'_>) -> String {
    match kind {
        ToolKind::Function { .. } => "function".to_owned(),
        ToolKind::Custom { .. } => "custom".to_owned(),
        ToolKind::WebSearch { .. } => "web search".to_owned(),
        ToolKind::Hosted { word, .. } => String::from_utf8_lossy(word.as_bytes()).into_owned(),
    }
}

#[test]
fn choices_of_tools() {
    let check = |choice: Value, expected: ToolChoice<'static>| {
        let body = json!({ "tool_choice": choice }).to_string();
        assert_eq!(decode(body.as_bytes()).unwrap().tool_choice, Some(expected), "{body}");
    };
    check(json!("required"), ToolChoice::Required);
    check(json!({"type": "function", "name": "f"}), ToolChoice::Named(Text::word("f")));
    check(json!({"type": "custom", "name": "f"}), ToolChoice::Named(Text::word("f")));
    check(
        json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}),
        ToolChoice::Allowed { required: true, names: vec![Text::word("f")] },
    );
    let hosted = r#"{"mode":"auto","tools":[{"type":"image_generation"}],"type":"allowed_tools"}"#;
    check(serde_json::from_str(hosted).unwrap(), ToolChoice::Other(Raw::json(hosted.as_bytes())));
    check(json!({"type": "web_search"}), ToolChoice::Other(Raw::json(br#"{"type":"web_search"}"#)));
}

#[test]
fn media_of_content() {
    let body = json!({"input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "high"},
        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"},
        {"type": "input_file", "file_data": "QUJD"},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
    ]}]})
    .to_string();
    let request = decode(body.as_bytes()).unwrap();
    let base64 = |mime: &'static str| MediaSource::Base64 { mime: Text::word(mime), data: Text::word("QUJD") };
    let media = |class, source| Media { class, source, detail: None, name: None };
    let expected = [
        Media { detail: Some(Text::word("high")), ..media(MediaClass::Image, base64("image/png")) },
        media(MediaClass::Image, MediaSource::Url { url: Text::word("https://example.org/a.png"), mime: None }),
        media(MediaClass::Document, MediaSource::File(Text::word("file-1"))),
        Media { name: Some(Text::word("a.pdf")), ..media(MediaClass::Document, base64("application/pdf")) },
        media(MediaClass::Document, base64("")),
        media(MediaClass::Audio, base64("audio/mpeg")),
    ];
    for (block, expected) in request.turns[0].blocks.iter().zip(expected) {
        assert_eq!(block.kind, Kind::Media(expected));
    }
}

// --- writing ---

/// What a request becomes: the body, and each loss as `path severity`.
fn written(request: &Request<'_>, target: &Target<'_>) -> (Value, Vec<String>) {
    let (mut out, mut losses, mut bridge) = (Vec::new(), Losses::new(), Bridge::default());
    encode(request, target, &mut out, &mut losses, &mut bridge).unwrap();
    let losses = losses.as_slice().iter().map(|loss| format!("{} {}", loss.path, loss.severity.name())).collect();
    (serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out))), losses)
}

fn target(traits: &[&str]) -> Target<'static> {
    Target { traits: Traits::from_names(traits).unwrap(), ..Target::new(Dialect::OpenaiResponses, "gpt-x") }
}

/// Members of the written body are as expected; `null` means absent. The losses are exactly these.
fn check(request: &Request<'_>, traits: &[&str], expected: Value, losses: &[&str]) {
    check_for(request, &target(traits), expected, losses);
}

fn check_for(request: &Request<'_>, target: &Target<'_>, expected: Value, losses: &[&str]) {
    let (body, told) = written(request, target);
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(body.get(key).unwrap_or(&Value::Null), value, "{key} of {body}");
    }
    assert_eq!(told, losses, "{body}");
}

fn foreign() -> Request<'static> {
    Request::new(Dialect::AnthropicMessages)
}

fn said(role: Role, number: usize, blocks: Vec<Kind<'static>>) -> Turn<'static> {
    let origin = Origin::item("messages", number);
    let blocks = blocks.into_iter().enumerate().map(|(part, kind)| Block::new(kind, origin.part("content", part))).collect();
    Turn { blocks, ..Turn::new(role, origin) }
}

fn words(words: &'static str) -> Kind<'static> {
    Kind::Text { text: Text::word(words), citations: Vec::new() }
}

fn call(id: &'static str, name: &'static str, arguments: Arguments<'static>) -> Kind<'static> {
    Kind::ToolCall(ToolCall { id: Text::word(id), name: Text::word(name), arguments })
}

fn answer(id: &'static str, content: Vec<Kind<'static>>) -> Kind<'static> {
    let content = content.into_iter().map(|kind| Block::new(kind, Origin::default())).collect();
    Kind::ToolResult(ToolResult { id: Text::word(id), name: None, content, is_error: false, free: false })
}

fn tool(name: &'static str, kind: ToolKind<'static>) -> Tool<'static> {
    let origin = Origin::item("tools", 0);
    Tool { name: Text::word(name), description: None, kind, strict: None, cache: None, origin, rest: Vec::new() }
}

#[test]
fn nothing_is_stored_and_seals_come_back_unless_asked_otherwise() {
    let mut request = foreign();
    check(&request, &[], json!({"model": "gpt-x", "store": false, "include": ["reasoning.encrypted_content"], "input": []}), &[]);
    check(&request, &["no_encrypted_reasoning"], json!({"include": null}), &[]);
    request.labels.store = Some(true);
    request.sampling.logprobs = Some(true);
    check(&request, &[], json!({"store": true, "include": ["reasoning.encrypted_content", "message.output_text.logprobs"]}), &[]);
    let own = Request::new(Dialect::OpenaiResponses);
    check(&own, &[], json!({"store": null, "include": null}), &[]);
}

#[test]
fn a_system_prompt_of_one_text_becomes_instructions_and_of_several_stays_apart() {
    let mut request = foreign();
    request.turns = vec![said(Role::System, 0, vec![words("a")]), said(Role::User, 1, vec![words("b")])];
    check(&request, &[], json!({"instructions": "a", "input": [{"type": "message", "role": "user", "content": "b"}]}), &[]);
    request.turns[0] = said(Role::System, 0, vec![words("a"), words("c")]);
    let parts = json!([{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "c"}]);
    let user = json!({"type": "message", "role": "user", "content": "b"});
    check(&request, &[], json!({"instructions": null, "input": [{"type": "message", "role": "system", "content": parts}, user]}), &[]);
}

#[test]
fn later_instructions_stay_where_they_are() {
    let mut request = foreign();
    request.turns = vec![said(Role::User, 0, vec![words("a")]), said(Role::System, 1, vec![words("b")])];
    let user = json!({"type": "message", "role": "user", "content": "a"});
    check(&request, &[], json!({"instructions": null, "input": [user, {"type": "message", "role": "system", "content": "b"}]}), &[]);
    let as_user = json!([user, {"type": "message", "role": "user", "content": "b"}]);
    check(&request, &["no_mid_system"], json!({ "input": as_user }), &["messages[1] changed"]);
}

#[test]
fn cache_marks_go_where_they_are_understood() {
    let mut request = foreign();
    request.turns = vec![said(Role::User, 0, vec![words("a")])];
    request.turns[0].blocks[0].cache = Some(CacheMark { ttl: Some(CacheTtl::OneHour) });
    let marked = json!([{"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}]);
    check(&request, &["cache_breakpoints"], json!({"input": [{"type": "message", "role": "user", "content": marked}]}), &[]);
    let plain = json!({"input": [{"type": "message", "role": "user", "content": "a"}]});
    check(&request, &[], plain, &["messages[0].content[0] hint"]);
}

#[test]
fn thoughts_go_back_with_their_seal_only() {
    let mut request = foreign();
    let thought = Thought { parts: vec![ThoughtPart { shape: ThoughtShape::Summary, text: Text::word("hm") }], ..Thought::default() };
    request.turns = vec![said(Role::Assistant, 0, vec![Kind::Thought(thought), words("a")]), said(Role::User, 1, vec![words("b")])];
    let said = json!({"type": "message", "role": "assistant", "content": "a"});
    let user = json!({"type": "message", "role": "user", "content": "b"});
    check(&request, &[], json!({"input": [said, user]}), &["messages[0].content[0] hint"]);
    let plain = json!({"type": "reasoning", "id": "rs_0_0", "summary": [{"type": "summary_text", "text": "hm"}]});
    check(&request, &["reasoning_in"], json!({"input": [plain, said, user]}), &[]);
    request.turns[0].blocks[0].seal = Some(Seal { data: Text::word("c2VhbA"), maker: None });
    let sealed = json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "c2VhbA"});
    check(&request, &[], json!({"input": [sealed, said, user]}), &[]);
    // OpenAI refuses content beside a seal; dialects without summaries bring them back as the thought itself.
    if let Kind::Thought(thought) = &mut request.turns[0].blocks[0].kind {
        thought.parts[0].shape = ThoughtShape::Full;
    }
    check(&request, &[], json!({"input": [sealed, said, user]}), &[]);
}

#[test]
fn a_thought_that_the_provider_kept_is_named_and_one_of_ours_is_not() {
    let body = |id: &str, store: bool| {
        json!({"store": store, "input": [{"type": "reasoning", "id": id, "summary": []}, {"role": "user", "content": "a"}]}).to_string()
    };
    let kept = |body: &str| written(&decode(body.as_bytes()).unwrap(), &target(&[])).0["input"].as_array().unwrap().len() == 2;
    assert!(kept(&body("rs_68a1", true)));
    assert!(!kept(&body("rs_68a1", false)));
    assert!(!kept(&body("rs_0199ab_3", true)));
}

#[test]
fn calls_and_answers_keep_their_pairs() {
    let long = "x".repeat(70);
    let mut request = Request::new(Dialect::GeminiGenerate);
    let mut named = answer("", vec![words("two")]);
    if let Kind::ToolResult(result) = &mut named {
        result.name = Some(Text::word("g"));
    }
    let mut unnamed = answer("", vec![words("one")]);
    if let Kind::ToolResult(result) = &mut unnamed {
        result.is_error = true;
    }
    let arguments = || Arguments::Json(Raw::json(br#"{"a":"\n"}"#));
    request.turns = vec![
        said(Role::Assistant, 0, vec![call("", "f", arguments()), call("", "g", arguments())]),
        said(Role::User, 1, vec![named, unnamed, answer("lost", vec![words("three")])]),
    ];
    let called = |id: &str, name: &str| json!({"type": "function_call", "call_id": id, "name": name, "arguments": "{\"a\":\"\\n\"}"});
    let expected = json!([
        called("call_0_0", "f"),
        called("call_0_1", "g"),
        {"type": "function_call_output", "call_id": "call_0_1", "output": "two"},
        {"type": "function_call_output", "call_id": "call_0_0", "output": "Error: one"},
        {"type": "message", "role": "user", "content": "three"},
    ]);
    check(&request, &[], json!({ "input": expected }), &["messages[1].content[1] changed", "messages[1].content[2] changed"]);

    let mut request = foreign();
    let id = Text::owned(long.into_bytes());
    let mut asked = said(Role::Assistant, 0, vec![call("", "f", arguments())]);
    let mut told = said(Role::User, 1, vec![answer("", vec![])]);
    if let (Kind::ToolCall(call), Kind::ToolResult(result)) = (&mut asked.blocks[0].kind, &mut told.blocks[0].kind) {
        (call.id, result.id) = (id.clone(), id);
    }
    request.turns = vec![asked, told];
    let (body, losses) = written(&request, &target(&[]));
    assert!(losses.is_empty());
    let ids: Vec<_> = body["input"].as_array().unwrap().iter().map(|item| item["call_id"].as_str().unwrap()).collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0].len(), 64);
}

#[test]
fn the_answer_to_a_free_call_is_a_free_answer() {
    let mut request = foreign();
    request.turns = vec![
        said(Role::Assistant, 0, vec![call("c", "patch", Arguments::Free(Text::escaped(br"a\nb")))]),
        said(Role::User, 1, vec![answer("c", vec![words("ok"), words("done")])]),
    ];
    let parts = json!([{"type": "input_text", "text": "ok"}, {"type": "input_text", "text": "done"}]);
    let expected = json!([
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "a\nb"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": parts},
    ]);
    check(&request, &[], json!({ "input": expected }), &[]);
}

#[test]
fn answers_with_values_and_pictures() {
    let mut request = foreign();
    let value = Kind::Opaque { word: Text::word("json"), raw: Raw::json(br#"{"t":"1"}"#) };
    let picture = Kind::Media(Media {
        class: MediaClass::Image,
        source: MediaSource::Base64 { mime: Text::word("image/png"), data: Text::word("QUJD") },
        detail: None,
        name: None,
    });
    request.turns = vec![
        said(Role::Assistant, 0, vec![call("a", "f", Arguments::Quoted(Text::EMPTY)), call("b", "f", Arguments::Quoted(Text::EMPTY))]),
        said(Role::User, 1, vec![answer("a", vec![value]), answer("b", vec![words("look"), picture])]),
    ];
    let parts = json!([{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "auto"}]);
    let expected = json!([
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "{\"t\":\"1\"}"},
        {"type": "function_call_output", "call_id": "b", "output": parts},
    ]);
    check(&request, &[], json!({ "input": expected }), &[]);
}

#[test]
fn a_tool_is_strict_only_when_it_says_so() {
    let mut request = foreign();
    let schema = || ToolKind::Function { parameters: Some(Raw::json(br#"{"type":"object"}"#)) };
    request.tools = vec![tool("f", schema()), Tool { strict: Some(true), ..tool("g", ToolKind::Function { parameters: None }) }];
    let expected = json!([
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": false},
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": true},
    ]);
    check(&request, &[], json!({ "tools": expected }), &[]);
    let expected = json!([
        {"type": "function", "name": "f", "parameters": {"type": "object"}},
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}},
    ]);
    check(&request, &["no_strict_tools"], json!({ "tools": expected }), &["tools changed"]);
}

#[test]
fn names_that_openai_refuses_come_back_as_they_were() {
    let mut request = foreign();
    let name = Text::word("mcp.read");
    request.tools = vec![tool("mcp.read", ToolKind::Function { parameters: None })];
    request.tool_choice = Some(ToolChoice::Named(name.clone()));
    let (mut out, mut bridge) = (Vec::new(), Bridge::default());
    encode(&request, &target(&[]), &mut out, &mut Losses::new(), &mut bridge).unwrap();
    let body: Value = serde_json::from_slice(&out).unwrap();
    let sent = body["tools"][0]["name"].as_str().unwrap().to_owned();
    assert_ne!(sent, "mcp.read");
    assert_eq!(body["tool_choice"], json!({"type": "function", "name": sent}));
    let sent = Text::owned(sent.into_bytes());
    assert_eq!(bridge.original(&sent), (name, false));
}

#[test]
fn custom_tools_of_chat_lose_a_level() {
    let mut request = Request::new(Dialect::OpenaiChat);
    let nested = br#"{"type":"grammar","grammar":{"syntax":"lark","definition":"start: x"}}"#;
    request.tools = vec![tool("patch", ToolKind::Custom { format: Some(Raw::json(nested)) })];
    request.tool_choice = Some(ToolChoice::Named(Text::word("patch")));
    let flat = json!({"type": "grammar", "syntax": "lark", "definition": "start: x"});
    let expected = json!({
        "tools": [{"type": "custom", "name": "patch", "format": flat}],
        "tool_choice": {"type": "custom", "name": "patch"},
    });
    check(&request, &[], expected, &[]);
}

#[test]
fn who_knows_no_custom_tools_gets_functions() {
    let mut request = Request::new(Dialect::OpenaiChat);
    let format = br#"{"type":"grammar","grammar":{"syntax":"lark","definition":"start: \"x\""}}"#;
    request.tools =
        vec![Tool { description: Some(Text::word("Patches.")), ..tool("patch", ToolKind::Custom { format: Some(Raw::json(format)) }) }];
    request.tool_choice = Some(ToolChoice::Named(Text::word("patch")));
    request.turns = vec![
        said(Role::Assistant, 0, vec![call("c", "patch", Arguments::Free(Text::escaped(br#"a\n\"b"#)))]),
        said(Role::User, 1, vec![answer("c", vec![words("ok")])]),
    ];
    let description =
        "Patches.\n\n`input` must follow this format: {\"type\":\"grammar\",\"syntax\":\"lark\",\"definition\":\"start: \\\"x\\\"\"}";
    let parameters = json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]});
    let expected = json!({
        "tools": [{"type": "function", "name": "patch", "description": description, "parameters": parameters, "strict": false}],
        "tool_choice": {"type": "function", "name": "patch"},
        "input": [
            {"type": "function_call", "call_id": "c", "name": "patch", "arguments": json!({"input": "a\n\"b"}).to_string()},
            {"type": "function_call_output", "call_id": "c", "output": "ok"},
        ],
    });
    check(&request, &["no_custom_tools"], expected, &["tools[0] changed"]);
}

#[test]
fn a_search_of_another_provider_becomes_this_ones() {
    let mut request = foreign();
    let raw = br#"{"type":"web_search_20250305","name":"web_search","max_uses":3,"allowed_domains":["a.org"],"user_location":{"type":"approximate","city":"Bern"}}"#;
    request.tools = vec![
        tool("web_search", ToolKind::WebSearch { raw: Raw::json(raw) }),
        tool("", ToolKind::Hosted { word: Text::word("codeExecution"), raw: Raw::json(b"{}") }),
    ];
    let location = json!({"type": "approximate", "city": "Bern"});
    let search = json!({"type": "web_search", "filters": {"allowed_domains": ["a.org"]}, "user_location": location});
    check(&request, &[], json!({"tools": [search]}), &["tools[0].max_uses dropped", "tools[0] dropped"]);
}

#[test]
fn a_choice_without_tools_is_refused_by_openai_and_so_not_sent() {
    let mut request = foreign();
    request.tool_choice = Some(ToolChoice::Auto);
    request.parallel_tool_calls = Some(true);
    check(&request, &[], json!({"tools": null, "tool_choice": null, "parallel_tool_calls": null}), &[]);
    request.tool_choice = Some(ToolChoice::Required);
    check(&request, &[], json!({"tool_choice": null}), &["tool_choice dropped"]);
}

#[test]
fn who_cannot_be_forced_is_asked() {
    let mut request = foreign();
    request.tools = vec![tool("f", ToolKind::Function { parameters: None })];
    let traits = ["no_forced_tool_choice", "no_parallel_tool_calls"];
    request.parallel_tool_calls = Some(false);
    request.tool_choice = Some(ToolChoice::Required);
    let losses = ["tool_choice changed", "tool_choice.disable_parallel_tool_use dropped"];
    check(&request, &traits, json!({"tool_choice": "auto", "parallel_tool_calls": null}), &losses);
    request.tool_choice = Some(ToolChoice::Allowed { required: true, names: vec![Text::word("f")] });
    let allowed =
        |mode: &str| json!({"tool_choice": {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "f"}]}});
    check(&request, &traits, allowed("auto"), &losses);
    check(&request, &[], allowed("required"), &[]);
}

#[test]
fn parameters_that_openai_lacks_are_told() {
    let mut request = foreign();
    request.max_output_tokens = Some(1);
    request.sampling.temperature = Some(Raw::json(b"0.50"));
    request.sampling.top_k = Some(Raw::json(b"40"));
    request.sampling.stop = vec![Text::word("END")];
    let losses = ["max_tokens changed", "top_k dropped", "stop_sequences dropped"];
    check(&request, &[], json!({"max_output_tokens": 16, "temperature": 0.5, "top_k": null, "stop": null}), &losses);
    check(&request, &["open_sampling"], json!({"top_k": 40, "stop": ["END"]}), &["max_tokens changed"]);
    check(
        &request,
        &["no_sampling"],
        json!({"temperature": null}),
        &["max_tokens changed", "temperature dropped", "top_k dropped", "stop_sequences dropped"],
    );
}

#[test]
fn thinking_is_asked_for_in_efforts() {
    let check = |set: &dyn Fn(&mut Request<'static>), efforts: &'static [Effort], traits: &[&str], expected: Value, losses: &[&str]| {
        let mut request = foreign();
        set(&mut request);
        let target = Target { efforts, ..target(traits) };
        check_for(&request, &target, json!({ "reasoning": expected }), losses);
    };
    check(&|_| {}, &[], &[], json!(null), &[]);
    let high = |request: &mut Request<'static>| request.reasoning.effort = Some(Effort::High);
    check(&high, &[], &[], json!({"effort": "high", "summary": "auto"}), &[]);
    check(&high, &[Effort::Low, Effort::Medium], &[], json!({"effort": "medium", "summary": "auto"}), &["output_config.effort changed"]);
    check(&high, &[Effort::None], &[], json!(null), &["output_config.effort dropped"]);
    let budget = |request: &mut Request<'static>| {
        request.max_output_tokens = Some(10_000);
        request.reasoning.budget_tokens = Some(5_000);
        request.reasoning.enabled = Some(true);
    };
    check(&budget, &[], &[], json!({"effort": "medium", "summary": "auto"}), &["thinking.budget_tokens changed"]);
    check(&|request| request.reasoning.enabled = Some(true), &[], &[], json!({"effort": "medium", "summary": "auto"}), &[]);
    let off = |request: &mut Request<'static>| request.reasoning.enabled = Some(false);
    check(&off, &[], &[], json!({"effort": "none"}), &[]);
    check(&off, &[], &["always_thinking"], json!({"effort": "minimal", "summary": "auto"}), &["thinking.type changed"]);
    check(&off, &[Effort::None], &[], json!(null), &[]);
    let hidden = |request: &mut Request<'static>| {
        request.reasoning.effort = Some(Effort::Low);
        request.reasoning.show = Some(Show::Nothing);
    };
    check(&hidden, &[], &[], json!({"effort": "low"}), &[]);
}

#[test]
fn forms_of_reply_go_down_a_ladder() {
    let mut request = foreign();
    request.turns = vec![said(Role::User, 0, vec![words("a")])];
    let schema = Raw::json(br#"{"type":"object"}"#);
    request.output.format = Some(Format::JsonSchema { name: None, description: None, schema, strict: Some(true) });
    let format = json!({"type": "json_schema", "name": "reply", "schema": {"type": "object"}, "strict": true});
    check(&request, &[], json!({"text": {"format": format}}), &[]);
    let prompt = "Answer with one JSON value that fits this JSON Schema, and nothing else:\n{\"type\":\"object\"}";
    let input = json!([{"type": "message", "role": "system", "content": prompt}, {"type": "message", "role": "user", "content": "a"}]);
    let object = json!({"format": {"type": "json_object"}});
    check(&request, &["no_json_schema"], json!({"text": object, "input": input}), &["output_config.format changed"]);
    check(&request, &["no_json_schema", "no_json_object"], json!({"text": null, "input": input}), &["output_config.format changed"]);
}

#[test]
fn media_that_cannot_be_sent_are_told() {
    let picture = |source| Kind::Media(Media { class: MediaClass::Image, source, detail: None, name: None });
    let file = |source| Kind::Media(Media { class: MediaClass::Document, source, detail: None, name: None });
    let mut request = foreign();
    request.turns = vec![
        said(
            Role::User,
            0,
            vec![
                picture(MediaSource::Url { url: Text::word("https://a.org/b.png"), mime: None }),
                picture(MediaSource::Url { url: Text::word("gs://a/b.png"), mime: None }),
                picture(MediaSource::File(Text::word("file_1"))),
                file(MediaSource::Base64 { mime: Text::word("application/pdf"), data: Text::word("QUJD") }),
                file(MediaSource::Plain(Text::word("words"))),
                Kind::Media(Media { class: MediaClass::Video, source: MediaSource::File(Text::word("v")), detail: None, name: None }),
            ],
        ),
        said(Role::Assistant, 1, vec![picture(MediaSource::Base64 { mime: Text::word("image/png"), data: Text::word("QUJD") })]),
    ];
    let parts = json!([
        {"type": "input_image", "image_url": "https://a.org/b.png", "detail": "auto"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,QUJD", "filename": "document.pdf"},
        {"type": "input_text", "text": "words"},
    ]);
    let losses = [
        "messages[0].content[1] dropped",
        "messages[0].content[2] dropped",
        "messages[0].content[4] changed",
        "messages[0].content[5] dropped",
        "messages[1].content[0] dropped",
    ];
    check(&request, &[], json!({"input": [{"type": "message", "role": "user", "content": parts}]}), &losses);
}

#[test]
fn labels_and_leftovers() {
    let mut request = foreign();
    request.labels.user = Some(Text::word("u"));
    request.labels.metadata = Some(Raw::json(br#"{"a":"b"}"#));
    request.labels.service_tier = Some(Text::word("standard_only"));
    request.cache.key = Some(Text::word("k"));
    request.cache.automatic = Some(CacheMark::default());
    request.sampling.choices = Some(2);
    request.rest = vec![Member { name: Text::word("context_management"), value: Raw::json(b"{}") }];
    request.turns = vec![said(Role::User, 0, vec![words("hi")])];
    request.turns[0].name = Some(Text::word("Ann"));
    let cited = Citation { url: None, title: None, quote: None, range: None, raw: Raw::json(b"{}") };
    request.turns.push(said(
        Role::Assistant,
        1,
        vec![Kind::Text { text: Text::word("so"), citations: vec![cited] }, Kind::Refusal(Text::word("no"))],
    ));
    let parts = json!([{"type": "output_text", "text": "so", "annotations": []}, {"type": "refusal", "refusal": "no"}]);
    let input =
        json!([{"type": "message", "role": "user", "content": "Ann: hi"}, {"type": "message", "role": "assistant", "content": parts}]);
    let expected = json!({
        "user": "u", "metadata": {"a": "b"}, "service_tier": "default", "prompt_cache_key": "k", "context_management": null, "input": input,
    });
    let losses = ["messages[0].name changed", "messages[1].content[0] hint", "n dropped", "cache_control hint", "context_management hint"];
    check(&request, &[], expected, &losses);
}

#[test]
fn given_words_are_not_continued() {
    let mut request = foreign();
    request.turns = vec![said(Role::User, 0, vec![words("a")]), said(Role::Assistant, 1, vec![words("{")])];
    check(&request, &[], json!({}), &["messages[1] changed"]);
    let (mut out, mut losses, mut bridge) = (Vec::new(), Losses::new(), Bridge::default());
    let refused = encode(&request, &target(&["no_prefill"]), &mut out, &mut losses, &mut bridge).unwrap_err();
    assert_eq!(refused.message, r#""messages[1]": the provider refuses a conversation that ends with the assistant"#);
}

#[test]
fn what_codex_sends_goes_back_whole() {
    let sent = codex();
    let text = sent.to_string();
    let (body, losses) = written(&decode(text.as_bytes()).unwrap(), &target(&[]));
    assert_eq!(losses, Vec::<String>::new());
    for (key, value) in sent.as_object().unwrap() {
        match key.as_str() {
            "model" => {}
            "input" => {
                let plain = |role: &str, text: &str| json!({"type": "message", "role": role, "content": text});
                assert_eq!(body["input"][0], plain("developer", "<permissions>"));
                assert_eq!(body["input"][2], value[2]);
                assert_eq!(body["input"][4], value[4]);
            }
            _ => assert_eq!(&body[key], value, "{key}"),
        }
    }
}

// --- properties ---

/// The same request without the places where things stood.
fn placeless(mut request: Request<'_>) -> Request<'_> {
    fn block(block: &mut Block<'_>) {
        block.origin = Origin::default();
        if let Kind::ToolResult(result) = &mut block.kind {
            result.content.iter_mut().for_each(self::block_of);
        }
    }
    request.turns.iter_mut().for_each(|turn| {
        turn.origin = Origin::default();
        turn.blocks.iter_mut().for_each(block);
    });
    request.tools.iter_mut().for_each(|tool| tool.origin = Origin::default());
    request.model = Text::EMPTY;
    request.spelt.clear();
    // Members of an object have no order.
    request.rest.sort_by(|one, other| one.name.as_bytes().cmp(other.name.as_bytes()));
    request
}

fn block_of(block: &mut Block<'_>) {
    block.origin = Origin::default();
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{1,12}", Just("é\n\"\\".to_owned()), Just("\u{1f600}".to_owned())]
}

fn input_part() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(|text| json!({"type": "input_text", "text": text})),
        text().prop_map(|text| json!({"type": "input_text", "text": text, "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}})),
        Just(json!({"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "low"})),
        Just(json!({"type": "input_image", "file_id": "file-1"})),
        Just(json!({"type": "input_file", "file_url": "https://a.org/b.pdf"})),
        Just(json!({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}})),
        Just(json!({"type": "yet_unknown", "a": [1]})),
    ]
}

fn output_part() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(|text| json!({"type": "output_text", "text": text, "annotations": []})),
        text().prop_map(|text| json!({"type": "output_text", "text": text, "annotations": [{"type": "url_citation", "url": "https://a.org", "title": "A", "start_index": 0, "end_index": 1}]})),
        text().prop_map(|text| json!({"type": "refusal", "refusal": text})),
    ]
}

fn item() -> impl Strategy<Value = Value> {
    let content = || prop_oneof![text().prop_map(Value::from), prop::collection::vec(input_part(), 0..3).prop_map(Value::from)];
    let id = || prop_oneof![Just("c1"), Just("c2"), Just("c3")];
    prop_oneof![
        3 => (content(), prop_oneof![Just("user"), Just("developer"), Just("system")]).prop_map(|(content, role)| json!({"role": role, "content": content})),
        2 => (prop::collection::vec(output_part(), 1..3), any::<bool>()).prop_map(|(content, phase)| {
            let mut item = json!({"type": "message", "role": "assistant", "content": content, "id": "msg_1", "status": "completed"});
            if phase {
                item["phase"] = json!("commentary");
            }
            item
        }),
        1 => text().prop_map(|text| json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}], "encrypted_content": "c2VhbA"})),
        1 => text().prop_map(|text| json!({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}], "encrypted_content": "c2VhbA"})),
        2 => (id(), text()).prop_map(|(id, text)| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": json!({"a": text}).to_string(), "namespace": "n"})),
        1 => (id(), text()).prop_map(|(id, text)| json!({"type": "custom_tool_call", "call_id": id, "name": "g", "input": text})),
        2 => (id(), content()).prop_map(|(id, content)| json!({"type": "function_call_output", "call_id": id, "output": content})),
        1 => (id(), content()).prop_map(|(id, content)| json!({"type": "custom_tool_call_output", "call_id": id, "output": content})),
        1 => Just(json!({"type": "web_search_call", "id": "ws_1", "status": "completed"})),
        1 => Just(json!({"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "QUJD"})),
        1 => Just(json!({"type": "tool_search_output", "tools": []})),
    ]
}

fn body() -> impl Strategy<Value = Value> {
    let optional = prop::collection::vec(
        prop_oneof![
            Just(("instructions", json!("be brief"))),
            Just(("temperature", json!(0.5))),
            Just(("top_k", json!(4))),
            Just(("stop", json!(["a", "b"]))),
            Just(("reasoning", json!({"effort": "low", "summary": "concise", "mode": "pro"}))),
            Just(("reasoning", json!({"max_tokens": 100, "exclude": true}))),
            Just((
                "text",
                json!({"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true}, "verbosity": "low", "x": 1})
            )),
            Just(("text", json!({"format": {"type": "grammar", "grammar": "a"}}))),
            Just((
                "tools",
                json!([{"type": "function", "name": "f", "parameters": {}, "defer_loading": true}, {"type": "custom", "name": "g"}, {"type": "mcp", "server_label": "x"}])
            )),
            Just(("tool_choice", json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "g"}]}))),
            Just(("include", json!(["reasoning.encrypted_content", "file_search_call.results"]))),
            Just(("previous_response_id", json!("resp_1"))),
            Just(("user", json!("u"))),
            Just(("safety_identifier", json!("s"))),
            Just(("metadata", json!({"a": "b"}))),
            Just(("cache_control", json!({"type": "ephemeral", "ttl": "1h"}))),
            Just(("max_output_tokens", json!(3))),
            Just(("store", json!(true))),
            Just(("stream", json!(true))),
        ],
        0..8,
    );
    (prop::collection::vec(item(), 0..8), optional).prop_map(|(input, members)| {
        let mut body = json!({"model": "m", "input": input});
        members.into_iter().for_each(|(key, value)| body[key] = value);
        body
    })
}

proptest! {
    #[test]
    fn its_own_dialect_keeps_everything(body in body()) {
        let text = body.to_string();
        let read = decode(text.as_bytes()).unwrap();
        let (mut out, mut losses) = (Vec::new(), Losses::new());
        encode(&read, &target(&[]), &mut out, &mut losses, &mut Bridge::default()).unwrap();
        let again = decode(&out).unwrap();
        prop_assert_eq!(placeless(again), placeless(read.clone()), "{}", String::from_utf8_lossy(&out));
        prop_assert_eq!(losses.as_slice(), &[]);
    }

    /// Prompt caches and the seals of thoughts depend on the bytes of the prefix.
    #[test]
    fn a_conversation_that_goes_on_keeps_its_beginning(body in body(), turns in 0_usize..8, own in any::<bool>(), trait_set in 0_usize..4) {
        let text = body.to_string();
        let mut all = decode(text.as_bytes()).unwrap();
        if !own {
            all.source = Dialect::AnthropicMessages;
        }
        let mut fewer = all.clone();
        fewer.turns.truncate(turns);
        let traits: [&[&str]; 4] = [&[], &["cache_breakpoints", "no_json_schema"], &["no_mid_system", "reasoning_in"], &["no_system_role"]];
        let (fewer, _) = written(&fewer, &target(traits[trait_set]));
        let (all, _) = written(&all, &target(traits[trait_set]));
        let (short, long) = (fewer["input"].as_array().unwrap(), all["input"].as_array().unwrap());
        prop_assert_eq!(&long[..short.len()], &short[..]);
        if turns > 0 {
            prop_assert_eq!(&fewer["instructions"], &all["instructions"]);
        }
        prop_assert_eq!(&fewer["tools"], &all["tools"]);
    }

    #[test]
    fn no_body_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), body in body(), cut in any::<prop::sample::Index>()) {
        let _ = decode(&bytes);
        let text = body.to_string();
        let _ = decode(&text.as_bytes()[..cut.index(text.len())]);
        // Any value in any place.
        let odd = text.replacen("\"c1\"", "[{}]", 1).replacen("{\"type\"", "{\"type\":null,\"a\"", 1);
        if Reader::checked(odd.as_bytes()).is_ok() && let Ok(request) = decode(odd.as_bytes()) {
            written(&request, &target(&[]));
        }
    }
}
