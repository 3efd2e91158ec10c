//! Path and method to what is wanted: the only place that knows the traffic port's paths.

use fairlead_ir::{Dialect, Manner};
use http::Method;

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A generation.
    Generate(Dialect, Manner),
    /// The process lives.
    Health,
    /// Requests can be served.
    Ready,
    /// Counters, for who has the admin token.
    Metrics,
    /// Everything else of the public API: the control plane answers.
    Control,
    /// An operation of the API that this version does not have, with its verb.
    Absent(&'static str),
    /// The path exists, the method does not; the allowed one.
    Method(&'static str),
    /// No such path.
    Unknown,
}

/// The face errors wear on a path: known before the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Face {
    pub(crate) dialect: Dialect,
    pub(crate) manner: Manner,
}

/// Finds the route of a request, and the face of its errors.
pub(crate) fn find(method: &Method, path: &str) -> (Route, Face) {
    let (manner, rest) = split(path);
    (route(method, path, rest, manner), Face { dialect: dialect(rest), manner })
}

/// The face of errors on a path.
pub(crate) fn face(path: &str) -> Face {
    let (manner, rest) = split(path);
    Face { dialect: dialect(rest), manner }
}

fn split(path: &str) -> (Manner, &str) {
    match path.strip_prefix("/api/v1") {
        Some(rest) => (Manner::Openrouter, rest),
        None => (Manner::Native, path.strip_prefix("/v1").unwrap_or("")),
    }
}

fn dialect(rest: &str) -> Dialect {
    if rest.starts_with("/messages") { Dialect::AnthropicMessages } else { Dialect::OpenaiChat }
}

fn route(method: &Method, path: &str, rest: &str, manner: Manner) -> Route {
    match rest {
        "/chat/completions" => post(method, Route::Generate(Dialect::OpenaiChat, manner)),
        "/messages" => post(method, Route::Generate(Dialect::AnthropicMessages, manner)),
        "/completions" => Route::Absent("legacy completions are"),
        "/responses" => Route::Absent("the Responses dialect is"),
        "/messages/count_tokens" => Route::Absent("token counting is"),
        "/embeddings" => Route::Absent("embeddings are"),
        "" | "/" => probe(method, path),
        _ if rest.starts_with("/responses/") => Route::Absent("the Responses dialect is"),
        _ => Route::Control,
    }
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

    #[test]
    fn paths() {
        use Manner::{Native, Openrouter};
        for (method, path, route) in [
            ("POST", "/v1/chat/completions", Route::Generate(Dialect::OpenaiChat, Native)),
            ("POST", "/api/v1/chat/completions", Route::Generate(Dialect::OpenaiChat, Openrouter)),
            ("POST", "/v1/messages", Route::Generate(Dialect::AnthropicMessages, Native)),
            ("POST", "/api/v1/messages", Route::Generate(Dialect::AnthropicMessages, Openrouter)),
            ("GET", "/v1/messages", Route::Method("POST")),
            ("POST", "/v1/messages/count_tokens", Route::Absent("token counting is")),
            ("GET", "/api/v1/models", Route::Control),
            ("GET", "/v1/models/a/b/endpoints", Route::Control),
            ("GET", "/healthz", Route::Health),
            ("POST", "/healthz", Route::Method("GET")),
            ("GET", "/readyz", Route::Ready),
            ("GET", "/metrics", Route::Metrics),
            ("GET", "/", Route::Unknown),
            ("GET", "/api/hello", Route::Unknown),
            ("POST", "/chat/completions", Route::Unknown),
            ("POST", "/v1//chat/completions", Route::Control),
            ("GET", "/admin/keys", Route::Unknown),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
            assert_eq!(find(&method, path).0, route, "{method} {path}");
        }
    }

    #[test]
    fn errors_wear_the_paths_face() {
        assert_eq!(find(&Method::GET, "/v1/messages").1, Face { dialect: Dialect::AnthropicMessages, manner: Manner::Native });
        assert_eq!(find(&Method::GET, "/api/v1/nope").1, Face { dialect: Dialect::OpenaiChat, manner: Manner::Openrouter });
    }
}
