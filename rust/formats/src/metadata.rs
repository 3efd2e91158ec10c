//! `openrouter_metadata`: what a reply tells of its routing where the caller asked for it. Written once and put in front of the brace that
//! closes the reply, the error, or the last event of a stream.

use crate::identity::Identity;
use crate::json::{Kind, walk};
use crate::write::Object;
use core::ops::Range;
use fairlead_ir::Dialect;

/// How a request was routed. What OpenRouter's schema wants and does not exist here is null or empty: a region, parameters of a router, stages
/// of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// The model's name as the caller wrote it.
    pub requested: &'a str,
    /// OpenRouter's word for how the model was picked.
    pub strategy: &'a str,
    /// Endpoints of the models that were thought of.
    pub total: usize,
    /// Those that might be tried, the first choice first.
    pub available: &'a [Offered<'a>],
    /// Those that were, in order, with the status that each answered or was taken for; empty where nothing was sent.
    pub attempts: &'a [Tried<'a>],
}

/// An endpoint that might be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered<'a> {
    /// The catalogue id of its model.
    pub model: &'a str,
    /// Display name of its provider.
    pub provider: &'a str,
    /// The service tier that it is asked for, where it sells that beside its usual one.
    pub tier: Option<&'static str>,
    /// The last attempt went there.
    pub selected: bool,
}

/// An attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried<'a> {
    /// The catalogue id of its model.
    pub model: &'a str,
    /// Display name of its provider.
    pub provider: &'a str,
    /// The service tier that it was asked for, where it sells that beside its usual one.
    pub tier: Option<&'static str>,
    /// The HTTP status.
    pub status: u16,
}

impl Metadata<'_> {
    /// The member, with the comma before it.
    pub fn member(&self) -> Vec<u8> {
        let Metadata { requested, strategy, total, available, attempts } = *self;
        let mut member = Vec::with_capacity(256 + 96 * (available.len() + attempts.len()));
        member.extend_from_slice(b",\"openrouter_metadata\":");
        let mut json = Object::open(&mut member);
        json.text("requested", requested).text("strategy", strategy).raw("region", b"null");
        json.text("summary", &self.summary()).number("attempt", attempts.len() as u64).flag("is_byok", false);
        json.object("endpoints", |endpoints| {
            endpoints.number("total", total as u64).array("available", |list| {
                for Offered { model, provider, tier, selected } in available {
                    list.object(|endpoint| {
                        endpoint.text("provider", provider).text("model", model);
                        name_tier(endpoint, *tier);
                        endpoint.flag("selected", *selected);
                    });
                }
            });
        });
        json.array("attempts", |list| {
            for Tried { model, provider, tier, status } in attempts {
                list.object(|attempt| {
                    attempt.text("provider", provider).text("model", model);
                    name_tier(attempt, *tier);
                    attempt.number("status", u64::from(*status));
                });
            }
        });
        json.object("params", |_| {}).array("pipeline", |_| {});
        json.close();
        member
    }

    fn summary(&self) -> String {
        let selected = self.available.iter().find(|endpoint| endpoint.selected).map_or("none", |endpoint| endpoint.provider);
        format!("available={}, selected={selected}", self.available.len())
    }
}

/// Ours, where OpenRouter's schema has no place for it: without it, an endpoint and its tiers would look the same.
fn name_tier(json: &mut Object<'_>, tier: Option<&'static str>) {
    if let Some(tier) = tier {
        json.text("service_tier", tier);
    }
}

/// Where in a body a member goes that comes last: before the brace that closes it. `None` of a body that is no object.
pub fn place_in_body(body: &[u8]) -> Option<usize> {
    let place = body.trim_ascii_end().len().checked_sub(1)?;
    (body[place] == b'}').then_some(place)
}

/// Puts `member` into the last event of `events[from..]` whose data is an object; of Responses into the response in it. Whether there is one.
pub fn add_to_last_event(dialect: Dialect, member: &[u8], events: &mut Vec<u8>, from: usize) -> bool {
    let place = last_object(&events[from..]).and_then(|range| {
        let data = &events[from..][range.clone()];
        let place = match dialect {
            Dialect::OpenaiResponses => place_in_response(data),
            _ => place_in_body(data),
        };
        place.map(|place| from + range.start + place)
    });
    if let Some(place) = place {
        events.splice(place..place, member.iter().copied());
    }
    place.is_some()
}

/// Appends a chunk of chat that says nothing else, for streams whose provider sends no figures to say it beside.
pub(crate) fn write_chunk(object: &str, identity: &Identity, member: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    let mut chunk = Object::open(out);
    chunk.raw("id", identity.generation_id_json()).text("object", object).number("created", identity.created_s());
    chunk.raw("model", identity.model_json()).raw("provider", identity.provider_json()).raw("system_fingerprint", b"null");
    chunk.raw("choices", b"[]").place(member);
    chunk.close();
    out.extend_from_slice(b"\n\n");
}

/// The last line of data that is an object.
fn last_object(events: &[u8]) -> Option<Range<usize>> {
    let mut end = events.len();
    loop {
        let start = events[..end].iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).map_or(0, |line_end| line_end + 1);
        let line = &events[start..end];
        if let Some(data) = line.strip_prefix(b"data:")
            && data.trim_ascii_start().starts_with(b"{")
        {
            return Some(end - data.len()..end);
        }
        end = start.checked_sub(1)?;
    }
}

fn place_in_response(event: &[u8]) -> Option<usize> {
    let response = walk::member(event, "response").ok().flatten().filter(|response| response.kind == Kind::Object)?;
    Some(response.value_range.start + place_in_body(response.value)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_member_is_as_openrouter_writes_it() {
        let first = Offered { model: "a/b", provider: "First", tier: Some("flex"), selected: false };
        let available = [first, Offered { provider: "Sec\"ond", tier: None, selected: true, ..first }];
        let failed = Tried { model: "a/b", provider: "First", tier: Some("flex"), status: 503 };
        let attempts = [failed, Tried { provider: "Sec\"ond", tier: None, status: 200, ..failed }];
        let metadata = Metadata { requested: "a/b:floor", strategy: "direct", total: 3, available: &available, attempts: &attempts };
        let expected = concat!(
            r#","openrouter_metadata":{"requested":"a/b:floor","strategy":"direct","region":null,"summary":"available=2, selected=Sec\"ond","#,
            r#""attempt":2,"is_byok":false,"endpoints":{"total":3,"available":[{"provider":"First","model":"a/b","service_tier":"flex","selected":false},"#,
            r#"{"provider":"Sec\"ond","model":"a/b","selected":true}]},"attempts":[{"provider":"First","model":"a/b","service_tier":"flex","status":503},"#,
            r#"{"provider":"Sec\"ond","model":"a/b","status":200}],"params":{},"pipeline":[]}"#
        );
        assert_eq!(std::str::from_utf8(&metadata.member()).unwrap(), expected);
        let nothing = Metadata { total: 1, available: &[], attempts: &[], ..metadata }.member();
        assert!(std::str::from_utf8(&nothing).unwrap().contains(r#""summary":"available=0, selected=none","attempt":0"#));
    }

    #[test]
    fn a_body_ends_with_its_brace() {
        let check = |body: &str, expected| assert_eq!(place_in_body(body.as_bytes()), expected, "{body}");
        check(r#"{"a":1}"#, Some(6));
        check("{\"a\":{}}\n ", Some(7));
        check("[1]", None);
        check(" ", None);
    }

    fn check(dialect: Dialect, events: &str, expected: Option<&str>) {
        let mut out = format!("data: {{}}{events}").into_bytes();
        let from = "data: {}".len();
        let added = add_to_last_event(dialect, b",!", &mut out, from);
        assert_eq!(added, expected.is_some(), "{events}");
        assert_eq!(std::str::from_utf8(&out[from..]).unwrap(), expected.unwrap_or(events));
    }

    #[test]
    fn the_last_event_that_says_anything_has_it() {
        use Dialect::{AnthropicMessages, OpenaiChat, OpenaiResponses};
        let (two, added) =
            ("data: {\"a\":1}\n\ndata: {\"b\":1}\n\ndata: [DONE]\n\n", "data: {\"a\":1}\n\ndata: {\"b\":1,!}\n\ndata: [DONE]\n\n");
        check(OpenaiChat, two, Some(added));
        check(OpenaiChat, "data:{\"a\":1}\r\n\r\n", Some("data:{\"a\":1,!}\r\n\r\n"));
        check(OpenaiChat, "data: [DONE]\n\n", None);
        check(OpenaiChat, "", None);
        check(
            AnthropicMessages,
            "event: message_stop\ndata: {\"type\":\"message_stop\" }\n\n",
            Some("event: message_stop\ndata: {\"type\":\"message_stop\" ,!}\n\n"),
        );
        check(
            OpenaiResponses,
            "data: {\"response\":{\"id\":\"}\"},\"x\":{}}\n\n",
            Some("data: {\"response\":{\"id\":\"}\",!},\"x\":{}}\n\n"),
        );
        check(OpenaiResponses, "data: {\"type\":\"error\"}\n\n", None);
    }
}
