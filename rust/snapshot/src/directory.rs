//! Gateway keys by keyed hash. Readers never lock; a delta copies one of 64 shards.

use crate::snapshot::SnapshotError;
use crate::wire;
use arc_swap::ArcSwap;
use ring::{digest, hmac};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// HMAC-SHA-256(server secret, SHA-256(key)): what is stored of a key and what it is looked up by.
pub type KeyHash = [u8; 32];

/// Computes key hashes under one server secret.
pub struct KeyHasher(hmac::Key);

impl KeyHasher {
    /// A hasher for this server secret (any length; 32 random bytes are usual).
    pub fn new(secret: &[u8]) -> KeyHasher {
        KeyHasher(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The hash of a key as the client sent it. SHA-256 first, so that plain SHA-256 hashes of another gateway can be imported.
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        let inner = digest::digest(&digest::SHA256, key);
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(&self.0, inner.as_ref()).as_ref());
        hash
    }
}

/// Who is calling: a known key.
#[derive(Debug, PartialEq, Eq)]
pub struct Principal {
    /// The key's database id.
    pub key: u64,
    /// The account that pays.
    pub account: u64,
    /// Team, 0 for none.
    pub team: u64,
    /// User, 0 for none.
    pub user: u64,
    /// Known and refused.
    pub disabled: bool,
    /// Administers; cannot run inference.
    pub management: bool,
    /// Unix milliseconds after which it is refused; 0 for never.
    pub expires_at_ms: u64,
    /// It was found by the secret that the key had before it was rotated.
    pub by_previous_secret: bool,
    /// A translation that loses something is refused.
    pub strict_translation: bool,
    /// No more than its budgets is ever spent.
    pub strict_budget: bool,
    /// Whether what it asks and gets is kept; `None`: as the settings say.
    pub content: Option<bool>,
    /// Whether replies are cached for its requests that do not say so themselves; `None`: as the settings say.
    pub response_cache: Option<bool>,
    models: Vec<String>,
}

impl Principal {
    /// The process itself, where calls come from within it: no key, every model.
    pub fn process(account: u64) -> Principal {
        Principal {
            key: 0,
            account,
            team: 0,
            user: 0,
            disabled: false,
            management: false,
            expires_at_ms: 0,
            by_previous_secret: false,
            strict_translation: false,
            strict_budget: false,
            content: None,
            response_cache: None,
            models: Vec::new(),
        }
    }

    /// Patterns of the models that the key may use; none: all.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// Whether the key may use this model (catalogue id). `*` in a pattern stands for any run of characters.
    pub fn may_use(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| matches(pattern, model))
    }
}

const SHARDS: usize = 64;

type Shard = HashMap<KeyHash, Arc<Principal>>;

/// All keys of this process.
pub struct Directory {
    shards: [ArcSwap<Shard>; SHARDS],
    writer: Mutex<Writer>,
}

#[derive(Default)]
struct Writer {
    epoch: u64,
    seq: u64,
    hashes: HashMap<u64, Hashes>,
}

/// What a key is found by: the hash of its secret, and of the one before that.
type Hashes = (KeyHash, Option<KeyHash>);

fn each(hashes: Hashes) -> impl Iterator<Item = KeyHash> {
    std::iter::once(hashes.0).chain(hashes.1)
}

impl Default for Directory {
    fn default() -> Directory {
        Directory { shards: std::array::from_fn(|_| ArcSwap::from_pointee(Shard::new())), writer: Mutex::default() }
    }
}

impl Directory {
    /// The principal of a key hash. The lookup's time does not depend on the key: it was hashed under a secret first.
    pub fn find(&self, hash: &KeyHash) -> Option<Arc<Principal>> {
        self.shards[shard_of(hash)].load().get(hash).cloned()
    }

    /// The principal of a key by its database id. Takes a lock: not for the path of requests.
    pub fn find_by_id(&self, id: u64) -> Option<Arc<Principal>> {
        let (hash, _) = *self.writer.lock().unwrap_or_else(PoisonError::into_inner).hashes.get(&id)?;
        self.find(&hash)
    }

    /// Whether a key with this database id is known. Takes a lock: not for the path of requests.
    pub fn knows(&self, id: u64) -> bool {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).hashes.contains_key(&id)
    }

    /// The database ids of all keys; `None` before the first delta, when nothing is known of any.
    pub fn ids(&self) -> Option<HashSet<u64>> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        (writer.epoch > 0 || writer.seq > 0).then(|| writer.hashes.keys().copied().collect())
    }

    /// Number of keys known. Takes a lock, as `knows`.
    pub fn len(&self) -> usize {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).hashes.len()
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Applies a delta (JSON of [`wire::KeyDelta`]) and returns the position reached. A delta at or below the last applied position
    /// of its epoch changes nothing, so resending is harmless. `prepare` sees one that counts before any of its keys is known.
    ///
    /// # Errors
    /// [`SnapshotError`] when the JSON does not fit, a hash is not 64 hex digits, or `prepare` says so; nothing is changed here then.
    pub fn apply(&self, json: &[u8], prepare: impl FnOnce(&wire::KeyDelta) -> Result<(), SnapshotError>) -> Result<u64, SnapshotError> {
        let delta: wire::KeyDelta = serde_json::from_slice(json).map_err(|error| SnapshotError::new("keys", error.to_string()))?;
        let upserts: Vec<Hashes> = delta.upsert.iter().map(hashes).collect::<Result<_, _>>()?;
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if delta.epoch < writer.epoch || delta.epoch == writer.epoch && delta.seq <= writer.seq {
            return Ok(writer.seq);
        }
        prepare(&delta)?;
        (writer.epoch, writer.seq) = (delta.epoch, delta.seq);
        self.store(&mut writer, delta.replace, &delta.delete, upserts.into_iter().zip(&delta.upsert));
        Ok(writer.seq)
    }

    fn store<'a>(&self, writer: &mut Writer, replace: bool, delete: &[u64], upserts: impl Iterator<Item = (Hashes, &'a wire::Key)>) {
        let mut changed: HashMap<usize, Shard> = HashMap::new();
        if replace {
            writer.hashes.clear();
            changed.extend((0..SHARDS).map(|index| (index, Shard::new())));
        }
        for id in delete {
            for hash in writer.hashes.remove(id).into_iter().flat_map(each) {
                self.edit(&mut changed, &hash).remove(&hash);
            }
        }
        for (hashes, key) in upserts {
            for old in writer.hashes.insert(key.id, hashes).into_iter().flat_map(each) {
                self.edit(&mut changed, &old).remove(&old);
            }
            if let (Some(hash), Some(previous)) = (hashes.1, &key.previous) {
                self.edit(&mut changed, &hash).insert(hash, Arc::new(before(key, previous.until_ms)));
            }
            self.edit(&mut changed, &hashes.0).insert(hashes.0, Arc::new(principal(key)));
        }
        for (index, shard) in changed {
            self.shards[index].store(Arc::new(shard));
        }
    }

    fn edit<'a>(&self, changed: &'a mut HashMap<usize, Shard>, hash: &KeyHash) -> &'a mut Shard {
        let index = shard_of(hash);
        changed.entry(index).or_insert_with(|| self.shards[index].load().as_ref().clone())
    }
}

fn shard_of(hash: &KeyHash) -> usize {
    usize::from(hash[0]) % SHARDS
}

fn hashes(key: &wire::Key) -> Result<Hashes, SnapshotError> {
    let parse = |text: &str, name: &str| {
        parse_hash(text).ok_or_else(|| SnapshotError::new(format!("keys.{}.{name}", key.id), "not 64 hexadecimal digits"))
    };
    let previous = key.previous.as_ref().map(|previous| parse(&previous.hash, "previous.hash")).transpose()?;
    Ok((parse(&key.hash, "hash")?, previous))
}

/// The key as its replaced secret finds it: until then, and not after the key itself.
fn before(key: &wire::Key, until_ms: u64) -> Principal {
    let of_key = principal(key);
    // An end of 0 would be none.
    let until_ms = until_ms.max(1);
    let expires_at_ms = if of_key.expires_at_ms == 0 { until_ms } else { until_ms.min(of_key.expires_at_ms) };
    Principal { expires_at_ms, by_previous_secret: true, ..of_key }
}

fn principal(key: &wire::Key) -> Principal {
    Principal {
        key: key.id,
        account: key.account,
        team: key.team,
        user: key.user,
        disabled: key.disabled,
        management: key.management,
        expires_at_ms: key.expires_at_ms,
        by_previous_secret: false,
        strict_translation: key.strict_translation,
        strict_budget: key.strict_budget,
        content: key.content,
        response_cache: key.response_cache,
        models: key.models.clone(),
    }
}

/// Reads 64 hex digits.
pub fn parse_hash(text: &str) -> Option<KeyHash> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |character: u8| char::from(character).to_digit(16).map(|digit| digit as u8);
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(hash)
}

/// Glob with `*` only: the first piece must start the text, the last must end it, the others follow in order.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return text.ends_with(piece);
        }
        let Some(at) = text.find(piece) else {
            return false;
        };
        text = &text[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn hex(byte: u8) -> String {
        format!("{byte:02x}").repeat(32)
    }

    fn delta(seq: u64, rest: &str) -> Vec<u8> {
        format!(r#"{{"epoch":1,"seq":{seq},{rest}}}"#).into_bytes()
    }

    #[test]
    fn a_hash_is_hmac_of_sha256() {
        // printf %s sk-test | openssl dgst -sha256 -binary | openssl dgst -sha256 -mac HMAC -macopt key:secret
        let hash = KeyHasher::new(b"secret").hash(b"sk-test");
        let inner = digest::digest(&digest::SHA256, b"sk-test");
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), inner.as_ref());
        assert_eq!(hash.as_slice(), expected.as_ref());
        assert_ne!(hash, KeyHasher::new(b"other").hash(b"sk-test"));
    }

    #[test]
    fn deltas_hold_at_once_and_once() {
        let directory = Directory::default();
        assert_eq!(directory.ids(), None);
        let add = delta(1, &format!(r#""upsert":[{{"id":7,"hash":"{}","account":1}}]"#, hex(0xaa)));
        assert_eq!(directory.apply(&add, |_| Ok(())).unwrap(), 1);
        assert_eq!(directory.find(&[0xaa; 32]).unwrap().key, 7);
        // The same delta again, then an older one, change nothing.
        assert_eq!(directory.apply(&add, |_| Ok(())).unwrap(), 1);
        assert!(!directory.find(&[0xaa; 32]).unwrap().strict_translation);
        let rotate =
            delta(2, &format!(r#""upsert":[{{"id":7,"hash":"{}","account":1,"disabled":true,"strict_translation":true}}]"#, hex(0xbb)));
        directory.apply(&rotate, |_| Ok(())).unwrap();
        assert!(directory.find(&[0xaa; 32]).is_none(), "the old hash of a key is gone");
        let rotated = directory.find(&[0xbb; 32]).unwrap();
        assert!(rotated.disabled && rotated.strict_translation);
        assert_eq!((directory.knows(7), directory.knows(8), directory.ids()), (true, false, Some(HashSet::from([7]))));
        directory.apply(&delta(3, r#""delete":[7]"#), |_| Ok(())).unwrap();
        assert!(directory.is_empty());
        assert_eq!((directory.knows(7), directory.ids()), (false, Some(HashSet::new())));
    }

    #[test]
    fn a_rotated_key_is_found_by_both_secrets() {
        let directory = Directory::default();
        let key = |rest: &str| format!(r#""upsert":[{{"id":7,"account":1,"models":["a/*"],{rest}}}]"#);
        let previous = |byte: u8, until_ms: u64| format!(r#""previous":{{"hash":"{}","until_ms":{until_ms}}}"#, hex(byte));
        let tell = |seq: u64, rest: &str| directory.apply(&delta(seq, rest), |_| Ok(())).unwrap();
        let found = |byte: u8| directory.find(&[byte; 32]).map(|one| (one.key, one.expires_at_ms, one.by_previous_secret));
        tell(1, &key(&format!(r#""hash":"{}""#, hex(1))));
        tell(2, &key(&format!(r#""hash":"{}",{}"#, hex(2), previous(1, 500))));
        assert_eq!((found(2), found(1)), (Some((7, 0, false)), Some((7, 500, true))));
        assert!(directory.find(&[1; 32]).unwrap().may_use("a/b") && !directory.find(&[1; 32]).unwrap().may_use("b/a"));
        assert_eq!(directory.len(), 1, "it is one key");
        // The sooner end counts, and none at all is no end for ever.
        tell(3, &key(&format!(r#""hash":"{}","expires_at_ms":400,{}"#, hex(2), previous(1, 500))));
        assert_eq!((found(2), found(1)), (Some((7, 400, false)), Some((7, 400, true))));
        tell(4, &key(&format!(r#""hash":"{}",{}"#, hex(2), previous(1, 0))));
        assert_eq!(found(1), Some((7, 1, true)));
        // The one before the one before is gone.
        tell(5, &key(&format!(r#""hash":"{}",{}"#, hex(3), previous(2, 600))));
        assert_eq!((found(3), found(2), found(1)), (Some((7, 0, false)), Some((7, 600, true)), None));
        // Of two that are the same the present one counts.
        tell(6, &key(&format!(r#""hash":"{}",{}"#, hex(3), previous(3, 600))));
        assert_eq!((found(3), found(2)), (Some((7, 0, false)), None));
        tell(7, &key(&format!(r#""hash":"{}",{}"#, hex(4), previous(3, 600))));
        tell(8, r#""delete":[7]"#);
        assert_eq!((found(4), found(3), directory.len()), (None, None, 0));
        let bad = delta(9, &key(&format!(r#""hash":"{}","previous":{{"hash":"zz","until_ms":1}}"#, hex(5))));
        assert!(directory.apply(&bad, |_| Ok(())).is_err());
        assert!(directory.is_empty());
    }

    #[test]
    fn replace_forgets_the_rest() {
        let directory = Directory::default();
        directory.apply(&delta(1, &format!(r#""upsert":[{{"id":1,"hash":"{}","account":1}}]"#, hex(1))), |_| Ok(())).unwrap();
        directory
            .apply(&delta(2, &format!(r#""replace":true,"upsert":[{{"id":2,"hash":"{}","account":1}}]"#, hex(2))), |_| Ok(()))
            .unwrap();
        assert_eq!(directory.len(), 1);
        assert!(directory.find(&[1; 32]).is_none());
    }

    #[test]
    fn a_bad_delta_changes_nothing() {
        let directory = Directory::default();
        let bad = delta(1, &format!(r#""upsert":[{{"id":1,"hash":"{}","account":1}},{{"id":2,"hash":"zz","account":1}}]"#, hex(1)));
        assert!(directory.apply(&bad, |_| Ok(())).is_err());
        assert!(directory.is_empty());
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("acme/*", "acme/fast", true),
            ("acme/*", "other/fast", false),
            ("*", "anything", true),
            ("acme/fast", "acme/fast", true),
            ("acme/fast", "acme/faster", false),
            ("*/gpt-*-mini", "openai/gpt-5-mini", true),
            ("*/gpt-*-mini", "openai/gpt-5-nano", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
