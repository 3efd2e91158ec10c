//! What reading and rewriting cost: nanoseconds per frame, request and reply, lowest of many short windows.
//!
//! `cargo bench -p fairlead-formats --bench dialects`. "Equal" frames differ in their text only, as providers send them;
//! "unequal" ones differ elsewhere too and are walked each time. Each case first checks what comes out.

#![expect(clippy::unwrap_used, reason = "a measurement may stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use fairlead_formats::identity::Identity;
use fairlead_formats::reply::ReplyScan;
use fairlead_formats::request::{RequestScan, Target, TierWord, edits};
use fairlead_formats::splice::Edits;
use fairlead_formats::tap::{Action, Tap};
use fairlead_ir::{Dialect, Manner, NanoUsd, Usage};

/// Frames per pass: a few kilobytes, as one read brings them.
const FRAMES: usize = 32;

fn main() {
    println!("{:46} {:>9} {:>10}", "case", "bytes", "ns");
    for (name, make, frames) in streams() {
        for manner in [Manner::Native, Manner::Openrouter] {
            measure_stream(&format!("frame, {name}, {manner:?}"), make, manner, &frames);
        }
    }
    for (name, length) in [("1 KB", 800), ("100 KB", 100_000)] {
        let body = format!(
            r#"{{"model":"acme/fast","stream":true,"messages":[{{"role":"user","content":"{}"}}]}}"#,
            "lorem ipsum ".repeat(length / 12)
        );
        measure(&format!("request, {name}: scan, facts, edits"), body.len(), 1, || request(black_box(body.as_bytes())));
    }
    for manner in [Manner::Native, Manner::Openrouter] {
        let identity = identity(manner);
        let chat = || ReplyScan::new(Dialect::OpenaiChat);
        measure(&format!("reply, {manner:?}: scan, facts, splice"), REPLY.len(), 1, || reply(chat(), black_box(REPLY), &identity));
        for (name, body) in [("base64", embeddings(true)), ("numbers", embeddings(false))] {
            let name = format!("embeddings, {name}, {manner:?}: the same");
            measure(&name, body.len(), 1, || reply(ReplyScan::embeddings(), black_box(body.as_bytes()), &identity));
        }
    }
}

type Make = fn(Arc<Identity>, bool) -> Tap;

fn streams() -> Vec<(&'static str, Make, Vec<Vec<u8>>)> {
    let words = [" the", " quick", " brown", ".", "\\n", " \\\"dog\\\"", " and", " so"];
    let frames = |make: &dyn Fn(usize, &str) -> String| (0..FRAMES).map(|at| make(at, words[at % words.len()]).into_bytes()).collect();
    let chat: Make = |identity, withhold_usage| Tap::new(Dialect::OpenaiChat, identity, withhold_usage);
    let messages: Make = |identity, withhold_usage| Tap::new(Dialect::AnthropicMessages, identity, withhold_usage);
    vec![
        ("chat, equal", chat, frames(&|_, word| chat_frame("B9MBs8CjcvOU2jLn4n570S5qMJKcT", word))),
        ("chat, unequal", chat, frames(&|at, word| chat_frame(&at.to_string(), word))),
        ("completions, equal", Tap::completions, frames(&|_, word| text_frame("B9MBs8CjcvOU2jLn4n570S5qMJKcT", word))),
        ("completions, unequal", Tap::completions, frames(&|at, word| text_frame(&at.to_string(), word))),
        ("Messages, equal", messages, frames(&|_, word| message_frame(0, word))),
        ("Messages, unequal", messages, frames(&|at, word| message_frame(at, word))),
    ]
}

fn text_frame(id: &str, word: &str) -> String {
    format!(
        "data: {{\"id\":\"cmpl-{id}\",\"object\":\"text_completion\",\"created\":1741569952,\"model\":\"gpt-3.5-turbo-instruct\",\
         \"choices\":[{{\"text\":\"{word}\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null}}\n\n"
    )
}

/// Sixteen vectors of 1,536 dimensions.
fn embeddings(base64: bool) -> String {
    let vector =
        if base64 { format!("\"{}\"", "vPk5u8a".repeat(1536 * 16 / 3 / 7)) } else { format!("[{}-1]", "-0.012345678,".repeat(1535)) };
    let data: Vec<String> = (0..16).map(|index| format!(r#"{{"object":"embedding","index":{index},"embedding":{vector}}}"#)).collect();
    let usage = r#"{"prompt_tokens":8,"total_tokens":8}"#;
    format!(r#"{{"object":"list","data":[{}],"model":"text-embedding-3-small","usage":{usage}}}"#, data.join(","))
}

fn chat_frame(id: &str, word: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-{id}\",\"object\":\"chat.completion.chunk\",\"created\":1741569952,\"model\":\"gpt-5-mini\",\
         \"service_tier\":\"default\",\"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\
         \"logprobs\":null,\"finish_reason\":null}}],\"usage\":null}}\n\n"
    )
}

fn message_frame(index: usize, word: &str) -> String {
    format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{index},\
         \"delta\":{{\"type\":\"text_delta\",\"text\":\"{word}\"}}}}\n\n"
    )
}

fn identity(manner: Manner) -> Identity {
    Identity::new(manner, "gen-0193a1b2-0000-7000-8000-00000000abcd", "openai/gpt-5-mini", "OpenAI", 1)
}

fn measure_stream(name: &str, make: Make, manner: Manner, frames: &[Vec<u8>]) {
    let mut tap = make(Arc::new(identity(manner)), true);
    let mut out = Vec::with_capacity(64 * 1024);
    let bytes = frames.iter().map(Vec::len).sum::<usize>() / frames.len();
    measure(name, bytes, frames.len(), || {
        out.clear();
        for frame in black_box(frames) {
            if tap.inspect(frame).action == Action::Rewrite {
                tap.rewrite(frame, None, &mut out);
            }
        }
        out.len()
    });
    assert!(tap.error().is_none() && tap.content_bytes() > 0);
    assert_eq!(out.is_empty(), manner == Manner::Native || name.contains("Messages"), "{name}");
}

fn request(body: &[u8]) -> usize {
    let mut scan = RequestScan::new(Dialect::OpenaiChat, 128);
    scan.feed(body).unwrap();
    let facts = scan.finish(&[body]).unwrap();
    let mut list = Edits::new();
    let target = Target {
        upstream_model: "gpt-5-mini",
        manner: Manner::Native,
        hashed_user: None,
        stream_options: true,
        raw_predict: false,
        tier: TierWord::Kept,
        limit_name: None,
    };
    edits(&facts, &target, &mut list).unwrap();
    list.result_len(body.len())
}

const REPLY: &[u8] = br#"{"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion","created":1741569952,"model":"gpt-4.1-2025-04-14","choices":[{"index":0,"message":{"role":"assistant","content":"Hello! How can I assist you today?","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":null}"#;

fn reply(mut scan: ReplyScan, body: &[u8], identity: &Identity) -> usize {
    scan.feed(body).unwrap();
    let reply = scan.finish(body).unwrap();
    let mut list = Edits::new();
    reply.edits(body, identity, &Usage::default(), NanoUsd(5), &mut list).unwrap();
    let mut out = Vec::new();
    list.apply(body, &mut out).unwrap();
    out.len() + usize::from(reply.content)
}

/// Prints the lowest time per item of many windows.
fn measure(name: &str, bytes: usize, items: usize, mut work: impl FnMut() -> usize) {
    const WINDOWS: usize = 60;
    const CALLS: usize = 60;
    let mut lowest_ns = f64::INFINITY;
    for _ in 0..WINDOWS {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(work());
        }
        lowest_ns = lowest_ns.min(start.elapsed().as_nanos() as f64 / (CALLS * items) as f64);
    }
    println!("{name:46} {bytes:>9} {lowest_ns:>10.1}");
}
