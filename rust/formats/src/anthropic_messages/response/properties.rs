//! What holds for every whole reply.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::{Dialect, Losses, Manner, Response};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::decode::decode;
use super::encode::encode;
use crate::identity::Identity;
use crate::json::is_complete;
use crate::traits::Traits;
use crate::translate::{Bridge, Face};

fn block() -> impl Strategy<Value = Value> {
    let fixed = select(vec![
        json!({"type": "thinking", "thinking": "hm", "signature": "s"}),
        json!({"type": "thinking", "thinking": "", "signature": "s"}),
        json!({"type": "redacted_thinking", "data": "d"}),
        json!({"type": "tool_use", "id": "t", "name": "get", "input": {"a": [1, "b"]}, "later": 1}),
        json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        json!({"type": "text", "text": "a", "citations": [{"type": "page_location", "cited_text": "q"}]}),
    ]);
    prop_oneof![fixed, ".{1,8}".prop_map(|text| json!({"type": "text", "text": text}))]
}

fn body() -> impl Strategy<Value = Value> {
    let reason =
        select(vec![json!("end_turn"), json!("stop_sequence"), json!("max_tokens"), json!("refusal"), json!("pause_turn"), json!("new")]);
    let usage = select(vec![
        json!({"input_tokens": 1, "output_tokens": 2}),
        json!({"input_tokens": 1, "cache_read_input_tokens": 4, "output_tokens": 0, "service_tier": "batch"}),
    ]);
    (proptest::collection::vec(block(), 0..5), reason, usage, proptest::option::of(Just(json!({"type": "refusal"})))).prop_map(
        |(content, reason, usage, details)| {
            let reason = if content.iter().any(|block| block["type"] == "tool_use") { json!("tool_use") } else { reason };
            let mut body = json!({"id": "msg", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": reason, "stop_sequence": null, "usage": usage, "container": {"id": "c"}});
            details.into_iter().for_each(|details| body["stop_details"] = details);
            body
        },
    )
}

fn written(response: &Response<'_>) -> (Vec<u8>, Losses) {
    let identity = Identity::new(Manner::Native, "gen-1", "acme/fast", "Lab", 7);
    let (mut out, mut losses) = (Vec::new(), Losses::new());
    encode(response, &Face { identity: &identity, bridge: &Bridge::default() }, None, &mut out, &mut losses);
    (out, losses)
}

proptest! {
    #[test]
    fn a_reply_of_this_dialect_means_the_same_when_it_is_written_again(body in body()) {
        let text = body.to_string();
        let first = decode(text.as_bytes(), &Traits::NONE).unwrap();
        let (again, losses) = written(&first);
        prop_assert!(losses.is_empty(), "{losses:?}");
        prop_assert_eq!(&first, &decode(&again, &Traits::NONE).unwrap());
    }

    #[test]
    fn a_reply_of_another_dialect_is_written_as_json(body in body()) {
        let text = body.to_string();
        let mut response = decode(text.as_bytes(), &Traits::NONE).unwrap();
        response.source = Dialect::BedrockConverse;
        let (out, _) = written(&response);
        prop_assert!(is_complete(&out));
        prop_assert!(decode(&out, &Traits::NONE).is_ok());
    }

    #[test]
    fn whatever_is_sent_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[\{\}\[\],:"a-z\\ 0-9]{0,60}"#) {
        let _ = decode(&bytes, &Traits::NONE);
        let _ = decode(text.as_bytes(), &Traits::NONE);
    }
}
