//! What a completions request becomes, and what it cannot become.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::Dialect;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::openai_chat;
use crate::request::FIRST_OWN;
use crate::traits::Traits;
use crate::translate::{Target, completions, dialects};

#[test]
fn chats_readers_find_chats_members() {
    assert_eq!(super::KEYS[FIRST_OWN..FIRST_OWN + 4], openai_chat::request::KEYS[FIRST_OWN..FIRST_OWN + 4]);
    assert_eq!(super::KEYS[super::BEST_OF], "best_of");
}

fn check(body: Value, target: Dialect, expected: Value, losses: &[&str]) {
    let text = body.to_string();
    let request = completions::decode_request(text.as_bytes()).unwrap();
    let made = dialects::encode_request(&request, &Target::new(target, "m")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&made.body).unwrap(), expected, "{body}");
    let found: Vec<&str> = made.losses.as_slice().iter().map(|loss| loss.path.as_str()).collect();
    assert_eq!(found, losses, "{body}");
}

fn said(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

#[test]
fn a_prompt_is_what_a_user_says() {
    let chat = Dialect::OpenaiChat;
    for prompt in [json!("Once"), json!(["Once"])] {
        check(json!({"model": "x", "prompt": prompt}), chat, json!({"model": "m", "messages": said("Once")}), &[]);
    }
    check(
        json!({"prompt": "a", "max_tokens": 5, "temperature": 0.0, "n": 2, "best_of": 2, "stop": "\n", "seed": 7, "suffix": null, "echo": false, "user": "u", "logit_bias": {"50256": -100}, "guided_regex": "a*", "session_id": "s"}),
        chat,
        json!({"model": "m", "messages": said("a"), "max_completion_tokens": 5, "temperature": 0.0, "n": 2, "stop": ["\n"], "seed": 7, "user": "u", "logit_bias": {"50256": -100}, "guided_regex": "a*"}),
        &[],
    );
    check(
        json!({"prompt": "a", "logprobs": 3}),
        chat,
        json!({"model": "m", "messages": said("a"), "logprobs": true, "top_logprobs": 3}),
        &[],
    );
    check(
        json!({"prompt": "a", "logprobs": 0}),
        chat,
        json!({"model": "m", "messages": said("a"), "logprobs": true, "top_logprobs": 0}),
        &[],
    );
    check(
        json!({"prompt": "a", "stream": true, "stream_options": {"include_usage": false}}),
        chat,
        json!({"model": "m", "messages": said("a"), "stream": true, "stream_options": {"include_usage": true}}),
        &[],
    );
}

#[test]
fn losses_are_named_as_the_caller_wrote_them() {
    check(
        json!({"prompt": ["a"], "max_tokens": 9, "logprobs": 2, "logit_bias": {"1": 2}}),
        Dialect::AnthropicMessages,
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}),
        &["logprobs", "logit_bias"],
    );
}

#[test]
fn a_limit_that_changes_is_named_as_the_caller_wrote_it() {
    let wanted = json!({"prompt": "a", "max_tokens": 9});
    let text = wanted.to_string();
    let request = completions::decode_request(text.as_bytes()).unwrap();
    let made = dialects::encode_request(&request, &Target::new(Dialect::OpenaiResponses, "m")).unwrap();
    let found: Vec<String> = made.losses.as_slice().iter().map(ToString::to_string).collect();
    assert_eq!(found, ["max_tokens changed: the provider takes no limit below 16 tokens"]);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let check = |body: &str, message: &str| {
        let refusal = completions::decode_request(body.as_bytes()).unwrap_err();
        assert_eq!(refusal.message, message, "{body}");
    };
    let no_text = "\"prompt\" must be a string, or an array of one string";
    for body in ["{}", r#"{"prompt":null}"#, r#"{"prompt":[]}"#, r#"{"prompt":{"a":1}}"#] {
        check(body, no_text);
    }
    let tokens = "must be text: tokens mean nothing to the model that serves this";
    check(r#"{"prompt":[1,2]}"#, &format!("\"prompt[0]\" {tokens}"));
    check(r#"{"prompt":[[1,2]]}"#, &format!("\"prompt[0]\" {tokens}"));
    check(r#"{"prompt":[null]}"#, "\"prompt[0]\" must be a string");
    let here = |path: &str, reason: &str| {
        format!("\"{path}\" cannot be done here: the model is served through chat, which {reason}; leave it out")
    };
    check(r#"{"prompt":["a","b"]}"#, &here("prompt[1]", "answers one prompt at a time"));
    check(r#"{"prompt":"a","suffix":"z"}"#, &here("suffix", "only goes on at the end"));
    check(r#"{"prompt":"a","echo":true}"#, &here("echo", "does not repeat the prompt"));
    check(r#"{"best_of":3,"prompt":"a","n":2}"#, &here("best_of", "does not choose among replies"));
    check(r#"{"prompt":"a","messages":[]}"#, "\"messages\" is not known in completions; use chat completions");
    check(r#"{"prompt":"a","tools":[]}"#, "\"tools\" is not known in completions; use chat completions");
    check(r#"{"prompt":"a","logprobs":true}"#, "\"logprobs\" must be a whole number that is not negative");
    check(r#"{"prompt":"a","echo":1}"#, "\"echo\" must be true or false");
    check(r#"{"prompt":"a","temperature":"hot"}"#, "\"temperature\" must be a number");
    check(r#"{"prompt":"a""#, "the body is not valid JSON");
}

proptest! {
    #[test]
    fn every_text_arrives_in_every_dialect(text in "[a-zé][a-zA-Z é\"\\\\\n😀]{0,30}", listed in any::<bool>(), limit in proptest::option::of(16..99_u64)) {
        let prompt = if listed { json!([text]) } else { json!(text) };
        let mut body = json!({"model": "x", "prompt": prompt});
        if let Some(limit) = limit {
            body["max_tokens"] = json!(limit);
        }
        let body = body.to_string();
        let request = completions::decode_request(body.as_bytes()).unwrap();
        let escaped = json!(text).to_string();
        for dialect in Dialect::ALL {
            let made = dialects::encode_request(&request, &Target { max_output_tokens: Some(99), ..Target::new(dialect, "m") }).unwrap();
            prop_assert!(made.losses.is_empty(), "{:?}", made.losses);
            let again = crate::translate::dialects::decode_request(dialect, &made.body).unwrap();
            prop_assert_eq!(again.turns.len(), 1);
            prop_assert!(String::from_utf8_lossy(&made.body).contains(&escaped), "{}", String::from_utf8_lossy(&made.body));
        }
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>(), body in "\\{\"(prompt|logprobs|best_of|n|echo|suffix)\":([0-9]{1,3}|\"a\"|\\[\"a\"\\]|null|true|\\{\\})(,\"(prompt|logprobs|best_of|n|echo|suffix)\":([0-9]{1,3}|\"a\"|\\[\"a\"\\]|null|true|\\{\\})){0,3}\\}") {
        let _ = completions::decode_request(&bytes);
        if let Ok(request) = completions::decode_request(body.as_bytes()) {
            prop_assert_eq!(request.turns.len(), 1);
            for dialect in Dialect::ALL {
                let _ = dialects::encode_request(&request, &Target { traits: Traits::NONE, ..Target::new(dialect, "m") });
            }
        }
    }
}
