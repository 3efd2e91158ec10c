//! What a request asks, as a fingerprint that is the same for every way to write it.
//!
//! Two bodies ask the same where they have the same members with the same values: the order of an object's members, white space and how a
//! string is escaped do not matter. The order of an array does, and so does how a number is written (`1` and `1.0` are two): a difference
//! that means nothing costs one more call, one that was overlooked would be a wrong answer. Nothing here recurses.

use std::borrow::Cow;

use ring::digest::{Context, SHA256};

use crate::json::walk::{Cursor, Level, as_str};
use crate::json::{Kind, Reject};

/// Top-level members that label a request and change nothing about its answer: they do not count.
pub const LABELS: [&str; 2] = ["session_id", "trace"];

type Digest = [u8; 32];

/// SHA-256 of parts, each of which stands for itself: no two lists of parts have the same bytes.
pub struct Fingerprint(Context);

impl Fingerprint {
    /// One of nothing so far. `purpose` keeps apart what is asked for different reasons.
    #[must_use]
    pub fn new(purpose: &str) -> Fingerprint {
        Fingerprint(Context::new(&SHA256)).part(purpose.as_bytes())
    }

    /// The same with one more part.
    #[must_use]
    pub fn part(mut self, part: &[u8]) -> Fingerprint {
        text(&mut self.0, b'p', part);
        self
    }

    /// The same with a body, which is an object; what its [`LABELS`] say does not count.
    ///
    /// # Errors
    /// Where it is no JSON; never for a body that a scan has accepted.
    pub fn body(self, body: &[u8]) -> Result<Fingerprint, Reject> {
        let digest = digest(body)?;
        Ok(self.part(&digest))
    }

    /// The fingerprint.
    #[must_use]
    pub fn finish(self) -> Digest {
        finish(self.0)
    }
}

/// A container that was entered and not left.
enum Open<'a> {
    Array(Level, Context),
    Object(Level, Vec<Member<'a>>),
}

/// A member with the fingerprint of its value.
type Member<'a> = (Cow<'a, [u8]>, Digest);

/// In one pass: every value is entered or skipped once.
fn digest(body: &[u8]) -> Result<Digest, Reject> {
    let mut cursor = Cursor::new(body);
    let mut open = vec![Open::Object(cursor.enter(b'{')?, Vec::new())];
    // The names of the open members, of every object but the innermost.
    let mut names: Vec<Cow<'_, [u8]>> = Vec::new();
    while let Some(mut innermost) = open.pop() {
        let has_next = match &mut innermost {
            Open::Array(level, _) => cursor.next_element(level)?,
            Open::Object(level, _) => match cursor.next_name(level)? {
                Some(name) => {
                    names.push(name);
                    true
                }
                None => false,
            },
        };
        let found = match (has_next, cursor.kind()) {
            (true, Ok(Kind::Object)) => {
                open.extend([innermost, Open::Object(cursor.enter(b'{')?, Vec::new())]);
                continue;
            }
            (true, Ok(Kind::Array)) => {
                open.extend([innermost, Open::Array(cursor.enter(b'[')?, tagged(b'a'))]);
                continue;
            }
            (true, kind) => {
                let found = scalar(kind?, cursor.skip()?);
                open.push(innermost);
                found
            }
            (false, _) => match innermost {
                Open::Array(_, context) => finish(context),
                Open::Object(_, members) => object(members, open.is_empty()),
            },
        };
        match open.last_mut() {
            None => return cursor.end().map(|()| found),
            Some(Open::Array(_, context)) => context.update(&found),
            Some(Open::Object(_, members)) => members.extend(names.pop().map(|name| (name, found))),
        }
    }
    // Not reached: the outermost container ends the loop.
    Ok(Digest::default())
}

fn scalar(kind: Kind, value: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    match as_str(value) {
        Some(decoded) if kind == Kind::String => text(&mut context, b's', decoded.as_bytes()),
        _ => text(&mut context, b'w', value),
    }
    finish(context)
}

/// Members in the order of their names. Those of one name stay in theirs: which of them counts is the reader's choice.
fn object(mut members: Vec<Member<'_>>, is_outermost: bool) -> Digest {
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut context = tagged(b'o');
    let is_label = |name: &[u8]| is_outermost && LABELS.iter().any(|label| label.as_bytes() == name);
    for (name, value) in members.iter().filter(|(name, _)| !is_label(name)) {
        text(&mut context, b'k', name);
        context.update(value);
    }
    finish(context)
}

fn tagged(tag: u8) -> Context {
    let mut context = Context::new(&SHA256);
    context.update(&[tag]);
    context
}

fn text(context: &mut Context, tag: u8, text: &[u8]) {
    context.update(&[tag]);
    context.update(&(text.len() as u64).to_le_bytes());
    context.update(text);
}

fn finish(context: Context) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    fn of(body: &str) -> [u8; 32] {
        Fingerprint::new("test").body(body.as_bytes()).unwrap().finish()
    }

    fn check(one: &str, other: &str, same: bool) {
        assert_eq!(of(one) == of(other), same, "{one} | {other}");
    }

    #[test]
    fn how_it_is_written_does_not_matter() {
        check(r#"{"a":1,"b":[1,2]}"#, "{ \"b\" : [1,\n2],\t\"a\":1 }", true);
        check(r#"{"a":{"x":1,"y":2}}"#, r#"{"a":{"y":2,"x":1}}"#, true);
        check(r#"{"a":"\u00e9\/"}"#, r#"{"a":"é/"}"#, true);
        check(r#"{"\u0061":1}"#, r#"{"a":1}"#, true);
        check(r#"{"messages":[],"session_id":"1","trace":{"a":1}}"#, r#"{"session_id":"2","messages":[]}"#, true);
    }

    #[test]
    fn what_it_says_does() {
        check(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#, false);
        check(r#"{"a":1}"#, r#"{"a":1.0}"#, false);
        check(r#"{"a":1}"#, r#"{"a":"1"}"#, false);
        check(r#"{"a":null}"#, "{}", false);
        check(r#"{"a":[[1],2]}"#, r#"{"a":[[1,2]]}"#, false);
        check(r#"{"a":{"b":1},"c":2}"#, r#"{"a":{"b":1,"c":2}}"#, false);
        check(r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#, false);
        check(r#"{"a":{"trace":1}}"#, r#"{"a":{"trace":2}}"#, false);
        check(r#"{"a":"\ud800"}"#, r#"{"a":"\ud801"}"#, false);
        check(r#"{"user":"one"}"#, r#"{"user":"two"}"#, false);
    }

    #[test]
    fn parts_stand_for_themselves() {
        let of = |parts: &[&str]| parts.iter().fold(Fingerprint::new("test"), |print, part| print.part(part.as_bytes())).finish();
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
        assert_ne!(Fingerprint::new("one").finish(), Fingerprint::new("two").finish());
    }

    #[test]
    fn depth_is_no_danger() {
        let nested = |depth| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        check(&nested(100_000), &nested(100_000), true);
        check(&nested(100_000), &nested(99_999), false);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,3}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    /// Written with its members in the opposite order, every character of a text escaped, and white space wherever it may stand.
    fn otherwise(value: &Value) -> String {
        let text = |text: &str| text.encode_utf16().fold(String::from("\""), |text, unit| text + &format!("\\u{unit:04x}")) + "\"";
        match value {
            Value::String(string) => text(string),
            Value::Array(list) => format!("[ {} ]", list.iter().map(otherwise).collect::<Vec<_>>().join(" , ")),
            Value::Object(members) => {
                let members: Vec<_> = members.iter().rev().map(|(name, value)| format!("{} : {}", text(name), otherwise(value))).collect();
                format!("{{\r\n{} }}", members.join(" ,\t"))
            }
            plain => plain.to_string(),
        }
    }

    proptest! {
        #[test]
        fn every_way_to_write_it_is_one(value in value()) {
            let body = serde_json::json!({ "value": value });
            prop_assert_eq!(of(&body.to_string()), of(&otherwise(&body)));
        }

        #[test]
        fn every_other_value_is_another(one in value(), other in value()) {
            let (one, other) = (serde_json::json!({ "value": one }), serde_json::json!({ "value": other }));
            prop_assert_eq!(of(&one.to_string()) == of(&other.to_string()), one == other);
        }
    }
}
