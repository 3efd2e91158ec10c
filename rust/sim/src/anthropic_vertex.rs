//! Claude on Google's Vertex AI: Anthropic's messages behind Google's door. The path names the model, the body the version, and what the
//! door itself refuses is refused in Google's words.

use crate::intake::percent_decoded;
use crate::reply::Refusal;
use crate::request::Request;
use crate::{anthropic_messages, gemini_generate};
use serde_json::{Value, json};

/// The version that Vertex has had from the start, and the one that Anthropic's newer SDKs send there; each with Anthropic's own of the same rules.
const VERSIONS: [(&str, &str); 2] =
    [("vertex-2023-10-16", "2023-06-01"), (anthropic_messages::NEW_VERSION, anthropic_messages::NEW_VERSION)];
const PUBLISHER: &str = "/publishers/anthropic/models/";
const COUNT: &str = "count-tokens";

/// What Vertex's own door refuses, before the model sees anything.
const DOOR: [u16; 4] = [401, 403, 404, 429];

/// Whether a path is one of these, whatever stands behind its colon.
pub(crate) fn is_path(path: &str) -> bool {
    path.contains(PUBLISHER)
}

/// Whether tokens are to be counted; the model stands in the body then.
pub(crate) fn is_count(path: &str) -> bool {
    address(path).is_some_and(|(model, action)| model == COUNT && action == "rawPredict")
}

/// The model, escapes decoded, and the method.
fn address(path: &str) -> Option<(String, &str)> {
    let (place, name) = path.split_once(PUBLISHER)?;
    let ["", "v1" | "v1beta1", "projects", project, "locations", location] = place.split('/').collect::<Vec<_>>()[..] else { return None };
    let (model, action) = name.rsplit_once(':')?;
    (!project.is_empty() && !location.is_empty()).then(|| (percent_decoded(model), action))
}

/// A message request as Anthropic's own API would get it, and the version there.
#[derive(Debug)]
pub(crate) struct Unwrapped {
    pub(crate) body: Value,
    pub(crate) version: &'static str,
}

/// Judges what is Vertex's own in a request, and takes it off.
pub(crate) fn unwrap(request: &Request, mut body: Value) -> Result<Unwrapped, Refusal> {
    let path = request.head.path.as_str();
    let no_such_path = || Refusal::new(404, format!("The requested URL {path} was not found on this server."));
    let (model, action) = address(path).ok_or_else(no_such_path)?;
    let members = body.as_object_mut().ok_or_else(|| Refusal::bad_request("Input should be an object"))?;
    let version = members.remove("anthropic_version");
    let version = version.as_ref().ok_or_else(|| Refusal::bad_request("anthropic_version: Field required"))?;
    let known = VERSIONS.into_iter().find(|(name, _)| version == name);
    let unknown = || Refusal::bad_request(format!("anthropic_version: {version} is not a supported version"));
    let (_, version) = known.ok_or_else(unknown)?;
    if is_count(path) {
        return Ok(Unwrapped { body, version });
    }
    if members.contains_key("model") {
        return Err(Refusal::bad_request("model: Extra inputs are not permitted"));
    }
    let streams = members.get("stream").is_some_and(|stream| *stream == true);
    match (action, streams) {
        ("rawPredict", false) | ("streamRawPredict", true) => {}
        ("rawPredict" | "streamRawPredict", _) => return Err(Refusal::bad_request(format!("stream: {streams} does not go with {action}"))),
        _ => return Err(no_such_path()),
    }
    members.insert("model".to_owned(), json!(model));
    Ok(Unwrapped { body, version })
}

/// The headers of every reply.
pub(crate) fn headers(request_id: &str) -> Vec<(&'static str, String)> {
    let mut headers = gemini_generate::headers();
    headers.push(("request-id", request_id.to_owned()));
    headers
}

/// An error in the words of whoever refuses.
pub(crate) fn error_body(refusal: &Refusal, request_id: &str) -> String {
    match DOOR.contains(&refusal.status) {
        true => gemini_generate::error_body(refusal),
        false => anthropic_messages::error_body(refusal, request_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let check = |path: &str, expected: Option<(&str, &str)>| {
            let found = address(path);
            assert_eq!(found.as_ref().map(|(model, action)| (model.as_str(), *action)), expected, "{path}");
        };
        let at = |rest: &str| format!("/v1/projects/p/locations/global/publishers/anthropic/models/{rest}");
        check(&at("sim/echo:rawPredict"), Some(("sim/echo", "rawPredict")));
        check(&at("sim%2Fecho@1:streamRawPredict"), Some(("sim/echo@1", "streamRawPredict")));
        check(&at("sim/echo"), None);
        check("/v1/publishers/anthropic/models/sim/echo:rawPredict", None);
        check("/v1/projects//locations/global/publishers/anthropic/models/m:rawPredict", None);
        check("/v1/projects/p/locations/global/publishers/google/models/m:rawPredict", None);
        assert!(is_count(&at("count-tokens:rawPredict")) && !is_count(&at("count-tokens:streamRawPredict")));
    }
}
