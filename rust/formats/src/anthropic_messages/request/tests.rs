//! Requests in both directions, case by case.

#![expect(clippy::unwrap_used, reason = "tests")]

mod settings;

use fairlead_ir::block::{Arguments, CacheMark, CacheTtl, Media, MediaClass, MediaSource, Seal, ThoughtPart, ThoughtShape};
use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Block, Dialect, Kind, Losses, Origin, Raw, Request, Severity, Text, ToolChoice, ToolKind};
use serde_json::{Value, json};

use super::decode::decode;
use super::encode::encode;
use crate::request::Refusal;
use crate::traits::Traits;
use crate::translate::{Bridge, Target};

type Written = Result<(Value, Losses, Bridge), Refusal>;

fn write(request: &Request<'_>, target: &Target<'_>) -> Written {
    let (mut out, mut losses, mut bridge) = (Vec::new(), Losses::new(), Bridge::default());
    encode(request, target, &mut out, &mut losses, &mut bridge)?;
    Ok((serde_json::from_slice(&out).unwrap(), losses, bridge))
}

fn traits(names: &[&str]) -> Traits {
    Traits::from_names(names).unwrap()
}

fn target(names: &[&str]) -> Target<'static> {
    Target { traits: traits(names), max_output_tokens: Some(8000), ..Target::new(Dialect::AnthropicMessages, "claude-x") }
}

/// What `body`, read as a request of another dialect and changed by `edit`, is written as: the members of `expected`, where `null` stands
/// for one that must not be there.
#[track_caller]
fn check(target: &Target<'_>, body: &Value, edit: impl FnOnce(&mut Request<'_>), expected: &Value, losses: &[(&str, &str)]) {
    let text = body.to_string();
    let mut request = decode(text.as_bytes()).unwrap();
    request.source = Dialect::OpenaiChat;
    edit(&mut request);
    let (written, met, _) = write(&request, target).unwrap();
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(written.get(key).unwrap_or(&Value::Null), value, "{key} of {written:#}");
    }
    let met: Vec<(&str, &str)> = met.as_slice().iter().map(|loss| (loss.path.as_str(), loss.severity.name())).collect();
    assert_eq!(met, losses);
}

#[test]
fn a_raw_prediction_has_its_version_in_the_body() {
    let body = json!({"model": "m", "max_tokens": 9, "messages": [user("hi")]});
    check(
        &target(&["raw_predict"]),
        &body,
        |_| {},
        &json!({"model": null, "anthropic_version": "vertex-2023-10-16", "max_tokens": 9}),
        &[],
    );
    check(&target(&[]), &body, |_| {}, &json!({"model": "claude-x", "anthropic_version": null}), &[]);
    // One version, also where the client's own body has one.
    let own = json!({"model": "m", "max_tokens": 9, "messages": [user("hi")], "anthropic_version": "2026-10-21", "inference_geo": "eu"})
        .to_string();
    let (mut out, mut losses, mut bridge) = (Vec::new(), Losses::new(), Bridge::default());
    encode(&decode(own.as_bytes()).unwrap(), &target(&["raw_predict"]), &mut out, &mut losses, &mut bridge).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        (text.matches("anthropic_version").count(), text.contains("vertex-2023-10-16"), text.contains("inference_geo")),
        (1, true, true)
    );
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": [{"type": "text", "text": text}]})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn call(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "get", "input": {}})
}

fn result(id: &str, said: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": said}]})
}

fn unanswered(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "The call was not answered.", "is_error": true})
}

fn of(role: &str, content: &[Value]) -> Value {
    json!({"role": role, "content": content})
}

fn conversation(messages: &[Value]) -> Value {
    json!({"max_tokens": 100, "messages": messages, "tools": [{"name": "get", "input_schema": {"type": "object"}}]})
}

/// As [`check`], of the messages alone.
#[track_caller]
fn check_messages(traits: &[&str], before: &[Value], after: &[Value], losses: &[(&str, &str)]) {
    check(&target(traits), &conversation(before), |_| {}, &json!({"messages": after}), losses);
}

#[test]
fn the_system_prompt_is_all_leading_instructions_block_by_block() {
    let body = json!({"max_tokens": 1, "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
        "messages": [of("system", &[text("b"), text(" ")]), user("hi")]});
    let system = json!([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}]);
    check(&target(&[]), &body, |_| {}, &json!({"system": system, "messages": [user("hi")]}), &[]);
}

#[test]
fn a_later_instruction_stays_where_it_is() {
    let messages = [user("a"), of("system", &[text("be brief")]), user("b")];
    check_messages(&[], &messages, &messages, &[]);
}

#[test]
fn a_later_instruction_is_a_tagged_text_where_the_model_has_no_place() {
    let reminder = text("<system-reminder>\nbe brief\n</system-reminder>");
    let merged = of("user", &[text("a"), reminder, text("b")]);
    let messages = [user("a"), of("system", &[text("be brief")]), user("b")];
    check_messages(&["no_mid_system"], &messages, &[merged], &[("messages[1]", "changed")]);
}

#[test]
fn one_speakers_turns_are_one_message() {
    let messages = [user("a"), user("b"), of("assistant", &[text("c")]), of("assistant", &[text("d")]), user("e")];
    check_messages(&[], &messages, &[of("user", &[text("a"), text("b")]), of("assistant", &[text("c"), text("d")]), user("e")], &[]);
}

#[test]
fn results_of_separate_turns_come_first_in_one_message() {
    let messages = [
        user("a"),
        of("assistant", &[text("wait"), call("c1"), call("c2")]),
        of("user", &[text("by the way"), result("c2", "two")]),
        of("system", &[text("note")]),
        of("user", &[result("c1", "one")]),
    ];
    let after = [
        user("a"),
        of("assistant", &[text("wait"), call("c1"), call("c2")]),
        of("user", &[result("c2", "two"), result("c1", "one"), text("by the way")]),
        of("system", &[text("note")]),
    ];
    check_messages(&[], &messages, &after, &[]);
}

#[test]
fn a_call_without_a_result_gets_an_error() {
    let messages = [user("a"), of("assistant", &[call("c1"), call("c2")]), of("user", &[result("c1", "one")]), user("b")];
    let after = [user("a"), of("assistant", &[call("c1"), call("c2")]), of("user", &[result("c1", "one"), unanswered("c2"), text("b")])];
    check_messages(&[], &messages, &after, &[("messages[1].content[1]", "changed")]);
    let open = [user("a"), of("assistant", &[call("c1")])];
    let closed = [user("a"), of("assistant", &[call("c1")]), of("user", &[unanswered("c1")])];
    check_messages(&[], &open, &closed, &[("messages[1].content[0]", "changed")]);
}

#[test]
fn a_result_without_a_call_becomes_text() {
    let messages = [user("a"), of("assistant", &[text("b")]), of("user", &[result("c9", "nine")])];
    let after = [user("a"), of("assistant", &[text("b")]), of("user", &[text("Result of the tool call c9:"), text("nine")])];
    check_messages(&[], &messages, &after, &[("messages[2].content[0]", "changed")]);
}

#[test]
fn ids_are_made_unique_and_plain() {
    let round = |id: &str| [of("assistant", &[call(id)]), of("user", &[result(id, "x")])];
    let messages = [[user("a")].to_vec(), round("call_0").to_vec(), round("call_0").to_vec(), round("functions.get:1").to_vec()].concat();
    let after =
        [[user("a")].to_vec(), round("call_0").to_vec(), round("call_0_2").to_vec(), round("functions_get_1_4b7cf4a1").to_vec()].concat();
    let text = conversation(&messages).to_string();
    let mut request = decode(text.as_bytes()).unwrap();
    request.source = Dialect::OpenaiChat;
    let (written, losses, _) = write(&request, &target(&[])).unwrap();
    assert!(losses.is_empty());
    let ids = |messages: &Value| -> Vec<String> {
        let pieces = messages.as_array().unwrap().iter().map(|message| &message["content"][0]);
        pieces.filter_map(|piece| Some(piece.get("id").or(piece.get("tool_use_id"))?.as_str()?.to_owned())).collect()
    };
    let (met, wanted) = (ids(&written["messages"]), ids(&json!(after)));
    assert_eq!(met[..4], wanted[..4]);
    assert_eq!(met[4], met[5]);
    assert!(met[4].starts_with("functions_get_1_") && met[4].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{met:?}");
}

#[test]
fn calls_without_ids_are_answered_in_order() {
    let messages = [user("a"), of("assistant", &[call(""), call("")]), of("user", &[result("", "one"), result("", "two")])];
    let after =
        [user("a"), of("assistant", &[call("call_1"), call("call_2")]), of("user", &[result("call_1", "one"), result("call_2", "two")])];
    check_messages(&[], &messages, &after, &[]);
}

#[test]
fn empty_texts_and_white_space_behind_the_assistants_are_left_out() {
    let messages = [user("a"), of("assistant", &[text(""), text("b \n"), text("\n")]), of("user", &[text(" "), text(" c ")])];
    check_messages(&[], &messages, &[user("a"), of("assistant", &[text("b")]), user(" c ")], &[]);
}

#[test]
fn a_conversation_begins_with_the_user() {
    let messages = [of("assistant", &[text("Hello")]), user("a")];
    let after = [user("."), of("assistant", &[text("Hello")]), user("a")];
    check_messages(&[], &messages, &after, &[("messages[0]", "changed")]);
}

#[test]
fn a_named_speaker_is_named_in_the_text() {
    let name = |request: &mut Request<'_>| request.turns.iter_mut().for_each(|turn| turn.name = Some(Text::word("Ann")));
    let after = json!({"messages": [user("Ann: a"), of("assistant", &[text("b")])]});
    let body = conversation(&[user("a"), of("assistant", &[text("b")])]);
    check(&target(&[]), &body, name, &after, &[("messages[0]", "changed"), ("messages[1]", "hint")]);
}

#[test]
fn thoughts_without_a_signature_are_left_out() {
    let thought = |signature: &str| json!({"type": "thinking", "thinking": "hm", "signature": signature});
    let redacted = json!({"type": "redacted_thinking", "data": "xyz"});
    let messages = [user("a"), of("assistant", &[thought("sig"), redacted.clone(), thought(""), text("b")]), user("c")];
    let after = [user("a"), of("assistant", &[thought("sig"), redacted, text("b")]), user("c")];
    check_messages(&[], &messages, &after, &[("messages[1].content[2]", "hint")]);
}

#[test]
fn a_refusal_is_a_text() {
    let refuse = |request: &mut Request<'_>| request.turns[1].blocks[0].kind = Kind::Refusal(Text::word("no"));
    let body = conversation(&[user("a"), of("assistant", &[text("b")]), user("c")]);
    let after = json!({"messages": [user("a"), of("assistant", &[text("no")]), user("c")]});
    check(&target(&[]), &body, refuse, &after, &[("messages[1].content[0]", "hint")]);
}

#[test]
fn arguments_are_an_object() {
    let quoted = |request: &mut Request<'_>| {
        for (block, arguments) in request.turns[1].blocks.iter_mut().zip([r#"{\"a\":1}"#, "", r#"{\"a\":"#]) {
            let Kind::ToolCall(call) = &mut block.kind else { continue };
            call.arguments = Arguments::Quoted(Text::escaped(arguments.as_bytes()));
        }
    };
    let with = |id: &str, input: Value| json!({"type": "tool_use", "id": id, "name": "get", "input": input});
    let answers = of("user", &[result("x", "1"), result("y", "2"), result("z", "3")]);
    let body = conversation(&[user("a"), of("assistant", &[call("x"), call("y"), call("z")]), answers.clone()]);
    let calls = of("assistant", &[with("x", json!({"a": 1})), with("y", json!({})), with("z", json!({"_raw": "{\"a\":"}))]);
    let after = json!({"messages": [user("a"), calls, answers]});
    check(&target(&[]), &body, quoted, &after, &[("messages[1].content[2]", "changed")]);
}

fn media(class: MediaClass, source: MediaSource<'static>) -> impl FnOnce(&mut Request<'_>) {
    move |request| {
        let media = Media { class, source, detail: Some(Text::word("high")), name: Some(Text::word("a.pdf")) };
        request.turns[0].blocks.push(Block::new(Kind::Media(media), Origin::item("messages", 0).part("content", 1)));
    }
}

#[track_caller]
fn check_media(class: MediaClass, source: MediaSource<'static>, expected: Option<Value>) {
    let hint = ("messages[0].content[1]", if expected.is_some() { "hint" } else { "dropped" });
    let content: Vec<Value> = [Some(text("a")), expected].into_iter().flatten().collect();
    check(&target(&[]), &conversation(&[user("a")]), media(class, source), &json!({"messages": [of("user", &content)]}), &[hint]);
}

#[test]
fn pictures_and_documents() {
    let base64 = |mime: &'static str, data: &'static str| MediaSource::Base64 { mime: Text::word(mime), data: Text::word(data) };
    let image = |source: Value| Some(json!({"type": "image", "source": source}));
    let document = |source: Value| Some(json!({"type": "document", "source": source, "title": "a.pdf"}));
    let url = |url: &'static str| MediaSource::Url { url: Text::word(url), mime: None };
    let png = json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0"});
    check_media(MediaClass::Image, base64("image/png", "iVBORw0"), image(png.clone()));
    check_media(MediaClass::Image, base64("", "iVBORw0"), image(png));
    let jpeg = json!({"type": "base64", "media_type": "image/jpeg", "data": "AAAA"});
    check_media(MediaClass::Image, base64("image/jpg", "AAAA"), image(jpeg));
    check_media(MediaClass::Image, base64("image/bmp", "AAAA"), None);
    check_media(MediaClass::Image, url("https://x/y.png"), image(json!({"type": "url", "url": "https://x/y.png"})));
    check_media(MediaClass::Image, url("gs://x/y.png"), None);
    check_media(MediaClass::Image, MediaSource::File(Text::word("file-1")), None);
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0"});
    check_media(MediaClass::Document, base64("application/pdf", "JVBERi0"), document(pdf));
    let plain = json!({"type": "text", "media_type": "text/plain", "data": "hi"});
    check_media(MediaClass::Document, base64("text/markdown", "aGk="), document(plain.clone()));
    check_media(MediaClass::Document, MediaSource::Plain(Text::word("hi")), document(plain));
    check_media(MediaClass::Document, url("https://x/y.pdf"), document(json!({"type": "url", "url": "https://x/y.pdf"})));
    check_media(MediaClass::Document, base64("application/zip", "AAAA"), None);
    check_media(MediaClass::Audio, base64("audio/wav", "AAAA"), None);
    check_media(MediaClass::Video, url("https://x/y.mp4"), None);
}

#[test]
fn a_tools_result_keeps_its_picture_and_its_json() {
    let source = json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0"});
    let content = json!([{"type": "image", "source": source}, {"type": "json", "value": [1]}]);
    let answer = |content: &Value| json!({"type": "tool_result", "tool_use_id": "c1", "content": content, "is_error": true});
    let body = conversation(&[user("a"), of("assistant", &[call("c1")]), of("user", &[answer(&content)])]);
    let after = json!([{"type": "image", "source": source}, {"type": "text", "text": r#"{"type":"json","value":[1]}"#}]);
    let expected = json!({"messages": [user("a"), of("assistant", &[call("c1")]), of("user", &[answer(&after)])]});
    check(&target(&[]), &body, |_| {}, &expected, &[]);
}

#[test]
fn what_only_another_dialect_knows_is_a_loss() {
    let body = json!({"max_tokens": 1, "store_it": 1, "messages": [
        {"role": "user", "weight": 2, "content": [{"type": "text", "text": "a", "shade": "red"}, {"type": "strange", "x": 1}]}],
        "tools": [{"name": "get", "input_schema": {"type": "object"}, "x": 1}, {"type": "code_execution_1", "name": "run"}]});
    let losses = [
        ("messages[0].content[0].shade", "dropped"),
        ("messages[0].content[1]", "dropped"),
        ("messages[0].weight", "dropped"),
        ("tools[0].x", "dropped"),
        ("tools[1]", "dropped"),
        ("store_it", "dropped"),
    ];
    let tools = json!([{"name": "get", "input_schema": {"type": "object"}}]);
    check(&target(&[]), &body, |_| {}, &json!({"messages": [user("a")], "tools": tools, "store_it": null}), &losses);
}

#[test]
fn impossible_conversations_are_refused() {
    let refuse = |messages: Value, names: &[&str], words: &str| {
        let body = json!({"max_tokens": 1, "messages": messages}).to_string();
        let refusal = write(&decode(body.as_bytes()).unwrap(), &target(names)).unwrap_err();
        assert!(refusal.message.contains(words), "{}", refusal.message);
    };
    refuse(json!([]), &[], "nothing of \"messages\" can be sent to this model; add");
    refuse(json!([user(" ")]), &[], "nothing of \"messages\"");
    refuse(json!([user("a"), of("assistant", &[text("b")])]), &["no_prefill"], "ends with the assistant");
}

#[test]
fn a_prefill_is_kept() {
    let messages = [user("a"), of("assistant", &[text("{")])];
    check_messages(&[], &messages, &messages, &[]);
    let think = |request: &mut Request<'_>| {
        request.max_output_tokens = Some(4000);
        request.reasoning.enabled = Some(true);
    };
    let off = json!({"thinking": {"type": "disabled"}});
    check(&target(&[]), &conversation(&messages), think, &off, &[("reasoning.enabled", "changed")]);
}

#[track_caller]
fn check_fault(body: &str, fault: &str) {
    assert_eq!(decode(body.as_bytes()).unwrap_err().to_string(), fault, "{body}");
}

#[test]
fn faults_name_their_place() {
    check_fault("[]", "the body must be an object");
    check_fault("{}", "\"messages\" is missing; send the conversation as an array");
    check_fault(r#"{"messages":[],"thread":{"type":"create"}}"#, "\"thread\" is not known here; send the whole conversation without it");
    check_fault(r#"{"messages":[{"role":"tool","content":""}]}"#, "\"messages[0].role\" must be \"user\", \"assistant\" or \"system\"");
    check_fault(r#"{"messages":[{"role":"user"}]}"#, "\"messages[0].content\" is missing");
    check_fault(r#"{"messages":[{"role":"user","content":3}]}"#, "\"messages[0].content\" must be a text or an array of content blocks");
    check_fault(r#"{"messages":[{"role":"user","content":[{}]}]}"#, "\"messages[0].content[0].type\" must be the name of a content block");
    check_fault(r#"{"messages":[{"role":"user","content":[{"type":"text"}]}]}"#, "\"messages[0].content[0].text\" is missing");
    check_fault(
        r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":""}}]}]}"#,
        "\"messages[0].content[0].source.media_type\" is missing",
    );
    check_fault(
        r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":1}]}]}]}"#,
        "\"messages[0].content[0].content[0].text\" must be a string",
    );
    check_fault(
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"","cache_control":{"type":"ephemeral","ttl":"2h"}}]}]}"#,
        "\"messages[0].content[0].cache_control.ttl\" must be \"5m\" or \"1h\"",
    );
    check_fault(r#"{"max_tokens":-1,"messages":[]}"#, "\"max_tokens\" must be a whole number that is not negative");
    check_fault(r#"{"messages":[],"thinking":{"type":"enabled"}}"#, "\"thinking.budget_tokens\" is missing");
    check_fault(r#"{"messages":[],"tools":[{"input_schema":{}}]}"#, "\"tools[0].name\" is missing");
    check_fault(r#"{"messages":[],"tools":[{"name":"a","input_schema":"x"}]}"#, "\"tools[0].input_schema\" must be a JSON Schema");
    check_fault(r#"{"messages":[],"tool_choice":{"type":"tool"}}"#, "\"tool_choice.name\" is missing");
    check_fault(r#"{"messages":[],"thinking":{}}"#, "\"thinking.type\" is missing");
    check_fault(r#"{"messages":[],"thinking":{"type":5}}"#, "\"thinking.type\" must be a string");
    check_fault(r#"{"messages":[],"temperature":"hot"}"#, "\"temperature\" must be a number");
    check_fault(r#"{"messages":[],"output_config":{"format":{"type":"json_schema"}}}"#, "\"output_config.format.schema\" is missing");
}

#[test]
fn thinking_is_read_as_said() {
    let check = |body: &str, enabled: Option<bool>, budget: Option<u64>, effort: Option<Effort>, show: Option<Show>| {
        let body = format!(r#"{{"messages":[],{body}}}"#);
        let reasoning = decode(body.as_bytes()).unwrap().reasoning;
        assert_eq!(
            (reasoning.enabled, reasoning.budget_tokens, reasoning.effort, reasoning.show),
            (enabled, budget, effort, show),
            "{body}"
        );
    };
    check(r#""thinking":{"type":"enabled","budget_tokens":2048}"#, Some(true), Some(2048), None, None);
    check(
        r#""thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"xhigh"}"#,
        Some(true),
        None,
        Some(Effort::Xhigh),
        Some(Show::Nothing),
    );
    check(r#""thinking":{"type":"disabled"}"#, Some(false), None, None, None);
    check(r#""thinking":null,"output_config":{"effort":null}"#, None, None, None, None);
    check(r#""thinking":{"type":"between_tools","display":"updates"},"output_config":{"effort":"huge"}"#, Some(true), None, None, None);
}

#[test]
fn what_only_this_dialect_knows_returns_to_its_place() {
    let body = json!({"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "x": 1, "content": [
            {"type": "document", "source": {"type": "content", "content": []}, "citations": {"enabled": true}},
            {"type": "document", "source": {"type": "url", "url": "https://x"}, "context": "c", "citations": {"enabled": true}}]}],
        "thinking": {"type": "between_tools", "display": "updates", "block_binding": {"a": 1}},
        "output_config": {"effort": "huge", "task_budget": {"tokens": 5}}, "metadata": {"user_id": "u", "team": "t"},
        "tools": [{"type": "bash_20250124", "name": "bash"}, {"name": "f", "input_schema": {"type": "object"}, "defer_loading": true}],
        "tool_choice": {"type": "auto", "later": 1}, "container": "c1", "session_id": "left out", "speed": "fast"});
    let text = body.to_string();
    let request = decode(text.as_bytes()).unwrap();
    let big = Target { max_output_tokens: Some(100_000), ..target(&["adaptive_thinking"]) };
    let (written, losses, _) = write(&request, &big).unwrap();
    let mut expected = body;
    expected["model"] = json!("claude-x");
    expected.as_object_mut().unwrap().remove("session_id");
    assert_eq!(written, expected);
    assert!(losses.is_empty(), "{losses:?}");
}

#[test]
fn a_summary_with_a_signature_is_sent_as_it_was_read() {
    let sealed = |request: &mut Request<'_>| {
        let Kind::Thought(thought) = &mut request.turns[1].blocks[0].kind else { return };
        let part = |text| ThoughtPart { shape: ThoughtShape::Summary, text: Text::word(text) };
        thought.parts = vec![part("one "), part("thought")];
        request.turns[1].blocks[0].seal = Some(Seal { data: Text::word("sig"), maker: None });
    };
    let thought = |text: &str, signature: &str| json!({"type": "thinking", "thinking": text, "signature": signature});
    let body = conversation(&[user("a"), of("assistant", &[thought("", ""), text("b")]), user("c")]);
    let expected = json!({"messages": [user("a"), of("assistant", &[thought("one thought", "sig"), text("b")]), user("c")]});
    check(&target(&[]), &body, sealed, &expected, &[]);
}
