//! Who is calling: the key in the headers, looked up by its keyed hash. Nothing is compared byte by byte and no error tells why.

use super::Caller;
use super::failure::Failure;
use super::head::Head;
use crate::tenants::Chain;
use crate::worker::{Worker, unix_ms};
use fairlead_ir::ErrorKind;
use fairlead_snapshot::Principal;
use std::cell::RefCell;
use std::sync::Arc;

/// Longer keys are nobody's.
const KEY_BYTES: usize = 512;

/// The key that a connection's last request came with and its hash: most clients send all their requests with one.
#[derive(Default)]
pub(crate) struct KnownKey(RefCell<Known>);

#[derive(Default)]
struct Known {
    key: Vec<u8>,
    hash: [u8; 32],
}

impl KnownKey {
    fn hash(&self, worker: &Worker, key: &[u8]) -> [u8; 32] {
        let mut known = self.0.borrow_mut();
        if !is_same(&known.key, key) {
            *known = Known { key: key.to_vec(), hash: worker.shared.hasher.hash(key) };
        }
        known.hash
    }
}

/// Looks at every byte, wherever the first difference is.
fn is_same(known: &[u8], given: &[u8]) -> bool {
    known.len() == given.len() && known.iter().zip(given).fold(0, |different, (known, given)| different | (known ^ given)) == 0
}

/// The principal of an inference request.
pub(crate) fn inference(worker: &Worker, head: &Head<'_>, caller: Caller<'_>) -> Result<Arc<Principal>, Failure> {
    let principal = match caller {
        Caller::Client(known) => any(worker, head, known)?,
        Caller::Process(own) => own.principal.clone(),
    };
    if principal.management {
        return Err(Failure::new(ErrorKind::PermissionDenied, "this is a management key: it administers keys and cannot run inference"));
    }
    Ok(principal)
}

/// The principal of any request of the public API.
pub(crate) fn any(worker: &Worker, head: &Head<'_>, known: &KnownKey) -> Result<Arc<Principal>, Failure> {
    let Some(key) = head.key() else {
        let message = "no API key: send it as \"Authorization: Bearer <key>\" or \"x-api-key: <key>\"";
        return Err(Failure::new(ErrorKind::Authentication, message));
    };
    let principal = (key.len() <= KEY_BYTES).then(|| worker.shared.directory.find(&known.hash(worker, key))).flatten();
    let refused = |message: &str| Err(Failure::new(ErrorKind::Authentication, message));
    match principal {
        Some(principal) if principal.disabled => refused("this API key is disabled"),
        Some(principal) if principal.expires_at_ms != 0 && principal.expires_at_ms <= unix_ms() => {
            refused(if principal.by_previous_secret {
                "this API key was rotated and has another secret now"
            } else {
                "this API key has expired"
            })
        }
        Some(principal) => Ok(principal),
        None => refused("unknown API key: check it for missing characters, or make one with \"fairlead keys create\""),
    }
}

/// Who pays for its calls. Nobody for those of the process itself.
pub(crate) fn payers(worker: &Worker, principal: &Principal) -> Result<Option<Arc<Chain>>, Failure> {
    if principal.key == 0 {
        return Ok(None);
    }
    // Deleted since it was looked up.
    let gone = || Failure::new(ErrorKind::Authentication, "this API key has just been deleted");
    worker.shared.tenants.chain(principal.key).map(Some).ok_or_else(gone)
}

/// The admin token, for what the traffic port tells operators only.
pub(crate) fn admin(worker: &Worker, head: &Head<'_>) -> Result<(), Failure> {
    // Hashed under the server secret first, so the comparison's time tells nothing about the token.
    let given = head.bearer().map(|token| worker.shared.hasher.hash(token));
    if given.is_some() && given == worker.shared.snapshot().admin_token_hash {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::Authentication, "send the admin token as \"Authorization: Bearer <token>\""))
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn keys_are_the_same_in_every_byte_or_not() {
        for (known, given, same) in
            [("", "", true), ("ab", "ab", true), ("ab", "aB", false), ("ab", "bb", false), ("ab", "abc", false), ("", "a", false)]
        {
            assert_eq!(is_same(known.as_bytes(), given.as_bytes()), same, "{known} {given}");
        }
    }
}
