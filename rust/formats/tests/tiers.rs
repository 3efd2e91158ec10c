//! Service tiers: what requests ask for, how that is said to a provider, and what replies tell.
#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_formats::identity::Identity;
use fairlead_formats::reply::ReplyScan;
use fairlead_formats::request::{Address, Facts, NoTier, RequestScan, Target, TierWord, edits};
use fairlead_formats::splice::Edits;
use fairlead_formats::tap::Tap;
use fairlead_formats::translate::{self, dialects, say_tier};
use fairlead_ir::Dialect::{self, AnthropicMessages, GeminiGenerate, OpenaiChat, OpenaiResponses};
use fairlead_ir::{Losses, Manner, Tier};
use std::sync::Arc;

fn facts(dialect: Dialect, body: &str) -> Facts {
    let mut scan = match dialect {
        GeminiGenerate => RequestScan::addressed(dialect, 64, Address { model: "m".to_owned(), stream: false }),
        _ => RequestScan::new(dialect, 64),
    };
    scan.feed(body.as_bytes()).unwrap();
    scan.finish(&[body.as_bytes()]).unwrap()
}

fn body(dialect: Dialect, members: &str) -> String {
    match dialect {
        GeminiGenerate => format!(r#"{{"contents":[]{members}}}"#),
        OpenaiResponses => format!(r#"{{"model":"m","input":"a"{members}}}"#),
        _ => format!(r#"{{"model":"m","max_tokens":1,"messages":[]{members}}}"#),
    }
}

#[test]
fn what_requests_ask_for() {
    let check = |dialect, members: &str, tier| assert_eq!(facts(dialect, &body(dialect, members)).tier, tier, "{dialect:?} {members}");
    check(OpenaiChat, "", None);
    check(OpenaiChat, r#","service_tier":"flex""#, Some(Tier::Flex));
    // It says no more than nothing does.
    check(OpenaiChat, r#","service_tier":"auto""#, None);
    check(OpenaiChat, r#","service_tier":"default""#, Some(Tier::Standard));
    // Of what nobody here knows the provider is the judge.
    check(OpenaiChat, r#","service_tier":"turbo""#, None);
    check(OpenaiChat, r#","service_tier":null"#, None);
    check(OpenaiResponses, r#","service_tier":"priority""#, Some(Tier::Priority));
    check(AnthropicMessages, r#","service_tier":"standard_only""#, Some(Tier::Standard));
    check(AnthropicMessages, r#","speed":"fast""#, Some(Tier::Fast));
    check(AnthropicMessages, r#","speed":"fast","service_tier":"auto""#, Some(Tier::Fast));
    check(AnthropicMessages, r#","speed":"standard""#, None);
    check(GeminiGenerate, r#","serviceTier":"FLEX""#, Some(Tier::Flex));
    check(GeminiGenerate, r#","service_tier":"priority""#, Some(Tier::Priority));
    check(OpenaiChat, r#","speed":"fast""#, None);
}

#[test]
fn a_tier_is_a_text() {
    let body = body(OpenaiChat, r#","service_tier":7"#);
    let mut scan = RequestScan::new(OpenaiChat, 64);
    scan.feed(body.as_bytes()).unwrap();
    assert_eq!(scan.finish(&[body.as_bytes()]).unwrap_err().param.as_deref(), Some("service_tier"));
}

#[test]
fn how_it_is_said_to_the_provider() {
    let check = |dialect, members: &str, tier, expected: &str| {
        let body = body(dialect, members);
        let target = Target {
            upstream_model: "m",
            manner: Manner::Native,
            hashed_user: None,
            stream_options: false,
            raw_predict: false,
            tier,
            limit_name: None,
        };
        let (mut changes, mut out) = (Edits::default(), Vec::new());
        edits(&facts(dialect, &body), &target, &mut changes).unwrap();
        changes.apply(body.as_bytes(), &mut out).unwrap();
        let (found, expected) = (String::from_utf8(out).unwrap(), self::body(dialect, expected));
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(json(&found), json(&expected), "{members} {tier:?}");
    };
    let flex = TierWord::Asked(Tier::Flex);
    check(OpenaiChat, r#","service_tier":"priority""#, TierWord::Kept, r#","service_tier":"priority""#);
    check(OpenaiChat, r#","service_tier":"priority","n":1"#, TierWord::Removed(NoTier::NotSold), r#","n":1"#);
    check(OpenaiChat, "", TierWord::Removed(NoTier::NotSold), "");
    check(OpenaiChat, "", flex, r#","service_tier":"flex""#);
    check(OpenaiChat, r#","service_tier":"fast""#, TierWord::Asked(Tier::Priority), r#","service_tier":"priority""#);
    check(OpenaiResponses, r#","provider":{},"service_tier":"priority""#, flex, r#","service_tier":"flex""#);
    check(AnthropicMessages, r#","service_tier":"priority""#, TierWord::Asked(Tier::Fast), r#","speed":"fast""#);
    check(AnthropicMessages, r#","speed":"fast","service_tier":"flex""#, TierWord::Removed(NoTier::NotSold), "");
    check(GeminiGenerate, r#","service_tier":"flex""#, flex, r#","serviceTier":"flex""#);
}

#[test]
fn how_it_is_said_in_another_dialect() {
    let check = |source, members: &str, to, tier, expected: &str, losses: &[&str]| {
        let members = members.to_owned();
        let messages = r#"{"role":"user","content":"a"}"#;
        let body = match source {
            OpenaiResponses => body(source, &members),
            _ => body(source, &members).replace(r#""messages":[]"#, &format!(r#""messages":[{messages}]"#)),
        };
        let mut request = dialects::decode_request(source, body.as_bytes()).unwrap();
        let mut lost = Losses::new();
        say_tier(&mut request, tier, &mut lost);
        let target = translate::Target { speed: tier == TierWord::Asked(Tier::Fast), ..translate::Target::new(to, "m") };
        let encoded = dialects::encode_request(&request, &target).unwrap();
        lost.append(encoded.losses);
        let found: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
        let told: Vec<&str> =
            lost.as_slice().iter().map(|loss| loss.path.as_str()).filter(|path| ["service_tier", "speed"].contains(path)).collect();
        let said = ["service_tier", "speed", "serviceTier"].iter().find_map(|name| Some(format!("{name}={}", found.get(name)?)));
        assert_eq!((said.unwrap_or_default().as_str(), told.as_slice()), (expected, losses), "{members} {to:?} {tier:?}");
    };
    check(OpenaiChat, r#","service_tier":"fast""#, OpenaiResponses, TierWord::Asked(Tier::Priority), r#"service_tier="priority""#, &[]);
    check(OpenaiChat, r#","service_tier":"fast""#, OpenaiResponses, TierWord::Removed(NoTier::NotSold), "", &["service_tier"]);
    check(OpenaiChat, r#","service_tier":"fast""#, AnthropicMessages, TierWord::Asked(Tier::Fast), r#"speed="fast""#, &[]);
    check(OpenaiChat, "", GeminiGenerate, TierWord::Asked(Tier::Flex), r#"serviceTier="flex""#, &[]);
    check(AnthropicMessages, r#","speed":"fast""#, OpenaiChat, TierWord::Asked(Tier::Priority), r#"service_tier="priority""#, &[]);
    check(AnthropicMessages, r#","speed":"fast""#, OpenaiChat, TierWord::Removed(NoTier::NotSold), "", &["speed"]);
    check(AnthropicMessages, r#","speed":"fast""#, AnthropicMessages, TierWord::Kept, r#"speed="fast""#, &[]);
}

#[test]
fn what_replies_tell() {
    let check = |dialect, body: &str, tier| {
        let mut scan = ReplyScan::new(dialect);
        scan.feed(body.as_bytes()).unwrap();
        assert_eq!(scan.finish(body.as_bytes()).unwrap().tier, tier, "{body}");
    };
    let chat = |members: &str| format!(r#"{{"choices":[{{"message":{{"content":"a"}}}}]{members}}}"#);
    check(OpenaiChat, &chat(""), None);
    check(OpenaiChat, &chat(r#","service_tier":"default""#), Some(Tier::Standard));
    check(OpenaiChat, &chat(r#","service_tier":null"#), None);
    check(OpenaiChat, &chat(r#","service_tier":"flex""#), Some(Tier::Flex));
    check(OpenaiChat, &chat(r#","service_tier":"on_demand""#), Some(Tier::Standard));
    check(OpenaiResponses, r#"{"status":"completed","output":[],"service_tier":"priority"}"#, Some(Tier::Priority));
    let message = |usage: &str| format!(r#"{{"type":"message","content":[],"usage":{{"input_tokens":1,"output_tokens":1{usage}}}}}"#);
    check(AnthropicMessages, &message(r#","service_tier":"standard""#), Some(Tier::Standard));
    check(AnthropicMessages, &message(r#","service_tier":"standard","speed":"fast""#), Some(Tier::Fast));
    check(AnthropicMessages, &message(r#","speed":"standard""#), None);
    let gemini = |usage: &str| format!(r#"{{"candidates":[{{}}],"usageMetadata":{{"promptTokenCount":1{usage}}}}}"#);
    check(GeminiGenerate, &gemini(r#","serviceTier":"flex""#), Some(Tier::Flex));
    check(GeminiGenerate, &gemini(r#","trafficType":"ON_DEMAND""#), Some(Tier::Standard));
    check(GeminiGenerate, &gemini(r#","trafficType":"ON_DEMAND_PRIORITY""#), Some(Tier::Priority));
    let converse = r#"{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn","serviceTier":{"type":"flex"}}"#;
    check(Dialect::BedrockConverse, converse, Some(Tier::Flex));
}

#[test]
fn what_streams_tell_last_counts() {
    let check = |dialect, events: &[&str], tier| {
        let identity = Identity::new(Manner::Native, "gen-1", "a/b", "Lab", 1);
        let mut tap = Tap::new(dialect, Arc::new(identity), false);
        for event in events {
            tap.inspect(format!("data: {event}\n\n").as_bytes());
        }
        assert_eq!(tap.tier(), tier, "{events:?}");
    };
    let chunk = |tier: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"a"}}}}],"service_tier":{tier}}}"#);
    check(OpenaiChat, &[&chunk("\"auto\""), &chunk("\"priority\""), &chunk("null")], Some(Tier::Priority));
    let response = |kind: &str, tier: &str| format!(r#"{{"type":"response.{kind}","response":{{"output":[],"service_tier":"{tier}"}}}}"#);
    check(OpenaiResponses, &[&response("created", "flex"), &response("completed", "default")], Some(Tier::Standard));
    let start =
        r#"{"type":"message_start","message":{"usage":{"input_tokens":1,"output_tokens":1,"service_tier":"standard","speed":"fast"}}}"#;
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#;
    check(AnthropicMessages, &[start, delta], Some(Tier::Fast));
    let gemini = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":1,"serviceTier":"flex"}}"#;
    check(GeminiGenerate, &[gemini], Some(Tier::Flex));
}
