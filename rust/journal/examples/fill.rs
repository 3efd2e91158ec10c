//! Writes a journal as a gateway under load would, for `benches/applier.py`:
//! `cargo run --release -p fairlead-journal --example fill FOLDER CALLS KEYS MODELS RATE`, RATE in calls per second of journal time.
#![expect(clippy::unwrap_used, reason = "a program for developers")]

use fairlead_ir::{Dialect, GenerationId, Manner, NanoUsd, Tier, Usage};
use fairlead_journal::{Journal, Options};
use fairlead_ledger::{Attempt, Flags, Outcome, Reserve, Scopes, Settle, Timings};

/// 2026-01-01, noon.
const BEGIN_MS: u64 = 1_767_268_800_000;
/// One in so many calls fails once and is tried elsewhere.
const RETRIED_ONE_IN: u64 = 50;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap();
    let mut number = || arguments.next().unwrap().parse::<u64>().unwrap();
    let (calls, keys, models, rate) = (number(), number(), number(), number());
    let options = Options { backlog_bytes: u64::MAX, ..Options::new(folder) };
    let (journal, _) = Journal::open(options, &[]).unwrap();
    let mut writer = journal.writer(0).unwrap();
    let mut state = 1;
    for call in 0..calls {
        let at_ms = BEGIN_MS + call * 1000 / rate;
        let record = settle(call, at_ms, keys, models, &mut || next(&mut state));
        writer.reserve(&reserve(&record)).unwrap();
        writer.settle(&record).unwrap();
    }
    drop(writer);
    journal.sync_and_close().unwrap();
}

fn reserve(settle: &Settle) -> Reserve {
    Reserve {
        generation: settle.generation,
        started_at_ms: settle.started_at_ms,
        scopes: settle.scopes,
        reserved: settle.reserved,
        model: settle.model.clone(),
        provider: settle.provider.clone(),
        prompt_tokens_estimate: 1000,
        prompt_cost_estimate: NanoUsd(3000),
        price_version: 7,
    }
}

/// A call of one of the keys to one of the models, each of which two providers serve.
fn settle(call: u64, at_ms: u64, keys: u64, models: u64, random: &mut dyn FnMut() -> u64) -> Settle {
    let key = random() % keys + 1;
    let model = random() % models;
    let side = random() % 2;
    let content_us = 200_000 + random() % 800_000;
    let total_us = content_us + random() % 4_000_000;
    let (prompt_tokens, completion_tokens) = (random() % 4000, random() % 800);
    let cost = NanoUsd((prompt_tokens * 300 + completion_tokens * 1500) as i64);
    let attempt = |endpoint: u64, error: &str, upstream_cost: NanoUsd| Attempt {
        provider: format!("provider-{}", endpoint % 2),
        endpoint: endpoint + 1,
        upstream_model: format!("model-{model}-2026"),
        upstream_id: format!("chatcmpl-{call:024x}"),
        status: if error.is_empty() { 200 } else { 503 },
        error: error.to_owned(),
        latency_us: total_us,
        upstream_cost,
        flags: Flags::default(),
        tier: Tier::Standard,
    };
    let mut attempts = vec![attempt(2 * model + side, "", cost)];
    if random().is_multiple_of(RETRIED_ONE_IN) {
        attempts.insert(0, attempt(2 * model + 1 - side, "provider_status", NanoUsd(0)));
    }
    Settle {
        // UUIDv7: the moment, the version, then the rest.
        generation: GenerationId(u128::from(at_ms) << 80 | 7 << 76 | 2 << 62 | u128::from(call)),
        started_at_ms: at_ms - total_us / 1000,
        settled_at_ms: at_ms,
        scopes: Scopes([1, key % 5 + 1, key % 20 + 1, key, 0, 0, 0, 0]),
        dialect: Dialect::OpenaiChat,
        manner: Manner::Openrouter,
        streamed: true,
        outcome: Outcome::Completed,
        flags: Flags::CONTENT,
        status: 200,
        error: String::new(),
        requested_model: format!("vendor/model-{model}"),
        model: format!("vendor/model-{model}"),
        provider: format!("provider-{side}"),
        finish: "stop".to_owned(),
        native_finish: "stop".to_owned(),
        usage: Usage { prompt_tokens, completion_tokens, ..Usage::default() },
        reserved: NanoUsd(2 * cost.0),
        charged: cost,
        price_version: 7,
        timings: Timings { sent_us: 31, head_us: content_us - 1000, content_us, total_us, own_us: 24 },
        referer: format!("https://app-{}.example.org", key % 8),
        title: "App".to_owned(),
        user_agent: "OpenAI/Python 2.8.0".to_owned(),
        end_user: String::new(),
        session: String::new(),
        attempts,
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

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
