//! Every codec on every vector, on vectors that were damaged, and on what fuzzing found: see [`judge`].

#![expect(clippy::panic, reason = "tests")]

mod judge;
mod seeds;

use proptest::prelude::*;
use proptest::sample::{Index, select};

type Judge = fn(&[u8]);

const JUDGES: [(&str, Judge); 3] = [("request", judge::request), ("response", judge::response), ("stream", judge::stream)];

#[test]
fn every_vector_in_every_dialect() {
    for (kind, judge) in JUDGES {
        let seeds = seeds::of(kind);
        assert!(seeds.len() >= 100, "{} vectors of {kind}", seeds.len());
        for (name, seed) in seeds {
            told(&name, || judge(&seed));
            // Under other traits and cuts too.
            for choice in [0, 0x31, 0x54, 0x8a, 0xff] {
                told(&name, || judge(&[&[seed[0], choice], &seed[2..]].concat()));
            }
        }
    }
}

/// A body or stream read as another dialect's.
#[test]
fn every_vector_as_every_dialect() {
    for (kind, judge) in JUDGES {
        for (name, seed) in seeds::of(kind) {
            for dialect in 0..5 {
                told(&name, || judge(&[&[dialect], &seed[1..]].concat()));
            }
        }
    }
}

#[test]
fn what_was_found_once() {
    for (kind, judge) in JUDGES {
        for (name, input) in seeds::findings(kind) {
            told(&name, || judge(&input));
        }
    }
}

/// Runs `judge` and names the input it fails on.
fn told(name: &str, judge: impl FnOnce() + std::panic::UnwindSafe) {
    if let Err(fault) = std::panic::catch_unwind(judge) {
        eprintln!("on {name}");
        std::panic::resume_unwind(fault);
    }
}

/// A change to a vector: bytes put in place of others.
#[derive(Clone, Debug)]
struct Damage {
    at: Index,
    taken: usize,
    put: Vec<u8>,
}

/// Words that mean something in JSON or in a dialect, in places where nobody expects them.
fn damage() -> impl Strategy<Value = Damage> {
    let words = [
        "null",
        "true",
        "-1",
        "1e400",
        "\"\"",
        "[]",
        "{}",
        "[{}]",
        "\\ud83d",
        "\\u0000",
        "\u{2028}",
        "\\",
        "\"",
        ",",
        ":",
        "{",
        "}",
        "\n\n",
        "data: ",
        "\"type\":\"x\",",
        "\"role\":\"tool\",",
        "\"content\":null,",
        "\"text\":1,",
        "\"index\":99,",
        "\"id\":\"\",",
    ];
    let put =
        prop_oneof![3 => select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..3)];
    (any::<Index>(), prop_oneof![2 => Just(0), 2 => 1..4_usize, 1 => 4..60_usize], put).prop_map(|(at, taken, put)| Damage {
        at,
        taken,
        put,
    })
}

fn damaged(seed: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut input = seed.to_vec();
    for Damage { at, taken, put } in damages {
        let start = 2 + at.index(input.len() - 1);
        let start = start.min(input.len());
        let end = (start + taken).min(input.len());
        input.splice(start..end, put.iter().copied());
    }
    input
}

/// The vectors' values, each in the place of any other: still JSON, so that more of it is read.
fn swapped(seed: &[u8], from: &Index, to: &Index) -> Vec<u8> {
    let mut body: serde_json::Value = match serde_json::from_slice(&seed[2..]) {
        Ok(body) => body,
        Err(_) => return seed.to_vec(),
    };
    let mut paths = Vec::new();
    pointers(&body, String::new(), &mut paths);
    let value = body.pointer(&paths[from.index(paths.len())]).cloned().unwrap_or_default();
    if let Some(place) = body.pointer_mut(&paths[to.index(paths.len())]) {
        *place = value;
    }
    [&seed[..2], body.to_string().as_bytes()].concat()
}

fn pointers(value: &serde_json::Value, path: String, out: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| {
            pointers(value, format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), out);
        }),
        serde_json::Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(index, value)| pointers(value, format!("{path}/{index}"), out));
        }
        _ => {}
    }
    out.push(path);
}

fn seed(kind: &'static str) -> impl Strategy<Value = Vec<u8>> {
    (select(seeds::of(kind)), prop_oneof![Just(0), any::<u8>()]).prop_map(|((_, mut seed), choice)| {
        seed[1] = choice;
        seed
    })
}

proptest! {
    #[test]
    fn damaged_requests(seed in seed("request"), damages in prop::collection::vec(damage(), 1..4)) {
        judge::request(&damaged(&seed, &damages));
    }

    #[test]
    fn requests_with_values_in_other_places(seed in seed("request"), from in any::<Index>(), to in any::<Index>()) {
        judge::request(&swapped(&seed, &from, &to));
    }

    #[test]
    fn damaged_replies(seed in seed("response"), damages in prop::collection::vec(damage(), 1..4)) {
        judge::response(&damaged(&seed, &damages));
    }

    #[test]
    fn replies_with_values_in_other_places(seed in seed("response"), from in any::<Index>(), to in any::<Index>()) {
        judge::response(&swapped(&seed, &from, &to));
    }

    #[test]
    fn damaged_streams(seed in seed("stream"), damages in prop::collection::vec(damage(), 1..4)) {
        judge::stream(&damaged(&seed, &damages));
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        JUDGES.iter().for_each(|(_, judge)| judge(&bytes));
    }
}
