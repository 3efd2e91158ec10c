#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::Snapshot;
use std::path::Path;

/// The target of one provider with this JSON after its name.
fn only(dialect: Dialect, base_url: &str, model: &str, rest: &str) -> Target {
    let provider = format!(r#"{{"slug":"lab","name":"Lab","dialects":{{"{}":"{base_url}"}}{rest}}}"#, dialect.name());
    target(&serde_json::from_str(&provider).unwrap(), dialect.name(), base_url, model, &Traits::NONE).unwrap().1
}

fn texts(heads: &[Box<[u8]>]) -> Vec<&str> {
    heads.iter().map(|head| std::str::from_utf8(head).unwrap()).collect()
}

#[test]
fn heads_are_ready_to_send() {
    let rest =
        r#","keys":[{"secret":"one"},{"secret":"two"}],"headers":{"Anthropic-Version":"2023-06-01","X-Lab":"yes","user-agent":"lab"}"#;
    let defaults = |target: &Target| target.defaults.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let chat = only(Dialect::OpenaiChat, "http://127.0.0.1:9000/v1/", "m", rest);
    assert_eq!(chat.request_line(Operation::Stream), Some(b"POST /v1/chat/completions HTTP/1.1\r\n".as_slice()));
    let fixed = "host: 127.0.0.1:9000\r\ncontent-type: application/json\r\naccept-encoding: identity\r\nx-lab: yes\r\n";
    let expected = ["one", "two"].map(|key| format!("{fixed}authorization: Bearer {key}\r\n"));
    assert_eq!(texts(&chat.heads), expected);
    assert_eq!(defaults(&chat), ["user-agent"], "a version of one dialect is not sent with another");
    let messages = only(Dialect::AnthropicMessages, "http://[::1]:9000/v1", "m", rest);
    assert_eq!(defaults(&messages), ["anthropic-version", "user-agent"]);
    assert!(messages.heads[0].starts_with(b"host: [::1]:9000\r\n"));
    assert_eq!((messages.origin.host.as_str(), messages.origin.port), ("::1", 9000));
    let open = only(Dialect::OpenaiChat, "https://h", "m", "");
    assert_eq!(texts(&open.heads), ["host: h\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n"]);
    assert!(open.signing.is_none());
}

#[test]
fn a_dialect_may_want_the_credential_otherwise() {
    let json = r#"{"version":1,"models":[{"id":"a/b","endpoints":[{"id":1,"provider":"lab","upstream_model":"b","price":{"prompt":1,"completion":1}}]}],
        "providers":[{"slug":"lab","name":"Lab","keys":[{"secret":"k"}],"dialects":{"openai_chat":"http://x","gemini_generate":"http://x"},
        "dialect_auth":{"gemini_generate":{"scheme":"header","name":"X-Goog-Api-Key"}}}]}"#;
    let snapshot = Snapshot::from_json(json.as_bytes()).unwrap();
    let endpoint = &snapshot.models[0].endpoints[0];
    let names = &endpoint.target(Dialect::OpenaiChat).unwrap().credential_names;
    assert_eq!(names.len(), endpoint.target(Dialect::OpenaiChat).unwrap().heads.len());
    assert!(names.iter().all(|name| name.len() == 16), "{names:?}");
    assert_eq!(*names, endpoint.target(Dialect::GeminiGenerate).unwrap().credential_names);
    let check = |dialect, line: &str| assert!(texts(&endpoint.target(dialect).unwrap().heads)[0].ends_with(line));
    check(Dialect::OpenaiChat, "authorization: Bearer k\r\n");
    check(Dialect::GeminiGenerate, "x-goog-api-key: k\r\n");
    assert!(endpoint.target(Dialect::AnthropicMessages).is_none());
}

#[test]
fn a_credential_that_is_renewed_keeps_its_name() {
    let names = |key: &str| only(Dialect::OpenaiChat, "http://x", "m", &format!(r#","keys":[{key}]"#)).credential_names;
    let first = names(r#"{"secret":"one","identity":"robot@acme"}"#);
    assert_eq!(first, names(r#"{"secret":"two","identity":"robot@acme"}"#));
    assert_eq!(first, names(r#"{"secret":"","identity":"robot@acme"}"#));
    assert_ne!(first, names(r#"{"secret":"one","identity":"other@acme"}"#));
    assert_ne!(names(r#"{"secret":"one"}"#), names(r#"{"secret":"two"}"#));
}

#[test]
fn a_credential_that_is_not_there_is_not_sent() {
    for auth in ["", r#","auth":{"scheme":"header","name":"x-key"}"#] {
        let rest = format!(r#","keys":[{{"secret":"","identity":"a"}},{{"secret":"two","identity":"b"}}]{auth}"#);
        let heads = only(Dialect::OpenaiChat, "http://x", "m", &rest).heads;
        assert_eq!(texts(&heads)[0], "host: x\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n");
        assert!(texts(&heads)[1].contains("two\r\n"));
    }
}

#[test]
fn every_operation_has_its_path() {
    let check = |dialect, base_url: &str, model: &str, expected: [Option<&str>; 5]| {
        let target = only(dialect, base_url, model, "");
        for (operation, expected) in Operation::ALL.into_iter().zip(expected) {
            let line = expected.map(|path| format!("POST {path} HTTP/1.1\r\n").into_bytes());
            assert_eq!(target.request_line(operation).map(<[u8]>::to_vec), line, "{base_url} {operation:?}");
        }
    };
    let chat = |path: &'static str| {
        let of = |name: &str| Some(&*format!("{path}/{name}").leak());
        [of("chat/completions"), of("chat/completions"), None, of("completions"), of("embeddings")]
    };
    check(Dialect::OpenaiChat, "https://h/v1", "m", chat("/v1"));
    check(Dialect::OpenaiChat, "https://h", "m", chat(""));
    check(Dialect::OpenaiChat, "https://r.openai.azure.com/openai/v1/", "m", chat("/openai/v1"));
    let v1 = [Some("/v1/responses"), Some("/v1/responses"), Some("/v1/responses/input_tokens"), None, None];
    check(Dialect::OpenaiResponses, "https://h/v1", "m", v1);
    for (base_url, start) in [("https://h", ""), ("https://h/v1", ""), ("https://h/anthropic", "/anthropic"), ("https://h/api/v1/", "/api")]
    {
        let path = |name: &str| Some(&*format!("{start}/v1/{name}").leak());
        check(Dialect::AnthropicMessages, base_url, "m", [path("messages"), path("messages"), path("messages/count_tokens"), None, None]);
    }
    let vertex = "/v1/projects/p/locations/global/publishers/google";
    for (base_url, start) in [
        ("https://h", "/v1beta"),
        ("https://h/v1beta/", "/v1beta"),
        ("https://h/v1", "/v1"),
        ("https://h/proxy", "/proxy/v1beta"),
        ("https://h/vertical", "/vertical/v1beta"),
        (&*format!("https://h{vertex}"), vertex),
    ] {
        for (model, written) in
            [("gemini-x", "gemini-x"), ("models/gemini-x", "gemini-x"), ("sim/echo", "sim/echo"), ("a b?:1@2", "a%20b%3F:1@2")]
        {
            let path = |action: &str| Some(&*format!("{start}/models/{written}:{action}").leak());
            let expected = [path("generateContent"), path("streamGenerateContent?alt=sse"), path("countTokens"), None, None];
            check(Dialect::GeminiGenerate, base_url, model, expected);
        }
    }
    for (model, written) in [
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1%3A0"),
        ("amazon.nova-lite-v1~x_y", "amazon.nova-lite-v1~x_y"),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.a", "arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.a"),
        ("a b/ü%", "a%20b%2F%C3%BC%25"),
    ] {
        let path = |action: &str| Some(&*format!("/model/{written}/{action}").leak());
        let expected = [path("converse"), path("converse-stream"), path("count-tokens"), None, None];
        check(Dialect::BedrockConverse, "https://h", model, expected);
    }
}

#[test]
fn a_raw_prediction_has_its_model_in_the_path() {
    let base = "http://h/v1/projects/p/locations/us-east5/publishers/anthropic";
    let provider = format!(r#"{{"slug":"lab","name":"Lab","dialects":{{"anthropic_messages":"{base}/","gemini_generate":"{base}"}}}}"#);
    let provider = serde_json::from_str(&provider).unwrap();
    let traits = Traits { raw_predict: true, ..Traits::NONE };
    let check = |dialect: Dialect, model: &str, expected: [Option<&str>; 5]| {
        let target = target(&provider, dialect.name(), &provider.dialects[dialect.name()], model, &traits).unwrap().1;
        for (operation, expected) in Operation::ALL.into_iter().zip(expected) {
            let expected = expected.map(|path| format!("/v1/projects/p/locations/us-east5/publishers/anthropic/models/{path}"));
            assert_eq!(target.path_and_query(operation).map(|(path, _)| path), expected.as_deref(), "{model} {operation:?}");
        }
    };
    for (model, written) in [("claude-sonnet-4@20250514", "claude-sonnet-4@20250514"), ("sim/a:b?", "sim%2Fa%3Ab%3F")] {
        let path = |action: &str| Some(&*format!("{written}:{action}").leak());
        check(Dialect::AnthropicMessages, model, [path("rawPredict"), path("streamRawPredict"), None, None, None]);
    }
    let others = [Some("m:generateContent"), Some("m:streamGenerateContent"), Some("m:countTokens"), None, None];
    check(Dialect::GeminiGenerate, "m", others);
}

#[test]
fn paths_and_queries_are_those_of_the_line() {
    let gemini = only(Dialect::GeminiGenerate, "https://h", "m", "");
    assert_eq!(gemini.path_and_query(Operation::Stream), Some(("/v1beta/models/m:streamGenerateContent", "alt=sse")));
    assert_eq!(gemini.path_and_query(Operation::Generate), Some(("/v1beta/models/m:generateContent", "")));
    assert_eq!(gemini.path_and_query(Operation::Embeddings), None);
}

#[test]
fn paths_of_converse_are_those_of_botocore() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/sigv4/botocore.json");
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let (model, path) = (case["model"].as_str().unwrap(), case["path"].as_str().unwrap());
        let target = only(Dialect::BedrockConverse, "https://h", model, "");
        let operation = if path.ends_with("-stream") { Operation::Stream } else { Operation::Generate };
        assert_eq!(target.path_and_query(operation), Some((path, "")));
    }
}

#[test]
fn signed_requests_carry_no_secret() {
    let keys = r#","keys":[{"access_key_id":"AKID","secret":"half","session_token":"token"},{"access_key_id":"AKIE","secret":"other"}]"#;
    let check = |auth: &str, region: &str, service: &str| {
        let rest = format!(r#","auth":{{"scheme":"sigv4",{auth}}}{keys}"#);
        let target = only(Dialect::BedrockConverse, "https://h:8443", "m", &rest);
        let fixed = "host: h:8443\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n";
        assert_eq!(texts(&target.heads), [fixed, fixed]);
        let signing = target.signing.unwrap();
        assert_eq!((signing.region.as_str(), signing.service.as_str(), signing.host.as_str()), (region, service, "h:8443"));
        assert_eq!(signing.credentials.len(), 2);
        let (first, second) = (&signing.credentials[0], &signing.credentials[1]);
        assert_eq!((first.access_key_id.as_str(), first.secret_access_key.expose()), ("AKID", "half"));
        assert_eq!(first.session_token.as_ref().map(Secret::expose), Some("token"));
        assert_eq!((second.access_key_id.as_str(), second.session_token.is_none()), ("AKIE", true));
    };
    check(r#""region":"eu-central-1""#, "eu-central-1", "bedrock");
    check(r#""region":"us-east-1","service":"bedrock-mantle""#, "us-east-1", "bedrock-mantle");
}

#[test]
fn a_credential_may_travel_in_the_query() {
    let target = |auth: &str, keys: &str| {
        let json = format!(r#"{{"slug":"q","name":"Q","dialects":{{"gemini_generate":"https://h"}},"auth":{auth},"keys":{keys}}}"#);
        let provider: wire::Provider = serde_json::from_str(&json).unwrap();
        super::target(&provider, "gemini_generate", "https://h", "m", &Traits::NONE).map(|(_, target)| target)
    };
    let written = |target: &Target, operation: Operation, turn: usize| {
        let mut head = Vec::new();
        target.write_request_line(target.request_line(operation).unwrap(), turn, &mut head);
        String::from_utf8(head).unwrap()
    };
    let found = target(r#"{"scheme":"query","name":"key"}"#, r#"[{"secret":"one"},{"secret":"t&o"}]"#).unwrap();
    assert_eq!(written(&found, Operation::Generate, 0), "POST /v1beta/models/m:generateContent?key=one HTTP/1.1\r\n");
    assert_eq!(written(&found, Operation::Generate, 3), "POST /v1beta/models/m:generateContent?key=t%26o HTTP/1.1\r\n");
    assert_eq!(written(&found, Operation::Stream, 0), "POST /v1beta/models/m:streamGenerateContent?alt=sse&key=one HTTP/1.1\r\n");
    assert!(found.heads.iter().all(|head| !String::from_utf8_lossy(head).contains("one")));
    let bearer = target(r#"{"scheme":"bearer"}"#, r#"[{"secret":"one"}]"#).unwrap();
    assert_eq!(written(&bearer, Operation::Generate, 0), "POST /v1beta/models/m:generateContent HTTP/1.1\r\n");
    assert!(target(r#"{"scheme":"query","name":"a b"}"#, "[]").unwrap_err().message.contains("no name of a query parameter"));
    let pair = r#"[{"access_key_id":"A","secret":"s"}]"#;
    assert!(target(r#"{"scheme":"query","name":"key"}"#, pair).unwrap_err().message.contains("a key pair of AWS signs"));
}
