//! Who is calling: the key in the headers, looked up by its keyed hash. Nothing is compared byte by byte and no error tells why.

use super::Caller;
use super::failure::Failure;
use super::head::Head;
use crate::tenants::Chain;
use crate::worker::{Worker, unix_ms};
use fairlead_ir::ErrorKind;
use fairlead_snapshot::{KeyHasher, Principal};
use std::cell::RefCell;
use std::sync::Arc;

/// Before what the control plane presents to act as a key by its id, whose text nobody has: then come the id, until when in Unix seconds, and
/// 64 hexadecimal digits that only who has the server secret can make (`fairlead.control.secret.acting`).
const ACTING: &str = "fl-as-";
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
    let shared = &worker.shared;
    let principal = (key.len() <= KEY_BYTES)
        .then(|| {
            let acting = || acting_as(&shared.hasher, key, unix_ms() / 1000).and_then(|id| shared.directory.find_by_id(id));
            shared.directory.find(&known.hash(worker, key)).or_else(acting)
        })
        .flatten();
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

/// The id of the key that the control plane acts as, where that is what is presented and its time is not over.
fn acting_as(hasher: &KeyHasher, presented: &[u8], now_s: u64) -> Option<u64> {
    let (said, signature) = std::str::from_utf8(presented).ok()?.strip_prefix(ACTING)?.rsplit_once('-')?;
    let (id, until_s) = said.split_once('-')?;
    let signed = hasher.hash(format!("fairlead: act as key {id} until {until_s}").as_bytes());
    let is_ours = is_same(&signed, &fairlead_snapshot::parse_hash(signature)?);
    if !is_ours || until_s.parse::<u64>().ok()? <= now_s {
        return None;
    }
    id.parse().ok()
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
    use super::{acting_as, is_same};
    use fairlead_snapshot::KeyHasher;

    #[test]
    fn only_who_has_the_secret_acts_as_a_key_and_for_a_time() {
        let ours = KeyHasher::new(b"secret");
        let signed = |hasher: &KeyHasher, id: &str, until: &str| {
            let hash = hasher.hash(format!("fairlead: act as key {id} until {until}").as_bytes());
            let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("fl-as-{id}-{until}-{digits}")
        };
        let good = signed(&ours, "7", "100");
        assert_eq!(acting_as(&ours, good.as_bytes(), 99), Some(7));
        assert_eq!(acting_as(&ours, good.as_bytes(), 100), None, "its time is over");
        for forged in [
            signed(&KeyHasher::new(b"other"), "7", "100"),
            good.replace("fl-as-7-", "fl-as-8-"),
            good.replace("-100-", "-900-"),
            good.trim_start_matches("fl-as-").to_owned(),
            good[..good.len() - 1].to_owned(),
            signed(&ours, "7", "soon"),
            signed(&ours, "x", "100"),
            "fl-as-".to_owned(),
            String::new(),
        ] {
            assert_eq!(acting_as(&ours, forged.as_bytes(), 99), None, "{forged}");
        }
    }

    #[test]
    fn keys_are_the_same_in_every_byte_or_not() {
        for (known, given, same) in
            [("", "", true), ("ab", "ab", true), ("ab", "aB", false), ("ab", "bb", false), ("ab", "abc", false), ("", "a", false)]
        {
            assert_eq!(is_same(known.as_bytes(), given.as_bytes()), same, "{known} {given}");
        }
    }
}
