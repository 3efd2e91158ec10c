//! Who is calling: the key in the headers, looked up by its keyed hash. Nothing is compared byte by byte and no error tells why.

use super::failure::Failure;
use crate::server::worker::{Worker, unix_ms};
use fairlead_ir::ErrorKind;
use fairlead_snapshot::Principal;
use http::{HeaderMap, header};
use std::sync::Arc;

/// Headers a key may come in, besides `Authorization: Bearer`, in the order of preference.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];

/// Longer keys are nobody's.
const KEY_BYTES: usize = 512;

/// The principal of an inference request.
pub(crate) fn inference(worker: &Worker, headers: &HeaderMap) -> Result<Arc<Principal>, Failure> {
    let principal = any(worker, headers)?;
    if principal.management {
        return Err(Failure::new(ErrorKind::PermissionDenied, "this is a management key: it administers keys and cannot run inference"));
    }
    Ok(principal)
}

/// The principal of any request of the public API.
pub(crate) fn any(worker: &Worker, headers: &HeaderMap) -> Result<Arc<Principal>, Failure> {
    let Some(key) = presented(headers) else {
        let message = "no API key: send it as \"Authorization: Bearer <key>\" or \"x-api-key: <key>\"";
        return Err(Failure::new(ErrorKind::Authentication, message));
    };
    let principal = (key.len() <= KEY_BYTES).then(|| worker.shared.directory.find(&worker.shared.hasher.hash(key))).flatten();
    match principal {
        Some(principal) if principal.disabled => Err(Failure::new(ErrorKind::Authentication, "this API key is disabled")),
        Some(principal) if principal.expires_at_ms != 0 && principal.expires_at_ms <= unix_ms() => {
            Err(Failure::new(ErrorKind::Authentication, "this API key has expired"))
        }
        Some(principal) => Ok(principal),
        None => Err(Failure::new(
            ErrorKind::Authentication,
            "unknown API key: check it for missing characters, or make one with \"fairlead keys create\"",
        )),
    }
}

/// Whether a key was sent at all.
pub(crate) fn has_key(headers: &HeaderMap) -> bool {
    presented(headers).is_some()
}

/// The admin token, for what the traffic port tells operators only.
pub(crate) fn admin(worker: &Worker, headers: &HeaderMap) -> Result<(), Failure> {
    // Hashed under the server secret first, so the comparison's time tells nothing about the token.
    let given = bearer(headers).map(|token| worker.shared.hasher.hash(token));
    if given.is_some() && given == worker.shared.admin_token_hash {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::Authentication, "send the admin token as \"Authorization: Bearer <token>\""))
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    bearer(headers)
        .or_else(|| KEY_HEADERS.iter().find_map(|name| headers.get(*name)).map(|value| value.as_bytes().trim_ascii()))
        .filter(|key| !key.is_empty())
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &'static str)], key: Option<&str>) {
        let map: HeaderMap =
            headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))).collect();
        assert_eq!(presented(&map), key.map(str::as_bytes), "{headers:?}");
    }

    #[test]
    fn keys_are_found_where_clients_put_them() {
        check(&[("authorization", "Bearer sk-1")], Some("sk-1"));
        check(&[("authorization", "bearer  sk-1 ")], Some("sk-1"));
        check(&[("authorization", "Bearer sk-1"), ("x-api-key", "sk-2")], Some("sk-1"));
        check(&[("x-api-key", "sk-2")], Some("sk-2"));
        check(&[("authorization", "Basic abc"), ("x-goog-api-key", "sk-3")], Some("sk-3"));
        check(&[("api-key", "sk-4")], Some("sk-4"));
        check(&[("authorization", "Bearer ")], None);
        check(&[("authorization", "Bear")], None);
        check(&[], None);
    }
}
