//! Replies under the names that callers gave their requests (`Idempotency-Key`), a sealed file each, as [`Responses`] are.
//!
//! A name is claimed before anything is sent, with the generation that it stands for, and the claim becomes the reply when there is one. So a
//! claim that is found is a request whose reply cannot be given: the process died under it, or its reply was too long to keep. Nobody may
//! send it a second time unasked.
//!
//! As there: every method reads or writes files, and none may be called on a worker's own thread.

use super::deleted::{Deleted, is_response};
use super::{Copy, Digest, Facts, Key};
use crate::responses::{Bounds, Head, Purpose, Response, Responses, Unreadable};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The replies.
pub(crate) struct Named {
    files: Responses,
    deleted: Arc<Deleted>,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// There is a file, and what it says is not known. The request may have run.
    Unreadable,
    /// The generation that it stands for.
    Claimed {
        asks: Digest,
        generation: String,
    },
    Kept {
        asks: Digest,
        copy: Copy,
    },
}

/// The readable part of a file.
#[derive(Serialize, Deserialize)]
struct Label {
    asks: Digest,
    generation: String,
    /// Of a reply that is kept.
    facts: Option<Facts>,
}

impl Named {
    /// Those in `folder`, sealed under the server secret; `forced` to the disk where a power cut must not take any.
    ///
    /// # Errors
    /// When the secret is too short.
    pub(crate) fn new(folder: &Path, secret: &[u8], forced: bool) -> Result<Named, String> {
        let files = Responses::new(folder, secret, Purpose::Repeats)?;
        Ok(Named { files: if forced { files.forced() } else { files }, deleted: Arc::default() })
    }

    /// The same, which keep no copies of these.
    pub(super) fn without(self, deleted: Arc<Deleted>) -> Named {
        Named { deleted, ..self }
    }

    /// Finds what an earlier process kept.
    pub(crate) fn look_through(&self) -> io::Result<()> {
        self.files.look_through()
    }

    /// What a name stands for.
    pub(crate) fn find(&self, key: &Key, bounds: Bounds, now_ms: u64) -> Found {
        let read = |_: Head, response: &Response<'_>| match serde_json::from_slice(response.input) {
            Ok(Label { asks, generation: _, facts: Some(facts) }) => {
                Found::Kept { asks, copy: Copy { facts, body: Bytes::copy_from_slice(response.reply) } }
            }
            Ok(Label { asks, generation, facts: None }) => Found::Claimed { asks, generation },
            Err(_) => Found::Unreadable,
        };
        match self.files.look(key.scope.key, &id(key), bounds, now_ms, read) {
            Ok(found) => found.unwrap_or(Found::Nothing),
            Err(Unreadable) => Found::Unreadable,
        }
    }

    /// Says that a request goes out under this name. A key has as much room as it leaves: then none can take all of it.
    ///
    /// # Errors
    /// When there is no room for it, or the file cannot be written.
    pub(crate) fn claim(&self, key: &Key, asks: Digest, generation: &str, bounds: Bounds, now_ms: u64) -> io::Result<()> {
        if self.files.bytes_of(key.scope.key) >= bounds.most_bytes.saturating_sub(self.files.size().1) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "as many are kept as may be, of this API key or of all"));
        }
        self.write(key, &Label { asks, generation: generation.to_owned(), facts: None }, b"", now_ms)
    }

    /// Puts the reply in place of the claim. Where there is no room the claim stays, and so it does where the reply was deleted meanwhile.
    ///
    /// # Errors
    /// As of [`Named::claim`].
    pub(crate) fn keep(&self, key: &Key, asks: Digest, copy: &Copy, bounds: Bounds, now_ms: u64) -> io::Result<()> {
        if self.deleted.has(key.scope.key, &copy.facts, &copy.body, now_ms) {
            return Ok(());
        }
        if self.files.size().1 + copy.bytes() > bounds.most_bytes {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "as many are kept as may be"));
        }
        let generation = copy.facts.generation.clone();
        self.write(key, &Label { asks, generation, facts: Some(copy.facts.clone()) }, &copy.body, now_ms)
    }

    fn write(&self, key: &Key, label: &Label, reply: &[u8], now_ms: u64) -> io::Result<()> {
        let label = serde_json::to_vec(label).map_err(io::Error::other)?;
        let head = Head { key: key.scope.key, kept_at_ms: now_ms };
        // Nothing makes room for another here: a name that is let go of before its time could be paid for twice.
        self.files.keep(key.scope.key, &id(key), head, &Response { input: &label, reply }, Bounds::NONE)
    }

    /// Takes out of a key's files what is this response, from those that were written since then on. Their names stay claimed: what they stand
    /// for has run.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn forget_response(&self, key: u64, id: &str, since_ms: u64) -> io::Result<()> {
        self.files.change(key, since_ms, |file| {
            let label: Label = serde_json::from_slice(file.input).ok()?;
            label.facts.as_ref().filter(|facts| is_response(facts, file.reply, id))?;
            let claim = serde_json::to_vec(&Label { facts: None, ..label }).ok()?;
            Some((claim, Vec::new()))
        })
    }

    /// The name is free again.
    pub(crate) fn release(&self, key: &Key) {
        self.files.delete(key.scope.key, &id(key));
    }

    pub(super) fn sweep(&self, bounds: Bounds, known: Option<&HashSet<u64>>, now_ms: u64) {
        self.files.sweep(Bounds { most_bytes: u64::MAX, ..bounds }, known, now_ms);
    }

    /// How many there are, and what they take of the disk.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.files.size()
    }
}

/// A name as text: the file's is made of it and of the scope.
fn id(key: &Key) -> String {
    key.digest.iter().fold(format!("{}:", key.scope.account), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::repeats::tests::{copy, responses, scope};
    use std::fs;
    use std::path::PathBuf;

    const BOUNDS: Bounds = Bounds { ttl_ms: 1_000, most_bytes: 1 << 20 };

    /// A folder of its own that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("fairlead-named-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }

        fn open(&self) -> Named {
            let named = Named::new(&self.0, &[7; 32], false).unwrap();
            named.look_through().unwrap();
            named
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn key(account: u64, key: u64, name: u8) -> Key {
        Key::new(scope(account, key), [name; 32])
    }

    #[test]
    fn a_claim_becomes_a_reply_and_both_outlive_the_process() {
        let folder = Folder::new("claim");
        let (name, asks) = (key(1, 2, 3), [4; 32]);
        folder.open().claim(&name, asks, "gen-1", BOUNDS, 0).unwrap();
        let claimed = Found::Claimed { asks, generation: "gen-1".to_owned() };
        assert_eq!(folder.open().find(&name, BOUNDS, 999), claimed);
        folder.open().keep(&name, asks, &copy("a secret"), BOUNDS, 500).unwrap();
        let named = folder.open();
        let kept = Found::Kept { asks, copy: (*copy("a secret")).clone() };
        assert_eq!(named.find(&name, BOUNDS, 1_499), kept);
        for (other, now_ms) in [(key(1, 2, 4), 500), (key(1, 3, 3), 500), (key(2, 2, 3), 500), (name, 1_500)] {
            assert_eq!(named.find(&other, BOUNDS, now_ms), Found::Nothing, "{other:?} {now_ms}");
        }
        let [file] = fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>().try_into().unwrap();
        assert!(memchr::memmem::find(&fs::read(file).unwrap(), b"secret").is_none());
        named.release(&name);
        assert_eq!((named.find(&name, BOUNDS, 500), named.size()), (Found::Nothing, (0, 0)));
    }

    #[test]
    fn a_response_that_is_deleted_leaves_its_name_claimed() {
        let folder = Folder::new("deleted");
        let deleted = Arc::<Deleted>::default();
        let named = folder.open().without(deleted.clone());
        let asks = [4; 32];
        let put = |of: u64| {
            for (name, copy) in responses("resp_1").iter().enumerate() {
                let name = key(1, of, name as u8);
                named.claim(&name, asks, "gen-1", BOUNDS, 500).unwrap();
                named.keep(&name, asks, copy, BOUNDS, 500).unwrap();
            }
        };
        let kept = |of: u64| {
            [0, 1, 2].map(|name| match named.find(&key(1, of, name), BOUNDS, 500) {
                Found::Kept { .. } => true,
                Found::Claimed { asks: asked, generation } => {
                    assert_eq!(asked, asks);
                    assert!(!generation.is_empty());
                    false
                }
                other => unreachable!("{other:?}"),
            })
        };
        put(2);
        put(3);
        named.forget_response(2, "resp_1", 501).unwrap();
        assert_eq!(kept(2), [true; 3], "what is older than the response is no copy of it");
        named.forget_response(2, "resp_1", 500).unwrap();
        assert_eq!((kept(2), kept(3)), ([false, false, true], [true; 3]));
        deleted.add(2, "resp_1", 500);
        put(2);
        assert_eq!(kept(2), [false, false, true], "one that was on its way");
        assert_eq!(named.find(&key(1, 2, 0), BOUNDS, 1_500), Found::Nothing, "for its time");
    }

    #[test]
    fn what_cannot_be_read_is_not_nothing() {
        let folder = Folder::new("unreadable");
        let (named, name) = (folder.open(), key(1, 2, 3));
        named.claim(&name, [4; 32], "gen-1", BOUNDS, 0).unwrap();
        let [file] = fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>().try_into().unwrap();
        let whole = fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        for content in [&damaged, &[][..], &whole[..whole.len() - 1]] {
            fs::write(&file, content).unwrap();
            assert_eq!(named.find(&name, BOUNDS, 1), Found::Unreadable, "{} bytes", content.len());
        }
        fs::write(&file, &whole).unwrap();
        assert!(matches!(named.find(&name, BOUNDS, 1), Found::Claimed { .. }));
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(named.find(&name, BOUNDS, 1), Found::Unreadable, "it is no file");
        // What is sealed is not what this version writes.
        fs::remove_dir(&file).unwrap();
        let other = Response { input: b"{}", reply: b"" };
        named.files.keep(2, &id(&name), Head { key: 2, kept_at_ms: 0 }, &other, Bounds::NONE).unwrap();
        assert_eq!(named.find(&name, BOUNDS, 1), Found::Unreadable, "another label");
    }

    #[test]
    fn nothing_is_let_go_of_for_want_of_room() {
        let folder = Folder::new("room");
        let named = folder.open();
        let bounds = Bounds { most_bytes: 16_384, ..BOUNDS };
        named.claim(&key(1, 1, 1), [0; 32], "gen-1", bounds, 0).unwrap();
        assert!(named.keep(&key(1, 1, 1), [0; 32], &copy(&"a".repeat(17_000)), bounds, 0).is_err());
        assert!(matches!(named.find(&key(1, 1, 1), bounds, 0), Found::Claimed { .. }));
        named.claim(&key(1, 1, 2), [0; 32], "gen-2", bounds, 0).unwrap();
        assert!(named.claim(&key(1, 1, 3), [0; 32], "gen-3", bounds, 0).is_err(), "it has as much as it leaves");
        // Another key has room, and what goes makes room; also after a restart.
        named.claim(&key(1, 2, 3), [0; 32], "gen-3", bounds, 0).unwrap();
        named.release(&key(1, 1, 2));
        for named in [&named, &folder.open()] {
            assert!(named.claim(&key(1, 2, 4), [0; 32], "gen-4", bounds, 0).is_ok());
            named.release(&key(1, 2, 4));
            assert_eq!((named.files.bytes_of(1), named.files.bytes_of(2)), (4_096, 4_096));
        }
        named.sweep(bounds, None, 999);
        assert_eq!(named.size().0, 2);
        named.sweep(bounds, Some(&HashSet::from([9])), 999);
        assert_eq!(named.size().0, 0, "the key is gone");
    }
}
