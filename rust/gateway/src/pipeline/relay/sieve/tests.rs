//! The sieve against golden streams, cut anywhere.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use fairlead_formats::identity::Identity;
use fairlead_ir::{Dialect, Manner, Tier, Usage};
use fairlead_ledger::Flags;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DIALECTS: [Dialect; 2] = [Dialect::OpenaiChat, Dialect::AnthropicMessages];
const MANNERS: [(Manner, &str); 2] = [(Manner::Native, "v1"), (Manner::Openrouter, "api_v1")];
const LIMIT: usize = 256 << 10;
/// What golden files were made with.
const COST: NanoUsd = NanoUsd(123_450);

fn sieve(dialect: Dialect, manner: Manner) -> Sieve {
    let identity = Identity::new(manner, "gen-0193a1b2-0000-7000-8000-00000000abcd", "acme/fast", "Acme", 1_763_600_000);
    Sieve::new(Tap::new(dialect, Arc::new(identity), manner == Manner::Native), Wire::new(dialect, LIMIT), None)
}

fn judge(_: &Tap, sight: &Sight) -> Result<Option<Bill>, &'static str> {
    let bill = Bill {
        charged: COST,
        upstream_cost: COST,
        usage: Usage::default(),
        tier: Tier::Standard,
        flags: Flags::default(),
        cache_discount: NanoUsd(0),
    };
    if sight.error { Err("error") } else { Ok(sight.bill.then_some(bill)) }
}

/// What comes through of a stream that arrives in these pieces, and how it stopped.
fn sift(dialect: Dialect, manner: Manner, pieces: &[&[u8]]) -> (Vec<u8>, Option<Stop<&'static str>>) {
    let mut sieve = self::sieve(dialect, manner);
    let mut out = Vec::new();
    for piece in pieces {
        let mut rest = Bytes::copy_from_slice(piece);
        while !rest.is_empty() {
            let Sifted { bytes, mut stop } = sieve.take(std::mem::take(&mut rest), &mut judge);
            out.extend_from_slice(&bytes);
            if let Some(Stop::Large(large)) = stop {
                rest = large.rest;
                let looked = sieve.look_at(large.event, self::sieve(dialect, manner).tap)();
                let sifted = sieve.resume(looked, &mut judge);
                out.extend_from_slice(&sifted.bytes);
                stop = sifted.stop;
            }
            if stop.is_some() {
                return (out, stop);
            }
        }
    }
    let Sifted { bytes, stop } = sieve.take_rest(&mut judge);
    out.extend_from_slice(&bytes);
    (out, stop)
}

/// At every cut in two, at some in three, and byte by byte.
fn check(dialect: Dialect, manner: Manner, stream: &[u8], expected: &[u8], stop: Option<&'static str>) {
    let check = |pieces: &[&[u8]]| {
        let (out, stopped) = sift(dialect, manner, pieces);
        let text = String::from_utf8_lossy;
        assert_eq!((text(&out), &stopped), (text(expected), &stop.map(Stop::Failed)), "{manner:?} {pieces:?}");
    };
    check(&[stream]);
    for cut in 0..=stream.len() {
        let (first, second) = stream.split_at(cut);
        check(&[first, second]);
        if cut % 7 == 0 {
            let (second, third) = second.split_at(second.len() / 2);
            check(&[first, second, third]);
        }
    }
    check(&stream.chunks(1).collect::<Vec<_>>());
}

fn vectors(dialect: Dialect) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(dialect.name());
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == "stream"));
    paths
}

/// Every golden stream: the same bytes for the client whatever the pieces. What follows a failure is not looked at.
#[test]
fn golden_streams_at_every_cut() {
    let mut failures = 0;
    for dialect in DIALECTS {
        for path in vectors(dialect) {
            let stream = fs::read(&path).unwrap();
            for (manner, suffix) in MANNERS {
                let golden = fs::read(format!("{}.{suffix}", path.display())).unwrap();
                let (out, stop) = sift(dialect, manner, &[&stream]);
                failures += u32::from(stop.is_some());
                // The golden file also has what some hosts send behind the end, which nobody needs.
                let behind = golden.strip_prefix(out.as_slice()).unwrap();
                assert!(behind.is_empty() || behind == b"data: [DONE]\n\n", "{}", path.display());
                check(dialect, manner, &stream, &out, stop.map(|_| "error"));
            }
        }
    }
    assert_eq!(failures, 4, "two golden streams fail, on both manners");
}

/// What comes through of a stream in pieces of `size` bytes whose edge is `edge` bytes of content and moves on by as many when it is come to;
/// and how much content there was before the last event that was held back.
fn sift_to_edge(dialect: Dialect, manner: Manner, stream: &[u8], size: usize, edge: u64, moves: bool) -> (Vec<u8>, Option<u64>) {
    let mut sieve = self::sieve(dialect, manner);
    sieve.set_edge(edge, u64::MAX);
    let (mut out, mut held_behind) = (Vec::new(), None);
    for piece in stream.chunks(size) {
        let mut rest = Bytes::copy_from_slice(piece);
        while !rest.is_empty() {
            let Sifted { bytes, stop } = sieve.take(std::mem::take(&mut rest), &mut judge);
            out.extend_from_slice(&bytes);
            let Some(Stop::Edge(mut held)) = stop else { continue };
            held_behind = Some(held.content_before);
            if !moves {
                return (out, held_behind);
            }
            sieve.set_edge(sieve.tap.content_bytes() + edge, u64::MAX);
            rest = std::mem::take(&mut held.rest);
            out.extend_from_slice(&sieve.pass(held, &mut judge).bytes);
        }
    }
    out.extend_from_slice(&sieve.take_rest(&mut judge).bytes);
    (out, held_behind)
}

/// An edge that moves on changes nothing; one that stays lets through whole events, of no more content than that, whatever the pieces.
#[test]
fn nothing_comes_through_beyond_the_edge() {
    let mut held = 0;
    for dialect in DIALECTS {
        for path in vectors(dialect) {
            let stream = fs::read(&path).unwrap();
            for (manner, _) in MANNERS {
                let (whole, stop) = sift(dialect, manner, &[&stream]);
                if stop.is_some() {
                    continue;
                }
                for edge in [0, 1, 5, 20] {
                    let stays = sift_to_edge(dialect, manner, &stream, stream.len(), edge, false);
                    assert!(whole.starts_with(&stays.0) && stays.1.is_none_or(|before| before <= edge), "{}", path.display());
                    held += u32::from(stays.1.is_some());
                    for size in [1, 3, 50, stream.len()] {
                        let case = format!("{} {edge} {size}", path.display());
                        assert_eq!(sift_to_edge(dialect, manner, &stream, size, edge, true).0, whole, "{case}");
                        assert_eq!(sift_to_edge(dialect, manner, &stream, size, edge, false), stays, "{case}");
                    }
                }
            }
        }
    }
    assert!(held > 50, "{held}");
}

/// With a postscript a stream is the same but for one member in its last event, whatever the pieces.
#[test]
fn a_postscript_stands_in_the_last_event_alone() {
    let sift = |dialect, pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut sieve = self::sieve(dialect, Manner::Openrouter);
        sieve.add_postscript(dialect, b",\"postscript\":1".to_vec());
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&sieve.take(Bytes::copy_from_slice(piece), &mut judge).bytes);
        }
        String::from_utf8(out).unwrap()
    };
    for (dialect, usage, end) in [
        (
            Dialect::OpenaiChat,
            "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n",
            "data: [DONE]\n\n",
        ),
        (Dialect::AnthropicMessages, "", "event: message_stop\r\ndata: {\"type\":\"message_stop\"}\r\n\r\n"),
    ] {
        let index = usize::from(dialect == Dialect::AnthropicMessages);
        let stream = [BEFORE[index], usage, end].concat();
        let (plain, _) = self::sift(dialect, Manner::Openrouter, &[stream.as_bytes()]);
        let whole = sift(dialect, &mut [stream.as_bytes()].into_iter());
        assert_eq!(whole.replacen(",\"postscript\":1", "", 1).as_bytes(), plain);
        let last = whole.rfind('{').unwrap();
        assert!(whole[last..].contains("postscript"), "{whole}");
        assert_eq!(sift(dialect, &mut stream.as_bytes().chunks(1)), whole);
        // Without figures chat has a chunk more, before the end.
        let bare = sift(dialect, &mut [[BEFORE[index], end].concat().as_bytes()].into_iter());
        assert_eq!(bare.matches("postscript").count(), 1, "{bare}");
        assert!(dialect != Dialect::OpenaiChat || bare.contains("\"choices\":[],\"postscript\":1}\n\ndata: [DONE]"), "{bare}");
    }
}

const BEFORE: [&str; 2] = [
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
];

/// What comes through of the content alone.
fn before(index: usize, manner: Manner) -> Vec<u8> {
    sift(DIALECTS[index], manner, &[BEFORE[index].as_bytes()]).0
}

/// Whatever way an event fails, it never reaches the client: providers repeat keys in errors.
#[test]
fn no_byte_of_a_failed_event_passes() {
    let failures = [
        "data: {\"error\":{\"message\":\"Incorrect API key provided: sk-SECRET\"}}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"sk-SECRET\"}}\n\n",
        "id: 1\r\ndata: {\"error\":\r\ndata: \"sk-SECRET\"}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{},\"error\":{\"message\":\"sk-SECRET\"}}],\"error\":\"sk-SECRET\"}\n\n",
        "data: {\"\\u0065rror\":{\"message\":\"sk-SECRET\"}}\n\n",
        "data: <html>sk-SECRET</html>\n\n",
        "data: {\"sk-SECRET\n\n",
        "{\"error\":\"sk-SECRET\"}\n\n",
        "data: [\"sk-SECRET\"]\r\r",
    ];
    for (index, dialect) in DIALECTS.into_iter().enumerate() {
        for (manner, _) in MANNERS {
            for failure in failures {
                let stream = [BEFORE[index], failure, BEFORE[index]].concat();
                check(dialect, manner, stream.as_bytes(), &before(index, manner), Some("error"));
                check(dialect, manner, failure.as_bytes(), b"", Some("error"));
            }
        }
    }
}

/// A body that ends inside an event: what is there of it is no event.
#[test]
fn a_piece_of_an_event_does_not_pass() {
    for (index, dialect) in DIALECTS.into_iter().enumerate() {
        for (manner, _) in MANNERS {
            let content = before(index, manner);
            let data_end = BEFORE[index].len() - 2;
            for cut in 1..data_end {
                let stream = [BEFORE[index], &BEFORE[index][..cut]].concat();
                let (out, stop) = sift(dialect, manner, &[stream.as_bytes()]);
                assert_eq!((out, stop), (content.clone(), None), "{stream:?}");
            }
            // All of it but the blank line is all of it.
            for cut in data_end..data_end + 2 {
                let stream = [BEFORE[index], &BEFORE[index][..cut]].concat();
                let (out, stop) = sift(dialect, manner, &[stream.as_bytes()]);
                assert!(out.len() >= 2 * content.len() && stop.is_none(), "{stream:?}");
            }
        }
    }
}

/// A large event takes another way to the same end.
#[test]
fn large_events_pass_like_small_ones() {
    let chunk = |text: &str, end: &str| {
        format!(
            "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}{end}{end}"
        )
    };
    let large = "x".repeat(LARGE_FROM_BYTES);
    for (manner, _) in MANNERS {
        for end in ["\n", "\r\n", "\r"] {
            let stream = |text: &str| [chunk("a", end), chunk(text, end), format!(": note{end}{end}"), chunk("b", end)].concat();
            let expected = sift(Dialect::OpenaiChat, manner, &[stream("SMALL").as_bytes()]).0;
            let expected = String::from_utf8(expected).unwrap().replace("SMALL", &large);
            let stream = stream(&large);
            let cuts = [0, 10, 300, 60_000, stream.find(": note").unwrap() - 1, stream.find(": note").unwrap(), stream.len()];
            for cut in cuts {
                let (first, second) = stream.as_bytes().split_at(cut);
                let (out, stop) = sift(Dialect::OpenaiChat, manner, &[first, second]);
                assert!(out == expected.as_bytes() && stop.is_none(), "{manner:?} {end:?} {cut}");
            }
        }
        let failed = [BEFORE[0], "data: {\"error\":{\"message\":\"sk-SECRET ", &large, "\"}}\n\n", BEFORE[0]].concat();
        let expected = (before(0, manner), Some(Stop::Failed("error")));
        assert!(sift(Dialect::OpenaiChat, manner, &[failed.as_bytes()]) == expected);
        assert!(sift(Dialect::OpenaiChat, manner, &failed.as_bytes().chunks(1000).collect::<Vec<_>>()) == expected);
    }
}

#[test]
fn an_event_beyond_the_limit_stops_the_stream_behind_the_ones_before_it() {
    let long = format!("data: {}", "x".repeat(LIMIT));
    let stream = [BEFORE[0], &long].concat();
    let expected = (BEFORE[0].as_bytes().to_vec(), Some(Stop::TooLarge));
    assert_eq!(sift(Dialect::OpenaiChat, Manner::Native, &[stream.as_bytes()]), expected);
    assert_eq!(sift(Dialect::OpenaiChat, Manner::Native, &stream.as_bytes().chunks(1000).collect::<Vec<_>>()), expected);
}
