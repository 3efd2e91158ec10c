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
    applied(&edits, reply)
}

/// A kept stream of Responses behind `spoken`, which has begun it with signs of life: its own beginning is left out, and its events are
/// numbered on.
#[must_use]
pub fn behind(spoken: &[u8], stream: &[u8]) -> Vec<u8> {
    let mut number = 0_u64;
    each_event(spoken, |_, _| number += 1);
    let (mut edits, mut begins) = (Edits::new(), number > 0);
    each_event(stream, |event, data| {
        let data_at = data.start;
        let told = members(&stream[data]).map_while(Result::ok);
        let (mut kind, mut place) = (&b""[..], None);
        for member in told {
            match () {
                () if member.is("type") => kind = member.value,
                () if member.is("sequence_number") => place = Some(member.value_range),
                () => {}
            }
        }
        begins = begins && matches!(kind, b"\"response.created\"" | b"\"response.in_progress\"" | b"\"response.queued\"");
        if begins {
            // Edits of one pass never overlap.
            let _ = edits.delete(event);
            return;
        }
        if let Some(place) = place {
            let _ = edits.replace(data_at + place.start..data_at + place.end, number.to_string().as_bytes());
        }
        number += 1;
    });
    applied(&edits, stream)
}

fn applied(edits: &Edits, bytes: &[u8]) -> Vec<u8> {
    let mut given = Vec::with_capacity(bytes.len());
    match edits.apply(bytes, &mut given) {
        Ok(()) => given,
        Err(_) => bytes.to_vec(),
    }
}

/// Where each event with data is, and its data.
fn each_event(stream: &[u8], mut tell: impl FnMut(Range<usize>, Range<usize>)) {
    let mut framer = Framer::new(usize::MAX);
    let mut from = 0;
    while let Ok(Some(end)) = framer.next_end(stream, from) {
        if let Some(data) = data_range(&stream[from..end]) {
            tell(from..end, from + data.start..from + data.end);
        }
        from = end;
    }
}

fn in_events(stream: &[u8], edits: &mut Edits) {
    each_event(stream, |_, data| {
        let at = data.start;
        in_object(&stream[data], at, edits);
    });
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

    /// `spoken` and `stream` are events without their frames, a space between them.
    fn check_behind(spoken: &str, stream: &str, expected: &str) {
        let framed = |events: &str| events.split_whitespace().map(|data| format!("event: x\ndata: {data}\n\n")).collect::<String>();
        let given = behind(framed(spoken).as_bytes(), framed(stream).as_bytes());
        assert_eq!(String::from_utf8(given).unwrap(), framed(expected));
    }

    #[test]
    fn behind_signs_of_life() {
        let (created, progress) =
            (r#"{"type":"response.created","sequence_number":0}"#, r#"{"type":"response.in_progress","sequence_number":1}"#);
        let stream = format!(
            r#"{created} {progress} {{"sequence_number":2,"type":"a","n":{{"sequence_number":9}}}} {{"type":"b"}} {{"type":"c","sequence_number":4}}"#
        );
        check_behind("", &stream, &stream);
        let rest = r#"{"sequence_number":2,"type":"a","n":{"sequence_number":9}} {"type":"b"} {"type":"c","sequence_number":4}"#;
        check_behind(&format!("{created} {progress}"), &stream, rest);
        let rest = r#"{"sequence_number":5,"type":"a","n":{"sequence_number":9}} {"type":"b"} {"type":"c","sequence_number":7}"#;
        check_behind(&[created, progress, progress, progress, progress].join(" "), &stream, rest);
        // Later ones are part of what it says.
        let late = r#"{"type":"a","sequence_number":0} {"type":"response.in_progress","sequence_number":1}"#;
        check_behind(created, late, &late.replace("number\":1", "number\":2").replace("number\":0", "number\":1"));
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
