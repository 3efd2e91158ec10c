//! The payloads: [`Reserve`], [`Progress`] and [`Settle`] as little-endian bytes.
//!
//! Fixed fields in the order of the structs, then texts, each behind its length (2 bytes). All start with the generation id.
//! Texts longer than [`TEXT_BYTES_MAX`] are clipped at a character's end, attempts beyond [`ATTEMPTS_MAX`] are merged and losses beyond
//! [`LOSSES_MAX`] only counted, so that a settlement always fits. Reading is strict: an unknown number or a byte too many is an error,
//! never a guess. A settlement of version 1 ends behind its attempts: nothing was translated then. One of version 2 ends behind its
//! losses: every attempt was billed by the usual tier then. One of version 4 ends behind its arm: presets were not named then.
//! One of version 5 ends behind its presets: there was no cache of responses then. Up to version 6 there were no particulars.

use fairlead_ir::{Dialect, GenerationId, Manner, NanoUsd, Severity, Tier, Usage};
use fairlead_ledger::{
    Api, Attempt, CacheHit, Delivered, Flags, Loss, Outcome, Particulars, Progress, Reach, Reserve, Scopes, Settle, Timings,
};

/// Bytes a text is clipped to.
pub const TEXT_BYTES_MAX: usize = 256;
/// Attempts stored one by one. Of more, the first and the last ones are kept and those between become one attempt with their summed
/// cost and latency and the error `merged`.
pub const ATTEMPTS_MAX: usize = 64;
/// Losses stored one by one: of more, the first ones.
pub const LOSSES_MAX: usize = 32;

/// Places in a settlement: behind the generation and the start; behind the end; behind scopes, four bytes of enums, flags, status, usage
/// and the amount reserved.
const STARTED_AT_OFFSET: usize = 16;
const SETTLED_AT_OFFSET: usize = STARTED_AT_OFFSET + 8;
const SCOPES_OFFSET: usize = SETTLED_AT_OFFSET + 8;
const FLAGS_OFFSET: usize = SCOPES_OFFSET + 8 * 8 + 4;
const USAGE_OFFSET: usize = FLAGS_OFFSET + 4 + 2;
const CHARGED_OFFSET: usize = USAGE_OFFSET + 7 * 8 + 8;

/// A [`Reserve`] whose texts are borrowed, so that writing one needs no allocation.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are those of Reserve")]
pub struct ReserveRef<'a> {
    pub generation: GenerationId,
    pub started_at_ms: u64,
    pub scopes: Scopes,
    pub reserved: NanoUsd,
    pub model: &'a str,
    pub provider: &'a str,
    pub prompt_tokens_estimate: u64,
    pub prompt_cost_estimate: NanoUsd,
    pub price_version: u64,
}

impl<'a> From<&'a Reserve> for ReserveRef<'a> {
    fn from(record: &'a Reserve) -> ReserveRef<'a> {
        ReserveRef {
            generation: record.generation,
            started_at_ms: record.started_at_ms,
            scopes: record.scopes,
            reserved: record.reserved,
            model: &record.model,
            provider: &record.provider,
            prompt_tokens_estimate: record.prompt_tokens_estimate,
            prompt_cost_estimate: record.prompt_cost_estimate,
            price_version: record.price_version,
        }
    }
}

/// Appends a reservation's payload.
pub fn encode_reserve(record: &ReserveRef<'_>, out: &mut Vec<u8>) {
    put_generation(out, record.generation);
    put_u64(out, record.started_at_ms);
    put_scopes(out, &record.scopes);
    put_money(out, record.reserved);
    put_u64(out, record.prompt_tokens_estimate);
    put_money(out, record.prompt_cost_estimate);
    put_u64(out, record.price_version);
    put_text(out, record.model);
    put_text(out, record.provider);
}

/// Reads what [`encode_reserve`] wrote.
pub fn decode_reserve(payload: &[u8]) -> Result<Reserve, Malformed> {
    let mut fields = Fields(payload);
    let mut record = Reserve {
        generation: fields.generation()?,
        started_at_ms: fields.u64()?,
        scopes: fields.scopes()?,
        reserved: fields.money()?,
        prompt_tokens_estimate: fields.u64()?,
        prompt_cost_estimate: fields.money()?,
        price_version: fields.u64()?,
        model: String::new(),
        provider: String::new(),
    };
    record.model = fields.text()?;
    record.provider = fields.text()?;
    fields.end()?;
    Ok(record)
}

/// Appends a note's payload.
pub fn encode_progress<T: AsRef<str>>(record: &Progress<T>, out: &mut Vec<u8>) {
    put_generation(out, record.generation);
    put_u32(out, record.number);
    match &record.reach {
        Reach::Waiting => out.push(0),
        Reach::Sent => out.push(1),
        Reach::Content(delivered) => {
            out.push(2);
            put_delivered(out, delivered);
        }
    }
    put_money(out, record.reserved);
}

fn put_delivered<T: AsRef<str>>(out: &mut Vec<u8>, delivered: &Delivered<T>) {
    out.push(delivered.dialect.number());
    out.push(manner_number(delivered.manner));
    put_u32(out, delivered.flags.0);
    put_usage(out, &delivered.usage);
    put_money(out, delivered.charged);
    put_money(out, delivered.upstream_cost);
    put_money(out, delivered.earlier_cost);
    put_u64(out, delivered.endpoint);
    for text in [&delivered.model, &delivered.provider, &delivered.upstream_model, &delivered.upstream_id] {
        put_text(out, text.as_ref());
    }
}

/// Reads what [`encode_progress`] wrote, or an earlier version: one of version 1 ends behind how far the call had come.
pub fn decode_progress(payload: &[u8], version: u8) -> Result<Progress, Malformed> {
    let mut fields = Fields(payload);
    let (generation, number) = (fields.generation()?, fields.u32()?);
    let reach = match fields.u8()? {
        0 => Reach::Waiting,
        1 => Reach::Sent,
        2 => Reach::Content(Box::new(fields.delivered()?)),
        _ => return Err(Malformed),
    };
    let reserved = if version > 1 { fields.money()? } else { NanoUsd(0) };
    fields.end()?;
    Ok(Progress { generation, number, reach, reserved })
}

/// Which note of its call it is, of what [`encode_progress`] wrote, without reading the rest.
pub fn progress_number(payload: &[u8]) -> Result<u32, Malformed> {
    let mut fields = Fields(payload);
    fields.generation()?;
    fields.u32()
}

/// Appends a settlement's payload, in the version of [`crate::frame::Kind::version`].
pub fn encode_settle<T: AsRef<str>>(record: &Settle<T>, out: &mut Vec<u8>) {
    put_generation(out, record.generation);
    put_u64(out, record.started_at_ms);
    put_u64(out, record.settled_at_ms);
    put_scopes(out, &record.scopes);
    out.push(record.dialect.number());
    out.push(manner_number(record.manner));
    out.push(u8::from(record.streamed));
    out.push(record.outcome as u8);
    put_u32(out, record.flags.0);
    put_u16(out, record.status);
    put_usage(out, &record.usage);
    put_money(out, record.reserved);
    put_money(out, record.charged);
    put_u64(out, record.price_version);
    put_timings(out, &record.timings);
    for text in [
        &record.error,
        &record.requested_model,
        &record.model,
        &record.provider,
        &record.finish,
        &record.native_finish,
        &record.referer,
        &record.title,
        &record.user_agent,
        &record.end_user,
        &record.session,
    ] {
        put_text(out, text.as_ref());
    }
    put_attempts(out, &record.attempts);
    put_dialect(out, record.upstream_dialect);
    put_losses(out, &record.losses, record.losses_more);
    put_tiers(out, &record.attempts);
    put_text(out, record.split.as_ref());
    put_text(out, record.arm.as_ref());
    put_text(out, record.preset.as_ref());
    put_text(out, record.preset_version.as_ref());
    put_hit(out, record.hit);
    put_particulars(out, &record.particulars);
}

/// Reads what [`encode_settle`] wrote, here or in an earlier build that wrote `version`.
pub fn decode_settle(payload: &[u8], version: u8) -> Result<Settle, Malformed> {
    let mut fields = Fields(payload);
    let mut record = Settle {
        generation: fields.generation()?,
        started_at_ms: fields.u64()?,
        settled_at_ms: fields.u64()?,
        scopes: fields.scopes()?,
        dialect: Dialect::from_number(fields.u8()?).ok_or(Malformed)?,
        manner: fields.manner()?,
        streamed: fields.bool()?,
        outcome: Outcome::ALL.get(usize::from(fields.u8()?)).copied().ok_or(Malformed)?,
        flags: Flags(fields.u32()?),
        status: fields.u16()?,
        usage: fields.usage()?,
        reserved: fields.money()?,
        charged: fields.money()?,
        price_version: fields.u64()?,
        timings: fields.timings()?,
        error: String::new(),
        requested_model: String::new(),
        model: String::new(),
        provider: String::new(),
        finish: String::new(),
        native_finish: String::new(),
        referer: String::new(),
        title: String::new(),
        user_agent: String::new(),
        end_user: String::new(),
        session: String::new(),
        attempts: Vec::new(),
        upstream_dialect: None,
        losses: Vec::new(),
        losses_more: 0,
        split: String::new(),
        arm: String::new(),
        preset: String::new(),
        preset_version: String::new(),
        hit: None,
        particulars: Particulars::default(),
    };
    for text in [
        &mut record.error,
        &mut record.requested_model,
        &mut record.model,
        &mut record.provider,
        &mut record.finish,
        &mut record.native_finish,
        &mut record.referer,
        &mut record.title,
        &mut record.user_agent,
        &mut record.end_user,
        &mut record.session,
    ] {
        *text = fields.text()?;
    }
    record.attempts = fields.attempts()?;
    if version > 1 {
        record.upstream_dialect = fields.dialect()?;
        record.losses = fields.losses()?;
        record.losses_more = fields.u32()?;
    }
    if version > 2 {
        for attempt in &mut record.attempts {
            attempt.tier = Tier::from_number(fields.u8()?).ok_or(Malformed)?;
        }
    }
    if version > 3 {
        (record.split, record.arm) = (fields.text()?, fields.text()?);
    }
    if version > 4 {
        (record.preset, record.preset_version) = (fields.text()?, fields.text()?);
    }
    if version > 5 {
        record.hit = fields.hit()?;
    }
    if version > 6 {
        record.particulars = fields.particulars()?;
    }
    fields.end()?;
    Ok(record)
}

/// What balances and rates need of a settlement's payload, without reading the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// When it was admitted, Unix milliseconds.
    pub started_at_ms: u64,
    /// When it was settled, Unix milliseconds.
    pub settled_at_ms: u64,
    /// Who pays.
    pub scopes: Scopes,
    /// Marks.
    pub flags: Flags,
    /// What was used.
    pub usage: Usage,
    /// How much.
    pub charged: NanoUsd,
}

/// Reads the charge of what [`encode_settle`] wrote. It stands before everything of variable length, at the same place in every version.
pub fn charge(payload: &[u8]) -> Result<Charge, Malformed> {
    let at = |offset: usize| payload.get(offset..).map(Fields).ok_or(Malformed);
    Ok(Charge {
        started_at_ms: at(STARTED_AT_OFFSET)?.u64()?,
        settled_at_ms: at(SETTLED_AT_OFFSET)?.u64()?,
        scopes: at(SCOPES_OFFSET)?.scopes()?,
        flags: Flags(at(FLAGS_OFFSET)?.u32()?),
        usage: at(USAGE_OFFSET)?.usage()?,
        charged: at(CHARGED_OFFSET)?.money()?,
    })
}

/// The generation a payload of any kind is about, without reading the rest.
pub fn generation(payload: &[u8]) -> Result<GenerationId, Malformed> {
    Fields(payload).generation()
}

/// The payload is not what this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

fn manner_number(manner: Manner) -> u8 {
    match manner {
        Manner::Native => 0,
        Manner::Openrouter => 1,
    }
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_money(out: &mut Vec<u8>, amount: NanoUsd) {
    out.extend_from_slice(&amount.0.to_le_bytes());
}

fn put_generation(out: &mut Vec<u8>, generation: GenerationId) {
    out.extend_from_slice(&generation.0.to_le_bytes());
}

fn put_scopes(out: &mut Vec<u8>, scopes: &Scopes) {
    scopes.0.iter().for_each(|scope| put_u64(out, *scope));
}

#[inline]
fn put_text(out: &mut Vec<u8>, text: &str) {
    let clipped = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    put_u16(out, clipped.len() as u16);
    out.extend_from_slice(clipped.as_bytes());
}

fn put_usage(out: &mut Vec<u8>, usage: &Usage) {
    for count in [
        usage.prompt_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.completion_tokens,
        usage.reasoning_tokens,
        usage.web_searches,
    ] {
        put_u64(out, count);
    }
}

fn put_timings(out: &mut Vec<u8>, timings: &Timings) {
    for duration_us in [timings.sent_us, timings.head_us, timings.content_us, timings.total_us, timings.own_us] {
        put_u64(out, duration_us);
    }
}

fn put_attempts<T: AsRef<str>>(out: &mut Vec<u8>, attempts: &[Attempt<T>]) {
    out.push(attempts.len().min(ATTEMPTS_MAX) as u8);
    if attempts.len() <= ATTEMPTS_MAX {
        attempts.iter().for_each(|attempt| put_attempt(out, attempt));
        return;
    }
    let (first, rest) = attempts.split_at(ATTEMPTS_MAX - 2);
    let (between, last) = rest.split_at(rest.len() - 1);
    first.iter().for_each(|attempt| put_attempt(out, attempt));
    put_attempt(out, &merged(between));
    last.iter().for_each(|attempt| put_attempt(out, attempt));
}

/// A byte for each attempt that is stored; those between the first and the last ones are of no single tier.
fn put_tiers<T>(out: &mut Vec<u8>, attempts: &[Attempt<T>]) {
    let merged = attempts.len().saturating_sub(ATTEMPTS_MAX);
    let first = if merged == 0 { attempts.len() } else { ATTEMPTS_MAX - 2 };
    out.extend(attempts[..first].iter().map(|attempt| attempt.tier.number()));
    if merged > 0 {
        out.push(Tier::Standard.number());
        out.extend(attempts.last().map(|attempt| attempt.tier.number()));
    }
}

/// One attempt that stands for many: no cost is lost. Allocates, which only a generation with more than 64 attempts causes.
fn merged<T>(attempts: &[Attempt<T>]) -> Attempt {
    let mut sum = Attempt { error: "merged".to_owned(), ..Attempt::default() };
    for attempt in attempts {
        sum.upstream_cost.0 = sum.upstream_cost.0.saturating_add(attempt.upstream_cost.0);
        sum.latency_us = sum.latency_us.saturating_add(attempt.latency_us);
        sum.flags.add(attempt.flags);
    }
    sum
}

fn put_attempt<T: AsRef<str>>(out: &mut Vec<u8>, attempt: &Attempt<T>) {
    put_u64(out, attempt.endpoint);
    put_u16(out, attempt.status);
    put_u64(out, attempt.latency_us);
    put_money(out, attempt.upstream_cost);
    put_u32(out, attempt.flags.0);
    for text in [&attempt.provider, &attempt.upstream_model, &attempt.upstream_id, &attempt.error] {
        put_text(out, text.as_ref());
    }
}

/// 0 for none, else the dialect's number and 1.
fn put_dialect(out: &mut Vec<u8>, dialect: Option<Dialect>) {
    out.push(dialect.map_or(0, |dialect| dialect.number() + 1));
}

fn put_losses<T: AsRef<str>>(out: &mut Vec<u8>, losses: &[Loss<T>], more: u32) {
    let (stored, counted) = losses.split_at(losses.len().min(LOSSES_MAX));
    out.push(stored.len() as u8);
    for loss in stored {
        out.push(loss.severity.number());
        put_text(out, loss.path.as_ref());
        put_text(out, loss.reason.as_ref());
    }
    put_u32(out, more.saturating_add(u32::try_from(counted.len()).unwrap_or(u32::MAX)));
}

/// 0 for none, else 1, the source and what was saved.
fn put_hit(out: &mut Vec<u8>, hit: Option<CacheHit>) {
    out.push(u8::from(hit.is_some()));
    if let Some(CacheHit { source, saved }) = hit {
        put_generation(out, source);
        put_money(out, saved);
    }
}

/// Sounds that were not counted are the highest number.
fn put_particulars(out: &mut Vec<u8>, particulars: &Particulars) {
    out.push(particulars.api as u8);
    put_u32(out, particulars.prompt_media);
    put_u32(out, particulars.prompt_sounds.map_or(u32::MAX, |sounds| sounds.min(u32::MAX - 1)));
    put_money(out, particulars.cache_discount);
}

/// What is left of a payload.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_le_bytes)
    }

    fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn manner(&mut self) -> Result<Manner, Malformed> {
        Ok(if self.bool()? { Manner::Openrouter } else { Manner::Native })
    }

    fn money(&mut self) -> Result<NanoUsd, Malformed> {
        self.take().map(|bytes| NanoUsd(i64::from_le_bytes(bytes)))
    }

    fn generation(&mut self) -> Result<GenerationId, Malformed> {
        self.take().map(|bytes| GenerationId(u128::from_le_bytes(bytes)))
    }

    fn scopes(&mut self) -> Result<Scopes, Malformed> {
        let mut scopes = Scopes::default();
        for scope in &mut scopes.0 {
            *scope = self.u64()?;
        }
        Ok(scopes)
    }

    fn usage(&mut self) -> Result<Usage, Malformed> {
        Ok(Usage {
            prompt_tokens: self.u64()?,
            cache_read_tokens: self.u64()?,
            cache_write_tokens: self.u64()?,
            cache_write_1h_tokens: self.u64()?,
            completion_tokens: self.u64()?,
            reasoning_tokens: self.u64()?,
            web_searches: self.u64()?,
        })
    }

    fn delivered(&mut self) -> Result<Delivered, Malformed> {
        Ok(Delivered {
            dialect: Dialect::from_number(self.u8()?).ok_or(Malformed)?,
            manner: self.manner()?,
            flags: Flags(self.u32()?),
            usage: self.usage()?,
            charged: self.money()?,
            upstream_cost: self.money()?,
            earlier_cost: self.money()?,
            endpoint: self.u64()?,
            model: self.text()?,
            provider: self.text()?,
            upstream_model: self.text()?,
            upstream_id: self.text()?,
        })
    }

    fn timings(&mut self) -> Result<Timings, Malformed> {
        Ok(Timings { sent_us: self.u64()?, head_us: self.u64()?, content_us: self.u64()?, total_us: self.u64()?, own_us: self.u64()? })
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = usize::from(self.u16()?);
        if length > TEXT_BYTES_MAX {
            return Err(Malformed);
        }
        let (text, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| Malformed)
    }

    fn attempts(&mut self) -> Result<Vec<Attempt>, Malformed> {
        let count = usize::from(self.u8()?);
        if count > ATTEMPTS_MAX {
            return Err(Malformed);
        }
        (0..count).map(|_| self.attempt()).collect()
    }

    fn attempt(&mut self) -> Result<Attempt, Malformed> {
        let mut attempt = Attempt {
            endpoint: self.u64()?,
            status: self.u16()?,
            latency_us: self.u64()?,
            upstream_cost: self.money()?,
            flags: Flags(self.u32()?),
            ..Attempt::default()
        };
        for text in [&mut attempt.provider, &mut attempt.upstream_model, &mut attempt.upstream_id, &mut attempt.error] {
            *text = self.text()?;
        }
        Ok(attempt)
    }

    fn dialect(&mut self) -> Result<Option<Dialect>, Malformed> {
        let number = self.u8()?.checked_sub(1);
        number.map(|number| Dialect::from_number(number).ok_or(Malformed)).transpose()
    }

    fn losses(&mut self) -> Result<Vec<Loss>, Malformed> {
        let count = usize::from(self.u8()?);
        if count > LOSSES_MAX {
            return Err(Malformed);
        }
        (0..count).map(|_| self.loss()).collect()
    }

    fn loss(&mut self) -> Result<Loss, Malformed> {
        let severity = Severity::from_number(self.u8()?).ok_or(Malformed)?;
        Ok(Loss { path: self.text()?, reason: self.text()?, severity })
    }

    fn hit(&mut self) -> Result<Option<CacheHit>, Malformed> {
        let read = |fields: &mut Self| Ok(CacheHit { source: fields.generation()?, saved: fields.money()? });
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    fn particulars(&mut self) -> Result<Particulars, Malformed> {
        Ok(Particulars {
            api: Api::ALL.get(usize::from(self.u8()?)).copied().ok_or(Malformed)?,
            prompt_media: self.u32()?,
            prompt_sounds: Some(self.u32()?).filter(|sounds| *sounds != u32::MAX),
            cache_discount: self.money()?,
        })
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
