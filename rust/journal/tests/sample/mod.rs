//! Records and folders for the journal's tests.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::allow_attributes, reason = "expect would fail in the binaries that use everything")]
#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::{Dialect, GenerationId, Manner, NanoUsd, Severity, Tier, Usage};
use fairlead_journal::{Cursor, Durability, Options, Orphan, Reader};
use fairlead_ledger::{Attempt, Delivered, Flags, Loss, Outcome, Progress, Reach, Reserve, Scopes, Settle, Timings};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder that disappears with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder::within(&std::env::temp_dir())
    }

    /// In memory where the system has such a place: for tests that write thousands of journals and whose syncs mean nothing.
    pub(crate) fn in_memory() -> Folder {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Folder::within(memory) } else { Folder::new() }
    }

    fn within(parent: &Path) -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("fairlead-journal-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    /// The smallest segments, so that tests cross many boundaries.
    pub(crate) fn options(&self) -> Options {
        Options { segment_bytes: Options::SEGMENT_BYTES_MIN, durability: Durability::Process, ..Options::new(&self.0) }
    }

    /// The segment files, in the order of their names.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "segment"));
        paths.sort();
        paths
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn generation(number: u64) -> GenerationId {
    GenerationId(u128::from(number) << 40 | 7)
}

pub(crate) fn reserve(number: u64) -> Reserve {
    Reserve {
        generation: generation(number),
        started_at_ms: 1_767_225_600_000 + number,
        scopes: Scopes([1, 0, 0, number, 0, 0, 0, 0]),
        reserved: NanoUsd(1_000_000 + number as i64),
        model: "anthropic/claude-sonnet-4.5".to_owned(),
        provider: "anthropic".to_owned(),
        prompt_tokens_estimate: 1000 + number,
        prompt_cost_estimate: NanoUsd(3000 + number as i64),
        price_version: 7,
    }
}

/// What a start finds of a call that was reserved and nothing else.
pub(crate) fn orphan(number: u64) -> Orphan {
    Orphan { reserve: reserve(number), reach: None }
}

/// The note `note` of a call that has delivered something; amounts and counts depend on both numbers.
pub(crate) fn progress(number: u64, note: u32) -> Progress {
    let delivered = Delivered {
        dialect: Dialect::AnthropicMessages,
        manner: Manner::Openrouter,
        flags: Flags::CONTENT,
        usage: Usage { prompt_tokens: 900 + number, completion_tokens: 256 * u64::from(note), ..Usage::default() },
        charged: NanoUsd(100 + i64::from(note)),
        upstream_cost: NanoUsd(90 + i64::from(note)),
        earlier_cost: NanoUsd(7),
        endpoint: 12,
        model: "anthropic/claude-sonnet-4.5".to_owned(),
        provider: "anthropic".to_owned(),
        upstream_model: "claude-sonnet-4-5".to_owned(),
        upstream_id: "msg_01XFDUDYJgAACzvnptvVoYEL".to_owned(),
    };
    Progress { generation: generation(number), number: note, reach: Reach::Content(Box::new(delivered)), reserved: NanoUsd(0) }
}

/// What a call of a usual client leaves behind; the amounts depend on `number`.
pub(crate) fn settle(number: u64) -> Settle {
    Settle {
        generation: generation(number),
        started_at_ms: 1_767_225_600_000 + number,
        settled_at_ms: 1_767_225_601_000 + number,
        scopes: Scopes([1, 0, 0, number, 0, 0, 0, 0]),
        dialect: Dialect::AnthropicMessages,
        manner: Manner::Openrouter,
        streamed: true,
        outcome: Outcome::Completed,
        flags: Flags::CONTENT,
        status: 200,
        error: String::new(),
        requested_model: "claude-sonnet-4.5".to_owned(),
        model: "anthropic/claude-sonnet-4.5".to_owned(),
        provider: "anthropic".to_owned(),
        finish: "stop".to_owned(),
        native_finish: "end_turn".to_owned(),
        usage: Usage { prompt_tokens: 900 + number, completion_tokens: 200, ..Usage::default() },
        reserved: NanoUsd(1_000_000 + number as i64),
        charged: NanoUsd(5_000 + 17 * number as i64),
        price_version: 7,
        timings: Timings { sent_us: 30, head_us: 400_000, content_us: 410_000, total_us: 2_000_000, own_us: 25 },
        referer: "https://example.org".to_owned(),
        title: "Example".to_owned(),
        user_agent: "OpenAI/Python 2.8.0".to_owned(),
        end_user: String::new(),
        session: "3f0a".to_owned(),
        attempts: vec![Attempt {
            provider: "anthropic".to_owned(),
            endpoint: 12,
            upstream_model: "claude-sonnet-4-5".to_owned(),
            upstream_id: "msg_01XFDUDYJgAACzvnptvVoYEL".to_owned(),
            status: 200,
            error: String::new(),
            latency_us: 2_000_000,
            upstream_cost: NanoUsd(5_000 + 17 * number as i64),
            flags: Flags::default(),
            tier: Tier::Standard,
        }],
        upstream_dialect: None,
        losses: Vec::new(),
        losses_more: 0,
        split: String::new(),
        arm: String::new(),
        preset: String::new(),
        preset_version: String::new(),
        hit: None,
        particulars: fairlead_ledger::Particulars::default(),
    }
}

/// What a call leaves behind whose translation lost as much as is stored, in words of usual length.
pub(crate) fn settle_with_losses(number: u64) -> Settle {
    let loss = |place: usize| Loss {
        path: format!("messages[{place}].content[0].cache_control"),
        reason: "the target's dialect has no place for it".to_owned(),
        severity: Severity::ALL[place % 3],
    };
    Settle {
        upstream_dialect: Some(Dialect::OpenaiResponses),
        losses: (0..fairlead_journal::record::LOSSES_MAX).map(loss).collect(),
        losses_more: 7,
        ..settle(number)
    }
}

/// `full` under `make proof`, else `sampled`.
pub(crate) fn count(sampled: u32, full: u32) -> u32 {
    if std::env::var_os("FAIRLEAD_PROOF").is_some() { full } else { sampled }
}

/// Where a test's random numbers begin: `FAIRLEAD_SEED`, or the process's own; printed, to be seen when the test fails.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("FAIRLEAD_SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("FAIRLEAD_SEED={seed}");
    seed
}

/// SplitMix64: a different number at every call, the same ones for the same seed.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Reads to the end from `cursors`: settlements, cursors behind them, problems as text without the folder.
pub(crate) fn read_all(directory: &Path, cursors: &[Cursor]) -> (Vec<Settle>, Vec<Cursor>, Vec<String>) {
    let mut reader = Reader::open(directory, cursors).unwrap();
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    loop {
        let state = reader.read(97, &mut out).unwrap();
        problems.extend(state.problems.iter().map(|problem| format!("{:?}", problem.kind)));
        if state.caught_up {
            return (out, state.cursors, problems);
        }
    }
}
