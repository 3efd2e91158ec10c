//! Measures what an append costs its worker and how fast a start scans: `cargo run --release -p fairlead-journal --example measure [folder]`.
//!
//! CPU times are the threads' own clocks. The lowest of several windows is printed: the others had company.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use fairlead_ir::{Dialect, GenerationId, Manner, NanoUsd, Usage};
use fairlead_journal::{Journal, Options, Writer};
use fairlead_ledger::{Attempt, Flags, Outcome, Reserve, Scopes, Settle, Timings};
use std::path::PathBuf;
use std::time::Instant;

const WINDOWS: u64 = 20;
const ROUNDS: u64 = 1500;
/// Calls under way at once.
const IN_FLIGHT: u128 = 32;

fn main() {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = parent.join(format!("fairlead-journal-measure-{}", std::process::id()));
    let (journal, _) = Journal::open(Options::new(&directory), &[]).unwrap();
    let mut writer = journal.writer(0).unwrap();
    let (mut reserve, mut settle) = (reserve(), settle());

    let (mut reserve_ns, mut settle_ns, mut number) = (vec![], vec![], 0);
    for _ in 0..WINDOWS {
        let (mut reserving, mut settling) = (0, 0);
        for _ in 0..ROUNDS {
            let begin = cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID);
            for call in 0..IN_FLIGHT {
                reserve.generation = GenerationId(number + call);
                writer.reserve(&reserve).unwrap();
            }
            let between = cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID);
            for call in 0..IN_FLIGHT {
                settle.generation = GenerationId(number + call);
                writer.settle(&settle).unwrap();
            }
            number += IN_FLIGHT;
            reserving += between - begin;
            settling += cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID) - between;
        }
        reserve_ns.push(reserving / (ROUNDS * IN_FLIGHT as u64));
        settle_ns.push(settling / (ROUNDS * IN_FLIGHT as u64));
    }
    println!(
        "RESERVE {:>5} CPU ns per append, {} bytes",
        lowest(&reserve_ns),
        record_bytes(&mut writer, |writer| writer.reserve(&reserve))
    );
    println!("SETTLE  {:>5} CPU ns per append, {} bytes", lowest(&settle_ns), record_bytes(&mut writer, |writer| writer.settle(&settle)));
    drop(writer);
    journal.sync_and_close().unwrap();

    let scans: Vec<Scan> = (0..7).map(|_| scan(&directory)).collect();
    let megabytes = scans[0].bytes as f64 / 1e6;
    let cpu_ms = lowest(&scans.iter().map(|scan| scan.cpu_ms).collect::<Vec<_>>());
    let wall_ms = lowest(&scans.iter().map(|scan| scan.wall_ms).collect::<Vec<_>>());
    println!(
        "scan    {megabytes:.0} MB from the page cache: {cpu_ms} ms CPU, {wall_ms} ms wall, {:.0} MB per CPU second",
        megabytes * 1e3 / cpu_ms as f64
    );
    std::fs::remove_dir_all(directory).unwrap();
}

struct Scan {
    cpu_ms: u64,
    wall_ms: u64,
    bytes: u64,
}

/// What a start takes, all threads together.
fn scan(directory: &PathBuf) -> Scan {
    let (wall, cpu) = (Instant::now(), cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID));
    let (journal, recovery) = Journal::open(Options::new(directory), &[]).unwrap();
    let (cpu, wall_ms) = (cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID) - cpu, wall.elapsed().as_millis() as u64);
    drop(journal);
    Scan { cpu_ms: cpu / 1_000_000, wall_ms, bytes: recovery.scanned_bytes }
}

fn record_bytes<E: std::fmt::Debug>(writer: &mut Writer, append: impl FnOnce(&mut Writer) -> Result<(), E>) -> u64 {
    let before = writer.position().offset;
    append(writer).unwrap();
    writer.position().offset - before
}

fn lowest(values: &[u64]) -> u64 {
    values.iter().copied().min().unwrap_or_default()
}

fn cpu_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the struct it is given, which lives through it.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn reserve() -> Reserve {
    Reserve {
        generation: GenerationId(1),
        started_at_ms: 1_767_225_600_000,
        scopes: Scopes([1, 0, 0, 12, 0, 0, 0, 0]),
        reserved: NanoUsd(61_440_000),
        model: "anthropic/claude-sonnet-4.5".to_owned(),
        provider: "anthropic".to_owned(),
        prompt_tokens_estimate: 1100,
        prompt_cost_estimate: NanoUsd(3_300_000),
        price_version: 7,
    }
}

fn settle() -> Settle {
    Settle {
        generation: GenerationId(1),
        started_at_ms: 1_767_225_600_000,
        settled_at_ms: 1_767_225_602_000,
        scopes: Scopes([1, 0, 0, 12, 0, 0, 0, 0]),
        dialect: Dialect::AnthropicMessages,
        manner: Manner::Native,
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
        usage: Usage { prompt_tokens: 1043, completion_tokens: 311, ..Usage::default() },
        reserved: NanoUsd(61_440_000),
        charged: NanoUsd(7_794_000),
        price_version: 7,
        timings: Timings { sent_us: 31, head_us: 402_113, content_us: 410_902, total_us: 2_004_551, own_us: 24 },
        referer: String::new(),
        title: String::new(),
        user_agent: "Anthropic/Python 0.75.0".to_owned(),
        end_user: String::new(),
        session: String::new(),
        attempts: vec![Attempt {
            provider: "anthropic".to_owned(),
            endpoint: 12,
            upstream_model: "claude-sonnet-4-5-20250929".to_owned(),
            upstream_id: "msg_01XFDUDYJgAACzvnptvVoYEL".to_owned(),
            status: 200,
            error: String::new(),
            latency_us: 2_004_000,
            upstream_cost: NanoUsd(7_794_000),
            flags: Flags::default(),
            tier: fairlead_ir::Tier::Standard,
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
