//! The scanner against its vectors, against `serde_json`, and against itself under every cut and instruction set.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use serde_json::Value;

use super::simd::Level;
use super::{DEFAULT_MAX_DEPTH, Kind, Members, Reason, Reject, Scanner, is_complete};

/// One level less than the default: the deepest that `serde_json` takes.
const SERDE_MAX_DEPTH: u16 = 127;

fn scan(level: Level, keys: &[&str], max_depth: u16, text: &[u8], cuts: &[usize]) -> Result<Members, Reject> {
    let mut scanner = Scanner::with_level(keys, max_depth, level);
    let mut from = 0;
    for &cut in cuts {
        scanner.feed(&text[from..cut])?;
        from = cut;
    }
    scanner.feed(&text[from..])?;
    scanner.finish()
}

/// Scans `text` whole and in pieces with every instruction set; all must agree.
fn check(keys: &[&str], max_depth: u16, text: &[u8], more_cuts: &[usize]) -> Result<Members, Reject> {
    let expected = scan(Level::detect(), keys, max_depth, text, &[]);
    let mut cuts: Vec<Vec<usize>> = vec![Vec::new(), more_cuts.to_vec()];
    if text.len() <= 5_000 {
        cuts.push((0..text.len()).collect());
        cuts.push((0..text.len()).step_by(7).collect());
        cuts.push((0..text.len()).step_by(65).collect());
    }
    if text.len() <= 120 {
        cuts.extend((0..=text.len()).map(|cut| vec![cut]));
    }
    for level in Level::all() {
        for cuts in &cuts {
            let outcome = scan(level, keys, max_depth, text, cuts);
            let what = || format!("{level:?} cut at {cuts:?}: {:?}", String::from_utf8_lossy(&text[..text.len().min(400)]));
            match (&outcome, &expected) {
                (Ok(members), Ok(expected)) => assert_eq!(format!("{members:?}"), format!("{expected:?}"), "{}", what()),
                (Err(reject), Err(expected)) => assert_eq!(reject, expected, "{}", what()),
                _ => panic!("{outcome:?} instead of {expected:?}, {}", what()),
            }
        }
    }
    expected
}

/// What `serde_json` says; `None` when it stops at a number that no double holds, which says nothing about the rest.
fn serde_verdict(text: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => Some(value.is_object()),
        Err(error) if error.to_string().contains("number out of range") => None,
        Err(_) => Some(false),
    }
}

/// The scanner's verdict equals `serde_json`'s, under every cut and instruction set.
fn check_verdict(text: &[u8], cuts: &[usize]) {
    let outcome = check(&[], SERDE_MAX_DEPTH, text, cuts);
    if let Some(expected) = serde_verdict(text) {
        assert_eq!(outcome.is_ok(), expected, "{outcome:?} {:?}", String::from_utf8_lossy(text));
    }
    if let Err(reject) = outcome {
        assert!(reject.offset <= text.len());
    }
}

fn vectors(file: &str) -> Vec<Value> {
    let path = format!("{}/../../tests/vectors/json/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn vector_text(case: &Value) -> Vec<u8> {
    if let Some(parts) = case["repeat"].as_array() {
        let part = |pair: &Value| pair[0].as_str().unwrap().repeat(usize::try_from(pair[1].as_u64().unwrap()).unwrap());
        return parts.iter().map(part).collect::<String>().into_bytes();
    }
    match case["hex"].as_str() {
        Some(hex) => (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect(),
        None => case["text"].as_str().unwrap().as_bytes().to_vec(),
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

fn word(reason: &Reason) -> &'static str {
    match reason {
        Reason::Truncated => "truncated",
        Reason::NotAnObject => "not_an_object",
        Reason::Expected(_) => "expected",
        Reason::Number => "number",
        Reason::Literal => "literal",
        Reason::ControlCharacter => "control",
        Reason::Escape => "escape",
        Reason::LoneSurrogate => "lone_surrogate",
        Reason::Utf8 => "utf8",
        Reason::TooDeep(_) => "too_deep",
        Reason::Trailing => "trailing",
        Reason::DuplicateKey(_) => "duplicate",
        Reason::KeyCase(_) => "key_case",
    }
}

#[test]
fn verdict_vectors() {
    for case in vectors("verdicts.json") {
        let text = vector_text(&case);
        let keys = if case["keys"].is_array() { strings(&case["keys"]) } else { vec!["model"] };
        let name = case["name"].as_str().unwrap();
        let verdict = match check(&keys, DEFAULT_MAX_DEPTH, &text, &[text.len() / 2]) {
            Ok(_) => ("accept".to_owned(), Value::Null),
            Err(reject) => (word(&reject.reason).to_owned(), Value::from(reject.offset)),
        };
        assert_eq!(verdict, (case["verdict"].as_str().unwrap().to_owned(), case["offset"].clone()), "{name}");
        let serde = if serde_json::from_slice::<Value>(&text).is_ok() { "accept" } else { "reject" };
        let ours = if verdict.0 == "accept" { "accept" } else { "reject" };
        assert_eq!(serde, case["serde_json"].as_str().unwrap_or(ours), "{name}");
    }
}

#[test]
fn member_vectors() {
    for case in vectors("members.json") {
        let text = case["text"].as_str().unwrap();
        let keys = strings(&case["keys"]);
        let members = check(&keys, DEFAULT_MAX_DEPTH, text.as_bytes(), &[]).unwrap();
        for (index, key) in keys.iter().enumerate() {
            let expected = &case["members"][key];
            let range = |range: Option<std::ops::Range<usize>>| range.map_or(Value::Null, |range| vec![range.start, range.end].into());
            assert_eq!(range(members.value(index)), expected["value"], "{key} in {text}");
            assert_eq!(range(members.member(index)), expected["member"], "{key} in {text}");
            let kind = members.kind(index).map_or(Value::Null, |kind| format!("{kind:?}").to_lowercase().into());
            assert_eq!(kind, expected["kind"], "{key} in {text}");
        }
        let shape = (members.len(), members.open(), members.close(), members.is_empty());
        let number = |name: &str| usize::try_from(case[name].as_u64().unwrap()).unwrap();
        assert_eq!(shape, (number("count"), number("open"), number("close"), number("count") == 0), "{text}");
        assert_eq!(
            serde_json::json!([members.first_member_at(), members.last_value_end()]),
            serde_json::json!([case["first"], case["last_end"]])
        );
    }
}

#[test]
fn a_verdict_stays() {
    let mut scanner = Scanner::new(&[], DEFAULT_MAX_DEPTH);
    let reject = scanner.feed(b"{x").unwrap_err();
    assert_eq!(reject.to_string(), "invalid JSON at byte 1: expected a member name or '}'");
    assert_eq!(scanner.feed(b"{}").unwrap_err(), reject);
    assert_eq!(scanner.finish().unwrap_err(), reject);
}

#[test]
fn depth_limit_is_the_callers() {
    for (limit, depth, accepted) in
        [(1, 1, true), (1, 2, false), (3, 3, true), (3, 4, false), (1024, 1024, true), (1024, 1025, false), (u16::MAX, 1025, false)]
    {
        let text = format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(check(&["a"], limit, text.as_bytes(), &[]).is_ok(), accepted, "{limit} {depth}");
    }
}

#[test]
fn sixty_four_names() {
    let names: Vec<String> = (0..64).map(|number| format!("name_{number}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let text: String = names.iter().rev().map(|name| format!("\"{name}\":\"{name}\",")).collect();
    let text = format!("{{{text}\"last\":0}}");
    let members = check(&keys, DEFAULT_MAX_DEPTH, text.as_bytes(), &[]).unwrap();
    for (index, name) in names.iter().enumerate() {
        assert_eq!(&text[members.value(index).unwrap()], format!("\"{name}\""));
        assert_eq!(members.kind(index), Some(Kind::String));
    }
}

/// Every escape at every distance from a block's edge and from the end of the text.
#[test]
fn escapes_at_every_place() {
    let fragments = [
        r"\n",
        r"\\",
        r#"\""#,
        r"\u0041",
        r"\ud83d\ude00",
        r"\ud83d",
        r"\ude00",
        r"\ud83d\u0041",
        r"\ud83d\ude0",
        r"\ud83d\ud83d\ude00",
        r"\u00g0",
        r"\x",
        r"\u000g",
        r"\ug000",
        r"\ud83d\ude0g",
        "\\\n",
        "\n",
        "\\\\\\",
        r"\ud83d\ude00\ude00",
        r"\\\\\\\",
        r"\\\\\\\\",
        r#"\\\\\""#,
        r#"\\\\""#,
        r"\\\u0041",
        r"\\u0041",
        r"\\\ud83d\\\ude00",
        r"\é",
        "\\\u{1}",
        "\\\\\u{1}",
        "é中😀",
    ];
    let long_runs = [128, 129].map(|length| "\\".repeat(length));
    for fragment in fragments.into_iter().chain(long_runs.iter().map(String::as_str)) {
        for (before, after) in (0..140).flat_map(|before| [0, 75].map(|after| (before, after))) {
            // Behind an escape, blocks are read in another way.
            for first in ["", r"\n"] {
                let text = format!("{{\"a\":\"{first}{}{fragment}{}\"}}", "x".repeat(before), "y".repeat(after));
                let by_bytes: Vec<usize> = (0..text.len()).collect();
                let expected = scan(Level::Scalar, &[], SERDE_MAX_DEPTH, text.as_bytes(), &by_bytes).map(|_| ());
                assert_eq!(expected.is_ok(), serde_verdict(text.as_bytes()).unwrap(), "{text}");
                for level in Level::all() {
                    let outcome = scan(level, &[], SERDE_MAX_DEPTH, text.as_bytes(), &[]).map(|_| ());
                    assert_eq!(outcome, expected, "{level:?} {text}");
                }
            }
        }
    }
}

#[test]
fn completeness() {
    for (text, complete) in [
        ("{}", true),
        (" [1, 2] ", true),
        ("\"a\"", true),
        ("12", true),
        ("1.", false),
        ("-", false),
        ("nul", false),
        ("null", true),
        ("{\"a\":", false),
        ("[1", false),
        ("\"a", false),
        ("", false),
        ("[DONE]", false),
        ("{} {}", false),
    ] {
        assert_eq!(is_complete(text.as_bytes()), complete, "{text}");
    }
}

/// Texts that look like JSON: values nested a little, with all kinds of white space, escapes and numbers.
fn json_value() -> impl Strategy<Value = String> {
    let space = || prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("\n\t"), 1 => Just("\r          ")];
    let leaf = prop_oneof![
        json_string(),
        prop_oneof![Just("0"), Just("-0"), Just("12"), Just("-3.5"), Just("1e5"), Just("0.25E-3")].prop_map(str::to_owned),
        prop_oneof![Just("true"), Just("false"), Just("null"), Just("[]"), Just("{}")].prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let item = (space(), inner.clone(), space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let member = (space(), json_string(), space(), item.clone()).prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
        prop_oneof![
            proptest::collection::vec(item, 1..4).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(member, 1..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

fn json_string() -> impl Strategy<Value = String> {
    proptest::collection::vec(string_part(), 0..6).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

fn string_part() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0_usize..80).prop_map(|length| "x".repeat(length)),
        1 => prop_oneof![Just("é"), Just("中"), Just("😀"), Just(" "), Just("]"), Just(",")].prop_map(str::to_owned),
        2 => prop_oneof![Just(r"\n"), Just(r"\\"), Just(r#"\""#), Just(r"\/"), Just(r"\u0041"), Just(r"\ud83d\ude00")].prop_map(str::to_owned),
    ]
}

/// What a string with an escape in every block is made of.
fn escape_or_text() -> impl Strategy<Value = String> {
    const ESCAPES: &[&str] = &[r"\n", r"\\", r#"\""#, r"\/", r"\u00e9", r"\ud83d\uDE00"];
    prop_oneof![
        2 => proptest::sample::select(ESCAPES).prop_map(str::to_owned),
        1 => (0_usize..40).prop_map(|length| "u".repeat(length)),
        1 => prop_oneof![Just("é"), Just("я"), Just("中"), Just("😀")].prop_map(str::to_owned),
    ]
}

/// Parts that are mostly wrong where they stand.
fn soup(parts: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![4 => proptest::sample::select(parts).prop_map(<[u8]>::to_vec), 1 => (0_usize..70).prop_map(|length| vec![b'x'; length])], 0..24)
        .prop_map(|parts| parts.concat())
}

const TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\"a\"",
    b"\"\":",
    b"0",
    b"1",
    b"-",
    b".5",
    b"e+1",
    b"true",
    b"false",
    b"null",
    b"nul",
    b" ",
    b"\n",
    b"\\",
    b"\xff",
    b"\0",
    b"\xe4\xb8\xad",
];

const STRING_PARTS: &[&[u8]] = &[
    b"\\",
    b"\\\\",
    b"\\\\",
    b"\\n",
    b"\\\"",
    b"\\u0041",
    b"\\u00",
    b"\\ud83d",
    b"\\ude00",
    b"\\ud83d\\ude00",
    b"\\ud83d\\ude00",
    b"u",
    b"d83d",
    b"\"",
    b"\x1f",
    b"\xc3\xa9",
    b"\xc3",
    b"\xf0\x9f\x98\x80",
    b"\xf0\x9f",
];

proptest! {
    #[test]
    fn valid_texts(value in json_value(), cut in any::<proptest::sample::Index>()) {
        let text = format!("{{\"a\":{value}}}").into_bytes();
        prop_assert!(serde_verdict(&text).unwrap());
        check_verdict(&text, &[cut.index(text.len())]);
    }

    #[test]
    fn damaged_texts(value in json_value(), at in any::<proptest::sample::Index>(), byte in prop_oneof![any::<u8>(), proptest::sample::select(&b"\"\\{}[],:0-.e \n"[..])], manner in 0..3) {
        let mut text = format!("{{\"a\":{value}}}").into_bytes();
        let at = at.index(text.len());
        match manner {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            _ => drop(text.remove(at)),
        }
        check_verdict(&text, &[at]);
        check_verdict(&text[..at], &[at / 2]);
    }

    #[test]
    fn damaged_escapes(parts in proptest::collection::vec(escape_or_text(), 0..120), at in any::<proptest::sample::Index>(), byte in proptest::sample::select(&b"\\\\\"udx0\n\xc3"[..])) {
        let mut text = format!("{{\"a\":\"{}\",\"b\":\"{}\"}}", parts.concat(), parts.concat()).into_bytes();
        prop_assert!(serde_verdict(&text).unwrap());
        check_verdict(&text, &[at.index(text.len())]);
        let at = at.index(text.len());
        text[at] = byte;
        check_verdict(&text, &[at]);
    }

    #[test]
    fn tokens_in_any_order(soup in soup(TOKENS)) {
        check_verdict(&[b"{\"k\":", &soup[..], b"}"].concat(), &[]);
        check_verdict(&soup, &[]);
    }

    #[test]
    fn strings_of_any_parts(soup in soup(STRING_PARTS)) {
        check_verdict(&[b"{\"k\":\"", &soup[..], b"\"}"].concat(), &[]);
        check_verdict(&[b"{\"", &soup[..], b"\":\"", &soup[..], b"\"}"].concat(), &[]);
    }

    /// What lies at the reported ranges is what `serde_json` finds under the name.
    #[test]
    fn members_are_where_they_are_said_to_be(values in proptest::collection::vec(json_value(), 0..6), escaped in any::<u8>(), space in "[ \n]{0,3}") {
        let keys = ["alpha", "b", "gamma_3", "", "delta", "not there"];
        let member = |(index, value): (usize, &String)| {
            let key = if escaped >> index & 1 == 1 { keys[index].replace('a', "\\u0061") } else { keys[index].to_owned() };
            format!("{space}\"{key}\"{space}:{space}{value}{space}")
        };
        let values = &values[..values.len().min(5)];
        let text = format!("{space}{{{}}}", values.iter().enumerate().map(member).collect::<Vec<_>>().join(","));
        let members = check(&keys, SERDE_MAX_DEPTH, text.as_bytes(), &[]).unwrap();
        let parsed: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(members.len(), values.len());
        prop_assert_eq!(&text[members.open()..=members.open()], "{");
        prop_assert_eq!(members.close(), text.len() - 1);
        for (index, key) in keys.iter().enumerate() {
            let found = members.value(index).map(|range| &text[range]);
            prop_assert_eq!(found, values.get(index).map(String::as_str));
            prop_assert_eq!(found.map(|value| serde_json::from_str::<Value>(value).unwrap()), parsed.get(key).cloned());
            let member = members.member(index).map(|range| text[range].to_owned());
            prop_assert_eq!(member.is_some_and(|member| member.starts_with('"') && member.ends_with(found.unwrap())), found.is_some());
        }
    }
}
