#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::request::{Facts, RequestScan};
use fairlead_ir::Dialect::{AnthropicMessages, GeminiGenerate, OpenaiChat, OpenaiResponses};
use fairlead_ir::Severity;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const EMPTY: [(Dialect, &str); 4] = [
    (OpenaiChat, r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#),
    (OpenaiResponses, r#"{"model":"m","input":"Hi"}"#),
    (AnthropicMessages, r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#),
    (GeminiGenerate, r#"{"contents":[{"parts":[{"text":"Hi"}]}]}"#),
];

fn template(fields: &Value) -> Template {
    compile(fields.to_string().as_bytes()).unwrap()
}

fn filled_by(templates: &[Value], dialect: Dialect, purpose: Purpose, body: &str) -> Filled {
    let templates: Vec<Template> = templates.iter().map(template).collect();
    fill(&templates.iter().collect::<Vec<_>>(), dialect, purpose, body.as_bytes()).unwrap()
}

fn text(filled: &Filled, body: &str) -> String {
    filled.body.clone().map_or_else(|| body.to_owned(), |body| String::from_utf8(body).unwrap())
}

/// What a template makes of a body, to the byte.
fn check(fields: Value, dialect: Dialect, body: &str, expected: &str) {
    let filled = filled_by(&[fields], dialect, Purpose::Generate, body);
    assert_eq!(text(&filled, body), expected);
    assert_eq!(filled.body.is_none(), body == expected, "nothing put in is nothing changed");
}

fn facts(dialect: Dialect, body: &str) -> Facts {
    let mut scan = RequestScan::new(dialect, 64);
    if dialect == GeminiGenerate {
        scan = RequestScan::addressed(dialect, 64, crate::request::Address { model: "m".to_owned(), stream: false });
    }
    scan.feed(body.as_bytes()).unwrap();
    scan.finish(&[body.as_bytes()]).unwrap()
}

#[test]
fn every_dialect_gets_its_own_words() {
    let fields = || json!({"max_tokens": 99, "stop": "x", "system_prompt": "Be \"brief\"."});
    let [chat, responses, messages, gemini] = EMPTY;
    check(
        fields(),
        chat.0,
        chat.1,
        r#"{"max_tokens":99,"stop":"x","model":"m","messages":[{"role":"system","content":"Be \"brief\"."},{"role":"user","content":"Hi"}]}"#,
    );
    check(fields(), responses.0, responses.1, r#"{"instructions":"Be \"brief\".","max_output_tokens":99,"model":"m","input":"Hi"}"#);
    check(
        fields(),
        messages.0,
        messages.1,
        r#"{"system":"Be \"brief\".","max_tokens":99,"stop_sequences":["x"],"model":"m","messages":[{"role":"user","content":"Hi"}]}"#,
    );
    check(
        fields(),
        gemini.0,
        gemini.1,
        concat!(
            r#"{"systemInstruction":{"parts":[{"text":"Be \"brief\"."}]},"generationConfig":{"maxOutputTokens":99,"stopSequences":["x"]},"#,
            r#""contents":[{"parts":[{"text":"Hi"}]}]}"#
        ),
    );
}

#[test]
fn the_request_wins() {
    let unchanged = |fields: Value, dialect, body: &str| check(fields, dialect, body, body);
    for said in ["1", "null", "[]"] {
        unchanged(json!({"temperature": 0.5}), OpenaiChat, &format!(r#"{{"temperature":{said},"messages":[]}}"#));
    }
    unchanged(json!({"temperature": 0.5}), OpenaiChat, r#"{"messages":[],"\u0074emperature":1}"#);
    // By whatever name it says it.
    unchanged(json!({"max_tokens": 5}), OpenaiChat, r#"{"messages":[],"max_completion_tokens":1}"#);
    unchanged(json!({"reasoning": {"effort": "low"}}), OpenaiChat, r#"{"messages":[],"reasoning_effort":"high"}"#);
    unchanged(json!({"reasoning": {"effort": "low"}}), AnthropicMessages, r#"{"messages":[],"thinking":{"type":"disabled"}}"#);
    unchanged(json!({"reasoning": {"effort": "low"}}), AnthropicMessages, r#"{"messages":[],"output_config":{"effort":"max"}}"#);
    unchanged(json!({"service_tier": "flex"}), AnthropicMessages, r#"{"messages":[],"speed":"fast"}"#);
    unchanged(json!({"service_tier": "flex"}), GeminiGenerate, r#"{"contents":[],"service_tier":"priority"}"#);
    unchanged(json!({"max_tokens": 5}), GeminiGenerate, r#"{"contents":[],"generation_config":{"max_output_tokens":1}}"#);
    unchanged(json!({"max_tokens": 5}), GeminiGenerate, r#"{"contents":[],"generationConfig":null}"#);
    unchanged(
        json!({"response_format": {"type": "json_object"}}),
        GeminiGenerate,
        r#"{"contents":[],"generationConfig":{"responseMimeType":"a/b"}}"#,
    );
    unchanged(json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), OpenaiChat, r#"{"messages":[],"tools":null}"#);
    unchanged(json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), OpenaiChat, r#"{"messages":[],"functions":[]}"#);
    // Instructions of its own, wherever it has them.
    let prompt = || json!({"system_prompt": "p"});
    unchanged(prompt(), OpenaiChat, r#"{"messages":[{"role":"user","content":"a"},{"role":"developer","content":"b"}]}"#);
    unchanged(prompt(), OpenaiResponses, r#"{"instructions":"","input":"a"}"#);
    unchanged(prompt(), OpenaiResponses, r#"{"input":[{"role":"system","content":"a"}]}"#);
    unchanged(prompt(), AnthropicMessages, r#"{"system":[],"messages":[]}"#);
    unchanged(prompt(), GeminiGenerate, r#"{"system_instruction":{},"contents":[]}"#);
}

#[test]
fn objects_of_chats_fields_are_merged_by_their_members() {
    let fields = json!({"max_tokens": 5, "temperature": 1, "seed": 3});
    let body = r#"{"contents":[], "generation_config" : { "temperature":0.1 }}"#;
    check(
        fields.clone(),
        GeminiGenerate,
        body,
        r#"{"contents":[], "generation_config" : {"seed":3,"maxOutputTokens":5, "temperature":0.1 }}"#,
    );
    check(fields, GeminiGenerate, r#"{"generationConfig":{ }}"#, r#"{"generationConfig":{"temperature":1,"seed":3,"maxOutputTokens":5 }}"#);
    let fields = json!({"verbosity": "low", "response_format": {"type": "json_object"}});
    check(
        fields,
        OpenaiResponses,
        r#"{"text":{"format":{"type":"text"}},"input":"a"}"#,
        r#"{"text":{"verbosity":"low","format":{"type":"text"}},"input":"a"}"#,
    );
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name}})
}

#[test]
fn tools_are_joined_by_their_names() {
    let fields = || json!({"tools": [tool("a"), tool("b")]});
    let (a, b, c) = (tool("a").to_string(), tool("b").to_string(), tool("c").to_string());
    check(fields(), OpenaiChat, r#"{"messages":[]}"#, &format!(r#"{{"tools":[{a},{b}],"messages":[]}}"#));
    check(fields(), OpenaiChat, r#"{"tools":[ ],"messages":[]}"#, &format!(r#"{{"tools":[ {a},{b}],"messages":[]}}"#));
    check(fields(), OpenaiChat, &format!(r#"{{"tools":[{b} ,{c} ]}}"#), &format!(r#"{{"tools":[{b} ,{c} ,{a}]}}"#));
    check(fields(), OpenaiChat, &format!(r#"{{"tools":[{a},{b}]}}"#), &format!(r#"{{"tools":[{a},{b}]}}"#));
    let declared = |name: &str| format!(r#"{{"name":"{name}"}}"#);
    let (a, b) = (declared("a"), declared("b"));
    check(fields(), GeminiGenerate, r#"{"contents":[]}"#, &format!(r#"{{"tools":[{{"functionDeclarations":[{a},{b}]}}],"contents":[]}}"#));
    check(
        fields(),
        GeminiGenerate,
        &format!(r#"{{"tools":[{{"googleSearch":{{}}}},{{"function_declarations":[{b}]}}]}}"#),
        &format!(r#"{{"tools":[{{"googleSearch":{{}}}},{{"function_declarations":[{b},{a}]}}]}}"#),
    );
    check(
        json!({"tools": [tool("a")], "web_search_options": {}}),
        GeminiGenerate,
        r#"{"tools":[{"googleSearch":{}}]}"#,
        &format!(r#"{{"tools":[{{"googleSearch":{{}}}},{{"functionDeclarations":[{a}]}}]}}"#),
    );
    check(
        fields(),
        AnthropicMessages,
        r#"{"tools":[{"name":"a","input_schema":{"type":"object"}}]}"#,
        r#"{"tools":[{"name":"a","input_schema":{"type":"object"}},{"name":"b","input_schema":{"type":"object","properties":{}}}]}"#,
    );
}

#[test]
fn of_several_presets_the_first_one_counts() {
    let (first, second) =
        (json!({"max_tokens": 1, "tools": [tool("a")]}), json!({"max_completion_tokens": 2, "seed": 3, "tools": [tool("a"), tool("b")]}));
    let filled = filled_by(&[first, second], OpenaiChat, Purpose::Generate, r#"{"messages":[]}"#);
    let (a, b) = (tool("a"), tool("b"));
    assert_eq!(text(&filled, ""), format!(r#"{{"max_tokens":1,"seed":3,"tools":[{a},{b}],"messages":[]}}"#));
    // What one of them says in two members goes together.
    let thinking = json!({"reasoning": {"effort": "high"}});
    let filled = filled_by(&[thinking.clone(), thinking], AnthropicMessages, Purpose::Generate, r#"{"messages":[]}"#);
    let body: Value = serde_json::from_slice(&filled.body.unwrap()).unwrap();
    assert_eq!((&body["thinking"]["type"], &body["output_config"]), (&json!("adaptive"), &json!({"effort": "high"})));
    assert!(filled.has_words_of_endpoints);
}

#[test]
fn what_endpoints_say_differently_is_told() {
    let check = |fields: Value, dialect: Dialect, words, limit, tier| {
        let body = EMPTY.iter().find(|(other, _)| *other == dialect).unwrap().1;
        let filled = filled_by(std::slice::from_ref(&fields), dialect, Purpose::Generate, body);
        assert_eq!((filled.has_words_of_endpoints, filled.has_limit, filled.has_tier), (words, limit, tier), "{dialect:?} {fields}");
    };
    for dialect in [OpenaiChat, AnthropicMessages, GeminiGenerate] {
        check(json!({"reasoning": {"effort": "high"}}), dialect, true, false, false);
        check(json!({"reasoning": {"max_tokens": 2000}}), dialect, true, false, false);
    }
    check(json!({"reasoning": {"effort": "high"}}), OpenaiResponses, false, false, false);
    check(json!({"reasoning_effort": "high", "seed": 1}), OpenaiChat, false, false, false);
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}});
    check(format.clone(), OpenaiChat, false, false, false);
    check(format.clone(), AnthropicMessages, true, false, false);
    check(format, GeminiGenerate, true, false, false);
    check(json!({"max_tokens": 1}), OpenaiChat, false, true, false);
    check(json!({"max_tokens": 1}), AnthropicMessages, false, false, false);
    for (dialect, _) in EMPTY {
        check(json!({"service_tier": "flex"}), dialect, false, false, true);
    }
}

#[test]
fn the_usual_tier_has_the_dialects_own_word() {
    let filled = |dialect, body| text(&filled_by(&[json!({"service_tier": "default"})], dialect, Purpose::Generate, body), body);
    assert_eq!(filled(OpenaiChat, "{}"), r#"{"service_tier":"default"}"#);
    assert_eq!(filled(AnthropicMessages, "{}"), r#"{"service_tier":"standard_only"}"#);
    assert_eq!(filled(GeminiGenerate, "{}"), r#"{"serviceTier":"standard"}"#);
}

#[test]
fn what_cannot_be_said_is_a_loss() {
    let check = |fields: Value, dialect: Dialect, purpose: Purpose, body: &str, expected: &[&str]| {
        let filled = filled_by(&[fields], dialect, purpose, body);
        assert_eq!(filled.losses.as_slice().iter().map(|loss| loss.path.as_str()).collect::<Vec<_>>(), expected, "{dialect:?} {body}");
        filled
    };
    let fields = || json!({"seed": 1, "temperature": 1.5, "tomorrow": 1});
    check(fields(), OpenaiChat, Purpose::Generate, "{}", &[]);
    check(fields(), OpenaiResponses, Purpose::Generate, "{}", &["seed", "tomorrow"]);
    check(fields(), AnthropicMessages, Purpose::Generate, "{}", &["temperature", "seed", "tomorrow"]);
    check(fields(), AnthropicMessages, Purpose::Generate, r#"{"temperature":1}"#, &["seed", "tomorrow"]);
    check(fields(), GeminiGenerate, Purpose::Generate, "{}", &["tomorrow"]);
    // The translation would say it in words, as a system prompt.
    let in_words = json!({"response_format": {"type": "json_object"}, "system_prompt": "p"});
    let filled = check(in_words, AnthropicMessages, Purpose::Generate, "{}", &["response_format"]);
    assert_eq!((text(&filled, ""), filled.losses.as_slice()[0].severity), (r#"{"system":"p"}"#.to_owned(), Severity::Dropped));
    let completions = json!({"max_tokens": 3, "tools": [tool("a")], "system_prompt": "p"});
    let filled = check(completions.clone(), OpenaiChat, Purpose::Completions, r#"{"prompt":"a"}"#, &["tools", "system_prompt"]);
    assert_eq!((text(&filled, ""), filled.has_limit), (r#"{"max_tokens":3,"prompt":"a"}"#.to_owned(), false));
    let filled = check(completions, OpenaiChat, Purpose::Embeddings, r#"{"input":"a"}"#, &["max_tokens", "tools", "system_prompt"]);
    assert_eq!(filled.body, None);
}

#[test]
fn a_count_counts_instructions_and_tools() {
    let fields = || json!({"seed": 1, "system_prompt": "p", "tools": [tool("a")]});
    let counted = |dialect, body| text(&filled_by(&[fields()], dialect, Purpose::CountTokens, body), body);
    assert_eq!(
        counted(AnthropicMessages, r#"{"messages":[]}"#),
        r#"{"system":"p","tools":[{"name":"a","input_schema":{"type":"object","properties":{}}}],"messages":[]}"#
    );
    let inside = r#"{"systemInstruction":{"parts":[{"text":"p"}]},"tools":[{"functionDeclarations":[{"name":"a"}]}],"contents":[]}"#;
    assert_eq!(counted(GeminiGenerate, r#"{"contents":[]}"#), inside);
    assert_eq!(
        counted(GeminiGenerate, r#" {"generate_content_request": {"contents":[]}}"#),
        format!(r#" {{"generate_content_request": {inside}}}"#)
    );
}

#[test]
fn mistakes_have_their_path() {
    let check = |fields: &str, param: &str, words: &str| {
        let refusal = compile(fields.as_bytes()).unwrap_err();
        assert_eq!(refusal.param.as_deref(), Some(param), "{}", refusal.message);
        assert!(refusal.message.contains(words), "{}", refusal.message);
    };
    check("[]", "fields", "no JSON object");
    check(r#"{"seed":}"#, "fields", "no JSON object");
    check(r#"{"messages":[]}"#, "messages", "the request's own");
    check(r#"{"stream":true}"#, "stream", "the request's own");
    check(r#"{"plugins":[{"id":"web"}]}"#, "plugins", "not in this version");
    check(r#"{"route":"sort"}"#, "route", "no field of a request");
    check(r#"{"preset":"x"}"#, "preset", "no field of a request");
    check(r#"{"system_prompt":1}"#, "system_prompt", "must be a string");
    check(r#"{"max_tokens":"many"}"#, "max_tokens", "");
    check(r#"{"tools":[{"function":{}}]}"#, "tools[0]", "must have a type");
    check(r#"{"reasoning_effort":"low","reasoning":{"effort":"high"}}"#, "reasoning_effort", "differs");
}

/// A value of a field, and another one that means something else.
fn fields_of_chat() -> impl Strategy<Value = Map<String, Value>> {
    let field = prop_oneof![
        (0..9_u64).prop_map(|value| ("temperature", json!(value))),
        (1..9_u64).prop_map(|value| ("max_tokens", json!(value))),
        (1..9_u64).prop_map(|value| ("max_completion_tokens", json!(value))),
        (0..9_u64).prop_map(|value| ("seed", json!(value))),
        "[a-z]{1,3}".prop_map(|value| ("stop", json!(value))),
        prop::sample::select(vec!["low", "high"]).prop_map(|value| ("reasoning", json!({"effort": value}))),
        prop::sample::select(vec!["flex", "priority"]).prop_map(|value| ("service_tier", json!(value))),
        prop::collection::vec("[a-d]", 0..4).prop_map(|names| ("tools", names.iter().map(|name| tool(name)).collect())),
        "\\PC{0,5}".prop_map(|value| ("tomorrow", json!(value))),
    ];
    prop::collection::vec(field, 0..6).prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

proptest! {
    /// Whatever a request says stands in what is sent, where and as it stood; and what is sent says each thing once.
    #[test]
    fn the_request_always_wins(preset in fields_of_chat(), own in fields_of_chat(), spaces in 0..3_usize) {
        let [preset_fields, mut body] = [preset, own].map(Value::Object);
        body["messages"] = json!([{"role": "user", "content": "Hi"}]);
        body["model"] = json!("m");
        let body = body.to_string().replace(',', &format!(",{}", " ".repeat(spaces)));
        let filled = filled_by(std::slice::from_ref(&preset_fields), OpenaiChat, Purpose::Generate, &body);
        let sent: Value = serde_json::from_str(&text(&filled, &body)).unwrap();
        let own: Value = serde_json::from_str(&body).unwrap();
        for (name, value) in own.as_object().unwrap().iter().filter(|(name, _)| *name != "tools") {
            prop_assert_eq!(&sent[name], value);
        }
        let names = |tools: &Value| -> Vec<String> { tools.as_array().into_iter().flatten().map(|tool| tool["function"]["name"].to_string()).collect() };
        prop_assert!(names(&sent["tools"]).starts_with(&names(&own["tools"])));
        for (name, value) in preset_fields.as_object().unwrap().iter().filter(|(name, _)| *name != "tools" && !name.starts_with("max_")) {
            if own.get(name).is_none() {
                prop_assert_eq!(&sent[name], value);
            }
        }
        // A member twice would be refused here.
        facts(OpenaiChat, &text(&filled, &body));
        // Once is enough.
        let again = filled_by(&[preset_fields], OpenaiChat, Purpose::Generate, &text(&filled, &body));
        prop_assert_eq!(again.body, None);
    }

    /// A conversation that goes on begins with the same bytes, in every dialect.
    #[test]
    fn a_longer_conversation_begins_alike(preset in fields_of_chat(), more in "[a-z ]{1,20}") {
        let mut fields = Value::Object(preset);
        fields["system_prompt"] = json!("Be brief.");
        for (dialect, short) in EMPTY.into_iter().filter(|(dialect, _)| *dialect != OpenaiResponses) {
            let end = "]}";
            let longer = format!("{},{}{end}", short.strip_suffix(end).unwrap(), json!({"role": "user", "content": more}));
            let [short, longer] = [short, &longer].map(|body| text(&filled_by(&[fields.clone()], dialect, Purpose::Generate, body), body));
            prop_assert!(longer.starts_with(short.strip_suffix(end).unwrap()), "{short} {longer}");
            facts(dialect, &longer);
        }
    }
}
