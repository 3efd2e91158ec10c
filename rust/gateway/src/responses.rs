//! Responses that are kept, in one folder of the data folder, a file each; in a folder of its own, the content that is logged
//! ([`content`](crate::content)).
//!
//! Plain files and no database: a response is written once, read whole and never changed, so that a folder has all that is needed, damage
//! stays within one response, and deleting is deleting. What the file system does not have is an order by age, which is rebuilt in memory
//! from the files' heads at the start.
//!
//! A file is named by a keyed hash of account and response, and holds what `sealed` says. It is written beside its place and then moved
//! there, so that it is whole or not there; it is not forced to the disk, because a power cut that takes the last seconds' responses is
//! worth less than a wait in every reply. The names of requests that run once are, where settlements are ([`Responses::forced`]).
//!
//! Every method reads or writes files: none may be called on a worker's own thread. Nothing here knows a dialect or a clock.

mod sealed;

use parking_lot::Mutex;
use sealed::Sealer;
pub(crate) use sealed::{Head, Purpose, Response};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What a file takes on a disk at least: with it counted, a bound in bytes also bounds the number of files.
const BLOCK_BYTES: u64 = 4096;

/// A file's name: a keyed hash.
type Name = [u8; 16];

/// The kept responses of a process.
pub(crate) struct Responses {
    folder: PathBuf,
    sealer: Sealer,
    index: Mutex<Index>,
    /// Whether the index has all of them: what an earlier process kept has been found.
    is_complete: AtomicBool,
    /// Makes the names of files that are being written differ.
    writes: AtomicU64,
    /// Every file is on the disk before it counts as kept.
    is_forced: bool,
    tallies: Tallies,
}

/// A file that is there and cannot be read, or is damaged.
#[derive(Debug)]
pub(crate) struct Unreadable;

/// What is told in the metrics.
#[derive(Default)]
pub(crate) struct Tallies {
    /// Responses that could not be written.
    pub(crate) unwritten: AtomicU64,
    /// Files that were asked for and could not be read.
    pub(crate) unreadable: AtomicU64,
    /// Whether the last one could not be written.
    failing: AtomicBool,
}

/// Bounds that may change while the process runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) ttl_ms: u64,
    pub(crate) most_bytes: u64,
}

impl Bounds {
    /// Nothing is too old or too much.
    pub(crate) const NONE: Bounds = Bounds { ttl_ms: u64::MAX, most_bytes: u64::MAX };

    fn is_over(&self, kept_at_ms: u64, now_ms: u64) -> bool {
        kept_at_ms.saturating_add(self.ttl_ms) <= now_ms
    }
}

/// Which files there are, by age.
#[derive(Default)]
struct Index {
    files: HashMap<Name, Kept>,
    by_age: BTreeSet<(u64, Name)>,
    bytes: u64,
    bytes_by_key: HashMap<u64, u64>,
}

#[derive(Clone, Copy)]
struct Kept {
    key: u64,
    kept_at_ms: u64,
    bytes: u64,
}

impl Index {
    fn put(&mut self, name: Name, kept: Kept) {
        self.take(&name);
        self.by_age.insert((kept.kept_at_ms, name));
        self.bytes += kept.bytes;
        *self.bytes_by_key.entry(kept.key).or_default() += kept.bytes;
        self.files.insert(name, kept);
    }

    fn take(&mut self, name: &Name) -> bool {
        let Some(kept) = self.files.remove(name) else { return false };
        self.by_age.remove(&(kept.kept_at_ms, *name));
        self.bytes -= kept.bytes;
        if let Some(bytes) = self.bytes_by_key.get_mut(&kept.key) {
            *bytes -= kept.bytes;
            if *bytes == 0 {
                self.bytes_by_key.remove(&kept.key);
            }
        }
        true
    }

    /// The oldest, as many as are too many.
    fn take_excess(&mut self, most_bytes: u64) -> Vec<Name> {
        let mut taken = Vec::new();
        while self.bytes > most_bytes
            && let Some((_, name)) = self.by_age.first().copied()
        {
            self.take(&name);
            taken.push(name);
        }
        taken
    }

    fn take_where(&mut self, gone: impl Fn(&Kept) -> bool) -> Vec<Name> {
        let taken: Vec<Name> = self.files.iter().filter(|(_, kept)| gone(kept)).map(|(name, _)| *name).collect();
        taken.iter().for_each(|name| {
            self.take(name);
        });
        taken
    }
}

impl Responses {
    /// Those in `folder`, sealed under the server secret for this purpose alone. Files are found by [`Responses::look_through`]; they can be read before.
    ///
    /// # Errors
    /// When the secret is too short.
    pub(crate) fn new(folder: &Path, secret: &[u8], purpose: Purpose) -> Result<Responses, String> {
        let sealer = Sealer::new(secret, purpose)?;
        Ok(Responses {
            folder: folder.to_owned(),
            sealer,
            index: Mutex::default(),
            is_complete: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            is_forced: false,
            tallies: Tallies::default(),
        })
    }

    /// The same, forced to the disk: a power cut takes nothing that counts as kept.
    pub(crate) fn forced(self) -> Responses {
        Responses { is_forced: true, ..self }
    }

    /// Finds what an earlier process kept, and removes what it was about to write.
    pub(crate) fn look_through(&self) -> io::Result<()> {
        let files = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            files => Some(files?),
        };
        for file in files.into_iter().flatten() {
            let path = file?.path();
            match path.file_name().and_then(|name| name.to_str()).and_then(parse) {
                Some(name) => self.look_at(name, &path)?,
                // Once this process writes, such a file may be its own; then what is left over waits for the next start.
                None if self.writes.load(Relaxed) == 0 && path.extension().is_some_and(|extension| extension == "part") => {
                    fs::remove_file(&path)?;
                }
                None => {}
            }
        }
        self.is_complete.store(true, Relaxed);
        Ok(())
    }

    fn look_at(&self, name: Name, path: &Path) -> io::Result<()> {
        let mut head = [0; Head::BYTES];
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let length = file.metadata()?.len();
        let head = match file.read_exact(&mut head) {
            Ok(()) => Head::read(&head),
            Err(_) => None,
        };
        // One without a head is nobody's and as old as can be.
        let head = head.unwrap_or(Head { key: 0, kept_at_ms: 0 });
        let mut index = self.index.lock();
        if !index.files.contains_key(&name) && path.exists() {
            index.put(name, Kept { key: head.key, kept_at_ms: head.kept_at_ms, bytes: blocks(length) });
        }
        Ok(())
    }

    /// Keeps a response under its account and id, in place of one that was there. The oldest make room.
    ///
    /// # Errors
    /// When the file cannot be written, or is larger than all of them together may be.
    pub(crate) fn keep(&self, account: u64, id: &str, head: Head, response: &Response<'_>, bounds: Bounds) -> io::Result<()> {
        let kept = self.write(self.sealer.name(account, id), head, response, bounds);
        if kept.is_err() {
            self.tallies.unwritten.fetch_add(1, Relaxed);
        }
        let failed_before = self.tallies.failing.swap(kept.is_err(), Relaxed);
        if let (Err(error), false) = (&kept, failed_before) {
            eprintln!("fairlead: nothing can be kept in {}: {error}", self.folder.display());
        }
        kept
    }

    fn write(&self, name: Name, head: Head, response: &Response<'_>, bounds: Bounds) -> io::Result<()> {
        let sealed = self.sealer.seal(&name, head, response).ok_or_else(|| io::Error::other("the system's random source failed"))?;
        let bytes = blocks(sealed.len() as u64);
        if bytes > bounds.most_bytes {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("one response of {} bytes is more than may be kept", sealed.len()),
            ));
        }
        let place = self.path(&name);
        let beside = self.folder.join(format!("{}.{}.part", hex(&name), self.writes.fetch_add(1, Relaxed)));
        let filled = self.create(&beside).and_then(|mut file| file.write_all(&sealed).and_then(|()| self.force(&file)));
        let written = filled.and_then(|()| fs::rename(&beside, &place)).and_then(|()| self.force_folder(&self.folder));
        if let Err(error) = written {
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        let excess = {
            let mut index = self.index.lock();
            index.put(name, Kept { key: head.key, kept_at_ms: head.kept_at_ms, bytes });
            index.take_excess(bounds.most_bytes)
        };
        self.remove(&excess);
        Ok(())
    }

    /// Only for us to read. The folder is made with the first file.
    fn create(&self, path: &Path) -> io::Result<File> {
        let open = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
                self.folder.parent().map_or(Ok(()), |above| self.force_folder(above))?;
                open()
            }
            opened => opened,
        }
    }

    fn force(&self, file: &File) -> io::Result<()> {
        if self.is_forced { file.sync_all() } else { Ok(()) }
    }

    /// A file's name is its folder's.
    fn force_folder(&self, folder: &Path) -> io::Result<()> {
        if self.is_forced { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    /// What was kept under an account and an id, unless it is too old or damaged; `read` takes what it wants of it.
    pub(crate) fn find<T>(
        &self,
        account: u64,
        id: &str,
        bounds: Bounds,
        now_ms: u64,
        read: impl FnOnce(Head, &Response<'_>) -> T,
    ) -> Option<T> {
        self.look(account, id, bounds, now_ms, read).unwrap_or(None)
    }

    /// The same, for whom it matters whether there is nothing or nothing that can be read.
    pub(crate) fn look<T>(
        &self,
        account: u64,
        id: &str,
        bounds: Bounds,
        now_ms: u64,
        read: impl FnOnce(Head, &Response<'_>) -> T,
    ) -> Result<Option<T>, Unreadable> {
        let name = self.sealer.name(account, id);
        let mut file = match fs::read(self.path(&name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) => return Err(self.unreadable()),
        };
        let (head, response) = self.sealer.open(&name, &mut file).ok_or_else(|| self.unreadable())?;
        Ok((!bounds.is_over(head.kept_at_ms, now_ms)).then(|| read(head, &response)))
    }

    fn unreadable(&self) -> Unreadable {
        self.tallies.unreadable.fetch_add(1, Relaxed);
        Unreadable
    }

    /// Puts what `change` makes of an input and a reply in their place, in files that a key made since then. They stay as old as they are.
    ///
    /// # Errors
    /// When the folder cannot be looked through or a file not be written; others may have been.
    pub(crate) fn change(&self, key: u64, since_ms: u64, change: impl Fn(&Response<'_>) -> Option<(Vec<u8>, Vec<u8>)>) -> io::Result<()> {
        if !self.is_complete.load(Relaxed) {
            self.look_through()?;
        }
        let theirs = |kept: &Kept| kept.key == key && kept.kept_at_ms >= since_ms;
        let names: Vec<Name> = self.index.lock().files.iter().filter(|(_, kept)| theirs(kept)).map(|(name, _)| *name).collect();
        for name in names {
            // One that has gone meanwhile, or that nobody can read, is given to nobody.
            let Ok(mut file) = fs::read(self.path(&name)) else { continue };
            let Some((head, response)) = self.sealer.open(&name, &mut file) else { continue };
            if let Some((input, reply)) = change(&response) {
                self.write(name, head, &Response { input: &input, reply: &reply }, Bounds::NONE)?;
            }
        }
        Ok(())
    }

    /// Deletes a response.
    pub(crate) fn delete(&self, account: u64, id: &str) {
        let name = self.sealer.name(account, id);
        self.index.lock().take(&name);
        self.remove(&[name]);
    }

    /// Deletes what is too old, what is too much, and what a key made that is not known any more.
    pub(crate) fn sweep(&self, bounds: Bounds, known: Option<&HashSet<u64>>, now_ms: u64) {
        let is_gone = |kept: &Kept| bounds.is_over(kept.kept_at_ms, now_ms) || known.is_some_and(|known| !known.contains(&kept.key));
        let gone = {
            let mut index = self.index.lock();
            let mut gone = index.take_where(is_gone);
            gone.append(&mut index.take_excess(bounds.most_bytes));
            gone
        };
        self.remove(&gone);
    }

    fn remove(&self, names: &[Name]) {
        for name in names {
            // One that is not there is what was wanted.
            let _ = fs::remove_file(self.path(name));
        }
    }

    /// How many there are, and what they take of the disk.
    pub(crate) fn size(&self) -> (u64, u64) {
        let index = self.index.lock();
        (index.files.len() as u64, index.bytes)
    }

    /// What those of a key take of the disk.
    pub(crate) fn bytes_of(&self, key: u64) -> u64 {
        self.index.lock().bytes_by_key.get(&key).copied().unwrap_or(0)
    }

    pub(crate) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(hex(name))
    }
}

fn blocks(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(BLOCK_BYTES)
}

fn hex(name: &Name) -> String {
    name.iter().fold(String::with_capacity(32), |text, byte| text + &format!("{byte:02x}"))
}

fn parse(text: &str) -> Option<Name> {
    let mut name = Name::default();
    let digits = text.as_bytes();
    if digits.len() != 2 * name.len() {
        return None;
    }
    for (byte, pair) in name.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const DAY_MS: u64 = 86_400_000;
    const BOUNDS: Bounds = Bounds { ttl_ms: 30 * DAY_MS, most_bytes: 1 << 30 };
    const SECRET: &[u8] = &[7; 32];

    /// A folder of its own that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("fairlead-responses-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }

        fn open(&self) -> Responses {
            let responses = Responses::new(&self.0, SECRET, Purpose::Conversations).unwrap();
            responses.look_through().unwrap();
            responses
        }

        fn files(&self) -> Vec<PathBuf> {
            fs::read_dir(&self.0).map_or(Vec::new(), |files| files.map(|file| file.unwrap().path()).collect())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn keep(responses: &Responses, id: &str, key: u64, kept_at_ms: u64) {
        let response = Response { input: br#"[{"role":"user","content":"a secret"}]"#, reply: id.as_bytes() };
        responses.keep(1, id, Head { key, kept_at_ms }, &response, BOUNDS).unwrap();
    }

    fn find(responses: &Responses, account: u64, id: &str, now_ms: u64) -> Option<String> {
        responses.find(account, id, BOUNDS, now_ms, |_, response| String::from_utf8(response.reply.to_vec()).unwrap())
    }

    #[test]
    fn what_is_kept_is_found_by_its_account_also_after_a_restart() {
        let folder = Folder::new("kept");
        let responses = folder.open();
        keep(&responses, "resp_1", 5, 0);
        for responses in [responses, folder.open()] {
            assert_eq!(find(&responses, 1, "resp_1", 0).as_deref(), Some("resp_1"));
            assert_eq!(find(&responses, 2, "resp_1", 0), None);
            assert_eq!(find(&responses, 1, "resp_2", 0), None);
            assert_eq!(responses.size(), (1, BLOCK_BYTES));
        }
        for (secret, purpose) in [(&[8; 32][..], Purpose::Conversations), (SECRET, Purpose::Content)] {
            let other = Responses::new(&folder.0, secret, purpose).unwrap();
            assert_eq!(find(&other, 1, "resp_1", 0), None);
        }
    }

    #[test]
    fn files_tell_nothing() {
        let folder = Folder::new("tell");
        keep(&folder.open(), "resp_1", 5, 0);
        let [file] = folder.files().try_into().unwrap();
        let bytes = fs::read(&file).unwrap();
        for plain in ["secret", "user", "resp_1"] {
            assert!(memchr::memmem::find(&bytes, plain.as_bytes()).is_none(), "{plain}");
            assert!(!file.to_string_lossy().ends_with(plain));
        }
    }

    #[test]
    fn a_response_lasts_as_long_as_the_setting_says_now() {
        let folder = Folder::new("ttl");
        let responses = folder.open();
        keep(&responses, "old", 5, 0);
        keep(&responses, "new", 5, DAY_MS);
        let until = 30 * DAY_MS;
        assert!(find(&responses, 1, "old", until - 1).is_some());
        assert_eq!(find(&responses, 1, "old", until), None);
        responses.sweep(BOUNDS, None, until - 1);
        assert_eq!(folder.files().len(), 2);
        responses.sweep(BOUNDS, None, until);
        assert_eq!(folder.files().len(), 1);
        responses.sweep(Bounds { ttl_ms: 1, ..BOUNDS }, None, until);
        assert_eq!((folder.files().len(), responses.size()), (0, (0, 0)));
    }

    #[test]
    fn what_a_deleted_key_made_is_erased() {
        let folder = Folder::new("keys");
        let responses = folder.open();
        keep(&responses, "hers", 5, 0);
        keep(&responses, "his", 6, 0);
        responses.sweep(BOUNDS, Some(&HashSet::from([5, 6])), 0);
        assert_eq!(folder.files().len(), 2);
        // Also by a process that has just started.
        let responses = folder.open();
        responses.sweep(BOUNDS, Some(&HashSet::from([6])), 0);
        assert_eq!(folder.files().len(), 1);
        assert!(find(&responses, 1, "hers", 0).is_none() && find(&responses, 1, "his", 0).is_some());
    }

    #[test]
    fn the_oldest_make_room() {
        let folder = Folder::new("room");
        let responses = folder.open();
        let bounds = Bounds { most_bytes: 2 * BLOCK_BYTES, ..BOUNDS };
        for (number, id) in ["a", "b", "c"].into_iter().enumerate() {
            let response = Response { input: b"[]", reply: b"{}" };
            responses.keep(1, id, Head { key: 5, kept_at_ms: number as u64 }, &response, bounds).unwrap();
        }
        assert_eq!((folder.files().len(), responses.size()), (2, (2, 2 * BLOCK_BYTES)));
        assert!(find(&responses, 1, "a", 0).is_none() && find(&responses, 1, "c", 0).is_some());
        let large = vec![b'x'; 3 * BLOCK_BYTES as usize];
        let refused = responses.keep(1, "d", Head { key: 5, kept_at_ms: 9 }, &Response { input: b"[]", reply: &large }, bounds);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((folder.files().len(), responses.tallies().unwritten.load(Relaxed)), (2, 1));
    }

    /// Also by a process that has not looked around yet.
    #[test]
    fn what_a_key_made_is_changed_where_it_is() {
        let folder = Folder::new("change");
        let responses = folder.open();
        for (id, key, kept_at_ms) in [("hers", 5, 7), ("old", 5, 6), ("his", 6, 7)] {
            keep(&responses, id, key, kept_at_ms);
        }
        let size = responses.size();
        let responses = Responses::new(&folder.0, SECRET, Purpose::Conversations).unwrap();
        responses.change(5, 7, |response| Some((b"[]".to_vec(), [response.reply, b"!"].concat()))).unwrap();
        let found = ["hers", "old", "his"].map(|id| find(&responses, 1, id, 9).unwrap());
        assert_eq!((found, responses.size()), (["hers!", "old", "his"].map(str::to_owned), size));
        responses.change(5, 0, |_| None).unwrap();
        // As old as it was.
        assert_eq!(find(&responses, 1, "hers", 7 + BOUNDS.ttl_ms), None);
        // What cannot be written is told, and stays.
        let beside = format!("{}.{}.part", hex(&responses.sealer.name(1, "hers")), responses.writes.load(Relaxed));
        fs::create_dir(folder.0.join(&beside)).unwrap();
        assert!(responses.change(5, 7, |_| Some((Vec::new(), Vec::new()))).is_err());
        fs::remove_dir(folder.0.join(&beside)).unwrap();
        assert_eq!(find(&responses, 1, "hers", 9).as_deref(), Some("hers!"));
    }

    #[test]
    fn the_same_id_again_takes_the_place() {
        let folder = Folder::new("again");
        let responses = folder.open();
        keep(&responses, "resp_1", 5, 0);
        keep(&responses, "resp_1", 6, 1);
        assert_eq!((folder.files().len(), responses.size().0), (1, 1));
        responses.delete(1, "resp_1");
        assert_eq!((folder.files().len(), responses.size()), (0, (0, 0)));
    }

    #[test]
    fn damage_is_counted_and_found_nowhere() {
        let folder = Folder::new("damage");
        let responses = folder.open();
        keep(&responses, "resp_1", 5, 9);
        let [file] = folder.files().try_into().unwrap();
        let whole = fs::read(&file).unwrap();
        // Every byte counts: head, nonce, what is sealed.
        for at in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&file, damaged).unwrap();
            assert_eq!(find(&responses, 1, "resp_1", 9), None, "byte {at}");
        }
        for length in [0, 5, Head::BYTES, whole.len() - 1] {
            fs::write(&file, &whole[..length]).unwrap();
            assert_eq!(find(&responses, 1, "resp_1", 9), None, "{length} bytes");
            folder.open();
        }
        assert_eq!(responses.tallies().unreadable.load(Relaxed), whole.len().div_ceil(7) as u64 + 4);
        // One file in another's place.
        fs::write(&file, &whole).unwrap();
        keep(&responses, "resp_2", 5, 9);
        let other = folder.files().into_iter().find(|other| *other != file).unwrap();
        fs::copy(&file, other).unwrap();
        assert_eq!((find(&responses, 1, "resp_1", 9).is_some(), find(&responses, 1, "resp_2", 9)), (true, None));
    }

    #[test]
    fn what_was_being_written_is_removed() {
        let folder = Folder::new("part");
        keep(&folder.open(), "resp_1", 5, 0);
        fs::write(folder.0.join("00.0.part"), "half").unwrap();
        folder.open();
        assert_eq!(folder.files().len(), 1);
    }
}
