//! Every record reads back as it was written, or as its documented clipping says.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sample;

use fairlead_ir::{Dialect, GenerationId, Manner, NanoUsd, Severity, Tier, Usage};
use fairlead_journal::frame::{Kind, PAYLOAD_BYTES_MAX};
use fairlead_journal::record::{
    ATTEMPTS_MAX, LOSSES_MAX, Malformed, TEXT_BYTES_MAX, charge, decode_progress, decode_reserve, encode_progress,
};
use fairlead_journal::record::{Charge, encode_reserve, encode_settle, progress_number};
use fairlead_ledger::{
    Api, Attempt, CacheHit, Delivered, Flags, Loss, Outcome, Particulars, Progress, Reach, Reserve, Scopes, Settle, Timings,
};
use proptest::prelude::*;

fn reserve_bytes(record: &Reserve) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_reserve(&record.into(), &mut bytes);
    bytes
}

fn settle_bytes(record: &Settle) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_settle(record, &mut bytes);
    bytes
}

fn progress_bytes(record: &Progress) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_progress(record, &mut bytes);
    bytes
}

fn decode_settle(payload: &[u8]) -> Result<Settle, Malformed> {
    fairlead_journal::record::decode_settle(payload, Kind::Settle.version())
}

fn usual_tiers(mut record: Settle) -> Settle {
    record.attempts.iter_mut().for_each(|attempt| attempt.tier = Tier::Standard);
    record
}

fn no_split(record: Settle) -> Settle {
    Settle { split: String::new(), arm: String::new(), ..no_preset(record) }
}

fn no_preset(record: Settle) -> Settle {
    Settle { preset: String::new(), preset_version: String::new(), ..no_hit(record) }
}

fn no_hit(record: Settle) -> Settle {
    Settle { hit: None, ..no_particulars(record) }
}

fn no_particulars(record: Settle) -> Settle {
    Settle { particulars: Particulars::default(), ..record }
}

/// What version 3 lacks, as version 4 writes it where no split was named, and 4 as 5 where no preset was: two texts of no length.
const NO_TEXTS: [u8; 4] = [0; 4];

/// What version 6 wrote: it ends before the particulars.
fn without_particulars(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len() - (1 + 4 + 4 + 8)]
}

/// What version 5 wrote: it ends before the cache hit, of which this one is none.
fn without_hit(bytes: &[u8]) -> &[u8] {
    without_particulars(bytes).strip_suffix(&[0]).unwrap()
}

/// What version 4 wrote: it ends before the preset.
fn without_preset(bytes: &[u8]) -> &[u8] {
    without_hit(bytes).strip_suffix(&NO_TEXTS).unwrap()
}

/// What version 3 wrote: it ends before the split.
fn without_split(bytes: &[u8]) -> &[u8] {
    without_preset(bytes).strip_suffix(&NO_TEXTS).unwrap()
}

/// What versions before 3 wrote: they end before the tiers.
fn without_tiers<'b>(bytes: &'b [u8], record: &Settle) -> &'b [u8] {
    let bytes = without_split(bytes);
    &bytes[..bytes.len() - record.attempts.len()]
}

/// What version 1 lacks, as version 2 writes it where nothing was translated: no dialect, no losses, no more of them.
const NOTHING_TRANSLATED: [u8; 6] = [0; 6];

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,40}", Just(String::new()), Just("é".repeat(TEXT_BYTES_MAX / 2))]
}

prop_compose! {
    fn scopes()(ids in prop::array::uniform8(any::<u64>())) -> Scopes { Scopes(ids) }
}

prop_compose! {
    fn any_reserve()(
        (generation, started_at_ms, scopes, reserved) in (any::<u128>(), any::<u64>(), scopes(), any::<i64>()),
        (model, provider) in (text(), text()),
        (prompt_tokens_estimate, cost, price_version) in (any::<u64>(), any::<i64>(), any::<u64>()),
    ) -> Reserve {
        Reserve {
            generation: GenerationId(generation), started_at_ms, scopes, reserved: NanoUsd(reserved), model, provider,
            prompt_tokens_estimate, prompt_cost_estimate: NanoUsd(cost), price_version,
        }
    }
}

prop_compose! {
    fn attempt()(
        texts in prop::array::uniform4(text()),
        (endpoint, status, latency_us, cost, flags) in (any::<u64>(), any::<u16>(), any::<u64>(), any::<i64>(), any::<u32>()),
        tier in prop::sample::select(Tier::ALL.to_vec()),
    ) -> Attempt {
        let [provider, upstream_model, upstream_id, error] = texts;
        Attempt { provider, endpoint, upstream_model, upstream_id, status, error, latency_us, upstream_cost: NanoUsd(cost), flags: Flags(flags), tier }
    }
}

prop_compose! {
    fn any_progress()(
        (generation, number, kind, endpoint) in (any::<u128>(), any::<u32>(), 0..3, any::<u64>()),
        texts in prop::array::uniform4(text()),
        (numbers, amounts, flags) in (prop::array::uniform7(any::<u64>()), any::<[i64; 4]>(), any::<u32>()),
        (dialect, openrouter) in (prop::sample::select(Dialect::ALL.to_vec()), any::<bool>()),
    ) -> Progress {
        let [model, provider, upstream_model, upstream_id] = texts;
        let [prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, completion_tokens, reasoning_tokens, web_searches] = numbers;
        let [charged, upstream_cost, earlier_cost, reserved] = amounts.map(NanoUsd);
        let delivered = Delivered {
            dialect, manner: if openrouter { Manner::Openrouter } else { Manner::Native }, flags: Flags(flags),
            usage: Usage {
                prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, completion_tokens, reasoning_tokens, web_searches,
            },
            charged, upstream_cost, earlier_cost, endpoint, model, provider, upstream_model, upstream_id,
        };
        let reach = match kind { 0 => Reach::Waiting, 1 => Reach::Sent, _ => Reach::Content(Box::new(delivered)) };
        Progress { generation: GenerationId(generation), number, reach, reserved }
    }
}

prop_compose! {
    fn loss()(path in text(), reason in text(), severity in prop::sample::select(Severity::ALL.to_vec())) -> Loss {
        Loss { path, reason, severity }
    }
}

prop_compose! {
    fn particulars()(
        api in prop::sample::select(Api::ALL.to_vec()),
        (prompt_media, prompt_sounds, cache_discount) in (any::<u32>(), prop::option::of(0..u32::MAX), any::<i64>()),
    ) -> Particulars {
        Particulars { api, prompt_media, prompt_sounds, cache_discount: NanoUsd(cache_discount) }
    }
}

prop_compose! {
    fn any_settle()(
        numbers in prop::array::uniform16(any::<u64>()),
        (generation, scopes, flags, status, amounts) in (any::<u128>(), scopes(), any::<u32>(), any::<u16>(), any::<[i64; 2]>()),
        (dialect, outcome) in (prop::sample::select(Dialect::ALL.to_vec()), prop::sample::select(Outcome::ALL.to_vec())),
        (openrouter, streamed) in (any::<bool>(), any::<bool>()),
        texts in prop::collection::vec(text(), 15),
        attempts in prop::collection::vec(attempt(), 0..5),
        (upstream_dialect, losses, losses_more) in
            (prop::option::of(prop::sample::select(Dialect::ALL.to_vec())), prop::collection::vec(loss(), 0..5), any::<u32>()),
        hit in prop::option::of((any::<u128>(), any::<i64>())),
        particulars in particulars(),
    ) -> Settle {
        let mut numbers = numbers.into_iter();
        let mut number = || numbers.next().unwrap();
        let mut texts = texts.into_iter();
        let mut text = || texts.next().unwrap();
        Settle {
            generation: GenerationId(generation), started_at_ms: number(), settled_at_ms: number(), scopes, dialect,
            manner: if openrouter { Manner::Openrouter } else { Manner::Native },
            streamed, outcome, flags: Flags(flags), status,
            error: text(), requested_model: text(), model: text(), provider: text(), finish: text(), native_finish: text(),
            usage: Usage {
                prompt_tokens: number(), cache_read_tokens: number(), cache_write_tokens: number(), cache_write_1h_tokens: number(),
                completion_tokens: number(), reasoning_tokens: number(), web_searches: number(),
            },
            reserved: NanoUsd(amounts[0]), charged: NanoUsd(amounts[1]), price_version: number(),
            timings: Timings { sent_us: number(), head_us: number(), content_us: number(), total_us: number(), own_us: number() },
            referer: text(), title: text(), user_agent: text(), end_user: text(), session: text(), attempts,
            upstream_dialect, losses, losses_more, split: text(), arm: text(), preset: text(), preset_version: text(), particulars,
            hit: hit.map(|(source, saved)| CacheHit { source: GenerationId(source), saved: NanoUsd(saved) }),
        }
    }
}

proptest! {
    #[test]
    fn a_reservation_reads_back(record in any_reserve()) {
        prop_assert_eq!(decode_reserve(&reserve_bytes(&record)), Ok(record));
    }

    #[test]
    fn a_note_reads_back(record in any_progress(), more: u8) {
        let mut bytes = progress_bytes(&record);
        let version = Kind::Progress.version();
        prop_assert_eq!((decode_progress(&bytes, version), progress_number(&bytes)), (Ok(record.clone()), Ok(record.number)));
        prop_assert!(decode_progress(&bytes[..bytes.len() - 1], version).is_err());
        // The first version did not say what was held.
        let first = decode_progress(&bytes[..bytes.len() - 8], 1);
        prop_assert_eq!(first, Ok(Progress { reserved: NanoUsd(0), ..record }));
        bytes.push(more);
        prop_assert!(decode_progress(&bytes, version).is_err());
    }

    #[test]
    fn the_charge_is_read_without_the_rest(record in any_settle()) {
        let charge = charge(&settle_bytes(&record)).unwrap();
        let Settle { started_at_ms, settled_at_ms, scopes, flags, usage, charged, .. } = record;
        prop_assert_eq!(charge, Charge { started_at_ms, settled_at_ms, scopes, flags, usage, charged });
    }

    #[test]
    fn a_settlement_reads_back(record in any_settle()) {
        prop_assert_eq!(decode_settle(&settle_bytes(&record)), Ok(record));
    }

    #[test]
    fn a_settlement_of_version_1_reads_as_one_without_a_translation(record in any_settle()) {
        let plain = no_split(usual_tiers(Settle { upstream_dialect: None, losses: Vec::new(), losses_more: 0, ..record }));
        let bytes = settle_bytes(&plain);
        let old = without_tiers(&bytes, &plain).strip_suffix(&NOTHING_TRANSLATED).unwrap();
        prop_assert_eq!(fairlead_journal::record::decode_settle(old, 1), Ok(plain));
        prop_assert!(fairlead_journal::record::decode_settle(&bytes, 1).is_err());
        prop_assert!(decode_settle(old).is_err());
    }

    #[test]
    fn a_settlement_of_version_2_reads_as_one_of_the_usual_tier(record in any_settle()) {
        let plain = no_split(usual_tiers(record));
        let bytes = settle_bytes(&plain);
        let old = without_tiers(&bytes, &plain);
        prop_assert_eq!(fairlead_journal::record::decode_settle(old, 2), Ok(plain));
        prop_assert!(decode_settle(old).is_err());
    }

    #[test]
    fn a_settlement_of_version_3_reads_as_one_of_no_split(record in any_settle()) {
        let plain = no_split(record);
        let bytes = settle_bytes(&plain);
        let old = without_split(&bytes);
        prop_assert_eq!(fairlead_journal::record::decode_settle(old, 3), Ok(plain));
        prop_assert!(decode_settle(old).is_err());
    }

    #[test]
    fn a_settlement_of_version_4_reads_as_one_of_no_preset(record in any_settle()) {
        let plain = no_preset(record);
        let bytes = settle_bytes(&plain);
        let old = without_preset(&bytes);
        prop_assert_eq!(fairlead_journal::record::decode_settle(old, 4), Ok(plain));
        prop_assert!(decode_settle(old).is_err());
    }

    #[test]
    fn a_settlement_of_version_6_reads_as_one_without_particulars(record in any_settle()) {
        let plain = no_particulars(record);
        let bytes = settle_bytes(&plain);
        let old = without_particulars(&bytes);
        prop_assert_eq!(fairlead_journal::record::decode_settle(old, 6), Ok(plain));
        prop_assert!(decode_settle(old).is_err());
    }

    #[test]
    fn a_settlement_of_version_5_reads_as_no_cache_hit(record in any_settle()) {
        let plain = no_hit(record);
        let bytes = settle_bytes(&plain);
        let old = without_hit(&bytes);
        prop_assert_eq!(fairlead_journal::record::decode_settle(old, 5), Ok(plain));
        prop_assert!(decode_settle(old).is_err());
    }

    #[test]
    fn a_byte_less_or_more_is_refused(record in any_settle(), cut: prop::sample::Index, more: u8) {
        let mut bytes = settle_bytes(&record);
        prop_assert!(decode_settle(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(more);
        prop_assert!(decode_settle(&bytes).is_err());
    }

    #[test]
    fn whatever_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(record) = decode_settle(&bytes) {
            prop_assert_eq!(settle_bytes(&record), bytes);
        }
    }
}

#[test]
fn unknown_numbers_are_refused() {
    let good = settle_bytes(&sample::settle(1));
    let numbers = 16 + 8 + 8 + 64;
    for (at, unknown) in [(numbers, 5), (numbers + 1, 2), (numbers + 2, 2), (numbers + 3, 5)] {
        let mut bytes = good.clone();
        bytes[at] = unknown;
        assert!(decode_settle(&bytes).is_err(), "byte {at}");
        bytes[at] = 0;
        assert!(decode_settle(&bytes).is_ok(), "byte {at}");
    }
    // The upstream's dialect and 1, the number of losses, the severity of the first.
    let good = settle_bytes(&sample::settle_with_losses(1));
    let losses = without_tiers(&settle_bytes(&sample::settle(1)), &sample::settle(1)).len() - NOTHING_TRANSLATED.len();
    for (at, known, unknown) in [(losses, 5, 6), (losses + 1, LOSSES_MAX as u8, LOSSES_MAX as u8 + 1), (losses + 2, 2, 3)] {
        let mut bytes = good.clone();
        bytes[at] = unknown;
        assert!(decode_settle(&bytes).is_err(), "byte {at}");
        bytes[at] = known;
        assert!(decode_settle(&bytes).is_ok(), "byte {at}");
    }
    // The tier of the only attempt.
    let mut bytes = good;
    let tier = without_split(&bytes).len() - 1;
    bytes[tier] = Tier::ALL.len() as u8;
    assert!(decode_settle(&bytes).is_err());
}

#[test]
fn long_texts_are_clipped_at_a_character() {
    let long = format!("a{}", "é".repeat(TEXT_BYTES_MAX));
    let record = Settle { user_agent: long.clone(), ..sample::settle(1) };
    let read = decode_settle(&settle_bytes(&record)).unwrap();
    assert_eq!(read.user_agent.len(), TEXT_BYTES_MAX - 1);
    assert!(long.starts_with(&read.user_agent));
}

#[test]
fn attempts_beyond_the_bound_are_merged_without_losing_cost() {
    let attempts: Vec<Attempt> =
        (0..200u32).map(|n| Attempt { endpoint: u64::from(n), upstream_cost: NanoUsd(1 << (n % 40)), ..Attempt::default() }).collect();
    let total: i64 = attempts.iter().map(|attempt| attempt.upstream_cost.0).sum();
    let read = decode_settle(&settle_bytes(&Settle { attempts, ..sample::settle(1) })).unwrap();
    assert_eq!(read.attempts.len(), ATTEMPTS_MAX);
    assert_eq!(read.attempts.iter().map(|attempt| attempt.upstream_cost.0).sum::<i64>(), total);
    assert_eq!(read.attempts[61].endpoint, 61);
    assert_eq!(read.attempts[62].error, "merged");
    assert_eq!(read.attempts[63].endpoint, 199);
}

#[test]
fn losses_beyond_the_bound_are_counted() {
    for (given, more, stored, counted) in [(32, 0, 32, 0), (33, 0, 32, 1), (40, 2, 32, 10), (40, u32::MAX, 32, u32::MAX)] {
        let losses: Vec<Loss> =
            (0..given).map(|n| Loss { path: format!("tools[{n}]"), reason: "gone".to_owned(), severity: Severity::Dropped }).collect();
        let read = decode_settle(&settle_bytes(&Settle { losses: losses.clone(), losses_more: more, ..sample::settle(1) })).unwrap();
        assert_eq!((read.losses.as_slice(), read.losses_more), (&losses[..stored], counted), "{given} and {more}");
    }
}

#[test]
fn the_largest_record_fits() {
    let text = "x".repeat(1000);
    let attempt = Attempt {
        provider: text.clone(),
        upstream_model: text.clone(),
        upstream_id: text.clone(),
        error: text.clone(),
        ..Attempt::default()
    };
    let record = Settle {
        error: text.clone(),
        requested_model: text.clone(),
        model: text.clone(),
        provider: text.clone(),
        finish: text.clone(),
        native_finish: text.clone(),
        referer: text.clone(),
        title: text.clone(),
        user_agent: text.clone(),
        end_user: text.clone(),
        session: text.clone(),
        split: text.clone(),
        arm: text.clone(),
        preset: text.clone(),
        preset_version: text.clone(),
        attempts: vec![attempt; ATTEMPTS_MAX],
        losses: vec![Loss { path: text.clone(), reason: text, severity: Severity::Dropped }; LOSSES_MAX],
        ..sample::settle(1)
    };
    assert!(settle_bytes(&record).len() <= PAYLOAD_BYTES_MAX);
}
