//! Path and method to what is wanted: the only place that knows the traffic port's paths.

use fairlead_formats::request::{Address, Purpose};
use fairlead_ir::{Dialect, Manner, percent};
use http::Method;
use std::borrow::Cow;

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Inference.
    Infer(Ask),
    /// The process lives.
    Health,
    /// Requests can be served.
    Ready,
    /// Counters, for who has the admin token.
    Metrics,
    /// A response that was kept.
    Kept(Kept),
    /// Everything else of the public API: the control plane answers.
    Control,
    /// The path exists, the method does not; the allowed one.
    Method(&'static str),
    /// No such path.
    Unknown,
}

/// What is asked of a model, and in which words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) purpose: Purpose,
    pub(crate) dialect: Dialect,
    pub(crate) manner: Manner,
    /// What the path says, in the dialect that names the model there.
    pub(crate) address: Option<Address>,
    /// A stream comes as one JSON array, not as events (Gemini without `alt=sse`).
    pub(crate) json_array: bool,
    /// Cursor asks for chat in bodies that are often those of Responses: the reply is in this dialect whatever the request is in.
    pub(crate) answers: Option<Dialect>,
}

impl Ask {
    /// The dialect of the reply.
    pub(crate) fn reply_dialect(&self) -> Dialect {
        self.answers.unwrap_or(self.dialect)
    }
}

/// What is wanted of a response that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) wish: Wish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Show,
    Delete,
    ListInput,
    Cancel,
}

/// The face errors wear on a path: known before the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Face {
    pub(crate) dialect: Dialect,
    pub(crate) manner: Manner,
}

/// Finds the route of a request, and the face of its errors.
pub(crate) fn find(method: &Method, path: &str, query: Option<&str>) -> (Route, Face) {
    if let Some((model, action)) = gemini(path) {
        return (generate_content(method, model, action, query), GEMINI);
    }
    let (manner, rest) = split(path);
    (route(method, path, rest, manner), face(path))
}

/// Whether a path shows what is on offer: open without a key where the operator says so.
pub(crate) fn is_catalogue(path: &str) -> bool {
    let rest = path.strip_prefix("/v1beta").unwrap_or_else(|| split(path).1);
    let below = |folder: &str| rest.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    below("/models") && rest != "/models/user" || rest == "/providers" || rest == "/endpoints/zdr"
}

/// The face of errors on a path.
pub(crate) fn face(path: &str) -> Face {
    if path.starts_with("/v1beta/") || gemini(path).is_some() {
        return GEMINI;
    }
    let (manner, rest) = split(path);
    Face { dialect: dialect(rest), manner }
}

/// What whoever asked at a path where nothing is may have meant.
pub(crate) fn hint(path: &str) -> &'static str {
    const ENDS: [&str; 6] = ["/chat/completions", "/completions", "/responses", "/embeddings", "/messages", "/messages/count_tokens"];
    match () {
        () if path.starts_with("/v1/v1/") => "; the base URL of Anthropic's and Google's clients has no /v1",
        () if path.contains("/models/") && path.contains(':') => {
            "; of Gemini there are generateContent, streamGenerateContent and countTokens"
        }
        () if ENDS.iter().any(|end| path.ends_with(end)) => "; the base URL ends with /v1 or /api/v1",
        () => "",
    }
}

const GEMINI: Face = Face { dialect: Dialect::GeminiGenerate, manner: Manner::Native };

/// Gemini's actions, and whether they stream; `None` counts tokens.
const ACTIONS: [(&str, Option<bool>); 3] =
    [(":generateContent", Some(false)), (":streamGenerateContent", Some(true)), (":countTokens", None)];

/// The model and the action of one of Gemini's paths. Models have colons in their names, so the last one counts, and only with an action.
fn gemini(path: &str) -> Option<(&str, Option<bool>)> {
    let rest = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?;
    ACTIONS.iter().find_map(|(word, action)| Some((rest.strip_suffix(word)?, *action)))
}

fn generate_content(method: &Method, model: &str, action: Option<bool>, query: Option<&str>) -> Route {
    let stream = action == Some(true);
    let model = percent::decode(model);
    let events = query.is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
    let ask = Ask {
        purpose: if action.is_some() { Purpose::Generate } else { Purpose::CountTokens },
        address: Some(Address { model, stream }),
        json_array: stream && !events,
        answers: None,
        dialect: GEMINI.dialect,
        manner: GEMINI.manner,
    };
    post(method, Route::Infer(ask))
}

fn split(path: &str) -> (Manner, &str) {
    let (manner, rest) = match path.strip_prefix("/api/v1") {
        Some(rest) => (Manner::Openrouter, rest),
        None => (Manner::Native, path.strip_prefix("/v1").filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or("")),
    };
    (manner, below_cursor(rest).unwrap_or(rest))
}

/// What of a path lies below `/cursor`, where everything is once more.
fn below_cursor(rest: &str) -> Option<&str> {
    rest.strip_prefix("/cursor").filter(|below| below.starts_with('/'))
}

/// A path of the public API as the control plane knows it.
pub(crate) fn without_cursor(target: &str) -> Cow<'_, str> {
    let base = ["/api/v1", "/v1"].into_iter().find(|base| target.starts_with(base)).unwrap_or("");
    match below_cursor(&target[base.len()..]) {
        Some(below) if !base.is_empty() => Cow::Owned(format!("{base}{below}")),
        _ => Cow::Borrowed(target),
    }
}

fn dialect(rest: &str) -> Dialect {
    match () {
        () if rest.starts_with("/messages") => Dialect::AnthropicMessages,
        () if rest.starts_with("/responses") => Dialect::OpenaiResponses,
        () => Dialect::OpenaiChat,
    }
}

fn route(method: &Method, path: &str, rest: &str, manner: Manner) -> Route {
    if path.starts_with("/v1beta/") && is_catalogue(path) && matches!(*method, Method::GET | Method::HEAD) {
        return Route::Control;
    }
    let purpose = match rest {
        "/chat/completions" | "/responses" | "/messages" => Purpose::Generate,
        "/completions" => Purpose::Completions,
        "/embeddings" => Purpose::Embeddings,
        "/messages/count_tokens" | "/responses/input_tokens" => Purpose::CountTokens,
        "" | "/" => return probe(method, path),
        _ if rest.starts_with("/v1/") => return Route::Unknown,
        _ => return kept(method, rest).unwrap_or(Route::Control),
    };
    let is_cursor = rest == "/chat/completions" && path.ends_with("/cursor/chat/completions");
    let answers = is_cursor.then_some(Dialect::OpenaiChat);
    post(method, Route::Infer(Ask { purpose, dialect: dialect(rest), manner, address: None, json_array: false, answers }))
}

fn kept(method: &Method, rest: &str) -> Option<Route> {
    let path = rest.strip_prefix("/responses/")?;
    let (id, below) = path.split_once('/').unwrap_or((path, ""));
    let is_get = matches!(*method, Method::GET | Method::HEAD);
    let wish = match below {
        "" if is_get => Wish::Show,
        "" if *method == Method::DELETE => Wish::Delete,
        // Not a response, but something that is done to a conversation.
        "" if id == "compact" || id.is_empty() => return None,
        "" => return Some(Route::Method("GET, DELETE")),
        "input_items" if is_get => Wish::ListInput,
        "input_items" => return Some(Route::Method("GET")),
        "cancel" if *method == Method::POST => Wish::Cancel,
        "cancel" => return Some(Route::Method("POST")),
        _ => return None,
    };
    Some(Route::Kept(Kept { id: percent::decode(id), wish }))
}

fn probe(method: &Method, path: &str) -> Route {
    let route = match path {
        "/healthz" => Route::Health,
        "/readyz" => Route::Ready,
        "/metrics" => Route::Metrics,
        _ => return Route::Unknown,
    };
    if matches!(*method, Method::GET | Method::HEAD) { route } else { Route::Method("GET") }
}

fn post(method: &Method, route: Route) -> Route {
    if *method == Method::POST { route } else { Route::Method("POST") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(purpose: Purpose, dialect: Dialect, manner: Manner) -> Route {
        Route::Infer(Ask { purpose, dialect, manner, address: None, json_array: false, answers: None })
    }

    fn kept_route(id: &str, wish: Wish) -> Route {
        Route::Kept(Kept { id: id.to_owned(), wish })
    }

    fn gemini_ask(purpose: Purpose, model: &str, stream: bool, json_array: bool) -> Route {
        let address = Some(Address { model: model.to_owned(), stream });
        Route::Infer(Ask { purpose, dialect: Dialect::GeminiGenerate, manner: Manner::Native, address, json_array, answers: None })
    }

    #[test]
    fn paths() {
        use Dialect::{AnthropicMessages, OpenaiChat, OpenaiResponses};
        use Manner::{Native, Openrouter};
        use Purpose::{Completions, CountTokens, Embeddings, Generate};
        for (method, path, route) in [
            ("POST", "/v1/chat/completions", ask(Generate, OpenaiChat, Native)),
            ("POST", "/api/v1/chat/completions", ask(Generate, OpenaiChat, Openrouter)),
            ("POST", "/v1/messages", ask(Generate, AnthropicMessages, Native)),
            ("POST", "/api/v1/messages", ask(Generate, AnthropicMessages, Openrouter)),
            ("POST", "/v1/responses", ask(Generate, OpenaiResponses, Native)),
            ("POST", "/api/v1/completions", ask(Completions, OpenaiChat, Openrouter)),
            ("POST", "/v1/embeddings", ask(Embeddings, OpenaiChat, Native)),
            ("GET", "/v1/messages", Route::Method("POST")),
            ("POST", "/v1/messages/count_tokens", ask(CountTokens, AnthropicMessages, Native)),
            ("POST", "/v1/responses/input_tokens", ask(CountTokens, OpenaiResponses, Native)),
            ("POST", "/v1beta/models/gemini-x:generateContent", gemini_ask(Generate, "gemini-x", false, false)),
            ("POST", "/v1/models/acme/fast:free:generateContent", gemini_ask(Generate, "acme/fast:free", false, false)),
            ("POST", "/v1beta/models/acme%2Ffast:streamGenerateContent", gemini_ask(Generate, "acme/fast", true, true)),
            ("POST", "/v1beta/models/a:streamGenerateContent?key=k&alt=sse", gemini_ask(Generate, "a", true, false)),
            ("POST", "/v1beta/models/a:countTokens", gemini_ask(CountTokens, "a", false, false)),
            ("GET", "/v1beta/models/a:countTokens", Route::Method("POST")),
            ("POST", "/v1beta/models/a:embedContent", Route::Unknown),
            ("GET", "/api/v1/models", Route::Control),
            ("GET", "/v1beta/models", Route::Control),
            ("GET", "/v1beta/models/acme/fast", Route::Control),
            ("POST", "/v1beta/models", Route::Unknown),
            ("GET", "/v1beta/modelsx", Route::Unknown),
            ("GET", "/v1beta/files", Route::Unknown),
            ("GET", "/api/v1/providers", Route::Control),
            ("GET", "/v1/models/a/b/endpoints", Route::Control),
            ("GET", "/v1/models/a/b:free", Route::Control),
            ("GET", "/v1/responses/resp_1", kept_route("resp_1", Wish::Show)),
            ("HEAD", "/api/v1/responses/resp%5F1", kept_route("resp_1", Wish::Show)),
            ("DELETE", "/v1/responses/resp_1", kept_route("resp_1", Wish::Delete)),
            ("PUT", "/v1/responses/resp_1", Route::Method("GET, DELETE")),
            ("GET", "/v1/responses/resp_1/input_items?limit=2", kept_route("resp_1", Wish::ListInput)),
            ("POST", "/v1/responses/resp_1/input_items", Route::Method("GET")),
            ("POST", "/v1/responses/resp_1/cancel", kept_route("resp_1", Wish::Cancel)),
            ("GET", "/v1/responses/resp_1/cancel", Route::Method("POST")),
            ("GET", "/v1/responses/resp_1/else", Route::Control),
            ("POST", "/v1/responses/compact", Route::Control),
            ("POST", "/v1/responses/", Route::Control),
            ("GET", "/healthz", Route::Health),
            ("POST", "/healthz", Route::Method("GET")),
            ("GET", "/readyz", Route::Ready),
            ("GET", "/metrics", Route::Metrics),
            ("GET", "/", Route::Unknown),
            ("GET", "/api/hello", Route::Unknown),
            ("POST", "/chat/completions", Route::Unknown),
            ("POST", "/v1//chat/completions", Route::Control),
            ("POST", "/v1/v1/messages", Route::Unknown),
            ("GET", "/admin/keys", Route::Unknown),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
            let (bare, query) = path.split_once('?').map_or((path, None), |(bare, query)| (bare, Some(query)));
            assert_eq!(find(&method, bare, query).0, route, "{method} {path}");
        }
    }

    #[test]
    fn cursor_has_all_of_it_once_more() {
        let check = |path: &str, route: Route, there: &str| {
            let method = if matches!(route, Route::Infer(_)) { Method::POST } else { Method::GET };
            assert_eq!((find(&method, path, None).0, &*without_cursor(path)), (route, there), "{path}");
        };
        let chat = |manner| {
            let Route::Infer(ask) = ask(Purpose::Generate, Dialect::OpenaiChat, manner) else { return Route::Unknown };
            Route::Infer(Ask { answers: Some(Dialect::OpenaiChat), ..ask })
        };
        check("/v1/cursor/chat/completions", chat(Manner::Native), "/v1/chat/completions");
        check("/api/v1/cursor/chat/completions", chat(Manner::Openrouter), "/api/v1/chat/completions");
        check("/v1/cursor/responses", ask(Purpose::Generate, Dialect::OpenaiResponses, Manner::Native), "/v1/responses");
        check("/v1/cursor/models", Route::Control, "/v1/models");
        check("/api/v1/cursor/models?limit=2", Route::Control, "/api/v1/models?limit=2");
        check("/v1/cursors/models", Route::Control, "/v1/cursors/models");
        check("/cursor/models", Route::Unknown, "/cursor/models");
        assert!(is_catalogue("/v1/cursor/models"));
    }

    #[test]
    fn what_is_on_offer_may_be_open() {
        let check = |path: &str, open| assert_eq!(is_catalogue(path), open, "{path}");
        check("/v1/models", true);
        check("/api/v1/models/a/b/endpoints", true);
        check("/v1beta/models/a", true);
        check("/api/v1/providers", true);
        check("/api/v1/endpoints/zdr", true);
        check("/api/v1/models/user", false);
        check("/v1/modelsx", false);
        check("/api/v1/key", false);
    }

    #[test]
    fn a_wrong_path_is_told_what_may_have_been_meant() {
        let check = |path: &str, words: &str| assert!(hint(path).contains(words) && hint(path).is_empty() == words.is_empty(), "{path}");
        check("/chat/completions", "ends with /v1");
        check("/responses", "ends with /v1");
        check("/v1/v1/messages", "has no /v1");
        check("/v1beta/models/x:embedContent", "countTokens");
        check("/nope", "");
    }

    #[test]
    fn errors_wear_the_paths_face() {
        let check = |path: &str, dialect, manner| {
            assert_eq!(find(&Method::GET, path, None).1, Face { dialect, manner }, "{path}");
            assert_eq!(face(path), Face { dialect, manner }, "{path}");
        };
        check("/v1/messages", Dialect::AnthropicMessages, Manner::Native);
        check("/api/v1/nope", Dialect::OpenaiChat, Manner::Openrouter);
        check("/api/v1/responses", Dialect::OpenaiResponses, Manner::Openrouter);
        check("/v1beta/models/x:generateContent", Dialect::GeminiGenerate, Manner::Native);
        check("/v1/models/x:countTokens", Dialect::GeminiGenerate, Manner::Native);
        check("/v1beta/models/x:embedContent", Dialect::GeminiGenerate, Manner::Native);
        check("/v1/models/x:embedContent", Dialect::OpenaiChat, Manner::Native);
    }
}
