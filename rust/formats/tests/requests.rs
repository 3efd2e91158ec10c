//! Requests: what is refused, what is read, and what goes upstream.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_formats::extension::{EXTENSIONS, Treatment};
use fairlead_formats::request::{Address, Facts, Refusal, RequestScan, Target, TierWord, edits};
use fairlead_formats::splice::Edits;
use fairlead_ir::{Dialect, ErrorKind, Manner};
use proptest::prelude::*;
use serde_json::{Value, json};

const CHAT: Dialect = Dialect::OpenaiChat;
const RESPONSES: Dialect = Dialect::OpenaiResponses;
const MESSAGES: Dialect = Dialect::AnthropicMessages;

fn scan(dialect: Dialect, body: &[u8], step: usize) -> Result<Facts, Refusal> {
    let frames: Vec<&[u8]> = body.chunks(step).collect();
    let mut scan = RequestScan::new(dialect, 128);
    frames.iter().try_for_each(|frame| scan.feed(frame))?;
    scan.finish(&frames)
}

fn upstream(facts: &Facts, body: &[u8], target: &Target<'_>) -> String {
    let mut list = Edits::new();
    edits(facts, target, &mut list).unwrap();
    let mut out = Vec::new();
    list.apply(body, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn target(manner: Manner) -> Target<'static> {
    Target {
        upstream_model: "up-1",
        manner,
        hashed_user: Some("h4sh"),
        stream_options: true,
        raw_predict: false,
        tier: TierWord::Kept,
        limit_name: None,
    }
}

fn check_refused(dialect: Dialect, body: &str, param: Option<&str>, message: &str) {
    for step in [1, 7, body.len().max(1)] {
        let refusal = scan(dialect, body.as_bytes(), step).unwrap_err();
        assert_eq!(refusal.message, message, "{body}");
        assert_eq!((refusal.kind, refusal.param.as_deref()), (ErrorKind::InvalidRequest, param), "{body}");
    }
}

#[test]
fn what_routing_is_told_is_there_as_it_stands() {
    let check = |members: &str, name: &str, expected: Option<&str>| {
        let body = format!(r#"{{"model":"m","messages":[]{members}}}"#);
        let frames: Vec<&[u8]> = body.as_bytes().chunks(5).collect();
        let facts = scan(CHAT, body.as_bytes(), 5).unwrap();
        let found = facts.extension(name, &frames).map(|value| String::from_utf8(value.into_owned()).unwrap());
        assert_eq!(found.as_deref(), expected, "{body}");
    };
    check("", "provider", None);
    check(r#","provider":{}"#, "provider", None);
    check(r#","provider":null"#, "provider", None);
    check(r#","provider":{ "order" : ["a"] }"#, "provider", Some(r#"{ "order" : ["a"] }"#));
    check(r#","provider":"x""#, "provider", Some(r#""x""#));
    check(r#","route":"fallback""#, "route", Some(r#""fallback""#));
    let preset = scan(CHAT, br#"{"model":"m","messages":[],"preset":"careful"}"#, 5).unwrap().preset;
    assert_eq!(preset.as_deref(), Some("careful"));
}

#[test]
fn tools_that_are_thought_about() {
    let facts = |dialect, members: &str| scan(dialect, format!(r#"{{"model":"m","messages":[],{members}}}"#).as_bytes(), 9).unwrap();
    for (members, thinks) in [
        (r#""tools":[{"type":"function"}]"#, true),
        (r#""tools":[{"type":"function"}],"reasoning_effort":"low""#, true),
        (r#""tools":[{"type":"function"}],"reasoning_effort":"none""#, false),
        (r#""tools":[ ],"reasoning_effort":"low""#, false),
        (r#""tools":null"#, false),
        (r#""reasoning_effort":"low""#, false),
    ] {
        assert_eq!(facts(CHAT, members).thinks_with_tools, thinks, "{members}");
    }
    assert!(!facts(MESSAGES, r#""max_tokens":1,"tools":[{"name":"a"}]"#).thinks_with_tools);
}

#[test]
fn bodies_that_are_refused() {
    fn check(body: &str, param: Option<&str>, message: &str) {
        check_refused(CHAT, body, param, message);
    }
    check("", None, "the body is not acceptable: invalid JSON at byte 0: the text ends too early; send one JSON object");
    check("[]", None, "the body is not acceptable: invalid JSON at byte 0: the top level must be an object; send one JSON object");
    check(
        r#"{"model":"m","messages":[}"#,
        None,
        "the body is not acceptable: invalid JSON at byte 25: expected a value or ']'; send one JSON object",
    );
    check(r#"{"model":"a","messages":[],"\u006dodel":"b"}"#, Some("model"), "\"model\" occurs twice (byte 38); send it once");
    check(r#"{"Model":"a","messages":[]}"#, Some("model"), "a member (byte 7) differs from \"model\" only in letter case; write \"model\"");
    let no_model = "\"model\" is missing or empty; name a model such as \"vendor/model\"";
    check(r#"{"messages":[]}"#, Some("model"), no_model);
    check(r#"{"model":"","messages":[]}"#, Some("model"), no_model);
    check(r#"{"model":null,"messages":[]}"#, Some("model"), no_model);
    check(r#"{"model":7,"messages":[]}"#, Some("model"), "\"model\" must be a string; it is 7");
    check(r#"{"model":"a\u0000b","messages":[]}"#, Some("model"), "\"model\" contains a control character; remove it");
    check(r#"{"model":"m"}"#, Some("messages"), "\"messages\" is missing; send the conversation as an array");
    check(r#"{"model":"m","messages":"hi"}"#, Some("messages"), "\"messages\" must be an array; it is a string");
    let with = |member: &str| format!(r#"{{"model":"m","messages":[],{member}}}"#);
    check(&with(r#""stream":"yes""#), Some("stream"), "\"stream\" must be true or false; it is a string");
    check(&with(r#""stream":1"#), Some("stream"), "\"stream\" must be true or false; it is 1");
    let number = "a whole number, 0 or more; it is";
    check(&with(r#""max_tokens":-1"#), Some("max_tokens"), &format!("\"max_tokens\" must be {number} -1"));
    check(&with(r#""max_tokens":1.5"#), Some("max_tokens"), &format!("\"max_tokens\" must be {number} 1.5"));
    check(
        &with(r#""max_completion_tokens":1e9"#),
        Some("max_completion_tokens"),
        &format!("\"max_completion_tokens\" must be {number} 1e9"),
    );
    check(&with(r#""n":[]"#), Some("n"), "\"n\" must be a whole number, 0 or more; it is an array");
    check(&with(r#""user":{}"#), Some("user"), "\"user\" must be a string; it is an object");
    check(&with(r#""stream_options":true"#), Some("stream_options"), "\"stream_options\" must be an object; it is true");
    check(
        &with(r#""stream_options":{"include_usage":"yes"}"#),
        Some("stream_options"),
        "\"stream_options.include_usage\" must be true or false",
    );
    check(
        &with(r#""stream_options":{"include_usage":true,"include_usage":false}"#),
        Some("stream_options"),
        "\"stream_options.include_usage\" occurs twice; send it once",
    );
    let long = format!("\"model\":\"{}\",\"messages\":[]", "x".repeat(257));
    check(&format!("{{{long}}}"), Some("model"), "\"model\" is longer than 256 bytes; shorten it");
    let huge = format!("\"model\":\"{}\",\"messages\":[]", "x".repeat(5000));
    check(&format!("{{{huge}}}"), Some("model"), "\"model\" is longer than 256 bytes; shorten it");
    check_refused(
        MESSAGES,
        r#"{"model":"m","messages":[],"max_tokens":"9"}"#,
        Some("max_tokens"),
        "\"max_tokens\" must be a whole number, 0 or more; it is a string",
    );
    let other = "gemini_generate is spoken with providers only, or on another path";
    check_refused(Dialect::GeminiGenerate, r#"{"contents":[]}"#, None, other);
}

#[test]
fn features_that_are_not_there_are_named() {
    for row in EXTENSIONS {
        for value in ["null", "false", "\"\"", "[]", "{}", "[ ]", "{\n}"] {
            let body = format!(r#"{{"model":"m","messages":[],"{}":{value}}}"#, row.key);
            let read = scan(CHAT, body.as_bytes(), 5);
            if !["session_id", "preset"].contains(&row.key) {
                assert!(read.is_ok(), "{body}");
            }
        }
        for value in ["\"x\"", "[\"x\"]", "[[]]", "{\"a\":{}}", "true", "1"] {
            let body = format!(r#"{{"model":"m","messages":[],"{}":{value}}}"#, row.key);
            if row.treatment == Treatment::NotInThisVersion {
                let message = format!("\"{}\" ({}) is not in this version; leave it out", row.key, row.feature);
                check_refused(CHAT, &body, Some(row.key), &message);
                check_refused(MESSAGES, &body, Some(row.key), &message);
            }
        }
    }
}

#[test]
fn other_models_may_answer() {
    let check = |members: &str, model: &str, others: &[&str]| {
        for (dialect, step) in [(CHAT, 1), (CHAT, 9), (MESSAGES, 500), (Dialect::OpenaiResponses, 7)] {
            let conversation = if dialect == Dialect::OpenaiResponses { "input" } else { "messages" };
            let body = format!(r#"{{{members},"{conversation}":[],"max_tokens":5}}"#);
            let facts = scan(dialect, body.as_bytes(), step).unwrap();
            let found: Vec<&str> = facts.fallback_models.iter().map(String::as_str).collect();
            assert_eq!((facts.model.as_str(), &*found), (model, others), "{body}");
        }
    };
    check(r#""model":"a""#, "a", &[]);
    check(r#""model":"a","models":["b","\u0063","a"]"#, "a", &["b", "c", "a"]);
    check(r#""models":["b","c"],"route":"fallback""#, "b", &["c"]);
    let wrong = |members: &str, param: &str, message: &str| {
        check_refused(CHAT, &format!(r#"{{{members},"messages":[]}}"#), Some(param), message);
    };
    wrong(r#""model":"m","models":"b""#, "models", "\"models\" must be an array of names");
    wrong(r#""model":"m","models":["b",1]"#, "models", "\"models[1]\" must name a model, such as \"vendor/model\"");
    wrong(r#""model":"m","models":[""]"#, "models", "\"models[0]\" must name a model, such as \"vendor/model\"");
    let long = format!(r#""model":"m","models":["b","{}"]"#, "x".repeat(257));
    wrong(&long, "models", "\"models[1]\" is longer than 256 bytes; shorten it");
    wrong(r#""model":null,"models":["b"]"#, "model", "\"model\" is missing or empty; name a model such as \"vendor/model\"");
    let many = format!(r#""model":"m","models":[{}]"#, vec![r#""b""#; 65].join(","));
    wrong(&many, "models", "\"models\" has more than 64 names; shorten it");
}

/// A body that names its models in the list alone gets one for the provider.
#[test]
fn the_list_of_models_stays_here() {
    let body = r#"{"models":["a","b"],"messages":[]}"#;
    let facts = scan(CHAT, body.as_bytes(), 5).unwrap();
    let target = Target {
        upstream_model: "up-1",
        manner: Manner::Native,
        hashed_user: None,
        stream_options: true,
        raw_predict: false,
        tier: TierWord::Kept,
        limit_name: None,
    };
    assert_eq!(upstream(&facts, body.as_bytes(), &target), r#"{"model":"up-1","messages":[]}"#);
}

/// Claude on Vertex AI: nothing changes but where the model stands, and the version.
#[test]
fn a_raw_prediction_has_its_version_in_the_body() {
    let check = |body: &str, expected: &str| {
        let facts = scan(Dialect::AnthropicMessages, body.as_bytes(), 7).unwrap();
        let target = Target { raw_predict: true, ..target(Manner::Native) };
        assert_eq!(upstream(&facts, body.as_bytes(), &target), expected, "{body}");
    };
    const VERSION: &str = r#""anthropic_version":"vertex-2023-10-16""#;
    check(r#"{"model":"m","messages":[ ],"max_tokens":1}"#, &format!(r#"{{{VERSION},"messages":[ ],"max_tokens":1}}"#));
    check(r#"{ "max_tokens":1, "messages":[], "model":"m" }"#, &format!(r#"{{{VERSION}, "max_tokens":1, "messages":[] }}"#));
    // A client that has it there already, whatever it says.
    for theirs in [r#""2026-10-21""#, "null", "[1]"] {
        let body = format!(r#"{{"anthropic_version":{theirs},"stream":true,"model":"m","messages":[],"user":"u"}}"#);
        check(&body, &format!(r#"{{{VERSION},"stream":true,"messages":[],"user":"u"}}"#));
    }
    let chat = br#"{"model":"m","messages":[]}"#;
    let target = Target { raw_predict: true, ..target(Manner::Native) };
    assert_eq!(upstream(&scan(CHAT, chat, 7).unwrap(), chat, &target), r#"{"model":"up-1","messages":[]}"#, "no word of other dialects");
}

fn scan_addressed(body: &str, model: &str, step: usize) -> Result<Facts, Refusal> {
    let frames: Vec<&[u8]> = body.as_bytes().chunks(step).collect();
    let address = Address { model: model.to_owned(), stream: true };
    let mut scan = RequestScan::addressed(Dialect::GeminiGenerate, 128, address);
    frames.iter().try_for_each(|frame| scan.feed(frame))?;
    scan.finish(&frames)
}

#[test]
fn a_path_that_names_the_model() {
    let body = r#"{"contents":[{"role":"user"}],"model":"models/other","generation_config":{"max_output_tokens":"7","candidateCount":2.0},"generationConfig":{"maxOutputTokens":5},"session_id":"s"}"#;
    for step in [1, 7, 500] {
        let facts = scan_addressed(body, "vendor/model:free", step).unwrap();
        assert_eq!((facts.model.as_str(), facts.stream, facts.model_range.clone()), ("vendor/model:free", true, 0..0));
        assert_eq!(&body[facts.messages_range.clone()], r#"[{"role":"user"}]"#);
        assert_eq!((facts.max_completion_tokens, facts.choices, facts.session_id.as_deref()), (Some(7), 2, Some("s")));
        let sent = r#"{"contents":[{"role":"user"}],"generation_config":{"max_output_tokens":"7","candidateCount":2.0},"generationConfig":{"maxOutputTokens":5}}"#;
        assert_eq!(upstream(&facts, body.as_bytes(), &target(Manner::Native)), sent);
    }
    assert!(scan_addressed(r#"{"contents":{"parts":[]}}"#, "m", 9).is_ok());
    for (body, model, message) in [
        ("{}", "m", "\"contents\" is missing; send the conversation as an array"),
        (r#"{"contents":"hi"}"#, "m", "\"contents\" must be an array; it is a string"),
        (r#"{"contents":[]}"#, "", "the path names no model; write it as models/{model}:generateContent"),
        (r#"{"contents":[]}"#, "a\n", "the model in the path contains a control character; remove it"),
        (r#"{"contents":[],"generationConfig":7}"#, "m", "\"generationConfig\" must be an object; it is 7"),
        (
            r#"{"contents":[],"generationConfig":{"maxOutputTokens":-1}}"#,
            "m",
            "\"generationConfig.maxOutputTokens\" must be a whole number, 0 or more",
        ),
    ] {
        assert_eq!(scan_addressed(body, model, 9).unwrap_err().message, message, "{body}");
    }
    check_refused(Dialect::GeminiGenerate, r#"{"contents":[]}"#, None, "gemini_generate is spoken with providers only, or on another path");
}

#[test]
fn what_is_read() {
    let body = br#" {"max_tokens":5,"messages":[{"role":"user"}],"n":2,"stream":true,"user":"u1","max_completion_tokens":7,"model":"a\/b","session_id":"s","stream_options":{"include_usage":null}} "#;
    for step in [1, 3, 500] {
        let facts = scan(CHAT, body, step).unwrap();
        assert_eq!(facts.model, "a/b");
        assert_eq!(&body[facts.model_range.clone()], br#""a\/b""#);
        assert_eq!(&body[facts.messages_range.clone()], br#"[{"role":"user"}]"#);
        assert_eq!((facts.stream, facts.max_completion_tokens, facts.choices), (true, Some(7), 2));
        assert_eq!((facts.user.as_deref(), facts.session_id.as_deref()), (Some("u1"), Some("s")));
        assert_eq!((facts.include_usage, facts.body_bytes), (None, body.len()));
    }
    let bare = scan(CHAT, br#"{"model":"m","messages":[],"max_tokens":null,"user":""}"#, 9).unwrap();
    assert_eq!((bare.stream, bare.max_completion_tokens, bare.choices, bare.user), (false, None, 1, None));
    let who = |body: &str| scan(MESSAGES, body.as_bytes(), 9).unwrap().user;
    assert_eq!(who(r#"{"model":"m","messages":[],"metadata":{"user_id":"a\/b"}}"#).as_deref(), Some("a/b"));
    assert_eq!(who(r#"{"model":"m","messages":[],"metadata":{"user_id":"a"},"user":"b"}"#).as_deref(), Some("b"));
    let messages = scan(MESSAGES, br#"{"model":"m","messages":[],"max_tokens":0,"stream":true}"#, 9).unwrap();
    assert_eq!((messages.max_completion_tokens, messages.choices), (Some(0), 1));
}

#[test]
fn what_is_read_of_a_responses_body() {
    let body = br#"{"instructions":"i","input":[{"role":"user","content":"x"}],"model":"m","stream":true,"max_output_tokens":9,"user":"u","max_tokens":5}"#;
    for step in [1, 7, body.len()] {
        let facts = scan(RESPONSES, body, step).unwrap();
        assert_eq!(&body[facts.messages_range.clone()], br#"[{"role":"user","content":"x"}]"#);
        let read = (facts.model.as_str(), facts.stream, facts.max_completion_tokens, facts.choices, facts.user.as_deref());
        assert_eq!(read, ("m", true, Some(9), 1, Some("u")));
        assert!(!facts.withhold_usage(Manner::Native));
    }
    let text = scan(RESPONSES, br#"{"model":"m","input":"hi"}"#, 9).unwrap();
    assert_eq!(text.messages_range, 21..25);
    for stored in [r#"{"model":"m","prompt":{"id":"p"}}"#, r#"{"model":"m","input":null,"background":false}"#] {
        assert_eq!(scan(RESPONSES, stored.as_bytes(), 9).unwrap().messages_range, 0..0);
    }
    check_refused(RESPONSES, r#"{"model":"m","input":7}"#, Some("input"), "\"input\" must be a string or an array; it is 7");
    let background = "\"background\" (replies that are asked for later) is not in this version; leave it out";
    check_refused(RESPONSES, r#"{"model":"m","input":"x","background":true}"#, Some("background"), background);
    let debug = "\"debug\" (echo of the upstream body) is not in this version; leave it out";
    check_refused(RESPONSES, r#"{"model":"m","input":"x","debug":{"echo_upstream_body":true}}"#, Some("debug"), debug);
}

#[test]
fn who_is_spared_the_usage_chunk() {
    let withhold = |dialect, rest: &str, manner| {
        let body = format!(r#"{{"model":"m","messages":[]{rest}}}"#);
        scan(dialect, body.as_bytes(), 9).unwrap().withhold_usage(manner)
    };
    assert!(withhold(CHAT, r#","stream":true"#, Manner::Native));
    assert!(withhold(CHAT, r#","stream":true,"stream_options":{"include_usage":false}"#, Manner::Native));
    assert!(!withhold(CHAT, r#","stream":true,"stream_options":{"include_usage":true}"#, Manner::Native));
    assert!(!withhold(CHAT, r#","stream":true"#, Manner::Openrouter));
    assert!(!withhold(CHAT, "", Manner::Native));
    assert!(!withhold(MESSAGES, r#","stream":true"#, Manner::Native));
}

fn check_upstream(dialect: Dialect, body: &str, native: &str, openrouter: &str) {
    for step in [1, body.len()] {
        let facts = scan(dialect, body.as_bytes(), step).unwrap();
        assert_eq!(upstream(&facts, body.as_bytes(), &target(Manner::Native)), native);
        assert_eq!(upstream(&facts, body.as_bytes(), &target(Manner::Openrouter)), openrouter);
    }
}

#[test]
fn what_goes_upstream() {
    let both = |dialect, body: &str, expected: &str| check_upstream(dialect, body, expected, expected);
    both(CHAT, r#"{"model":"m","messages":[ ], "x":1.0}"#, r#"{"model":"up-1","messages":[ ], "x":1.0}"#);
    both(
        CHAT,
        r#"{"model":"m","messages":[],"stream":true}"#,
        r#"{"stream_options":{"include_usage":true},"model":"up-1","messages":[],"stream":true}"#,
    );
    both(
        CHAT,
        r#"{"stream_options":{"include_obfuscation":false},"model":"m","messages":[],"stream":true}"#,
        r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"model":"up-1","messages":[],"stream":true}"#,
    );
    both(
        CHAT,
        r#"{"stream_options":{ },"model":"m","messages":[],"stream":true}"#,
        r#"{"stream_options":{"include_usage":true },"model":"up-1","messages":[],"stream":true}"#,
    );
    both(
        CHAT,
        r#"{"stream_options":{"include_usage": false},"model":"m","messages":[],"stream":true}"#,
        r#"{"stream_options":{"include_usage": true},"model":"up-1","messages":[],"stream":true}"#,
    );
    both(
        CHAT,
        r#"{"stream_options":null,"model":"m","messages":[],"stream":true}"#,
        r#"{"stream_options":{"include_usage":true},"model":"up-1","messages":[],"stream":true}"#,
    );
    both(
        CHAT,
        r#"{"stream_options":{"include_usage":true},"model":"m","messages":[],"stream":true}"#,
        r#"{"stream_options":{"include_usage":true},"model":"up-1","messages":[],"stream":true}"#,
    );
    both(
        CHAT,
        r#"{"usage":{"include":true},"models":[],"model":"m","session_id":"s","messages":[],"trace":{"a":1}}"#,
        r#"{"model":"up-1","messages":[]}"#,
    );
    // Its usage comes unasked.
    both(RESPONSES, r#"{"model":"m","input":"x","stream":true}"#, r#"{"model":"up-1","input":"x","stream":true}"#);
    check_upstream(
        RESPONSES,
        r#"{"model":"m","input":"x","user":"u","store":false,"session_id":"s","usage":{"include":true}}"#,
        r#"{"model":"up-1","input":"x","user":"u","store":false}"#,
        r#"{"model":"up-1","input":"x","user":"h4sh","store":false}"#,
    );
    both(MESSAGES, r#"{"model":"m","messages":[],"stream":true}"#, r#"{"model":"up-1","messages":[],"stream":true}"#);
    check_upstream(
        CHAT,
        r#"{"model":"m","messages":[],"user":"u"}"#,
        r#"{"model":"up-1","messages":[],"user":"u"}"#,
        r#"{"model":"up-1","messages":[],"user":"h4sh"}"#,
    );
    check_upstream(
        MESSAGES,
        r#"{"model":"m","messages":[],"user":"u"}"#,
        r#"{"model":"up-1","messages":[],"user":"u"}"#,
        r#"{"metadata":{"user_id":"h4sh"},"model":"up-1","messages":[]}"#,
    );
    check_upstream(
        MESSAGES,
        r#"{"model":"m","metadata":{"user_id":"own"},"messages":[],"user":"u"}"#,
        r#"{"model":"up-1","metadata":{"user_id":"own"},"messages":[],"user":"u"}"#,
        r#"{"model":"up-1","metadata":{"user_id":"h4sh"},"messages":[]}"#,
    );
    check_upstream(
        MESSAGES,
        r#"{"model":"m","metadata":{"a":[1], "user_id" : "own","\u0075ser_id":"again"},"messages":[]}"#,
        r#"{"model":"up-1","metadata":{"a":[1], "user_id" : "own","\u0075ser_id":"again"},"messages":[]}"#,
        r#"{"model":"up-1","metadata":{"a":[1], "user_id" : "h4sh","\u0075ser_id":"h4sh"},"messages":[]}"#,
    );
    for metadata in [r#"{"user_id":null}"#, r#"{"user_id":""}"#, r#"{"user_id":7}"#, "null", "[]", r#""user_id""#] {
        let body = format!(r#"{{"model":"m","metadata":{metadata},"messages":[]}}"#);
        both(MESSAGES, &body, &body.replace(r#""m","#, r#""up-1","#));
    }
    // In chat requests metadata is the caller's own.
    let chat = r#"{"model":"m","metadata":{"user_id":"own"},"messages":[]}"#;
    both(CHAT, chat, &chat.replace(r#""m","#, r#""up-1","#));
}

#[test]
fn targets_that_differ() {
    let body = br#"{"model":"m","messages":[],"stream":true,"user":"u"}"#;
    let facts = scan(CHAT, body, 9).unwrap();
    let plain = Target { stream_options: false, ..target(Manner::Native) };
    assert_eq!(upstream(&facts, body, &plain), r#"{"model":"up-1","messages":[],"stream":true,"user":"u"}"#);
    let nameless = Target { hashed_user: None, stream_options: false, ..target(Manner::Openrouter) };
    assert_eq!(upstream(&facts, body, &nameless), r#"{"model":"up-1","messages":[],"stream":true}"#);
    let quoted = Target { upstream_model: "a\"b", stream_options: false, ..target(Manner::Native) };
    assert_eq!(upstream(&facts, body, &quoted), r#"{"model":"a\"b","messages":[],"stream":true,"user":"u"}"#);
}

/// Requests with known, unknown and gateway-only members in any order and number.
fn any_request() -> impl Strategy<Value = Vec<(String, Value)>> {
    let member = prop_oneof![
        (Just("stream".to_owned()), prop_oneof![Just(json!(true)), Just(json!(false)), Just(Value::Null)]),
        (
            Just("stream_options".to_owned()),
            prop_oneof![Just(json!({})), Just(json!({"include_usage": false, "a": [1]})), Just(Value::Null)]
        ),
        (Just("user".to_owned()), "[a-z]{0,4}".prop_map(Value::from)),
        (Just("usage".to_owned()), Just(json!({"include": true}))),
        (Just("session_id".to_owned()), "[a-z]{0,4}".prop_map(Value::from)),
        (Just("models".to_owned()), Just(json!([]))),
        ("x_[a-z]{1,6}", prop_oneof![any::<i64>().prop_map(Value::from), "\\PC{0,8}".prop_map(Value::from), Just(json!({"n": {"o": []}}))]),
    ];
    proptest::collection::vec(member, 0..8).prop_map(|members| {
        let mut all =
            vec![("model".to_owned(), json!("vendor/model")), ("messages".to_owned(), json!([{"role": "user", "content": "hi"}]))];
        for (key, value) in members {
            if all.iter().all(|(other, _)| *other != key) {
                all.push((key, value));
            }
        }
        let turn = all.len() / 2;
        all.rotate_left(turn);
        all
    })
}

proptest! {
    #[test]
    fn only_what_must_change_changes(members in any_request(), manner in prop_oneof![Just(Manner::Native), Just(Manner::Openrouter)], step in 1..40_usize) {
        let text: Vec<String> = members.iter().map(|(key, value)| format!(" {} : {value}", Value::from(key.as_str()))).collect();
        let body = format!("{{{}}}", text.join(","));
        let facts = scan(CHAT, body.as_bytes(), step).unwrap();
        let upstream: Value = serde_json::from_str(&upstream(&facts, body.as_bytes(), &target(manner))).unwrap();

        let mut expected: serde_json::Map<String, Value> = members.iter().cloned().collect();
        expected.insert("model".to_owned(), json!("up-1"));
        EXTENSIONS.iter().for_each(|row| { expected.remove(row.key); });
        if facts.stream {
            let options = expected.entry("stream_options").or_insert(Value::Null);
            if options.is_null() {
                *options = json!({});
            }
            options["include_usage"] = json!(true);
        }
        if manner == Manner::Openrouter && facts.user.is_some() {
            expected.insert("user".to_owned(), json!("h4sh"));
        }
        prop_assert_eq!(upstream, Value::Object(expected));
    }
}
