//! A kept reply that is given again for nothing: every figure of its usage is 0, its cost too, and it tells of no routing, because there was
//! none. All else stays as it was, byte for byte.

use core::ops::Range;

use crate::json::Kind;
use crate::json::walk::{Member, elements, members};
use crate::splice::Edits;
use crate::sse::{Framer, data_range};

/// Where dialects have their figures: in the reply, or in the message or response that an event brings.
const USAGE: [&str; 2] = ["usage", "usageMetadata"];
const HOLDERS: [&str; 2] = ["message", "response"];
const ROUTING: &str = "openrouter_metadata";

/// How a reply came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object.
    Whole,
    /// One JSON array of objects: a stream of Gemini's without `alt=sse`.
    List,
    /// Server-sent events.
    Events,
}

/// The reply, given again. What cannot be read passes as it is.
#[must_use]
pub fn free(form: Form, reply: &[u8]) -> Vec<u8> {
    let mut edits = Edits::new();
    match form {
        Form::Whole => in_object(reply, 0, &mut edits),
        Form::List => {
            for element in elements(reply).map_while(Result::ok) {
                in_object(element.value, element.value_range.start, &mut edits);
            }
        }
        Form::Events => in_events(reply, &mut edits),
    }
    let mut given = Vec::with_capacity(reply.len());
    match edits.apply(reply, &mut given) {
        Ok(()) => given,
        Err(_) => reply.to_vec(),
    }
}

fn in_events(stream: &[u8], edits: &mut Edits) {
    let mut framer = Framer::new(usize::MAX);
    let mut from = 0;
    while let Ok(Some(end)) = framer.next_end(stream, from) {
        if let Some(data) = data_range(&stream[from..end]) {
            let at = from + data.start;
            in_object(&stream[at..from + data.end], at, edits);
        }
        from = end;
    }
}

/// The edits of an object that stands at `at`.
fn in_object(object: &[u8], at: usize, edits: &mut Edits) {
    in_level(object, at, edits, |member, edits| {
        if member.kind == Kind::Object && HOLDERS.iter().any(|holder| member.is(holder)) {
            in_level(member.value, at + member.value_range.start, edits, |_, _| {});
        }
    });
}

fn in_level(object: &[u8], at: usize, edits: &mut Edits, mut other: impl FnMut(&Member<'_>, &mut Edits)) {
    let mut behind = None;
    let mut all = members(object).map_while(Result::ok).peekable();
    while let Some(member) = all.next() {
        if USAGE.iter().any(|name| member.is(name)) {
            zero(member.value, at + member.value_range.start, edits);
        } else if member.is(ROUTING) {
            let next = all.peek().map(|next| next.key_range.start - 1);
            let gone = match (behind, next) {
                // With the comma before it, else with the one behind it.
                (Some(behind), _) => behind..member.value_range.end,
                (None, Some(next)) => member.key_range.start - 1..next,
                (None, None) => member.key_range.start - 1..member.value_range.end,
            };
            drop_range(gone, at, edits);
            continue;
        } else {
            other(&member, edits);
        }
        behind = Some(member.value_range.end);
    }
}

fn drop_range(range: Range<usize>, at: usize, edits: &mut Edits) {
    // Edits of one pass never overlap.
    let _ = edits.delete(at + range.start..at + range.end);
}

/// Turns every number into 0. `value` is JSON.
fn zero(value: &[u8], at: usize, edits: &mut Edits) {
    let mut place = 0;
    while let Some(byte) = value.get(place) {
        match byte {
            b'"' => place = behind_string(value, place),
            b'-' | b'0'..=b'9' => {
                let rest = &value[place..];
                let length = rest.iter().position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
                let end = place + length.unwrap_or(rest.len());
                if &value[place..end] != b"0" {
                    let _ = edits.replace(at + place..at + end, b"0");
                }
                place = end;
            }
            _ => place += 1,
        }
    }
}

fn behind_string(value: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    while let Some(byte) = value.get(place) {
        match byte {
            b'\\' => place += 2,
            b'"' => return place + 1,
            _ => place += 1,
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn check(form: Form, reply: &str, expected: &str) {
        assert_eq!(String::from_utf8(free(form, reply.as_bytes())).unwrap(), expected);
    }

    #[test]
    fn whole_replies() {
        check(
            Form::Whole,
            r#"{"id":"a","usage":{"prompt_tokens": 12,"cost":1.5e-3,"cost_details":{"x":-0.25,"y":0},"service_tier":"tier 5","is_byok":false},"n":7}"#,
            r#"{"id":"a","usage":{"prompt_tokens": 0,"cost":0,"cost_details":{"x":0,"y":0},"service_tier":"tier 5","is_byok":false},"n":7}"#,
        );
        check(
            Form::Whole,
            r#"{"usageMetadata":{"promptTokensDetails":[{"modality":"TEXT","tokenCount":12}],"cost":0.1}}"#,
            r#"{"usageMetadata":{"promptTokensDetails":[{"modality":"TEXT","tokenCount":0}],"cost":0}}"#,
        );
        // What a message says is its own: only the figures of the reply count.
        let other = r#"{"choices":[{"message":{"usage":5}}],"usage":null,"created":9}"#;
        check(Form::Whole, other, other);
        check(Form::Whole, "no JSON", "no JSON");
    }

    #[test]
    fn routing_is_not_told_again() {
        check(Form::Whole, r#"{"id":"a","openrouter_metadata":{"attempt":1}}"#, r#"{"id":"a"}"#);
        check(Form::Whole, r#"{"openrouter_metadata":{"attempt":1} , "id":"a","n":1}"#, r#"{"id":"a","n":1}"#);
        check(Form::Whole, r#"{"a":1,"openrouter_metadata":1,"b":2}"#, r#"{"a":1,"b":2}"#);
        check(Form::Whole, r#"{"openrouter_metadata":{}}"#, "{}");
    }

    #[test]
    fn streams() {
        check(
            Form::Events,
            "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":3}}}\n\n: 5\n\ndata: {\"usage\":{\"output_tokens\":12}}\r\n\r\ndata: [DONE]\n\n",
            "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":0}}}\n\n: 5\n\ndata: {\"usage\":{\"output_tokens\":0}}\r\n\r\ndata: [DONE]\n\n",
        );
        check(
            Form::Events,
            "data: {\"response\":{\"id\":\"r\",\"usage\":{\"total_tokens\":3},\"openrouter_metadata\":{\"a\":1}}}\n\n",
            "data: {\"response\":{\"id\":\"r\",\"usage\":{\"total_tokens\":0}}}\n\n",
        );
        check(
            Form::List,
            "[{\"a\":1}\n,{\"usageMetadata\":{\"totalTokenCount\":10}}]",
            "[{\"a\":1}\n,{\"usageMetadata\":{\"totalTokenCount\":0}}]",
        );
    }
}
