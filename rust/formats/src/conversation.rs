//! Responses that the gateway keeps: what of a reply is kept, how a conversation goes on from it, and how it is looked at.
//!
//! The state is the gateway's own, so that it does not matter who answered before and who answers next: every provider gets the whole
//! conversation. Kept are the items of the input, those of earlier turns first, and the response as the client saw it.

use crate::error::shorten;
use crate::json::Kind;
use crate::json::walk::{self, Element, as_str, elements, member, members};
use crate::openai_responses::wire::string_in;
use crate::sse::{self, Framer};
use crate::write::{Array, Object};

/// The id of a response that is whole. `None` of one that failed, or is none.
pub fn id_of(response: &[u8]) -> Option<String> {
    let status = string_in(response, "status").unwrap_or(b"completed");
    let id = member(response, "id").ok().flatten().and_then(|id| as_str(id.value))?;
    (matches!(status, b"completed" | b"incomplete") && !id.is_empty()).then(|| id.into_owned())
}

/// The response in the last of these events, which end a stream.
pub fn response_in(events: &[u8]) -> Option<Vec<u8>> {
    let mut framer = Framer::new(events.len());
    let (mut from, mut scratch, mut found) = (0, Vec::new(), None);
    while let Ok(Some(end)) = framer.next_end(events, from) {
        if let Some(data) = sse::data(&events[from..end], &mut scratch)
            && matches!(string_in(data, "type"), Some(b"response.completed" | b"response.incomplete"))
        {
            found = member(data, "response").ok().flatten().map(|response| response.value.to_vec());
        }
        from = end;
    }
    found
}

/// The items of a conversation that goes on from `response`, whose input was the array `input`: as they stand in an array, without its
/// brackets. `None` where one of them is no such thing.
///
/// `native`: for a provider of the same dialect, which knows thoughts of its own by their seal alone once nobody else keeps them, and
/// refuses those without one.
pub fn items(input: &[u8], response: &[u8], native: bool) -> Option<Vec<u8>> {
    let output = member(response, "output").ok()??;
    let mut out = Vec::with_capacity(input.len() + output.value.len());
    let mut array = Array::open(&mut out);
    for item in elements(input).chain(elements(output.value)) {
        let item = item.ok()?;
        if !native || !is_lost_thought(item.value) {
            array.raw(item.value);
        }
    }
    out.remove(0);
    Some(out)
}

fn is_lost_thought(item: &[u8]) -> bool {
    string_in(item, "type") == Some(b"reasoning") && string_in(item, "encrypted_content").is_none_or(<[u8]>::is_empty)
}

/// What is told of a response that is deleted.
pub fn deleted(id: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut body = Object::open(&mut out);
    body.text("id", id).text("object", "response").flag("deleted", true);
    body.close();
    out
}

/// Which of the items are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The first items first.
    pub ascending: bool,
    /// How many of them.
    pub limit: usize,
    /// Only those behind the item with this id.
    pub after: Option<String>,
}

impl Page {
    /// Reads `order`, `limit` and `after` from the query of a URL, decoded by `decode`.
    ///
    /// # Errors
    /// One of them is something that cannot be asked for: its name, and what to do about it.
    pub fn read(query: &str, decode: impl Fn(&str) -> String) -> Result<Page, (&'static str, String)> {
        const MOST: usize = 100;
        let mut page = Page { ascending: false, limit: 20, after: None };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match (name, decode(value).as_str()) {
                ("order", "asc") => page.ascending = true,
                ("order", "desc") => page.ascending = false,
                ("order", _) => return Err(("order", "\"order\" must be asc or desc".to_owned())),
                ("limit", number) => {
                    let number = number.parse().ok().filter(|number| (1..=MOST).contains(number));
                    page.limit = number.ok_or_else(|| ("limit", format!("\"limit\" must be a number from 1 to {MOST}")))?;
                }
                ("after", id) => page.after = Some(id.to_owned()),
                _ => {}
            }
        }
        Ok(page)
    }
}

/// The items of an input, as a list of a page. `None` where `after` is none of them.
///
/// What clients may leave out of an item (its id, its type, its status, the form of a text) is there: SDKs insist on it.
pub fn page(response_id: &str, input: &[u8], page: &Page) -> Option<Vec<u8>> {
    let stem: String = shorten(response_id, 64).chars().filter(|letter| letter.is_ascii_alphanumeric()).collect();
    let all = elements(input).map_while(Result::ok).enumerate().map(|(number, item)| Item { id: id(&item, &stem, number), item });
    let mut all: Vec<Item<'_>> = all.collect();
    if !page.ascending {
        all.reverse();
    }
    let begin = match &page.after {
        Some(after) => all.iter().position(|item| item.id == *after)? + 1,
        None => 0,
    };
    let shown = &all[begin..all.len().min(begin.saturating_add(page.limit))];
    let mut out = Vec::with_capacity(input.len() + 256);
    let mut body = Object::open(&mut out);
    body.text("object", "list").array("data", |array| {
        for item in shown {
            item.write(array.element());
        }
    });
    for (name, item) in [("first_id", shown.first()), ("last_id", shown.last())] {
        match item {
            Some(item) => body.text(name, &item.id),
            None => body.raw(name, b"null"),
        };
    }
    body.flag("has_more", begin + shown.len() < all.len());
    body.close();
    Some(out)
}

/// The id of an item: its own, or one that is always the same.
fn id(item: &Element<'_>, stem: &str, number: usize) -> String {
    let own = member(item.value, "id").ok().flatten().and_then(|id| as_str(id.value)).filter(|id| !id.is_empty());
    own.map_or_else(|| format!("msg_{stem}_{number}"), |id| id.into_owned())
}

struct Item<'a> {
    id: String,
    item: Element<'a>,
}

impl Item<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let value = self.item.value;
        let is_message = matches!(string_in(value, "type"), Some(b"message") | None);
        let role = string_in(value, "role").unwrap_or_default();
        let mut json = Object::open(out);
        json.text("id", &self.id);
        if is_message {
            json.text("type", "message");
            if string_in(value, "status").is_none() {
                json.text("status", "completed");
            }
        }
        for member in members(value).map_while(Result::ok) {
            match member.kind {
                _ if member.is("id") || is_message && member.is("type") => {}
                Kind::Null if member.is("status") => {}
                Kind::String if is_message && member.is("content") => write_text(role == b"assistant", &member, &mut json),
                _ => {
                    json.escaped_key(&fairlead_ir::Text::escaped(member.key)).extend_from_slice(member.value);
                }
            }
        }
        json.close();
    }
}

/// A content that is a text, as the one part that it stands for.
fn write_text(assistant: bool, content: &walk::Member<'_>, json: &mut Object<'_>) {
    json.array("content", |parts| {
        parts.object(|part| {
            part.text("type", if assistant { "output_text" } else { "input_text" }).raw("text", content.value);
            if assistant {
                part.raw("annotations", b"[]");
            }
        });
    });
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn only_whole_responses_are_kept() {
        for (response, id) in [
            (r#"{"id":"resp_1","status":"completed"}"#, Some("resp_1")),
            (r#"{"id":"resp_1","status":"incomplete"}"#, Some("resp_1")),
            (r#"{"id":"resp_1"}"#, Some("resp_1")),
            (r#"{"id":"resp_1","status":"failed"}"#, None),
            (r#"{"id":"","status":"completed"}"#, None),
            (r#"{"status":"completed"}"#, None),
            ("no", None),
        ] {
            assert_eq!(id_of(response.as_bytes()).as_deref(), id, "{response}");
        }
    }

    #[test]
    fn a_stream_ends_with_its_response() {
        let check = |events: &str, expected: Option<&str>| {
            assert_eq!(response_in(events.as_bytes()).as_deref(), expected.map(str::as_bytes), "{events}");
        };
        let done = "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\"}\n\n";
        let end = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\"}}\n\n";
        check(&format!("{done}{end}"), Some("{\"id\":\"r\"}"));
        check(&end.replace('\n', "\r"), Some("{\"id\":\"r\"}"));
        check(&end.replace("completed", "incomplete"), Some("{\"id\":\"r\"}"));
        check(&end.replace("completed", "failed"), None);
        check(done, None);
        check("", None);
    }

    #[test]
    fn thoughts_that_nobody_can_read_are_left_out() {
        let sealed = r#"{"type":"reasoning","id":"rs_1","encrypted_content":"x"}"#;
        let bare = r#"{"type":"reasoning","id":"rs_2","summary":[]}"#;
        let response = format!(r#"{{"output":[{sealed},{bare}]}}"#);
        let of = |native| String::from_utf8(items(b"[{\"role\":\"user\"}]", response.as_bytes(), native).unwrap()).unwrap();
        assert_eq!(of(true), format!(r#"{{"role":"user"}},{sealed}"#));
        assert_eq!(of(false), format!(r#"{{"role":"user"}},{sealed},{bare}"#));
        assert_eq!(items(b"[]", br#"{"output":[]}"#, true).unwrap(), b"");
        assert_eq!(items(b"[", b"{}", true), None);
    }

    fn listed(input: &Value, query: &str) -> Value {
        let asked = Page::read(query, str::to_owned).unwrap();
        serde_json::from_slice(&page("resp_1", input.to_string().as_bytes(), &asked).unwrap()).unwrap()
    }

    fn ids(list: &Value) -> Vec<&str> {
        list["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn items_are_listed_whole() {
        let input = json!([
            {"role": "user", "content": "one"},
            {"type": "message", "id": "msg_a", "role": "assistant", "status": "completed", "content": [], "x": 1},
            {"type": "function_call_output", "call_id": "c", "output": "o", "status": null},
            {"role": "assistant", "content": "two"},
        ]);
        let list = listed(&input, "order=asc");
        let part = json!([{"type": "input_text", "text": "one"}]);
        assert_eq!(
            list["data"],
            json!([
                {"id": "msg_resp1_0", "type": "message", "status": "completed", "role": "user", "content": part},
                {"type": "message", "id": "msg_a", "role": "assistant", "status": "completed", "content": [], "x": 1},
                {"id": "msg_resp1_2", "type": "function_call_output", "call_id": "c", "output": "o"},
                {"id": "msg_resp1_3", "type": "message", "status": "completed", "role": "assistant",
                 "content": [{"type": "output_text", "text": "two", "annotations": []}]},
            ])
        );
        assert_eq!((&list["first_id"], &list["last_id"], &list["has_more"]), (&json!("msg_resp1_0"), &json!("msg_resp1_3"), &json!(false)));
    }

    #[test]
    fn items_come_in_pages() {
        let input: Value =
            (0..25).map(|number| json!({"type": "message", "id": format!("m{number}"), "role": "user", "content": []})).collect();
        let check = |query: &str, first: &str, count: usize, more: bool| {
            let list = listed(&input, query);
            let ids = ids(&list);
            assert_eq!((ids[0], ids.len(), list["has_more"].as_bool()), (first, count, Some(more)), "{query}");
        };
        check("", "m24", 20, true);
        check("after=m5", "m4", 5, false);
        check("order=asc&limit=3", "m0", 3, true);
        check("order=asc&limit=100&after=m2", "m3", 22, false);
        let none = listed(&input, "order=asc&after=m24");
        assert_eq!((&none["data"], &none["first_id"]), (&json!([]), &Value::Null));
        let unknown = Page::read("after=zz", str::to_owned).unwrap();
        assert_eq!(page("resp_1", input.to_string().as_bytes(), &unknown), None);
        for (query, name) in [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order")] {
            assert_eq!(Page::read(query, str::to_owned).unwrap_err().0, name);
        }
    }

    #[test]
    fn a_deletion_is_told() {
        assert_eq!(deleted("resp_1"), br#"{"id":"resp_1","object":"response","deleted":true}"#);
    }
}
