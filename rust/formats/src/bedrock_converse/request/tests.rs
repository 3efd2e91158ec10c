#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::block::{
    Arguments, CacheMark, CacheTtl, Media, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape, ToolCall, ToolResult,
};
use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Block, Dialect, Kind, Losses, Origin, Raw, Request, Role, Severity, Text, Tool, ToolChoice, ToolKind, Turn};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode::decode;
use super::encode::encode;
use crate::traits::Traits;
use crate::translate::{Bridge, Target};

mod properties;

// --- reading ------------------------------------------------------------------------------------------------------

fn check_fault(body: Value, expected: &str) {
    assert_eq!(decode(body.to_string().as_bytes()).map_err(|fault| fault.to_string()).err().as_deref(), Some(expected), "{body}");
}

#[test]
fn faults_name_their_place() {
    check_fault(json!([]), "the body must be an object");
    check_fault(json!({"messages":{}}), r#""messages" must be an array"#);
    check_fault(json!({"messages":[{"content":[]}]}), r#""messages[0].role" is missing"#);
    check_fault(json!({"messages":[{"role":"tool","content":[]}]}), r#""messages[0].role" must be "user", "assistant" or "system""#);
    check_fault(json!({"messages":[{"role":"user"}]}), r#""messages[0].content" is missing"#);
    check_fault(json!({"messages":[{"role":"user","content":"hi"}]}), r#""messages[0].content" must be an array"#);
    check_fault(json!({"messages":[{"role":"user","content":[{"text":1}]}]}), r#""messages[0].content[0].text" must be a string"#);
    check_fault(
        json!({"messages":[{"role":"assistant","content":[{"text":"a"},{"toolUse":{"name":"f"}}]}]}),
        r#""messages[0].content[1].toolUse.toolUseId" is missing"#,
    );
    check_fault(
        json!({"messages":[{"role":"user","content":[{"toolResult":{"toolUseId":"a","content":[],"status":"ok"}}]}]}),
        r#""messages[0].content[0].toolResult.status" must be "success" or "error""#,
    );
    check_fault(json!({"inferenceConfig":{"maxTokens":-1}}), r#""inferenceConfig.maxTokens" must be a whole number that is not negative"#);
    check_fault(json!({"inferenceConfig":{"stopSequences":[1]}}), r#""inferenceConfig.stopSequences[0]" must be a string"#);
    check_fault(json!({"toolConfig":{"tools":[{"toolSpec":{}}]}}), r#""toolConfig.tools[0].toolSpec.name" is missing"#);
    check_fault(
        json!({"outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{"}}}}}),
        r#""outputConfig.textFormat.structure.jsonSchema.schema" must hold a JSON Schema as a string"#,
    );
    check_fault(json!({"system":[{"text":null}]}), r#""system[0].text" must be a string"#);
    check_fault(json!({"serviceTier":{"type":1}}), r#""serviceTier.type" must be a string"#);
}

#[test]
fn what_is_read_of_a_request() {
    let body = json!({
        "system": [{"text":"be brief"},{"cachePoint":{"type":"default","ttl":"1h"}}],
        "messages": [
            {"role":"user","content":[{"text":"hi"},{"image":{"format":"png","source":{"bytes":"iVBORw0KGgo="}}},{"cachePoint":{"type":"default"}}]},
            {"role":"assistant","content":[
                {"reasoningContent":{"reasoningText":{"text":"hm","signature":"c2ln"}}},
                {"reasoningContent":{"redactedContent":"AAEC"}},
                {"toolUse":{"toolUseId":"t1","name":"f","input":{"a":1}}}]},
            {"role":"user","content":[{"toolResult":{"toolUseId":"t1","content":[{"json":{"b":2}},{"text":"x"}],"status":"error"}}]}
        ],
        "inferenceConfig": {"maxTokens":9,"temperature":0.50,"topP":1,"stopSequences":["END"],"odd":1},
        "toolConfig": {"tools":[{"toolSpec":{"name":"f","description":"d","inputSchema":{"json":{"type":"object"}},"strict":true}},{"cachePoint":{"type":"default"}}],"toolChoice":{"any":{}}},
        "outputConfig": {"effort":"high","textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"type\":\"object\"}","name":"n"}}}},
        "additionalModelRequestFields": {"top_k":4,"thinking":{"type":"enabled","budget_tokens":2000},"anthropic_beta":["x"]},
        "requestMetadata": {"user":"u1"}, "serviceTier": {"type":"flex"}, "guardrailConfig": {"guardrailIdentifier":"g"}
    })
    .to_string();
    let request = decode(body.as_bytes()).unwrap();
    assert_eq!(request.turns.iter().map(|turn| turn.role).collect::<Vec<_>>(), [Role::System, Role::User, Role::Assistant, Role::User]);
    assert_eq!(request.turns[0].blocks[0].cache, Some(CacheMark { ttl: Some(CacheTtl::OneHour) }));
    assert_eq!(request.turns[1].blocks[1].cache, Some(CacheMark::default()));
    assert_eq!(request.turns[1].blocks[1].origin.to_string(), "messages[0].content[1]");
    let thoughts = &request.turns[2].blocks;
    assert_eq!(thoughts[0].seal.as_ref().unwrap().data, Text::word("c2ln"));
    assert!(matches!(&thoughts[1].kind, Kind::Thought(thought) if thought.redacted && thought.parts.is_empty()));
    assert!(matches!(&request.turns[3].blocks[0].kind, Kind::ToolResult(result) if result.is_error && result.content.len() == 2));
    assert_eq!((request.max_output_tokens, request.sampling.top_k.clone()), (Some(9), Some(Raw::json(b"4"))));
    assert_eq!(request.reasoning.budget_tokens, Some(2000));
    assert_eq!((request.reasoning.enabled, request.reasoning.effort), (Some(true), Some(Effort::High)));
    assert_eq!(request.tools[0].cache, Some(CacheMark::default()));
    assert_eq!(request.tools[0].origin.to_string(), "toolConfig.tools[0]");
    assert_eq!(request.tool_choice, Some(ToolChoice::Required));
    assert!(matches!(&request.output.format, Some(Format::JsonSchema { schema, .. }) if schema.is(r#"{"type":"object"}"#)));
    assert_eq!((request.labels.user.clone(), request.labels.service_tier.clone()), (Some(Text::word("u1")), Some(Text::word("flex"))));
    let rest: Vec<_> = request.rest.iter().map(|member| String::from_utf8_lossy(member.name.as_bytes()).into_owned()).collect();
    assert_eq!(rest, ["additionalModelRequestFields", "guardrailConfig", "inferenceConfig"]);
}

#[test]
fn a_second_cache_point_marks_nothing() {
    let point = json!({"cachePoint":{"type":"default"}});
    let body = json!({"messages":[{"role":"user","content":[point, {"text":"a"}, point, point]}]}).to_string();
    let request = decode(body.as_bytes()).unwrap();
    let is_point = |block: &Block<'_>| matches!(&block.kind, Kind::Opaque { word, .. } if word.is("cachePoint"));
    let blocks = &request.turns[0].blocks;
    assert_eq!((blocks.len(), is_point(&blocks[0]), blocks[1].cache.is_some(), is_point(&blocks[2])), (3, true, true, true));
}

// --- writing ------------------------------------------------------------------------------------------------------

fn chat() -> Request<'static> {
    Request::new(Dialect::OpenaiChat)
}

fn target(traits: &[&str]) -> Target<'static> {
    Target { traits: Traits::from_names(traits).unwrap(), ..Target::new(Dialect::BedrockConverse, "anthropic.claude-x-v1:0") }
}

fn written(request: &Request<'_>, target: &Target<'_>) -> (Value, Vec<(String, Severity)>, Bridge) {
    let (mut out, mut losses, mut bridge) = (Vec::new(), Losses::new(), Bridge::default());
    encode(request, target, &mut out, &mut losses, &mut bridge).unwrap();
    let losses = losses.as_slice().iter().map(|loss| (loss.path.clone(), loss.severity)).collect();
    (serde_json::from_slice(&out).unwrap(), losses, bridge)
}

fn refused(request: &Request<'_>, target: &Target<'_>) -> String {
    encode(request, target, &mut Vec::new(), &mut Losses::new(), &mut Bridge::default()).unwrap_err().message
}

/// What is written but for the messages, and what was lost. `traits` of the endpoint.
fn check(request: &Request<'_>, traits: &[&str], expected: Value, losses: &[(&str, Severity)]) {
    let mut request = request.clone();
    if request.turns.is_empty() {
        request.turns.push(user(0, "hi"));
    }
    let (mut body, lost, _) = written(&request, &target(traits));
    body.as_object_mut().unwrap().remove("messages");
    assert_eq!(body, expected);
    assert_eq!(lost, losses.iter().map(|(path, severity)| ((*path).to_owned(), *severity)).collect::<Vec<_>>());
}

/// The messages that are written, and what was lost.
fn check_messages(turns: Vec<Turn<'static>>, traits: &[&str], expected: Value, losses: &[(&str, Severity)]) {
    let (body, lost, _) = written(&Request { turns, ..chat() }, &target(traits));
    assert_eq!(body["messages"], expected);
    assert_eq!(lost, losses.iter().map(|(path, severity)| ((*path).to_owned(), *severity)).collect::<Vec<_>>());
}

fn turn(role: Role, index: usize, kinds: Vec<Kind<'static>>) -> Turn<'static> {
    let origin = Origin::item("messages", index);
    let block = |(part, kind)| Block::new(kind, origin.part("content", part));
    Turn { blocks: kinds.into_iter().enumerate().map(block).collect(), ..Turn::new(role, origin) }
}

fn text(text: &'static str) -> Kind<'static> {
    Kind::Text { text: Text::word(text), citations: Vec::new() }
}

fn user(index: usize, said: &'static str) -> Turn<'static> {
    turn(Role::User, index, vec![text(said)])
}

fn call(id: &'static str, name: &'static str) -> Kind<'static> {
    Kind::ToolCall(ToolCall { id: Text::word(id), name: Text::word(name), arguments: Arguments::Quoted(Text::word(r#"{\"a\":1}"#)) })
}

fn result(id: &'static str, said: &'static str) -> Kind<'static> {
    let content = vec![Block::text(Text::word(said), Origin::default())];
    Kind::ToolResult(ToolResult { id: Text::word(id), name: None, content, is_error: false, free: false })
}

fn media(class: MediaClass, mime: &'static str, name: Option<&'static str>) -> Kind<'static> {
    let source = MediaSource::Base64 { mime: Text::word(mime), data: Text::word("AAAA") };
    Kind::Media(Media { class, source, detail: None, name: name.map(Text::word) })
}

fn thought(said: &'static str) -> Kind<'static> {
    let parts = vec![ThoughtPart { shape: ThoughtShape::Full, text: Text::word(said) }];
    Kind::Thought(Thought { parts, ..Thought::default() })
}

fn tool(name: &'static str, strict: Option<bool>) -> Tool<'static> {
    Tool {
        name: Text::word(name),
        description: Some(Text::word("d")),
        kind: ToolKind::Function { parameters: Some(Raw::json(br#"{"type":"object"}"#)) },
        strict,
        cache: None,
        origin: Origin::item("tools", 0),
        rest: Vec::new(),
    }
}

const HINT: Severity = Severity::Hint;
const CHANGED: Severity = Severity::Changed;
const DROPPED: Severity = Severity::Dropped;

#[test]
fn parameters_have_their_places() {
    let mut request = chat();
    request.max_output_tokens = Some(100);
    request.sampling.temperature = Some(Raw::json(b"0.70"));
    request.sampling.top_p = Some(Raw::json(b"0.9"));
    request.sampling.top_k = Some(Raw::json(b"40"));
    request.sampling.stop = vec![Text::word("END")];
    request.labels.user = Some(Text::word("user-1"));
    request.labels.service_tier = Some(Text::word("priority"));
    let expected = json!({
        "inferenceConfig": {"maxTokens":100,"temperature":0.70,"topP":0.9,"stopSequences":["END"]},
        "additionalModelResponseFieldPaths": ["/stop_sequence","/delta/stop_sequence"],
        "additionalModelRequestFields": {"top_k":40},
        "serviceTier": {"type":"priority"}, "requestMetadata": {"user":"user-1"}
    });
    check(&request, &[], expected, &[]);
    let lost = [("temperature", DROPPED), ("top_p", DROPPED), ("stop", DROPPED), ("top_k", DROPPED)];
    let expected = json!({"inferenceConfig":{"maxTokens":100},"serviceTier":{"type":"priority"},"requestMetadata":{"user":"user-1"}});
    check(&request, &["no_sampling", "no_stop"], expected, &lost);
}

#[test]
fn what_has_no_place_is_told() {
    let mut request = chat();
    request.sampling.temperature = Some(Raw::json(b"1.5"));
    request.sampling.seed = Some(Raw::json(b"1"));
    request.sampling.choices = Some(2);
    request.sampling.logprobs = Some(false);
    request.sampling.frequency_penalty = Some(Raw::json(b"1"));
    request.output.verbosity = Some(Text::word("low"));
    request.labels.metadata = Some(Raw::json(br#"{"a":"b"}"#));
    request.labels.store = Some(true);
    request.labels.user = Some(Text::escaped("ü".as_bytes()));
    request.labels.service_tier = Some(Text::word("scale"));
    request.cache.key = Some(Text::word("k"));
    request.rest.push(fairlead_ir::Member { name: Text::word("safe_prompt"), value: Raw::json(b"true") });
    let lost = [
        ("verbosity", DROPPED),
        ("temperature", CHANGED),
        ("frequency_penalty", DROPPED),
        ("seed", DROPPED),
        ("n", DROPPED),
        ("service_tier", CHANGED),
        ("metadata", HINT),
        ("user", HINT),
        ("store", HINT),
        ("prompt_cache_key", HINT),
        ("safe_prompt", DROPPED),
    ];
    check(&request, &[], json!({"inferenceConfig":{"temperature":1}}), &lost);
}

#[test]
fn thinking_is_said_in_the_models_own_way() {
    let thinking = |make: &dyn Fn(&mut Request<'_>), traits: &[&str], expected: Value, lost: &[(&str, Severity)]| {
        let mut request = chat();
        make(&mut request);
        check(&request, traits, expected, lost);
    };
    let effort = |request: &mut Request<'_>| request.reasoning.effort = Some(Effort::High);
    thinking(&effort, &[], json!({"outputConfig":{"effort":"high"}}), &[]);
    let adaptive =
        json!({"outputConfig":{"effort":"high"},"additionalModelRequestFields":{"thinking":{"type":"adaptive","display":"summarized"}}});
    thinking(&effort, &["adaptive_thinking"], adaptive, &[]);
    let budget = |tokens: u64| json!({"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":tokens}}});
    thinking(&effort, &["budget_thinking"], budget(25_600), &[("reasoning_effort", HINT)]);
    let wish = |request: &mut Request<'_>| request.reasoning.budget_tokens = Some(5000);
    thinking(&wish, &["budget_thinking"], budget(5000), &[]);
    let small = |request: &mut Request<'_>| request.reasoning.budget_tokens = Some(10);
    thinking(&small, &["budget_thinking"], budget(1024), &[("reasoning.max_tokens", CHANGED)]);
    thinking(&wish, &[], json!({"outputConfig":{"effort":"low"}}), &[("reasoning.max_tokens", CHANGED)]);
    thinking(&small, &[], json!({"outputConfig":{"effort":"low"}}), &[("reasoning.max_tokens", CHANGED)]);
    let least = |request: &mut Request<'_>| request.reasoning.effort = Some(Effort::Minimal);
    thinking(&least, &[], json!({"outputConfig":{"effort":"low"}}), &[("reasoning_effort", CHANGED)]);
    let off = |request: &mut Request<'_>| request.reasoning.effort = Some(Effort::None);
    thinking(&off, &["adaptive_thinking"], json!({"additionalModelRequestFields":{"thinking":{"type":"disabled"}}}), &[]);
    thinking(&off, &[], json!({}), &[("reasoning_effort", HINT)]);
    let always =
        json!({"outputConfig":{"effort":"low"},"additionalModelRequestFields":{"thinking":{"type":"adaptive","display":"summarized"}}});
    thinking(&off, &["always_thinking"], always, &[("reasoning_effort", CHANGED)]);
    let hidden = |request: &mut Request<'_>| {
        request.reasoning.enabled = Some(true);
        request.reasoning.show = Some(Show::Nothing);
    };
    let expected = json!({"additionalModelRequestFields":{
        "thinking":{"type":"adaptive","display":"omitted","block_binding":{"prefix_mismatch_behavior":"drop_block"}},
        "anthropic_beta":["thinking-binding-controls-2026-08-01"]}});
    thinking(&hidden, &["adaptive_thinking", "block_binding"], expected, &[]);
}

#[test]
fn a_model_that_thinks_chooses_tokens_its_own_way() {
    let mut request = chat();
    request.reasoning.budget_tokens = Some(2000);
    request.max_output_tokens = Some(3000);
    request.sampling.temperature = Some(Raw::json(b"0.2"));
    request.sampling.top_p = Some(Raw::json(b"0.99"));
    request.sampling.top_k = Some(Raw::json(b"5"));
    let expected = json!({"inferenceConfig":{"maxTokens":3000,"topP":0.99},"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":2000}}});
    check(&request, &["budget_thinking"], expected, &[("temperature", DROPPED), ("top_k", DROPPED)]);
    request.max_output_tokens = Some(1024);
    let expected = json!({"inferenceConfig":{"maxTokens":1024,"temperature":0.2,"topP":0.99},"additionalModelRequestFields":{"thinking":{"type":"disabled"},"top_k":5}});
    check(&request, &["budget_thinking"], expected, &[("reasoning.max_tokens", DROPPED)]);
}

#[test]
fn a_budget_stays_below_the_limit_that_is_sent() {
    let check = |asked: Option<u64>, wish: fn(&mut Request<'_>), expected: u64| {
        let mut request = chat();
        request.turns = vec![user(0, "hi")];
        request.max_output_tokens = asked;
        wish(&mut request);
        let target = Target { max_output_tokens: Some(10_000), ..target(&["budget_thinking"]) };
        let body = written(&request, &target).0;
        assert_eq!(body["additionalModelRequestFields"]["thinking"]["budget_tokens"], expected, "{asked:?}");
    };
    let by_budget = |request: &mut Request<'_>| request.reasoning.budget_tokens = Some(50_000);
    let by_effort = |request: &mut Request<'_>| request.reasoning.effort = Some(Effort::Xhigh);
    check(Some(90_000), by_budget, 9_999);
    check(None, by_budget, 9_999);
    check(Some(90_000), by_effort, 9_500);
    check(None, by_effort, 9_500);
    check(Some(5_000), by_effort, 4_750);
}

#[test]
fn tools_keep_names_that_come_back() {
    let mut request = chat();
    request.tools = vec![tool("mcp.read", Some(true)), tool("plain", Some(false))];
    request.tools[0].cache = Some(CacheMark { ttl: Some(CacheTtl::TwelveHours) });
    request.tools.push(Tool {
        kind: ToolKind::Custom { format: Some(Raw::json(br#"{"type":"grammar","syntax":"lark","definition":"start: x"}"#)) },
        ..tool("patch", None)
    });
    request.tools.push(Tool { kind: ToolKind::WebSearch { raw: Raw::json(b"{}") }, ..tool("", None) });
    request.tool_choice = Some(ToolChoice::Named(Text::word("mcp.read")));
    request.turns.push(user(0, "hi"));
    let (body, lost, bridge) = written(&request, &target(&[]));
    let sent = "mcp_read_3244eaf9";
    let expected = json!({
        "tools": [
            {"toolSpec":{"name":sent,"description":"d","inputSchema":{"json":{"type":"object"}},"strict":true}},
            {"cachePoint":{"type":"default","ttl":"1h"}},
            {"toolSpec":{"name":"plain","description":"d","inputSchema":{"json":{"type":"object"}}}},
            {"toolSpec":{"name":"patch","description":"d\n\nThe text under \"input\" must fit this lark grammar:\nstart: x",
                "inputSchema":{"json":{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}}}},
        ],
        "toolChoice": {"tool":{"name":sent}}
    });
    assert_eq!(body["toolConfig"], expected);
    assert_eq!(bridge.original(&Text::word(sent)), (Text::word("mcp.read"), false));
    assert_eq!(bridge.original(&Text::word("patch")), (Text::word("patch"), true));
    let lost: Vec<_> = lost.iter().map(|(path, severity)| (path.as_str(), *severity)).collect();
    assert_eq!(lost, [("tools[0]", CHANGED), ("tools[0]", DROPPED), ("prompt_cache_retention", HINT)]);
}

#[test]
fn choices_of_tools() {
    let spec = |name: &str| json!({"toolSpec":{"name":name,"description":"d","inputSchema":{"json":{"type":"object"}}}});
    let mut request = Request { tools: vec![tool("f", None), tool("g", None)], ..chat() };
    let both = json!([spec("f"), spec("g")]);
    request.tool_choice = Some(ToolChoice::None);
    check(&request, &[], json!({}), &[]);
    request.tool_choice = Some(ToolChoice::Required);
    check(&request, &[], json!({"toolConfig":{"tools":both,"toolChoice":{"any":{}}}}), &[]);
    let asked = json!({"toolConfig":{"tools":both,"toolChoice":{"auto":{}}},"system":[{"text":"In your next reply, call at least one of the tools."}]});
    check(&request, &["no_forced_tool_choice"], asked, &[("tool_choice", CHANGED)]);
    request.tool_choice = Some(ToolChoice::Allowed { required: true, names: vec![Text::word("g")] });
    check(&request, &[], json!({"toolConfig":{"tools":[spec("g")],"toolChoice":{"any":{}}}}), &[("tool_choice", HINT)]);
    request.tool_choice = Some(ToolChoice::Auto);
    request.parallel_tool_calls = Some(false);
    check(&request, &[], json!({"toolConfig":{"tools":both,"toolChoice":{"auto":{}}}}), &[("parallel_tool_calls", DROPPED)]);
    // A conversation with calls needs tools, whatever was asked.
    request.tool_choice = Some(ToolChoice::None);
    request.parallel_tool_calls = None;
    request.turns = vec![user(0, "hi"), turn(Role::Assistant, 1, vec![call("c", "f")]), turn(Role::User, 2, vec![result("c", "x")])];
    let forbidden = json!([{"text":"Do not call any tool in your next reply."}]);
    check(&request, &[], json!({"toolConfig":{"tools":both},"system":forbidden}), &[("tool_choice", CHANGED)]);
    request.tools.clear();
    request.tool_choice = None;
    let declared = json!([{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object","properties":{}}}}}]);
    check(&request, &[], json!({"toolConfig":{"tools":declared},"system":forbidden}), &[("tools", CHANGED)]);
}

#[test]
fn a_schema_of_the_reply_is_a_string_or_a_tool() {
    let format = Format::JsonSchema {
        name: Some(Text::word("n")),
        description: None,
        schema: Raw::json(br#"{"type":"object"}"#),
        strict: Some(true),
    };
    let mut request = chat();
    request.output.format = Some(format);
    let native = json!({"outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"type\":\"object\",\"additionalProperties\":false}","name":"n"}}}}});
    // Objects are closed, which this one was not.
    check(&request, &[], native, &[("response_format", CHANGED)]);
    let spec = json!({"toolSpec":{"name":"reply","description":"Gives the final reply to the user. Call it once, with the whole reply.\nn","inputSchema":{"json":{"type":"object"}}}});
    check(
        &request,
        &["no_json_schema"],
        json!({"toolConfig":{"tools":[spec],"toolChoice":{"tool":{"name":"reply"}}}}),
        &[("response_format", CHANGED)],
    );
    request.turns.push(user(0, "hi"));
    assert_eq!(written(&request, &target(&["no_json_schema"])).2.format_tool.as_deref(), Some("reply"));
    request.reasoning.enabled = Some(true);
    let (body, ..) = written(&request, &target(&["no_json_schema", "adaptive_thinking"]));
    assert!(body["toolConfig"].is_null() && body["system"][0]["text"].as_str().unwrap().ends_with(r#"{"type":"object"}"#), "{body}");
    request.output.format = Some(Format::JsonObject);
    request.reasoning.enabled = None;
    let (body, ..) = written(&request, &target(&[]));
    assert!(body["system"][0]["text"].as_str().unwrap().starts_with("Reply with one JSON object"));
}

#[test]
fn speakers_alternate_and_the_user_begins() {
    let assistant = |index, said| turn(Role::Assistant, index, vec![text(said)]);
    check_messages(
        vec![user(0, "a"), user(1, "b"), assistant(2, "c  \\n"), user(3, " \\n"), assistant(4, "d"), assistant(5, "")],
        &[],
        json!([{"role":"user","content":[{"text":"a"},{"text":"b"}]},{"role":"assistant","content":[{"text":"c"},{"text":"d"}]}]),
        &[],
    );
    check_messages(
        vec![assistant(0, "hello"), user(1, "a")],
        &[],
        json!([{"role":"user","content":[{"text":"."}]},{"role":"assistant","content":[{"text":"hello"}]},{"role":"user","content":[{"text":"a"}]}]),
        &[("messages[0]", CHANGED)],
    );
    let named = Turn { name: Some(Text::word("ann")), ..user(0, "a") };
    check_messages(vec![named], &[], json!([{"role":"user","content":[{"text":"ann: a"}]}]), &[("messages[0]", CHANGED)]);
}

#[test]
fn every_call_is_answered_first_thing() {
    let calls = || turn(Role::Assistant, 1, vec![text("ok"), call("a", "f"), call("b.2", "g!")]);
    let uses = json!([{"text":"ok"},{"toolUse":{"toolUseId":"a","name":"f","input":{"a":1}}},{"toolUse":{"toolUseId":"b.2","name":"g__c4e6b26d","input":{"a":1}}}]);
    let answer = |id: &str, said: &str| json!({"toolResult":{"toolUseId":id,"content":[{"text":said}]}});
    let check = |turns: Vec<Turn<'static>>, last: Value, lost: &[(&str, Severity)]| {
        let turns: Vec<_> = [user(0, "hi"), calls()].into_iter().chain(turns).collect();
        let (body, losses, _) = written(&Request { turns, tools: vec![tool("f", None)], ..chat() }, &target(&[]));
        let mut messages = body["messages"].clone();
        messages[1]["content"][2]["toolUse"]["name"] = json!("g__c4e6b26d");
        assert_eq!(
            messages,
            json!([{"role":"user","content":[{"text":"hi"}]},{"role":"assistant","content":uses},{"role":"user","content":last}])
        );
        assert_eq!(losses, lost.iter().map(|(path, severity)| ((*path).to_owned(), *severity)).collect::<Vec<_>>());
    };
    // As chat sends them: one message each, then the user's next.
    let results = vec![turn(Role::User, 2, vec![result("b.2", "two")]), turn(Role::User, 3, vec![result("a", "one")]), user(4, "go on")];
    check(results, json!([answer("b.2", "two"), answer("a", "one"), {"text":"go on"}]), &[]);
    // The user interrupts.
    let missing = json!({"toolResult":{"toolUseId":"b.2","content":[{"text":"No result."}],"status":"error"}});
    check(
        vec![user(2, "stop"), turn(Role::User, 3, vec![result("a", "one")])],
        json!([answer("a", "one"), missing, {"text":"stop"}]),
        &[("messages[1].content[2]", CHANGED)],
    );
    // An answer to nothing.
    let stray = turn(Role::User, 2, vec![result("a", "one"), result("zz", "late"), result("b.2", "")]);
    check(
        vec![stray],
        json!([answer("a", "one"), {"toolResult":{"toolUseId":"b.2","content":[{"text":"(empty)"}]}}, {"text":"Result of the tool call zz:"}, {"text":"late"}]),
        &[("messages[2].content[1]", CHANGED)],
    );
    // An instruction between call and answer.
    let system = turn(Role::System, 2, vec![text("be quick")]);
    let results = turn(Role::User, 3, vec![result("a", "one"), result("b.2", "two")]);
    let reminder = json!({"text":"<system-reminder>\nbe quick\n</system-reminder>"});
    check(vec![system, results], json!([answer("a", "one"), answer("b.2", "two"), reminder]), &[("messages[2]", CHANGED)]);
}

#[test]
fn ids_are_made_mended_and_occur_once() {
    let bare = |name: &'static str| {
        Kind::ToolResult(ToolResult { id: Text::EMPTY, name: Some(Text::word(name)), content: vec![], is_error: true, free: false })
    };
    let turns = vec![
        user(0, "hi"),
        turn(Role::Assistant, 1, vec![call("", "f"), call("", "g"), call("x/y", "f")]),
        turn(Role::User, 2, vec![bare("g"), bare("f"), result("x/y", "z")]),
        turn(Role::Assistant, 3, vec![call("x/y", "f")]),
        turn(Role::User, 4, vec![result("x/y", "z")]),
    ];
    let (body, ..) = written(&Request { turns, tools: vec![tool("f", None)], ..chat() }, &target(&[]));
    let ids = |message: usize, kind: &str| -> Vec<String> {
        let content = body["messages"][message]["content"].as_array().unwrap();
        content.iter().map(|block| block[kind]["toolUseId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        ids(1, "toolUse"),
        ["call_1", "call_2", "x_y_7a4f9cd2"].map(|id| if id.starts_with("x_y") { ids(1, "toolUse")[2].clone() } else { id.to_owned() })
    );
    assert_eq!(ids(2, "toolResult"), ["call_2", "call_1", &ids(1, "toolUse")[2]]);
    assert_eq!(ids(3, "toolUse"), [format!("{}_2", ids(1, "toolUse")[2])]);
    assert_eq!(ids(4, "toolResult"), ids(3, "toolUse"));
}

#[test]
fn instructions_stay_where_they_are() {
    let turns = || {
        vec![
            turn(Role::System, 0, vec![text("one")]),
            turn(Role::Developer, 1, vec![text("two")]),
            user(2, "hi"),
            turn(Role::Developer, 3, vec![text("later")]),
            user(4, "go"),
        ]
    };
    let (body, lost, _) = written(&Request { turns: turns(), ..chat() }, &target(&[]));
    assert_eq!(body["system"], json!([{"text":"one"},{"text":"two"}]));
    assert_eq!(body["messages"][1], json!({"role":"system","content":[{"text":"later"}]}));
    assert!(lost.is_empty());
    let (body, lost, _) = written(&Request { turns: turns(), ..chat() }, &target(&["no_mid_system"]));
    assert_eq!(
        body["messages"],
        json!([{"role":"user","content":[{"text":"hi"},{"text":"<system-reminder>\nlater\n</system-reminder>"},{"text":"go"}]}])
    );
    assert_eq!(lost, [("messages[3]".to_owned(), CHANGED)]);
    let (body, ..) = written(&Request { turns: turns(), ..chat() }, &target(&["no_system_role", "no_mid_system"]));
    assert!(body["system"].is_null());
    let first: Vec<_> = body["messages"][0]["content"].as_array().unwrap().iter().map(|block| block["text"].as_str().unwrap()).collect();
    assert_eq!(first[..3], ["one", "two", "hi"]);
}

#[test]
fn media_are_here_or_refused() {
    let turns = |kind| vec![turn(Role::User, 0, vec![text("look"), kind])];
    let block = |kind| written(&Request { turns: turns(kind), ..chat() }, &target(&[])).0["messages"][0]["content"][1].clone();
    assert_eq!(block(media(MediaClass::Image, "image/jpg", None)), json!({"image":{"format":"jpeg","source":{"bytes":"AAAA"}}}));
    let pdf = json!({"document":{"format":"pdf","name":"my report","source":{"bytes":"AAAA"}}});
    assert_eq!(block(media(MediaClass::Document, "application/pdf", Some("my  report.pdf"))), pdf);
    assert_eq!(block(media(MediaClass::Video, "video/3gpp", None)), json!({"video":{"format":"three_gp","source":{"bytes":"AAAA"}}}));
    assert_eq!(block(media(MediaClass::Image, "image/tiff", None)), Value::Null);
    let of = |source| Kind::Media(Media { class: MediaClass::Image, source, detail: Some(Text::word("high")), name: None });
    let s3 = MediaSource::Url { url: Text::word("s3://bucket/a.png"), mime: None };
    assert_eq!(block(of(s3)), json!({"image":{"format":"png","source":{"s3Location":{"uri":"s3://bucket/a.png"}}}}));
    assert_eq!(block(of(MediaSource::File(Text::word("file-1")))), Value::Null);
    let url = MediaSource::Url { url: Text::word("https://example.org/a.png"), mime: None };
    let message = refused(&Request { turns: turns(of(url)), ..chat() }, &target(&[]));
    assert!(message.starts_with("\"messages[0].content[1]\" is behind an address"), "{message}");
}

#[test]
fn a_document_never_stands_without_a_text() {
    let document = || media(MediaClass::Document, "text/csv", None);
    check_messages(
        vec![turn(Role::User, 0, vec![document()]), user(1, "what is it?"), turn(Role::User, 2, vec![text("and"), document()])],
        &[],
        json!([{"role":"user","content":[
            {"document":{"format":"csv","name":"document","source":{"bytes":"AAAA"}}}, {"text":"."}, {"text":"what is it?"},
            {"text":"and"}, {"document":{"format":"csv","name":"document (2)","source":{"bytes":"AAAA"}}}]}]),
        &[],
    );
}

#[test]
fn thoughts_go_back_with_their_signature_only() {
    let mut signed = turn(
        Role::Assistant,
        1,
        vec![thought("because"), Kind::Thought(Thought { redacted: true, ..Thought::default() }), thought("unsigned"), text("so")],
    );
    let seal = |data| Some(Seal { data: Text::word(data), maker: None });
    (signed.blocks[0].seal, signed.blocks[1].seal) = (seal("c2ln"), seal("AAEC"));
    check_messages(
        vec![user(0, "why"), signed, user(2, "ok")],
        &[],
        json!([
            {"role":"user","content":[{"text":"why"}]},
            {"role":"assistant","content":[
                {"reasoningContent":{"reasoningText":{"text":"because","signature":"c2ln"}}},
                {"reasoningContent":{"redactedContent":"AAEC"}},
                {"text":"so"}]},
            {"role":"user","content":[{"text":"ok"}]}]),
        &[("messages[1].content[2]", HINT)],
    );
}

#[test]
fn thinking_is_switched_off_where_it_would_be_refused() {
    let loop_turns = |signed: bool| {
        let mut calls = turn(Role::Assistant, 1, vec![thought("t"), call("a", "f")]);
        calls.blocks[0].seal = signed.then(|| Seal { data: Text::word("c2ln"), maker: None });
        vec![user(0, "hi"), calls, turn(Role::User, 2, vec![result("a", "x")])]
    };
    let mode = |turns, traits: &[&str], choice| {
        let mut request = Request { turns, tools: vec![tool("f", None)], tool_choice: choice, ..chat() };
        request.reasoning.enabled = Some(true);
        written(&request, &target(traits)).0["additionalModelRequestFields"]["thinking"]["type"].as_str().unwrap().to_owned()
    };
    assert_eq!(mode(loop_turns(true), &["budget_thinking"], None), "enabled");
    assert_eq!(mode(loop_turns(false), &["budget_thinking"], None), "disabled");
    assert_eq!(mode(loop_turns(false), &["adaptive_thinking"], None), "adaptive");
    assert_eq!(mode(vec![user(0, "hi")], &["adaptive_thinking"], Some(ToolChoice::Required)), "disabled");
    assert_eq!(mode(vec![user(0, "hi"), turn(Role::Assistant, 1, vec![text("So")])], &["adaptive_thinking"], None), "disabled");
}

#[test]
fn conversations_that_cannot_be_sent_are_refused() {
    let message = refused(&chat(), &target(&[]));
    assert!(message.contains("add a user's message"), "{message}");
    let turns = vec![user(0, "hi"), turn(Role::Assistant, 1, vec![text("So")])];
    let message = refused(&Request { turns, ..chat() }, &target(&["no_prefill"]));
    assert!(message.contains("end with a user's message"), "{message}");
}

#[test]
fn cache_points_stand_behind_what_they_mark() {
    let mark = |ttl| Some(CacheMark { ttl });
    let mut request = chat();
    request.turns = vec![turn(Role::System, 0, vec![text("s")]), user(1, "a"), turn(Role::Assistant, 2, vec![text("b")]), user(3, "c")];
    for turn in &mut request.turns {
        turn.blocks[0].cache = mark(Some(CacheTtl::FiveMinutes));
    }
    let point = json!({"cachePoint":{"type":"default"}});
    let (body, lost, _) = written(&request, &target(&[]));
    assert_eq!(body["system"], json!([{"text":"s"}, point]));
    assert_eq!(body["messages"][1]["content"], json!([{"text":"b"}, point]));
    assert!(lost.is_empty());
    // A fifth one: tools and system keep theirs, then the last.
    request.tools = vec![Tool { cache: mark(Some(CacheTtl::ThirtyMinutes)), ..tool("f", None) }];
    let (body, lost, _) = written(&request, &target(&[]));
    assert_eq!(body["toolConfig"]["tools"][1], json!({"cachePoint":{"type":"default","ttl":"1h"}}));
    assert_eq!(body["messages"][0]["content"], json!([{"text":"a"}]));
    assert_eq!(body["messages"][2]["content"], json!([{"text":"c"}, point]));
    assert_eq!(lost, [("cache_control".to_owned(), HINT), ("prompt_cache_retention".to_owned(), HINT)]);
    // A longer life may not stand behind a shorter one.
    (request.tools[0].cache, request.turns[0].blocks[0].cache) = (mark(None), mark(Some(CacheTtl::OneHour)));
    request.turns[1].blocks[0].cache = None;
    let (body, lost, _) = written(&request, &target(&[]));
    assert_eq!(body["system"], json!([{"text":"s"}, point]));
    assert_eq!(lost, [("prompt_cache_retention".to_owned(), HINT)]);
    // None: ours, on request.
    request.tools[0].cache = None;
    request.turns.iter_mut().for_each(|turn| turn.blocks[0].cache = None);
    let (body, ..) = written(&request, &Target { automatic_cache: true, ..target(&[]) });
    let points = body.to_string().matches("cachePoint").count();
    assert_eq!((points, &body["messages"][1]["content"]), (4, &json!([{"text":"b"}])));
    request.cache.automatic = Some(CacheMark::default());
    let (body, ..) = written(&request, &target(&[]));
    assert_eq!((body.to_string().matches("cachePoint").count(), &body["messages"][2]["content"]), (1, &json!([{"text":"c"}, point])));
}
