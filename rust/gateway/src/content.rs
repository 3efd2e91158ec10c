//! The content of generations, where logging of it is on: what was asked, what was said, and the error of one that failed.
//!
//! A call has a [`Recorder`], which keeps references to the request's bytes and copies those of the reply; a thread (`fl-content`) makes
//! text of them and seals it into files ([`Responses`], in a folder of its own: tenant-scoped, encrypted, bounded in time and size, erased
//! with the key). Nobody waits for it: what the thread has no room for is lost and counted, and the reply goes on. Who asks for the content
//! of a generation that has just ended waits until it is there.

use crate::responses::{Bounds, Head, Purpose, Response, Responses};
use crate::worker::unix_ms;
use bytes::{Bytes, BytesMut};
use fairlead_formats::content::{Asked, Form, Hearing};
use fairlead_formats::error::Previous;
use fairlead_formats::request;
use fairlead_ir::{Dialect, GenerationId};
use fairlead_snapshot::Snapshot;
use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What requests in progress, pieces of replies and what has been read of them may take of the memory together. Beyond it content is lost.
const MOST_HELD_BYTES: u64 = 64 << 20;
/// So much of a streamed reply goes to the thread at once.
const PIECE_BYTES: usize = 32 << 10;
/// Pieces and ends that may wait for the thread.
const MOST_WAITING: usize = 4096;
/// How long a reader waits for what is being written.
const PATIENCE: Duration = Duration::from_secs(5);

/// The content that a process keeps.
pub(crate) struct Contents {
    store: Arc<Store>,
    sender: SyncSender<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How long content is kept, and how much of it.
pub(crate) fn bounds(snapshot: &Snapshot) -> Bounds {
    let settings = &snapshot.settings;
    match snapshot.version {
        // Before the first configuration nobody knows.
        0 => Bounds::NONE,
        _ => Bounds { ttl_ms: settings.content_ttl_seconds.saturating_mul(1000), most_bytes: settings.content_bytes },
    }
}

/// What the thread and the readers share.
struct Store {
    files: Responses,
    /// Whether a key still exists.
    knows: Box<dyn Fn(u64) -> bool + Send + Sync>,
    /// Generations that are in progress or being written.
    pending: Mutex<HashSet<GenerationId>>,
    written: Condvar,
    held_bytes: AtomicU64,
    lost: AtomicU64,
}

enum Work {
    Piece(Slot, Bytes, Room),
    End(Box<Ending>),
    /// Nothing follows.
    Stop,
}

/// A reply that is being read; empty once it cannot be kept.
type Slot = Arc<Mutex<Option<Heard>>>;

struct Heard {
    hearing: Hearing,
    /// For what it holds.
    room: Room,
}

/// A share of [`MOST_HELD_BYTES`], given back when it is dropped.
struct Room {
    store: Arc<Store>,
    bytes: u64,
}

impl Room {
    fn none(store: &Arc<Store>) -> Room {
        Room { store: store.clone(), bytes: 0 }
    }

    /// Room for so many bytes, where there is some.
    fn take(store: &Arc<Store>, bytes: usize) -> Option<Room> {
        let mut room = Room::none(store);
        room.resize(bytes as u64).then_some(room)
    }

    /// Makes it as large as that; `false` where there is no room.
    fn resize(&mut self, bytes: u64) -> bool {
        let held = &self.store.held_bytes;
        let fits = match bytes.checked_sub(self.bytes) {
            None => {
                held.fetch_sub(self.bytes - bytes, Relaxed);
                true
            }
            Some(more) => {
                let fits = held.fetch_add(more, Relaxed) + more <= MOST_HELD_BYTES;
                if !fits {
                    held.fetch_sub(more, Relaxed);
                }
                fits
            }
        };
        if fits {
            self.bytes = bytes;
        }
        fits
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.store.held_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

struct Ending {
    place: Place,
    dialect: Dialect,
    purpose: request::Purpose,
    request: Vec<Bytes>,
    heard: Slot,
    /// The last of the reply, or all of it.
    rest: Vec<Bytes>,
    error: Option<Vec<u8>>,
    /// For the request, and for a reply that is here whole.
    room: Room,
}

/// Whose it is, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) account: u64,
    pub(crate) key: u64,
    pub(crate) generation: GenerationId,
    pub(crate) bounds: Bounds,
    /// Most bytes of each text.
    pub(crate) text_bytes: usize,
}

impl Contents {
    /// The content in this folder. `knows` tells whether a key still exists.
    pub(crate) fn start(folder: &Path, secret: &[u8], knows: impl Fn(u64) -> bool + Send + Sync + 'static) -> Result<Contents, String> {
        let store = Arc::new(Store {
            files: Responses::new(folder, secret, Purpose::Content)?,
            knows: Box::new(knows),
            pending: Mutex::default(),
            written: Condvar::new(),
            held_bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let (sender, works) = sync_channel(MOST_WAITING);
        let writing = store.clone();
        let thread = std::thread::Builder::new().name("fl-content".to_owned()).spawn(move || writing.run(&works));
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Contents { store, sender, thread: Mutex::new(Some(thread)) })
    }

    /// The files, to be looked after.
    pub(crate) fn files(&self) -> &Responses {
        &self.store.files
    }

    /// Generations whose content should have been kept and was not.
    pub(crate) fn lost(&self) -> u64 {
        self.store.lost.load(Relaxed) + self.store.files.tallies().unwritten.load(Relaxed)
    }

    /// Begins to record a generation. `None` where there is no room for it.
    pub(crate) fn record(self: &Arc<Self>, place: Place, request: Asking) -> Option<Box<Recorder>> {
        let Some(room) = Room::take(&self.store, request.frames.iter().map(Bytes::len).sum()) else {
            self.store.lost.fetch_add(1, Relaxed);
            return None;
        };
        self.store.pending.lock().insert(place.generation);
        Some(Box::new(Recorder {
            contents: self.clone(),
            place,
            form: request.form,
            request: Some((request, room)),
            heard: None,
            piece: BytesMut::new(),
            rest: Vec::new(),
            error: None,
        }))
    }

    /// What is kept of a generation, as a JSON object; waits for one that is being written. Not for a worker's thread.
    pub(crate) fn show(&self, account: u64, id: &str, bounds: Bounds) -> Option<Vec<u8>> {
        if let Some(generation) = GenerationId::parse(id) {
            let until = Instant::now() + PATIENCE;
            let mut pending = self.store.pending.lock();
            while pending.contains(&generation) && !self.store.written.wait_until(&mut pending, until).timed_out() {}
        }
        let read = |head: Head, content: &Response<'_>| (self.store.knows)(head.key).then(|| [content.input, content.reply].concat());
        self.store.files.find(account, id, bounds, unix_ms(), read).flatten()
    }

    /// Writes what waits and ends the thread. What comes later is lost.
    pub(crate) fn close(&self) {
        if let Some(thread) = self.thread.lock().take() {
            // Waits for room if need be: the thread takes all there is.
            let _ = self.sender.send(Work::Stop);
            let _ = thread.join();
        }
    }
}

/// The request of a generation, and the form in which its reply will come.
pub(crate) struct Asking {
    pub(crate) dialect: Dialect,
    pub(crate) purpose: request::Purpose,
    pub(crate) frames: Vec<Bytes>,
    pub(crate) form: Form,
}

/// The content of a call in progress; when it is dropped, what is there is kept.
pub(crate) struct Recorder {
    contents: Arc<Contents>,
    place: Place,
    form: Form,
    /// None once it is lost.
    request: Option<(Asking, Room)>,
    /// From the first piece on.
    heard: Option<Slot>,
    /// The end of a stream so far, which the thread has not got.
    piece: BytesMut,
    /// The bytes of a reply that is sent whole.
    rest: Vec<Bytes>,
    error: Option<Vec<u8>>,
}

impl Recorder {
    /// The events of the stream are the elements of one JSON array.
    pub(crate) fn hears_array(&mut self) {
        if let Form::Events(dialect) = self.form {
            self.form = Form::Array(dialect);
        }
    }

    /// Takes bytes of a stream that go to the client.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        if self.request.is_none() {
            return;
        }
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            let piece = self.piece.split().freeze();
            self.hand_over(piece);
        }
    }

    /// Takes the bytes of a reply that goes to the client whole.
    pub(crate) fn hear_whole(&mut self, pieces: Vec<Bytes>) {
        let Some((_, room)) = &mut self.request else { return };
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if !room.resize(room.bytes + bytes as u64) {
            return self.lose();
        }
        self.rest = pieces;
    }

    /// Takes what the client was told instead of a reply, or behind what it has of one.
    pub(crate) fn fail(&mut self, message: &str, status: u16, provider: &str, raw: Option<&str>, previous: &[Previous<'_>]) {
        let attempt = |past: &Previous<'_>| {
            let Previous { provider, code, status } = past;
            serde_json::json!({"code": status, "message": code, "provider_name": provider, "raw": null})
        };
        let previous: Vec<_> = previous.iter().map(attempt).collect();
        let error = serde_json::json!({
            "message": message, "status": status, "provider_name": provider, "raw": raw, "previous_errors": previous,
        });
        self.error = serde_json::to_vec(&error).ok();
    }

    fn heard(&mut self) -> Slot {
        let heard = || Heard { hearing: Hearing::new(self.form, self.place.text_bytes), room: Room::none(&self.contents.store) };
        self.heard.get_or_insert_with(|| Arc::new(Mutex::new(Some(heard())))).clone()
    }

    fn hand_over(&mut self, piece: Bytes) {
        let (heard, contents) = (self.heard(), &self.contents);
        let room = Room::take(&contents.store, piece.len());
        if room.is_none_or(|room| contents.sender.try_send(Work::Piece(heard, piece, room)).is_err()) {
            self.lose();
        }
    }

    /// Nothing is kept of this one.
    fn lose(&mut self) {
        (self.piece, self.rest, self.request) = (BytesMut::new(), Vec::new(), None);
        self.contents.store.lost.fetch_add(1, Relaxed);
        self.contents.store.done(self.place.generation);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let Some((Asking { dialect, purpose, frames, .. }, room)) = self.request.take() else { return };
        let mut rest = std::mem::take(&mut self.rest);
        if !self.piece.is_empty() {
            rest.push(self.piece.split().freeze());
        }
        let ending =
            Ending { place: self.place, dialect, purpose, request: frames, heard: self.heard(), rest, error: self.error.take(), room };
        if self.contents.sender.try_send(Work::End(Box::new(ending))).is_err() {
            self.lose();
        }
    }
}

impl Store {
    /// Nobody has to wait for this one any more.
    fn done(&self, generation: GenerationId) {
        self.pending.lock().remove(&generation);
        self.written.notify_all();
    }

    fn run(&self, works: &Receiver<Work>) {
        while let Ok(work) = works.recv() {
            match work {
                Work::Piece(heard, piece, _room) => self.unless_it_panics(|| self.read(&heard, &piece)),
                Work::End(ending) => {
                    let generation = ending.place.generation;
                    self.unless_it_panics(|| self.write(*ending));
                    self.done(generation);
                }
                Work::Stop => return,
            }
        }
    }

    /// One reply that breaks a reader must not end the log for all that follow; the panic itself has been printed.
    fn unless_it_panics(&self, work: impl FnOnce()) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Out of its slot: should it panic, or hold more than there is room for, nothing is left of it, and its end finds that.
    fn read(&self, slot: &Slot, piece: &[u8]) {
        let Some(mut heard) = slot.lock().take() else { return };
        heard.hearing.feed(piece);
        if heard.room.resize(heard.hearing.held_bytes() as u64) {
            *slot.lock() = Some(heard);
        } else {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    fn write(&self, ending: Ending) {
        let Ending { place, dialect, purpose, request, heard, rest, error, room: _room } = ending;
        let Some(Heard { mut hearing, room: _heard_room }) = heard.lock().take() else { return };
        if !(self.knows)(place.key) {
            return;
        }
        rest.iter().for_each(|piece| hearing.feed(piece));
        let said = hearing.finish();
        let asked = Asked::read(dialect, purpose, &request.concat(), place.text_bytes);
        let input = [br#"{"input":"#, asked.json.as_slice()].concat();
        let mut reply = br#","output":"#.to_vec();
        said.write(&mut reply);
        reply.extend_from_slice(br#","error":"#);
        reply.extend_from_slice(error.as_deref().unwrap_or(b"null"));
        let cut: Vec<_> = [("input", asked.is_cut), ("output", said.is_cut)].into_iter().filter(|cut| cut.1).map(|cut| cut.0).collect();
        reply.extend_from_slice(br#","truncated":"#);
        reply.extend_from_slice(&serde_json::to_vec(&cut).unwrap_or_default());
        reply.push(b'}');
        let head = Head { key: place.key, kept_at_ms: unix_ms() };
        let id = place.generation.text();
        let Ok(id) = std::str::from_utf8(&id) else { return };
        // The store tells of its failures itself.
        let _ = self.files.keep(place.account, id, head, &Response { input: &input, reply: &reply }, place.bounds);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use fairlead_ir::id::IdSource;
    use std::path::PathBuf;
    use std::sync::atomic::AtomicBool;

    const SECRET: &[u8] = &[7; 32];

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// A folder of its own, what is in it, and whether its key exists.
    fn open(name: &str) -> (Folder, Arc<Contents>, Arc<AtomicBool>) {
        let path = std::env::temp_dir().join(format!("fairlead-content-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let knows = Arc::new(AtomicBool::new(true));
        let known = knows.clone();
        let contents = Contents::start(&path, SECRET, move |_| known.load(Relaxed)).unwrap();
        (Folder(path), Arc::new(contents), knows)
    }

    fn place(ids: &mut IdSource) -> Place {
        let generation = ids.next(unix_ms());
        Place { account: 1, key: 5, generation, bounds: Bounds { ttl_ms: 60_000, most_bytes: 1 << 20 }, text_bytes: 1 << 16 }
    }

    fn asking(frames: &[&'static str]) -> Asking {
        let frames = frames.iter().map(|frame| Bytes::from_static(frame.as_bytes())).collect();
        Asking { dialect: Dialect::OpenaiChat, purpose: request::Purpose::Generate, frames, form: Form::Events(Dialect::OpenaiChat) }
    }

    fn show(contents: &Contents, account: u64, place: Place) -> Option<serde_json::Value> {
        let id = place.generation.text();
        let json = contents.show(account, std::str::from_utf8(&id).unwrap(), place.bounds)?;
        Some(serde_json::from_slice(&json).unwrap())
    }

    #[test]
    fn what_is_recorded_is_there_when_the_recorder_is_gone() {
        let (_folder, contents, knows) = open("there");
        let mut ids = IdSource::new(1, 0, 3);
        for (body, times) in [("short", 1), ("long enough for several pieces ", 4096)] {
            let place = place(&mut ids);
            let mut recorder = contents.record(place, asking(&[r#"{"messages":[{"role":"user","#, r#""content":"Hi"}]}"#])).unwrap();
            let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{body}\"}}}}]}}\n\n");
            (0..times).for_each(|_| recorder.hear(event.as_bytes()));
            let previous = [Previous { provider: "Lab", code: "timeout", status: 504 }];
            recorder.fail("it broke", 502, "Other", Some("raw words"), &previous);
            drop(recorder);
            let said: String = body.repeat(times);
            let kept = said.get(..place.text_bytes).unwrap_or(&said);
            let truncated: &[&str] = if kept.len() < said.len() { &["output"] } else { &[] };
            let expected = serde_json::json!({
                "input": {"messages": [{"role": "user", "content": "Hi"}]},
                "output": {"completion": kept, "reasoning": null},
                "error": {
                    "message": "it broke", "status": 502, "provider_name": "Other", "raw": "raw words",
                    "previous_errors": [{"code": 504, "message": "timeout", "provider_name": "Lab", "raw": null}],
                },
                "truncated": truncated,
            });
            assert_eq!(show(&contents, 1, place).unwrap(), expected);
            assert_eq!(show(&contents, 2, place), None);
            assert_eq!((contents.lost(), contents.store.held_bytes.load(Relaxed)), (0, 0));
            knows.store(false, Relaxed);
            assert_eq!(show(&contents, 1, place), None);
            knows.store(true, Relaxed);
        }
        contents.close();
    }

    /// Whatever goes wrong is counted, and gives back the room it took.
    #[test]
    fn what_there_is_no_room_for_is_lost_and_counted() {
        let (folder, contents, _) = open("lost");
        let mut ids = IdSource::new(1, 0, 3);
        let held = || contents.store.held_bytes.load(Relaxed);
        // Neither for the request …
        contents.store.held_bytes.store(MOST_HELD_BYTES, Relaxed);
        assert!(contents.record(place(&mut ids), asking(&["{}"])).is_none());
        contents.store.held_bytes.store(0, Relaxed);
        assert_eq!((contents.lost(), held()), (1, 0));
        // … nor for a piece of the reply …
        let streamed = place(&mut ids);
        let mut recorder = contents.record(streamed, asking(&["{}"])).unwrap();
        contents.store.held_bytes.fetch_add(MOST_HELD_BYTES - 2, Relaxed);
        recorder.hear(&[b'x'; PIECE_BYTES]);
        contents.store.held_bytes.fetch_sub(MOST_HELD_BYTES - 2, Relaxed);
        assert_eq!((contents.lost(), held()), (2, 0));
        recorder.hear(b"more");
        drop(recorder);
        assert_eq!((contents.lost(), held(), show(&contents, 1, streamed)), (2, 0, None));
        // … nor for what has been read of it, which is half an event so far …
        let unfinished = place(&mut ids);
        let mut recorder = contents.record(unfinished, asking(&["{}"])).unwrap();
        contents.store.held_bytes.fetch_add(MOST_HELD_BYTES - 2 - PIECE_BYTES as u64, Relaxed);
        recorder.hear(&[b'x'; PIECE_BYTES]);
        drop(recorder);
        assert_eq!(show(&contents, 1, unfinished), None);
        contents.store.held_bytes.fetch_sub(MOST_HELD_BYTES - 2 - PIECE_BYTES as u64, Relaxed);
        assert_eq!((contents.lost(), held()), (3, 0));
        // … nor for all of it, nor on the disk.
        let whole = place(&mut ids);
        let mut recorder = contents.record(whole, asking(&["{}"])).unwrap();
        recorder.hear_whole(vec![Bytes::from(vec![b'x'; MOST_HELD_BYTES as usize])]);
        drop(recorder);
        assert_eq!((contents.lost(), held(), show(&contents, 1, whole)), (4, 0, None));
        std::fs::write(&folder.0, "in the way").unwrap();
        let unwritten = place(&mut ids);
        drop(contents.record(unwritten, asking(&["{}"])));
        assert_eq!(show(&contents, 1, unwritten), None);
        assert_eq!((contents.lost(), held()), (5, 0));
        std::fs::remove_file(&folder.0).unwrap();
        contents.close();
        // Nobody is left to take it.
        drop(contents.record(place(&mut ids), asking(&["{}"])));
        assert_eq!((contents.lost(), held()), (6, 0));
    }
}
