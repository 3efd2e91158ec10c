//! The state of thoughts through every pair of dialects, in conversations of two turns: a provider's reply goes to a client, the client
//! answers its calls, and the provider gets back what it wrote.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod clients;
mod providers;

use std::sync::Arc;

use clients::{Habit, second_request};
use fairlead_formats::identity::Identity;
use fairlead_formats::json::{Scanner, TOKEN_START};
use fairlead_formats::translate::dialects::{
    StreamDecoder, StreamEncoder, decode_request, decode_response, encode_request, encode_response,
};
use fairlead_formats::translate::seals::{Keeper, Limits};
use fairlead_formats::translate::{Bridge, Face, Target, Wanted};
use fairlead_ir::Dialect::{AnthropicMessages, OpenaiChat, OpenaiResponses};
use fairlead_ir::block::Maker;
use fairlead_ir::{Delta, Dialect, Event, Losses, Manner, Severity, Text, Traits};
use proptest::prelude::*;
use providers::{Reply, replies};
use serde_json::{Value, json};

const SCOPE: u64 = 7;

fn keeper() -> Keeper {
    Keeper::new(&[42; 32], Limits::default()).unwrap()
}

fn maker(dialect: Dialect) -> Maker<'static> {
    Maker { dialect, provider: Text::word("acme"), account: Text::word("key 1"), model: Text::word("m-1") }
}

fn identity() -> Identity {
    Identity::new(Manner::Native, "gen-0199-abcd", "acme/m", "Acme", 7)
}

/// The reply as the client reads it.
fn to_client(keeper: &Keeper, reply: &Reply, client: Dialect, streamed: bool, now_ms: u64) -> Vec<u8> {
    let (maker, identity, mut out) = (maker(reply.dialect), identity(), Vec::new());
    if !streamed {
        let body = reply.body();
        let mut response = decode_response(reply.dialect, &body, &reply.traits()).unwrap();
        keeper.wrap(&mut response, &maker, SCOPE, now_ms);
        encode_response(client, &response, &Face { identity: &identity, bridge: &Bridge::default() }, None, &mut out);
        return out;
    }
    let wanted = Wanted { source: reply.dialect, identity: Arc::new(identity), bridge: Arc::default(), json_array: false };
    let mut decoder = StreamDecoder::new(reply.dialect, reply.traits());
    let mut encoder = StreamEncoder::new(client, wanted);
    let mut stream = keeper.stream(&maker, SCOPE);
    for (name, data) in reply.events() {
        let data = serde_json::to_vec(&data).unwrap();
        decoder.event(name.map(str::as_bytes), &data, &mut |event| encoder.event(&stream.event(event, now_ms), &mut out)).unwrap();
    }
    decoder.finish(&mut |event| encoder.event(&stream.event(event, now_ms), &mut out));
    encoder.finish(None, None, &mut out);
    out
}

/// The client's request as `target` gets it, and what opening it lost.
fn to_provider(keeper: &Keeper, client: Dialect, body: &[u8], target: &Maker<'_>, reply: &Reply, now_ms: u64) -> (Vec<u8>, Losses) {
    let mut request = decode_request(client, body).unwrap();
    let losses = keeper.open(&mut request, target, SCOPE, now_ms);
    let traits = if target.dialect == reply.dialect { reply.traits() } else { Default::default() };
    let target = Target { traits, ..Target::new(target.dialect, "m-1") };
    (encode_request(&request, &target).unwrap().body, losses)
}

/// A thought without state, as a client of Messages or Responses gets it back from a chat provider.
fn marked(keeper: &Keeper, client: Dialect, streamed: bool) -> Vec<u8> {
    let (maker, identity, mut out) = (maker(Dialect::OpenaiChat), identity(), Vec::new());
    if !streamed {
        let body = br#"{"id":"r","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","reasoning_content":"hm","content":"yes"}}]}"#;
        let mut response = decode_response(Dialect::OpenaiChat, body, &Default::default()).unwrap();
        keeper.wrap(&mut response, &maker, SCOPE, 0);
        keeper.mark(&mut response, &maker, SCOPE);
        encode_response(client, &response, &Face { identity: &identity, bridge: &Bridge::default() }, None, &mut out);
        return out;
    }
    let wanted = Wanted { source: Dialect::OpenaiChat, identity: Arc::new(identity), bridge: Arc::default(), json_array: false };
    let mut decoder = StreamDecoder::new(Dialect::OpenaiChat, Default::default());
    let (mut encoder, mut stream) = (StreamEncoder::new(client, wanted), keeper.stream(&maker, SCOPE));
    let mut pass = |event: Event<'_>| {
        if let Event::Close { choice, block } = event
            && let Some(token) = stream.mark(choice, block)
        {
            encoder.event(&Event::Delta { choice, block, delta: Delta::Seal(token) }, &mut out);
        }
        encoder.event(&stream.event(event, 0), &mut out);
    };
    for delta in [r#"{"reasoning_content":"h"}"#, r#"{"reasoning_content":"m"}"#, r#"{"content":"yes"}"#] {
        let chunk = format!(r#"{{"id":"r","model":"m","choices":[{{"index":0,"delta":{delta}}}]}}"#);
        decoder.event(None, chunk.as_bytes(), &mut pass).unwrap();
    }
    decoder.event(None, br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#, &mut pass).unwrap();
    decoder.event(None, b"[DONE]", &mut pass).unwrap();
    encoder.finish(None, None, &mut out);
    out
}

#[test]
fn a_thought_without_state_is_known_where_it_comes_back() {
    let keeper = keeper();
    for (client, streamed) in [(AnthropicMessages, false), (AnthropicMessages, true), (OpenaiResponses, false), (OpenaiResponses, true)] {
        let out = String::from_utf8(marked(&keeper, client, streamed)).unwrap();
        let at = out.find("fAiRsEaL").unwrap_or_else(|| panic!("no mark for {client:?}: {out}"));
        let token = out[at..].split('"').next().unwrap();
        let thought = match client {
            AnthropicMessages => json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": token}, {"type": "text", "text": "yes"}]},
                {"role": "user", "content": "b"}], "max_tokens": 5}),
            _ => json!({"input": [{"role": "user", "content": "a"},
                {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}], "encrypted_content": token},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]}, {"role": "user", "content": "b"}]}),
        };
        let body = thought.to_string();
        assert!(has_tokens(body.as_bytes()));
        // Its own provider gets it as it was, without state; one that knows its own thoughts does not get it.
        for (target, kept) in [(OpenaiChat, true), (client, false)] {
            let mut request = decode_request(client, body.as_bytes()).unwrap();
            let losses = keeper.open(&mut request, &maker(target), SCOPE, 0);
            assert!(losses.is_empty(), "{losses:?}");
            let traits = Traits { reasoning_content_in: kept, ..Traits::NONE };
            let sent = encode_request(&request, &Target { traits, ..Target::new(target, "m-1") }).unwrap().body;
            let sent = String::from_utf8(sent).unwrap();
            assert!(!sent.contains("fAiRsEaL") && !sent.contains("rs_1"), "{sent}");
            assert_eq!(sent.contains("hm"), kept, "{client:?} to {target:?}: {sent}");
        }
    }
}

/// Whether what tokens begin with stands anywhere.
fn is_anywhere(body: &[u8]) -> bool {
    body.windows(TOKEN_START.len()).any(|window| window == TOKEN_START)
}

/// Whether a body is seen to hold one of our tokens.
fn has_tokens(body: &[u8]) -> bool {
    let mut scanner = Scanner::new(&[], 64);
    scanner.feed(body).unwrap();
    scanner.finish().unwrap().has_tokens()
}

/// Every reply with every client of another dialect, whole and streamed.
fn pairs() -> Vec<(Reply, Dialect, bool)> {
    let mut pairs = Vec::new();
    for reply in replies() {
        for client in Dialect::ALL.into_iter().filter(|client| *client != reply.dialect) {
            pairs.extend([false, true].map(|streamed| (reply.clone(), client, streamed)));
        }
    }
    pairs
}

#[test]
fn state_returns_through_every_dialect() {
    for (reply, client, streamed) in pairs() {
        let name = format!("{}, {client:?}, streamed: {streamed}", reply.name);
        let shown = to_client(&keeper(), &reply, client, streamed, 0);
        let body = second_request(client, &shown, streamed, Habit::Faithful);
        assert!(has_tokens(&body), "{name}");
        // Another replica: what was remembered does not help.
        let (sent, losses) = to_provider(&keeper(), client, &body, &maker(reply.dialect), &reply, 1);
        assert_eq!(reply.returned(&sent), reply.wanted(), "{name}\n{}", String::from_utf8_lossy(&body));
        assert!(losses.is_empty(), "{name}: {losses:?}");
        assert!(!is_anywhere(&sent), "{name}");
    }
}

/// Google's own clients keep a content per chunk; by hand all parts are put into one.
#[test]
fn thoughts_of_a_stream_return_whole_from_clients_that_keep_one_content() {
    let thoughts = |content: &Value| -> Vec<Value> {
        content.as_array().unwrap().iter().filter(|block| block["type"] == "thinking").cloned().collect()
    };
    for reply in replies().into_iter().filter(|reply| reply.dialect == Dialect::AnthropicMessages) {
        let shown = to_client(&keeper(), &reply, Dialect::GeminiGenerate, true, 0);
        let mut body: Value = serde_json::from_slice(&second_request(Dialect::GeminiGenerate, &shown, true, Habit::Faithful)).unwrap();
        let contents = body["contents"].as_array_mut().unwrap();
        let said = contents.iter().filter(|content| content["role"] == "model");
        let parts: Vec<Value> = said.flat_map(|content| content["parts"].as_array().unwrap().clone()).collect();
        contents.retain(|content| content["role"] != "model");
        contents.insert(1, json!({"role": "model", "parts": parts}));
        let body = serde_json::to_vec(&body).unwrap();
        let (sent, losses) = to_provider(&keeper(), Dialect::GeminiGenerate, &body, &maker(reply.dialect), &reply, 1);
        assert_eq!(thoughts(&reply.returned(&sent)), thoughts(&reply.wanted()), "{}\n{}", reply.name, String::from_utf8_lossy(&sent));
        assert!(losses.is_empty(), "{}: {losses:?}", reply.name);
    }
}

#[test]
fn state_returns_from_clients_that_take_details_apart() {
    for (reply, client, streamed) in pairs().into_iter().filter(|(_, client, _)| *client == Dialect::OpenaiChat) {
        for habit in [Habit::Merging, Habit::Grouping] {
            let name = format!("{}, {habit:?}, streamed: {streamed}", reply.name);
            let shown = to_client(&keeper(), &reply, client, streamed, 0);
            let body = second_request(client, &shown, streamed, habit);
            let (sent, losses) = to_provider(&keeper(), client, &body, &maker(reply.dialect), &reply, 1);
            assert_eq!(reply.returned(&sent), reply.wanted(), "{name}\n{}", String::from_utf8_lossy(&body));
            assert!(losses.is_empty(), "{name}: {losses:?}");
        }
    }
}

#[test]
fn state_returns_from_clients_that_know_texts_and_calls_only() {
    for (reply, client, streamed) in pairs() {
        let name = format!("{}, {client:?}, streamed: {streamed}", reply.name);
        let keeper = keeper();
        let shown = to_client(&keeper, &reply, client, streamed, 0);
        let body = second_request(client, &shown, streamed, Habit::Plain);
        assert!(!has_tokens(&body), "{name}");
        // Each time that the conversation goes on.
        for now_ms in [1, 2] {
            let (sent, losses) = to_provider(&keeper, client, &body, &maker(reply.dialect), &reply, now_ms);
            assert_eq!(reply.returned(&sent), reply.wanted(), "{name}\n{}", String::from_utf8_lossy(&body));
            assert!(losses.is_empty(), "{name}: {losses:?}");
        }
        // Nobody else gets it.
        for stranger in strangers(reply.dialect) {
            let (sent, _) = to_provider(&keeper, client, &body, &stranger, &reply, 3);
            check_nothing_sent(&reply, &sent, &format!("{name} to {stranger:?}"));
        }
    }
}

/// Everybody but who made it.
fn strangers(dialect: Dialect) -> Vec<Maker<'static>> {
    let own = || maker(dialect);
    let mut strangers = vec![
        Maker { provider: Text::word("other"), ..own() },
        Maker { account: Text::word("key 2"), ..own() },
        Maker { model: Text::word("m-2"), ..own() },
    ];
    strangers.extend(Dialect::ALL.into_iter().filter(|other| *other != dialect).map(maker));
    strangers
}

/// All state in a reply, as its provider wrote it.
fn state_of(value: &Value) -> Vec<String> {
    const NAMES: [&str; 5] = ["signature", "data", "encrypted_content", "thoughtSignature", "redactedContent"];
    match value {
        Value::Array(list) => list.iter().flat_map(state_of).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value {
                Value::String(text) if NAMES.contains(&name.as_str()) => vec![text.clone()],
                value => state_of(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn check_nothing_sent(reply: &Reply, sent: &[u8], name: &str) {
    let text = String::from_utf8_lossy(sent);
    assert!(!is_anywhere(sent), "{name}: {text}");
    for state in state_of(&reply.pieces) {
        assert!(!text.contains(&format!("\"{state}\"")), "{name}: {state} in {text}");
    }
    // And no id by which a provider would look for it.
    assert!(!text.contains("rs_"), "{name}: {text}");
}

#[test]
fn state_is_not_sent_to_others() {
    for (reply, client, streamed) in pairs() {
        let shown = to_client(&keeper(), &reply, client, streamed, 0);
        let body = second_request(client, &shown, streamed, Habit::Faithful);
        for stranger in strangers(reply.dialect) {
            let name = format!("{}, {client:?}, streamed: {streamed}, to {stranger:?}", reply.name);
            let (sent, losses) = to_provider(&keeper(), client, &body, &stranger, &reply, 1);
            check_nothing_sent(&reply, &sent, &name);
            assert!(!losses.is_empty(), "{name}");
            assert!(losses.as_slice().iter().all(|loss| loss.severity == Severity::Hint), "{name}: {losses:?}");
        }
    }
}

#[test]
fn state_without_wrapping_stays_in_its_dialect() {
    for reply in replies() {
        let body = second_request(reply.dialect, &reply.body(), false, Habit::Faithful);
        for target in Dialect::ALL {
            let name = format!("{} to {target:?}", reply.name);
            let (sent, losses) = to_provider(&keeper(), reply.dialect, &body, &maker(target), &reply, 1);
            if target == reply.dialect {
                let state: Vec<String> = state_of(&reply.returned(&sent));
                assert_eq!(state, state_of(&reply.pieces), "{name}");
                assert!(losses.is_empty(), "{name}: {losses:?}");
            } else {
                check_nothing_sent(&reply, &sent, &name);
                assert_eq!(losses.as_slice().len(), state_of(&reply.pieces).len(), "{name}: {losses:?}");
            }
        }
    }
}

#[test]
fn state_that_cannot_be_read_is_told() {
    for (reply, client, streamed) in pairs() {
        let shown = to_client(&keeper(), &reply, client, streamed, 0);
        let body = second_request(client, &shown, streamed, Habit::Faithful);
        let other = Keeper::new(&[43; 32], Limits::default()).unwrap();
        let (sent, losses) = to_provider(&other, client, &body, &maker(reply.dialect), &reply, 1);
        check_nothing_sent(&reply, &sent, reply.name);
        let severities: Vec<Severity> = losses.as_slice().iter().map(|loss| loss.severity).collect();
        assert_eq!(severities, vec![Severity::Changed; state_of(&reply.pieces).len()], "{} {client:?}: {losses:?}", reply.name);
    }
}

fn first_reply(dialect: Dialect) -> Reply {
    replies().into_iter().find(|reply| reply.dialect == dialect).unwrap()
}

fn check_remembered(keeper: &Keeper, reply: &Reply, body: &[u8], scope: u64, now_ms: u64, is_remembered: bool) {
    let mut request = decode_request(Dialect::OpenaiChat, body).unwrap();
    assert_eq!(keeper.maker_of(&request, scope, now_ms), is_remembered.then(|| maker(reply.dialect)), "in {scope} at {now_ms}");
    keeper.open(&mut request, &maker(reply.dialect), scope, now_ms);
    let sealed = request.turns.iter().flat_map(|turn| &turn.blocks).filter(|block| block.seal.is_some()).count();
    assert_eq!(sealed > 0, is_remembered, "in {scope} at {now_ms}");
}

#[test]
fn the_memory_is_the_accounts_own_and_ends() {
    let keeper = Keeper::new(&[42; 32], Limits { memory_ms: 100, ..Limits::default() }).unwrap();
    let reply = first_reply(Dialect::AnthropicMessages);
    let shown = to_client(&keeper, &reply, Dialect::OpenaiChat, false, 1000);
    let body = second_request(Dialect::OpenaiChat, &shown, false, Habit::Plain);
    check_remembered(&keeper, &reply, &body, SCOPE + 1, 1000, false);
    check_remembered(&keeper, &reply, &body, SCOPE, 1099, true);
    check_remembered(&keeper, &reply, &body, SCOPE, 1198, true);
    check_remembered(&keeper, &reply, &body, SCOPE, 1298, false);
    assert_eq!(keeper.memory_bytes(), 0);
}

#[test]
fn the_memory_is_bounded() {
    let limits = Limits { memory_bytes: 20_000, ..Limits::default() };
    let keeper = Keeper::new(&[42; 32], limits).unwrap();
    let mut reply = first_reply(Dialect::AnthropicMessages);
    for streamed in [false, true] {
        for number in 0..100 {
            reply.pieces[3]["id"] = json!(format!("toolu_{number}"));
            to_client(&keeper, &reply, Dialect::OpenaiChat, streamed, 0);
            assert!((1..=limits.memory_bytes).contains(&keeper.memory_bytes()));
        }
        let before = keeper.memory_bytes();
        reply.pieces[0]["thinking"] = json!("x".repeat(30_000));
        to_client(&keeper, &reply, Dialect::OpenaiChat, streamed, 0);
        assert!(keeper.memory_bytes() <= before, "what is too long is not remembered");
        reply.pieces[0]["thinking"] = json!("x");
    }
    let nothing = Keeper::new(&[42; 32], Limits { memory_bytes: 0, ..limits }).unwrap();
    to_client(&nothing, &reply, Dialect::OpenaiChat, true, 0);
    assert_eq!(nothing.memory_bytes(), 0);
}

#[test]
fn a_client_may_leave_once_it_has_its_calls() {
    let (keeper, reply) = (keeper(), first_reply(Dialect::GeminiGenerate));
    let mut decoder = StreamDecoder::new(reply.dialect, reply.traits());
    let mut stream = keeper.stream(&maker(reply.dialect), SCOPE);
    let events = reply.events();
    // All but the end.
    for (_, data) in &events[..events.len() - 1] {
        let data = serde_json::to_vec(data).unwrap();
        decoder.event(None, &data, &mut |event| drop(stream.event(event, 5))).unwrap();
    }
    assert_eq!(keeper.memory_bytes(), 0);
    drop(stream);
    assert!(keeper.memory_bytes() > 0);
    let shown = to_client(&self::keeper(), &reply, Dialect::OpenaiChat, true, 0);
    let body = second_request(Dialect::OpenaiChat, &shown, true, Habit::Plain);
    check_remembered(&keeper, &reply, &body, SCOPE, 6, true);
}

#[test]
fn nothing_is_remembered_of_replies_without_state_or_calls() {
    for pieces in [
        json!([{"type": "text", "text": "a"}, {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]),
        json!([{"type": "thinking", "thinking": "a", "signature": "c2ln"}, {"type": "text", "text": "a"}]),
    ] {
        let reply = Reply { pieces, ..first_reply(Dialect::AnthropicMessages) };
        for streamed in [false, true] {
            let keeper = keeper();
            to_client(&keeper, &reply, Dialect::OpenaiChat, streamed, 0);
            assert_eq!(keeper.memory_bytes(), 0);
        }
    }
}

#[test]
fn the_maker_of_open_calls_is_known() {
    let check = |client: Dialect, body: &[u8], expected: Option<Maker<'static>>| {
        let request = decode_request(client, body).unwrap();
        assert_eq!(keeper().maker_of(&request, SCOPE, 0), expected, "{}", String::from_utf8_lossy(body));
    };
    for (reply, client, streamed) in pairs() {
        let body = second_request(client, &to_client(&keeper(), &reply, client, streamed, 0), streamed, Habit::Faithful);
        check(client, &body, Some(maker(reply.dialect)));
    }
    let reply = first_reply(Dialect::AnthropicMessages);
    let shown = to_client(&keeper(), &reply, Dialect::OpenaiChat, false, 0);
    let mut body: Value = serde_json::from_slice(&second_request(Dialect::OpenaiChat, &shown, false, Habit::Faithful)).unwrap();
    body["messages"].as_array_mut().unwrap().push(json!({"role": "user", "content": "and now?"}));
    check(Dialect::OpenaiChat, &serde_json::to_vec(&body).unwrap(), None);
}

#[test]
fn a_turn_that_was_nothing_but_state_goes() {
    let content = json!([{"type": "thinking", "thinking": "", "signature": "c2ln"}]);
    let messages = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": content}, {"role": "user", "content": "b"}]);
    let body = serde_json::to_vec(&json!({"model": "m", "max_tokens": 9, "messages": messages})).unwrap();
    let mut request = decode_request(Dialect::AnthropicMessages, &body).unwrap();
    let losses = keeper().open(&mut request, &maker(Dialect::GeminiGenerate), SCOPE, 0);
    assert_eq!(request.turns.len(), 2);
    assert_eq!(losses.as_slice()[0].path, "messages[1].content[0]");
}

#[test]
fn hidden_thoughts_return_their_state() {
    let reply = first_reply(Dialect::AnthropicMessages);
    let (identity, mut shown) = (identity(), Vec::new());
    let body = reply.body();
    let mut response = decode_response(reply.dialect, &body, &reply.traits()).unwrap();
    keeper().wrap(&mut response, &maker(reply.dialect), SCOPE, 0);
    let mut bridge = Bridge::default();
    bridge.hide_thoughts = true;
    encode_response(Dialect::OpenaiChat, &response, &Face { identity: &identity, bridge: &bridge }, None, &mut shown);
    let body = second_request(Dialect::OpenaiChat, &shown, false, Habit::Faithful);
    let (sent, losses) = to_provider(&keeper(), Dialect::OpenaiChat, &body, &maker(reply.dialect), &reply, 1);
    let mut wanted = reply.wanted();
    wanted[0]["thinking"] = json!("");
    assert_eq!(reply.returned(&sent), wanted);
    assert!(losses.is_empty());
}

#[test]
fn short_secrets_are_refused() {
    assert!(Keeper::new(&[1; 31], Limits::default()).is_err());
}

proptest! {
    /// However a text is cut into pieces, by the provider, and escaped.
    #[test]
    fn any_split_of_a_stream_says_the_same(
        thought in "[ab \"\\\\é😀\n]{0,12}",
        text in "[ab \"\\\\é😀\n]{0,12}[ab]",
        state in "[a-zA-Z0-9+/]{1,40}",
        streamed in any::<bool>(),
        client in prop::sample::select(vec![Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::GeminiGenerate, Dialect::BedrockConverse]),
        habit in prop::sample::select(vec![Habit::Faithful, Habit::Plain]),
    ) {
        let pieces = json!([
            {"type": "thinking", "thinking": thought, "signature": state},
            {"type": "text", "text": text},
            {"type": "thinking", "thinking": "x", "signature": format!("{state}=")},
            {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
        ]);
        let reply = Reply { pieces, ..first_reply(Dialect::AnthropicMessages) };
        let keeper = keeper();
        let shown = to_client(&keeper, &reply, client, streamed, 0);
        let body = second_request(client, &shown, streamed, habit);
        let (sent, _) = to_provider(&keeper, client, &body, &maker(reply.dialect), &reply, 1);
        let mut wanted = reply.wanted();
        // Nothing is sent as a text without words.
        if text.trim().is_empty() { wanted.as_array_mut().unwrap().remove(1); }
        prop_assert_eq!(reply.returned(&sent), wanted);
    }

    /// Whatever a client makes of a conversation: no panic, and nothing of ours goes out.
    #[test]
    fn nothing_of_ours_ever_goes_out(at in 0_usize..11, cut in any::<prop::sample::Index>(), flip in any::<u8>(), streamed in any::<bool>(), client in 0_usize..5) {
        let (reply, client) = (replies().swap_remove(at), Dialect::ALL[client]);
        let shown = to_client(&keeper(), &reply, client, streamed && client != reply.dialect, 0);
        let body = second_request(client, &shown, streamed && client != reply.dialect, Habit::Faithful);
        let mut other = body.clone();
        let place = cut.index(other.len());
        other[place] = if flip.is_ascii_graphic() { flip } else { b'A' };
        let prefix_is_whole = is_anywhere(&other);
        if let Ok(mut request) = decode_request(client, &other) {
            for target in Dialect::ALL {
                keeper().open(&mut request, &maker(target), SCOPE, 0);
                let target = Target { traits: reply.traits(), ..Target::new(target, "m") };
                if let Ok(encoded) = encode_request(&request, &target) {
                    // A key that is none any more is kept with what it holds, and goes to its own dialect only.
                    let is_own = target.dialect == client;
                    prop_assert!(is_own || !prefix_is_whole || !is_anywhere(&encoded.body));
                }
            }
        }
    }
}
