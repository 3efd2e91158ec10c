//! The small relatives of the dialects: legacy completions, embeddings, and requests that only count.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use fairlead_formats::error::{Details, Told};
use fairlead_formats::identity::Identity;
use fairlead_formats::reply::ReplyScan;
use fairlead_formats::request::{Facts, Purpose, Refusal, RequestScan, Target, TierWord, edits};
use fairlead_formats::splice::Edits;
use fairlead_formats::tap::{Action, Tap};
use fairlead_ir::{Dialect, ErrorKind, Manner, NanoUsd, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

fn scan(scan: impl Fn() -> RequestScan, body: &str) -> Result<Facts, Refusal> {
    let whole = scan_cut(scan(), body, body.len().max(1));
    for step in [1, 7, 70] {
        let cut = scan_cut(scan(), body, step);
        assert_eq!(
            cut.as_ref().map(|facts| format!("{facts:?}")),
            whole.as_ref().map(|facts| format!("{facts:?}")),
            "{body} cut by {step}"
        );
    }
    whole
}

fn scan_cut(mut scan: RequestScan, body: &str, step: usize) -> Result<Facts, Refusal> {
    let frames: Vec<&[u8]> = body.as_bytes().chunks(step).collect();
    frames.iter().try_for_each(|frame| scan.feed(frame))?;
    scan.finish(&frames)
}

fn completions(body: &str) -> Result<Facts, Refusal> {
    scan(|| RequestScan::completions(128), body)
}

fn embeddings(body: &str) -> Result<Facts, Refusal> {
    scan(|| RequestScan::embeddings(128), body)
}

fn upstream(facts: &Facts, body: &str, manner: Manner) -> String {
    let target = Target {
        upstream_model: "up-1",
        manner,
        hashed_user: Some("h4sh"),
        stream_options: true,
        raw_predict: false,
        tier: TierWord::Kept,
        limit_name: None,
    };
    let (mut list, mut out) = (Edits::new(), Vec::new());
    edits(facts, &target, &mut list).unwrap();
    list.apply(body.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn refused(read: Result<Facts, Refusal>, param: Option<&str>, message: &str) {
    let refusal = read.unwrap_err();
    assert_eq!((refusal.kind, refusal.param.as_deref(), refusal.message.as_str()), (ErrorKind::InvalidRequest, param, message));
}

// --- requests ---------------------------------------------------------------------------------------------------------

#[test]
fn what_is_read_of_completions() {
    let body = r#"{"model":"m","prompt":"Once upon","max_tokens":5,"stream":true,"n":2,"user":"u","session_id":"s","stream_options":{"include_usage":true}}"#;
    let facts = completions(body).unwrap();
    assert_eq!((facts.dialect, facts.purpose, facts.model.as_str()), (Dialect::OpenaiChat, Purpose::Completions, "m"));
    assert_eq!(&body[facts.messages_range.clone()], r#""Once upon""#);
    assert_eq!((facts.stream, facts.max_completion_tokens, facts.choices, facts.prompt_tokens), (true, Some(5), 2, None));
    assert_eq!((facts.user.as_deref(), facts.session_id.as_deref(), facts.include_usage), (Some("u"), Some("s"), Some(true)));
    assert!(!facts.withhold_usage(Manner::Native));
    assert!(completions(r#"{"model":"m","prompt":"a","stream":true}"#).unwrap().withhold_usage(Manner::Native));
}

#[test]
fn how_much_is_written_for_prompts() {
    let long = format!("[{}\"a\"]", " ".repeat(90));
    for (members, choices, tokens) in [
        (r#""prompt":"a""#, 1, None),
        (r#""prompt":["a"]"#, 1, None),
        (r#""prompt":["a,b","c","d"],"n":2"#, 6, None),
        (r#""prompt":"a","n":2,"best_of":5"#, 5, None),
        (r#""prompt":["a","b"],"best_of":3"#, 6, None),
        (r#""prompt":[15,16,17]"#, 1, Some(3)),
        (r#""prompt":[[15,16],[17]],"n":3"#, 6, Some(3)),
        (r#""prompt":[]"#, 1, None),
        (&format!("\"prompt\":{long}"), 1, None),
        (r#""prompt":["a","b"],"n":18446744073709551615"#, u64::MAX, None),
    ] {
        let facts = completions(&format!(r#"{{"model":"m",{members}}}"#)).unwrap();
        assert_eq!((facts.choices, facts.prompt_tokens), (choices, tokens), "{members}");
    }
}

#[test]
fn completions_that_are_refused() {
    let missing = "\"prompt\" is missing; send a text";
    refused(completions(r#"{"model":"m"}"#), Some("prompt"), missing);
    refused(completions(r#"{"model":"m","prompt":null}"#), Some("prompt"), missing);
    refused(completions(r#"{"model":"m","prompt":7}"#), Some("prompt"), "\"prompt\" must be a string or an array; it is 7");
    refused(completions(r#"{"model":"m","prompt":"a","prompt":"b"}"#), Some("prompt"), "\"prompt\" occurs twice (byte 33); send it once");
    refused(
        completions(r#"{"model":"m","prompt":"a","best_of":-1}"#),
        Some("best_of"),
        "\"best_of\" must be a whole number, 0 or more; it is -1",
    );
    refused(completions(r#"{"prompt":"a"}"#), Some("model"), "\"model\" is missing or empty; name a model such as \"vendor/model\"");
    refused(
        completions(r#"{"model":"m","prompt":"a","models":["b",""]}"#),
        Some("models"),
        "\"models[1]\" must name a model, such as \"vendor/model\"",
    );
}

#[test]
fn what_goes_upstream_of_completions() {
    let body = r#"{"model":"m","prompt":"a","stream":true,"suffix":"z","user":"u","session_id":"s"}"#;
    let facts = completions(body).unwrap();
    let native = r#"{"stream_options":{"include_usage":true},"model":"up-1","prompt":"a","stream":true,"suffix":"z","user":"u"}"#;
    assert_eq!(upstream(&facts, body, Manner::Native), native);
    assert_eq!(upstream(&facts, body, Manner::Openrouter), native.replace(r#""user":"u""#, r#""user":"h4sh""#));
}

#[test]
fn what_is_read_of_embeddings() {
    for (input, tokens) in [
        (r#""hello, world""#, None),
        (r#"["a","b"]"#, None),
        ("[15339,1917]", Some(2)),
        ("[[15339],[1917,1]]", Some(3)),
        (r#"[{"content":[{"type":"text","text":"a"}]}]"#, None),
    ] {
        let body =
            format!(r#"{{"input":{input},"model":"m","encoding_format":"base64","dimensions":3,"user":"u","stream":false,"trace":{{}}}}"#);
        let facts = embeddings(&body).unwrap();
        assert_eq!((facts.dialect, facts.purpose), (Dialect::OpenaiChat, Purpose::Embeddings));
        assert_eq!(&body[facts.messages_range.clone()], input);
        assert_eq!((facts.stream, facts.max_completion_tokens, facts.choices, facts.prompt_tokens), (false, Some(0), 1, tokens), "{input}");
        let native = format!(r#"{{"input":{input},"model":"up-1","encoding_format":"base64","dimensions":3,"user":"u","stream":false}}"#);
        assert_eq!(upstream(&facts, &body, Manner::Native), native);
        assert_eq!(upstream(&facts, &body, Manner::Openrouter), native.replace(r#""user":"u""#, r#""user":"h4sh""#));
    }
    let image = format!(
        r#"{{"model":"m","input":[{{"content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}]}}"#,
        "iVBORw0KGgoAAAANSUhEUgAAAfQ".repeat(400)
    );
    assert!(embeddings(&image).unwrap().files().bytes > 9_000);
}

#[test]
fn embeddings_that_are_refused() {
    refused(embeddings(r#"{"model":"m"}"#), Some("input"), "\"input\" is missing; send a text");
    refused(embeddings(r#"{"model":"m","input":{}}"#), Some("input"), "\"input\" must be a string or an array; it is an object");
    refused(
        embeddings(r#"{"model":"m","input":"a","stream":true}"#),
        Some("stream"),
        "\"stream\" is not known in embeddings; leave it out",
    );
    refused(
        embeddings(r#"{"model":"m","input":"a","transforms":["x"]}"#),
        Some("transforms"),
        "\"transforms\" (prompt transforms) is not in this version; leave it out",
    );
    let twice = "\"input\" occurs twice (byte 31); send it once";
    refused(embeddings(r#"{"model":"m","input":"a","input":"b"}"#), Some("input"), twice);
}

fn check_count(dialect: Dialect, model: Option<&str>, body: &str, read_model: &str, conversation: &str) {
    let facts = scan(|| RequestScan::count(dialect, 128, model.map(str::to_owned)), body).unwrap();
    assert_eq!((facts.dialect, facts.purpose, facts.model.as_str()), (dialect, Purpose::CountTokens, read_model), "{body}");
    assert_eq!((&body[facts.messages_range.clone()], facts.stream), (conversation, false), "{body}");
    assert_eq!((facts.max_completion_tokens, facts.choices), (Some(0), 1), "{body}");
}

#[test]
fn what_is_read_of_requests_that_count() {
    check_count(Dialect::AnthropicMessages, None, r#"{"model":"m","messages":[1],"system":"s"}"#, "m", "[1]");
    check_count(Dialect::OpenaiResponses, None, r#"{"model":"m","input":"a","background":true,"stream":true}"#, "m", r#""a""#);
    check_count(Dialect::OpenaiResponses, None, r#"{"model":"m"}"#, "m", "");
    let gemini = |body: &str, conversation: &str| check_count(Dialect::GeminiGenerate, Some("g"), body, "g", conversation);
    gemini(r#"{"contents":[{"parts":[]}]}"#, r#"[{"parts":[]}]"#);
    gemini(r#"{"generateContentRequest":{"model":"models/g","contents":[2]}}"#, "[2]");
    gemini(r#"{"generate_content_request": {"contents" : {"parts":[]}}}"#, r#"{"parts":[]}"#);
    gemini(r#"{"contents":[3],"generateContentRequest":null}"#, "[3]");
}

#[test]
fn requests_that_count_and_are_refused() {
    let count = |body: &str| scan(|| RequestScan::count(Dialect::GeminiGenerate, 128, Some("g".to_owned())), body);
    let missing = "\"contents\" is missing; send the conversation as an array";
    refused(count("{}"), Some("contents"), missing);
    refused(count(r#"{"generateContentRequest":{"model":"g"}}"#), Some("contents"), missing);
    refused(
        count(r#"{"generateContentRequest":[]}"#),
        Some("generateContentRequest"),
        "\"generateContentRequest\" must be an object; it is an array",
    );
    refused(
        count(r#"{"generateContentRequest":{"contents":"a"}}"#),
        Some("contents"),
        "\"generateContentRequest.contents\" must be an array",
    );
    let no_model = scan(|| RequestScan::count(Dialect::AnthropicMessages, 128, None), r#"{"messages":[]}"#);
    refused(no_model, Some("model"), "\"model\" is missing or empty; name a model such as \"vendor/model\"");
}

// --- replies ----------------------------------------------------------------------------------------------------------

#[test]
fn bodies_that_are_no_reply() {
    for (scan, body) in [
        (ReplyScan::completions as fn() -> ReplyScan, "{}"),
        (ReplyScan::completions, r#"{"choices":[]}"#),
        (ReplyScan::embeddings, "{}"),
        (ReplyScan::embeddings, r#"{"data":{}}"#),
        (ReplyScan::embeddings, r#"{"choices":[{"text":"a"}]}"#),
    ] {
        let mut scan = scan();
        scan.feed(body.as_bytes()).unwrap();
        let error = scan.finish(body.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.told), (ErrorKind::ProviderUnavailable, Told::ByUs), "{body}");
    }
}

/// Vectors of any kind keep their bytes, in both manners, and the reply has what clients insist on.
fn check_vectors(vectors: &[Value], usage: bool) {
    let data: Vec<Value> = vectors.iter().map(|vector| json!({"embedding": vector, "index": 0, "object": "embedding"})).collect();
    let mut body = json!({"object": "list", "model": "up", "data": data});
    if usage {
        body["usage"] = json!({"prompt_tokens": 7, "total_tokens": 7});
    }
    let text = body.to_string();
    let mut scan = ReplyScan::embeddings();
    text.as_bytes().chunks(9).for_each(|piece| scan.feed(piece).unwrap());
    let reply = scan.finish(text.as_bytes()).unwrap();
    let figures = Usage { prompt_tokens: 7, ..Usage::default() };
    assert_eq!((reply.usage, reply.empty), (usage.then_some(figures), vectors.is_empty()));
    for manner in [Manner::Native, Manner::Openrouter] {
        let identity = Identity::new(manner, "gen-1", "acme/embed", "Acme", 7);
        let (mut list, mut out) = (Edits::new(), Vec::new());
        reply.edits(text.as_bytes(), &identity, &figures, NanoUsd(2_500_000_000), &mut list).unwrap();
        list.apply(text.as_bytes(), &mut out).unwrap();
        let mut expected = body.clone();
        if manner == Manner::Openrouter {
            expected["id"] = json!("gen-1");
            expected["model"] = json!("acme/embed");
            expected["provider"] = json!("Acme");
            expected["usage"] = json!({"prompt_tokens": 7, "total_tokens": 7});
        }
        if usage || manner == Manner::Openrouter {
            expected["usage"]["cost"] = json!(2.5);
        }
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    }
}

// --- streams ----------------------------------------------------------------------------------------------------------

fn tap(manner: Manner) -> Tap {
    Tap::completions(Arc::new(Identity::new(manner, "gen-1-abcd", "acme/fast", "Acme", 7)), manner == Manner::Native)
}

fn event(data: &str) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

#[test]
fn an_error_is_told_in_the_form_of_completions() {
    let mut tap = tap(Manner::Native);
    let _ = tap.inspect(&event(r#"{"id":"cmpl-1","model":"gpt","created":9,"choices":[{"index":0,"text":"x"}]}"#));
    let mut out = Vec::new();
    tap.write_error(ErrorKind::ProviderTimeout, "late", &Details::default(), &mut out);
    let expected = concat!(
        r#"data: {"id":"cmpl-1","object":"text_completion","created":9,"model":"gpt","#,
        r#""choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"error"}],"#,
        r#""error":{"message":"late","type":"server_error","param":null,"code":"timeout"}}"#,
        "\n\ndata: [DONE]\n\n"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// Together writes both in chat chunks: there the text is told twice, and counts once.
#[test]
fn a_text_beside_a_delta_is_no_content_of_its_own() {
    let identity = Identity::new(Manner::Native, "gen-1", "m", "p", 7);
    let mut chat = Tap::new(Dialect::OpenaiChat, Arc::new(identity), true);
    let _ = chat.inspect(&event(r#"{"choices":[{"index":0,"text":"abc","delta":{"content":"abc"}}]}"#));
    assert_eq!(chat.content_bytes(), 3);
}

/// One chunk of a stream: ordinary ones that a template may know, and all that must not be taken for one.
fn any_chunk() -> impl Strategy<Value = Value> {
    let text = "\\PC{0,12}|\"\\\\?\"|[\"\\\\{}:,]{0,6}";
    let finish = prop_oneof![9 => Just(Value::Null), 1 => Just(json!("stop")), 1 => Just(json!("eos"))];
    let usage = prop_oneof![9 => Just(None), 1 => Just(Some(Value::Null)), 1 => Just(Some(json!({"prompt_tokens": 3, "completion_tokens": 4, "cost": 1})))];
    let logprobs = prop_oneof![6 => Just(Value::Null), 1 => Just(json!({"tokens": ["a"], "token_logprobs": [-0.5], "text_offset": [0]}))];
    (text, finish, usage, logprobs, 0..2_u8).prop_map(|(text, finish, usage, logprobs, index)| {
        let choice = json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish, "x_unknown": [1, "\u{e9}"]});
        let mut chunk = json!({"id": "c1", "object": "text_completion", "created": 5, "model": "m", "choices": [choice]});
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        chunk
    })
}

/// The chunk as a client of `/api/v1` must get it, said a second time over a value tree.
fn openrouter(mut chunk: Value, cost: Option<f64>) -> Value {
    chunk["id"] = json!("gen-1-abcd");
    chunk["model"] = json!("acme/fast");
    chunk["provider"] = json!("Acme");
    chunk["system_fingerprint"] = Value::Null;
    let choice = &mut chunk["choices"][0];
    choice["native_finish_reason"] = choice["finish_reason"].clone();
    if choice["finish_reason"] == "eos" {
        choice["finish_reason"] = json!("stop");
    }
    if let Some(usage) = chunk.get_mut("usage").filter(|usage| usage.is_object()) {
        if let Some(cost) = cost {
            usage["cost"] = json!(cost);
        }
        usage["is_byok"] = json!(false);
        usage["total_tokens"] = json!(7);
        usage["prompt_tokens_details"] = json!({"cached_tokens": 0});
        usage["completion_tokens_details"] = json!({"reasoning_tokens": 0});
    }
    chunk
}

proptest! {
    #[test]
    fn frames_of_the_openrouter_manner(chunks in proptest::collection::vec(any_chunk(), 1..40)) {
        let mut tap = tap(Manner::Openrouter);
        let mut bytes = 0;
        for chunk in chunks {
            let event = event(&chunk.to_string());
            bytes += chunk["choices"][0]["text"].to_string().len() as u64 - 2;
            let sight = tap.inspect(&event);
            prop_assert_eq!(sight.action, Action::Rewrite);
            let mut out = Vec::new();
            tap.rewrite(&event, sight.bill.then_some(NanoUsd(2_500_000_000)), &mut out);
            let told: Value = serde_json::from_slice(out.strip_prefix(b"data: ").unwrap()).unwrap();
            prop_assert_eq!(told, openrouter(chunk, sight.bill.then_some(2.5)));
        }
        prop_assert_eq!(tap.content_bytes(), bytes);
    }

    #[test]
    fn frames_of_the_native_manner(chunks in proptest::collection::vec(any_chunk(), 1..40)) {
        let mut tap = tap(Manner::Native);
        let (mut bytes, mut finished) = (0, false);
        for chunk in chunks {
            let event = event(&chunk.to_string());
            let sight = tap.inspect(&event);
            finished |= !chunk["choices"][0]["finish_reason"].is_null();
            bytes += chunk["choices"][0]["text"].to_string().len() as u64 - 2;
            let bill = finished && chunk["usage"].is_object();
            prop_assert_eq!((sight.action == Action::Rewrite, sight.bill), (bill, bill), "{}", chunk);
        }
        prop_assert_eq!(tap.content_bytes(), bytes);
    }

    #[test]
    fn vectors_are_stepped_over(vectors in proptest::collection::vec(prop_oneof!["[A-Za-z0-9+/]{0,40}".prop_map(Value::from), proptest::collection::vec(-9..9_i8, 0..6).prop_map(Value::from)], 0..4), usage in any::<bool>()) {
        check_vectors(&vectors, usage);
    }

    #[test]
    fn garbage_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), body in "\\{\"(data|usage|choices|prompt|input)\":(\\[\\[?[0-9,\" ]{0,6}\\]?\\]|\\{\"[a-z_]{0,6}\":[0-9\\[\\]]{0,3}\\}|\"a\"|null)\\}") {
        for bytes in [&bytes[..], body.as_bytes()] {
            for scan in [ReplyScan::completions(), ReplyScan::embeddings()] {
                let mut scan = scan;
                let _ = scan.feed(bytes);
                let _ = scan.finish(bytes);
            }
            for scan in [RequestScan::completions(9), RequestScan::embeddings(9), RequestScan::count(Dialect::GeminiGenerate, 9, Some("m".to_owned()))] {
                let mut scan = scan;
                let _ = scan.feed(bytes);
                let _ = scan.finish(&[bytes]);
            }
            let mut tap = tap(Manner::Openrouter);
            let event = [b"data: ", bytes, b"\n\n"].concat();
            let _ = tap.inspect(&event);
            tap.rewrite(&event, Some(NanoUsd(1)), &mut Vec::new());
        }
    }
}
