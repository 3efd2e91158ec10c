//! How often a request lets its provider search the web: a server-side tool that is charged by the call. Looked for only where it costs.

use super::Facts;
use crate::json::Kind;
use crate::json::walk::{as_str, as_u64, elements, members};
use crate::openai_chat::request::WEB_SEARCH_OPTIONS;
use crate::openai_responses::request::MAX_TOOL_CALLS;
use fairlead_ir::Dialect;

/// How many web searches a request may cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Searches {
    /// It asks for none.
    None,
    /// So many at most: it says so, and the provider keeps to it.
    AtMost(u64),
    /// As many as the model likes.
    Unbounded,
}

impl Searches {
    fn and(self, other: Searches) -> Searches {
        match (self, other) {
            (Searches::None, one) | (one, Searches::None) => one,
            (Searches::AtMost(one), Searches::AtMost(other)) => Searches::AtMost(one.saturating_add(other)),
            _ => Searches::Unbounded,
        }
    }
}

/// A list of tools that is longer than this is taken to hold one that searches.
const MOST_LOOKED_AT_BYTES: usize = 1 << 20;

impl Facts {
    /// How often it lets its provider search; `frames` are the slices that were scanned. By `max_uses` in Messages and `max_tool_calls` in Responses.
    pub fn searches<F: AsRef<[u8]>>(&self, frames: &[F]) -> Searches {
        let by_tools = match self.tools(frames, MOST_LOOKED_AT_BYTES) {
            Some(tools) => elements(&tools).flatten().map(|tool| of_tool(self.dialect, tool.value)).fold(Searches::None, Searches::and),
            None if self.has_tools => Searches::Unbounded,
            None => Searches::None,
        };
        let body = self.body(frames);
        match (self.dialect, by_tools) {
            (Dialect::OpenaiChat, Searches::None) if self.is_generation() => {
                let asks = body.value(WEB_SEARCH_OPTIONS).is_some_and(|(kind, _)| kind != Kind::Null);
                if asks { Searches::Unbounded } else { Searches::None }
            }
            (Dialect::OpenaiResponses, Searches::Unbounded) => {
                let most = body.value(MAX_TOOL_CALLS).and_then(|(_, range)| as_u64(&body.text(range)));
                most.map_or(Searches::Unbounded, Searches::AtMost)
            }
            _ => by_tools,
        }
    }
}

fn of_tool(dialect: Dialect, tool: &[u8]) -> Searches {
    if dialect == Dialect::GeminiGenerate {
        const NAMES: [&str; 4] = ["googleSearch", "google_search", "googleSearchRetrieval", "google_search_retrieval"];
        let searches = members(tool).flatten().any(|member| NAMES.iter().any(|name| member.is(name)));
        return if searches { Searches::Unbounded } else { Searches::None };
    }
    let (mut searches, mut limits) = (false, Vec::new());
    for member in members(tool).flatten() {
        if member.is("type") {
            searches |= as_str(member.value).is_some_and(|kind| kind.contains("web_search"));
        } else if member.is("max_uses") {
            limits.push(as_u64(member.value));
        }
    }
    match limits[..] {
        _ if !searches => Searches::None,
        [Some(most)] if dialect == Dialect::AnthropicMessages => Searches::AtMost(most),
        // Nobody knows which of two a provider keeps to.
        _ => Searches::Unbounded,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::request::{Address, RequestScan};
    use Dialect::{AnthropicMessages, GeminiGenerate, OpenaiChat, OpenaiResponses};
    use Searches::{AtMost, None, Unbounded};

    fn facts(dialect: Dialect, body: &str) -> Facts {
        let mut scan = match dialect {
            GeminiGenerate => RequestScan::addressed(dialect, 64, Address { model: "m".to_owned(), stream: false }),
            _ => RequestScan::new(dialect, 64),
        };
        scan.feed(body.as_bytes()).unwrap();
        scan.finish(&[body.as_bytes()]).unwrap()
    }

    fn check(dialect: Dialect, body: &str, expected: Searches) {
        assert_eq!(facts(dialect, body).searches(&[body.as_bytes()]), expected, "{body}");
    }

    #[test]
    fn what_may_be_searched() {
        let messages = |tools: &str| format!(r#"{{"model":"m","max_tokens":1,"messages":[],"tools":[{tools}]}}"#);
        check(AnthropicMessages, &messages(""), None);
        check(AnthropicMessages, &messages(r#"{"name":"web_search","input_schema":{}}"#), None);
        check(AnthropicMessages, &messages(r#"{"type":"web_search_20250305","name":"web_search"}"#), Unbounded);
        check(AnthropicMessages, &messages(r#"{"type":"web_search_20250305","name":"web_search","max_uses":3}"#), AtMost(3));
        let two = r#"{"type":"web_search_20250305","max_uses":3},{"type":"custom"},{"type":"web_search_20260209","max_uses":4}"#;
        check(AnthropicMessages, &messages(two), AtMost(7));
        check(AnthropicMessages, &messages(r#"{"type":"web_search_1","max_uses":3},{"type":"web_search_2"}"#), Unbounded);
        check(AnthropicMessages, &messages(r#"{"type":"web_search_1","max_uses":0,"max_uses":100}"#), Unbounded);
        check(AnthropicMessages, &messages(r#"{"type":"web_search_1","max_uses":3,"max_uses":3}"#), Unbounded);
        check(AnthropicMessages, &messages(r#"{"type":"custom","type":"web_search_1","max_uses":3}"#), AtMost(3));
        check(AnthropicMessages, &messages(r#"{"type":"web_search_1","max_uses":null}"#), Unbounded);
        check(OpenaiResponses, r#"{"model":"m","input":"a","tools":[{"type":"web_search"}]}"#, Unbounded);
        check(OpenaiResponses, r#"{"model":"m","input":"a","tools":[{"type":"function","type":"web_search"}]}"#, Unbounded);
        check(OpenaiResponses, r#"{"model":"m","input":"a","max_tool_calls":null,"tools":[{"type":"web_search"}]}"#, Unbounded);
        check(OpenaiResponses, r#"{"model":"m","input":"a","max_tool_calls":2,"tools":[{"type":"web_search_preview"}]}"#, AtMost(2));
        check(OpenaiResponses, r#"{"model":"m","input":"a","max_tool_calls":2,"tools":[{"type":"function","name":"web_search"}]}"#, None);
        check(OpenaiChat, r#"{"model":"m","messages":[]}"#, None);
        check(OpenaiChat, r#"{"model":"m","messages":[],"web_search_options":null}"#, None);
        check(OpenaiChat, r#"{"model":"m","messages":[],"web_search_options":{}}"#, Unbounded);
        check(GeminiGenerate, r#"{"contents":[],"tools":[{"functionDeclarations":[]}]}"#, None);
        check(GeminiGenerate, r#"{"contents":[],"tools":[{"google_search":{}}]}"#, Unbounded);
        check(GeminiGenerate, r#"{"contents":[],"tools":[{"functionDeclarations":[]},{"googleSearch":{}}]}"#, Unbounded);
    }

    /// A scan refuses them: here and at the provider they could mean two things.
    #[test]
    fn what_says_how_often_is_said_once() {
        for (dialect, body) in [
            (OpenaiChat, r#"{"model":"m","messages":[],"web_search_options":null,"web_search_options":{}}"#),
            (OpenaiResponses, r#"{"model":"m","input":"a","max_tool_calls":1,"max_tool_calls":9,"tools":[{"type":"web_search"}]}"#),
        ] {
            let mut scan = RequestScan::new(dialect, 64);
            let refused = scan.feed(body.as_bytes()).and_then(|()| scan.finish(&[body.as_bytes()]).map(drop));
            assert!(refused.unwrap_err().message.contains("occurs twice"), "{body}");
        }
    }
}
