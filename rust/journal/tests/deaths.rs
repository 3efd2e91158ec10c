//! Deaths at the moments between a journal's steps: during a start, between two reads, between two files that are being freed.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sample;

use fairlead_journal::{Cursor, Journal, ProblemKind, ReadState, Reader, Writer, recover};
use sample::{Folder, count, next, progress, reserve, settle};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Epoch and worker.
type Chain = (u64, u16);

/// A data folder over many process lives.
struct World {
    folder: Folder,
    /// Links to the segments as they were before a step that frees some.
    shadow: Folder,
    cursors: BTreeMap<Chain, Cursor>,
    /// The cursors of some earlier moment, as a copy of the database has them.
    earlier: Vec<Cursor>,
    /// Chains that ever got a record.
    written: BTreeSet<Chain>,
    calls: u64,
    random: u64,
    /// What was called missing although nothing was lost.
    false_alarms: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            folder: Folder::in_memory(),
            shadow: Folder::in_memory(),
            cursors: BTreeMap::new(),
            earlier: Vec::new(),
            written: BTreeSet::new(),
            calls: 0,
            random: seed,
            false_alarms: Vec::new(),
        }
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.up_to(times - 1) == 0
    }

    fn up_to(&mut self, most: u64) -> u64 {
        next(&mut self.random) % (most + 1)
    }

    fn cursors(&self) -> Vec<Cursor> {
        self.cursors.values().copied().collect()
    }

    /// One process life, up to its sudden end.
    fn live(&mut self) {
        let Some((journal, mut writers)) = self.start() else { return };
        let mut reader = Reader::open(&self.folder.0, &self.cursors()).unwrap();
        for _ in 0..self.up_to(6) {
            for _ in 0..self.up_to(200) {
                let at = self.up_to(writers.len() as u64 - 1) as usize;
                self.call(&mut writers[at], journal.epoch(), at as u16);
            }
            if self.one_in(2) {
                let most = self.up_to(100) as usize + 1;
                self.read(&mut reader, most);
                let ((), died) = self.freeing(|world| journal.applied(&world.cursors()));
                if died {
                    return;
                }
            }
        }
    }

    /// As the data plane starts; `None` when it died on the way.
    fn start(&mut self) -> Option<(Journal, Vec<Writer>)> {
        let ((journal, recovery), died) = self.freeing(|world| Journal::open(world.folder.options(), &world.cursors()).unwrap());
        if died || self.one_in(6) {
            return None;
        }
        let workers = self.up_to(2) as u16 + 1;
        let mut recovering = journal.writer(workers).unwrap();
        if self.one_in(6) {
            return None;
        }
        recover(&mut recovering, &recovery.orphans, 1).unwrap();
        if !recovery.orphans.is_empty() {
            self.written.insert((recovery.epoch, workers));
        }
        let mut writers = Vec::new();
        for worker in 0..workers {
            if self.one_in(12) {
                return None;
            }
            writers.push(journal.writer(worker).unwrap());
        }
        Some((journal, writers))
    }

    fn call(&mut self, writer: &mut Writer, epoch: u64, worker: u16) {
        writer.reserve(&reserve(self.calls)).unwrap();
        if self.one_in(9) {
            writer.progress(&progress(self.calls, 1)).unwrap();
        }
        if !self.one_in(50) {
            writer.settle(&settle(self.calls)).unwrap();
        }
        self.written.insert((epoch, worker));
        self.calls += 1;
    }

    /// Runs a step that may free segments. True when the process died in the middle of it: then only the first of them are gone.
    fn freeing<T>(&mut self, step: impl FnOnce(&mut World) -> T) -> (T, bool) {
        for path in self.folder.segments() {
            fs::hard_link(&path, in_folder(&self.shadow, &path)).unwrap();
        }
        let done = step(self);
        let mut freed = self.shadow.segments();
        freed.retain(|path| !in_folder(&self.folder, path).exists());
        let died = !freed.is_empty() && self.one_in(3);
        if died {
            let gone = self.up_to(freed.len() as u64 - 1) as usize;
            for path in &freed[gone..] {
                fs::hard_link(path, in_folder(&self.folder, path)).unwrap();
            }
        }
        for path in self.shadow.segments() {
            fs::remove_file(path).unwrap();
        }
        (done, died)
    }

    /// The database follows.
    fn read(&mut self, reader: &mut Reader, most: usize) -> bool {
        let state = reader.read(most, &mut Vec::new()).unwrap();
        self.false_alarms.extend(missing(&state).map(|(_, text)| text));
        self.cursors.extend(state.cursors.iter().map(|cursor| ((cursor.epoch, cursor.worker), *cursor)));
        state.caught_up
    }

    /// A command of the operator after the process has died.
    fn read_all(&mut self) {
        let mut reader = Reader::open(&self.folder.0, &self.cursors()).unwrap();
        while !self.read(&mut reader, 40) {}
    }

    /// Somebody who restored an older database. To them records may be missing, but not of a chain that never had any.
    fn read_from_earlier(&mut self) {
        let state = Reader::open(&self.folder.0, &self.earlier).unwrap().read(usize::MAX, &mut Vec::new()).unwrap();
        let written = &self.written;
        self.false_alarms.extend(missing(&state).filter(|(chain, _)| !written.contains(chain)).map(|(_, text)| text));
        if self.one_in(2) {
            self.earlier = self.cursors();
        }
    }

    /// The next segments are made by another thread, which may not have got so far when the process died.
    fn unmake_prepared_segments(&mut self) {
        for path in self.folder.segments().iter().rev() {
            let mut start = [0; 8];
            fs::File::open(path).unwrap().read_exact_at(&mut start, 64).unwrap();
            if start == [0; 8] && number(path) > 0 && !next_of(path).exists() && self.one_in(2) {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

fn in_folder(folder: &Folder, path: &Path) -> PathBuf {
    folder.0.join(path.file_name().unwrap())
}

/// What a reader says is missing: the chain and the whole text.
fn missing(state: &ReadState) -> impl Iterator<Item = (Chain, String)> {
    let missing = state.problems.iter().filter(|problem| problem.kind == ProblemKind::Missing);
    missing.map(|problem| ((part(&problem.path, 0), part(&problem.path, 2) as u16), problem.to_string()))
}

/// A part of a segment's name: epoch, node, worker, number.
fn part(path: &Path, at: usize) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().split('-').nth(at).unwrap().parse().unwrap()
}

fn number(path: &Path) -> u64 {
    part(path, 3)
}

/// The segment that follows one.
fn next_of(path: &Path) -> PathBuf {
    path.with_file_name(format!("{:010}-{:05}-{:05}-{:010}.segment", part(path, 0), part(path, 1), part(path, 2), number(path) + 1))
}

#[test]
fn nothing_is_called_missing_that_was_never_lost() {
    let mut false_alarms = Vec::new();
    for seed in 0..u64::from(count(40, 500)) {
        let mut world = World::new(seed);
        for _ in 0..12 {
            world.live();
            world.unmake_prepared_segments();
            world.read_from_earlier();
            if world.one_in(4) {
                world.read_all();
            }
        }
        false_alarms.extend(world.false_alarms.iter().map(|text| format!("seed {seed}: {text}")));
    }
    assert_eq!(false_alarms, Vec::<String>::new());
}
