//! A decision as it is written down, and made again: what the request said, what was known of health at that moment, and what came of it.
//!
//! Names, presets, splits and prices are looked up again when it is read, so that it can be asked what another configuration would have
//! decided. With the same one the decision is the same. What a request holds is not written, only what it needs.
//!
//! Numbers are little-endian, or in groups of seven bits (the low ones first) where most are small; texts and lists stand behind their
//! length. A byte too many or a number that nothing is known by is an error, never a guess: who changes the format numbers it anew.

use crate::board::{Board, health_id};
use crate::health::{FULL_SHARE, Pace, Percentiles, Pulse, Standing, State};
use crate::names::{self, Auto, CostTier, Pick, Sticky};
use crate::need::{Need, Way};
use crate::plan::{Moment, Now, Order, Plan, decide};
use crate::sticky::Pin;
use crate::wishes::{By, Cutoffs, MaxPrice, Partition, Sort, Wishes};
use fairlead_ir::{Dialect, PicoUsd, Tier};
use fairlead_snapshot::Endpoint;
use fairlead_snapshot::facts::{Names, Vocabulary};
use std::collections::HashMap;

/// A decision that was made, to be written down.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// What it was made on.
    pub board: &'a Board,
    /// What the request called the models, and who asked.
    pub names: names::Request<'a>,
    /// Patterns of the models that the key may use; none: all.
    pub patterns: &'a [String],
    /// What the request wished itself.
    pub wishes: &'a Wishes,
    /// What it needed.
    pub need: &'a Need,
    /// Where its conversation was pinned.
    pub pin: Option<Pin>,
    /// What was random in it.
    pub seed: u64,
    /// What came of it.
    pub plan: &'a Plan,
    /// What was read for it.
    pub recording: &'a Recording,
}

/// Health as it is, with what was read of it, or as it was.
///
/// A plan tells what was read of its own endpoints. Where others were looked at, or one twice, each figure is read once and remembered: what
/// another worker changes meanwhile would make a record that never was.
///
/// One type for both, so that there is one copy of what decides, and the compiler makes the most of it.
#[derive(Debug)]
pub struct Recording {
    now: Now,
    read: Option<Box<Read>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Read {
    pulses: HashMap<u64, Pulse>,
    paces: HashMap<u64, Pace>,
    /// What is not here is as always.
    is_past: bool,
}

impl Recording {
    /// For a decision with these wishes. `is_kept`: it will be written down.
    pub fn new(now: Now, pick: &Pick, wishes: &Wishes, is_kept: bool) -> Recording {
        let looks_at_others = *pick != Pick::Listed || wishes.allow_fallbacks == Some(false);
        Recording { now, read: (is_kept && looks_at_others).then(Box::default) }
    }
}

impl Moment for Recording {
    fn pulse(&mut self, entry: &crate::Entry, need: &Need) -> Pulse {
        match &mut self.read {
            None => self.now.pulse(entry, need),
            Some(read) => read.pulse(self.now, entry, need),
        }
    }

    fn pace(&mut self, entry: &crate::Entry) -> Pace {
        match &mut self.read {
            None => self.now.pace(entry),
            Some(read) => read.pace(self.now, entry),
        }
    }
}

impl Read {
    // Cold: what most decisions do not need shall not make what they do larger.
    #[cold]
    fn pulse(&mut self, mut now: Now, entry: &crate::Entry, need: &Need) -> Pulse {
        let is_past = self.is_past;
        let read = || if is_past { Pulse::default() } else { now.pulse(entry, need) };
        *self.pulses.entry(entry.health_id).or_insert_with(read)
    }

    #[cold]
    fn pace(&mut self, mut now: Now, entry: &crate::Entry) -> Pace {
        let is_past = self.is_past;
        let read = || if is_past { Pace::default() } else { now.pace(entry) };
        *self.paces.entry(entry.health_id).or_insert_with(read)
    }
}

/// What follows is there.
mod has {
    pub(super) const MODELS: u16 = 1;
    pub(super) const PRESET: u16 = 1 << 1;
    pub(super) const STICKY: u16 = 1 << 2;
    pub(super) const PATTERNS: u16 = 1 << 3;
    pub(super) const WISHES: u16 = 1 << 4;
    pub(super) const PIN: u16 = 1 << 5;
    pub(super) const MAX_TOKENS: u16 = 1 << 6;
    pub(super) const TOOLS: u16 = 1 << 7;
    /// Inputs, outputs or parameters.
    pub(super) const DEMANDS: u16 = 1 << 8;
    pub(super) const OTHERS: u16 = 1 << 9;
    pub(super) const PACES: u16 = 1 << 10;
    pub(super) const AUTO: u16 = 1 << 11;
    pub(super) const ALL: u16 = (AUTO << 1) - 1;
}

impl Decided<'_> {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Decided { board, names, patterns, wishes, need, pin, seed, plan, recording } = *self;
        let names::Request { model, models, preset, sticky, auto } = names;
        // The conversation is only good for looking up the pin; the moment is that of the generation.
        let Need { prompt_tokens, max_tokens, inputs, outputs, parameters, has_tools, account, conversation: _, unix_ms: _, is_unsized: _ } =
            *need;
        let read = recording.read.as_deref();
        let others = read.map_or_else(Vec::new, |read| others(board, plan, &read.pulses));
        let paces = paces(board, plan, read);
        let has_demands = !(inputs.is_empty() && outputs.is_empty() && parameters.is_empty());
        let mut flags = 0;
        for (flag, is_there) in [
            (has::MODELS, !models.is_empty()),
            (has::PRESET, preset.is_some()),
            (has::STICKY, sticky.is_some()),
            (has::PATTERNS, !patterns.is_empty()),
            (has::WISHES, *wishes != Wishes::NONE),
            (has::PIN, pin.is_some()),
            (has::MAX_TOKENS, max_tokens.is_some()),
            (has::TOOLS, has_tools),
            (has::DEMANDS, has_demands),
            (has::OTHERS, !others.is_empty()),
            (has::PACES, !paces.is_empty()),
            (has::AUTO, auto.is_some()),
        ] {
            flags |= if is_there { flag } else { 0 };
        }
        out.extend_from_slice(&seed.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        put_text(out, model);
        if !models.is_empty() {
            put_texts(out, models);
        }
        if let Some(preset) = preset {
            put_text(out, preset);
        }
        if let Some(sticky) = sticky {
            out.extend_from_slice(&sticky.hash().to_le_bytes());
        }
        if !patterns.is_empty() {
            put_texts(out, patterns);
        }
        if let Some(auto) = auto {
            put_auto(out, auto);
        }
        if flags & has::WISHES != 0 {
            put_wishes(out, wishes);
        }
        if let Some(Pin { endpoint, key }) = pin {
            put(out, endpoint);
            put(out, u64::from(key));
        }
        put(out, prompt_tokens);
        if let Some(max_tokens) = max_tokens {
            put(out, max_tokens);
        }
        put(out, account);
        if has_demands {
            put_names(out, inputs);
            put_names(out, outputs);
            put_names(out, parameters);
        }
        put(out, plan.steps.len() as u64);
        for step in &plan.steps {
            let entry = board.entry(step.entry);
            put(out, entry.id);
            out.push(
                step.dialect.number() | u8::from(step.reluctant) << 3 | u8::from(step.pinned) << 4 | u8::from(entry.asks.is_some()) << 5,
            );
            out.extend(entry.asks.map(Tier::number));
            put_pulse(out, &step.pulse);
        }
        if !others.is_empty() {
            put(out, others.len() as u64);
            for (id, pulse) in &others {
                put(out, *id);
                put_pulse(out, pulse);
            }
        }
        if !paces.is_empty() {
            put(out, paces.len() as u64);
            for (id, pace) in &paces {
                put(out, *id);
                put_pace(out, pace);
            }
        }
    }
}

/// Of endpoints that the plan does not hold, what is not as always.
fn others(board: &Board, plan: &Plan, pulses: &HashMap<u64, Pulse>) -> Vec<(u64, Pulse)> {
    let is_there = |id| plan.steps.iter().any(|step| board.entry(step.entry).health_id == id);
    let unusual = pulses.iter().filter(|(_, pulse)| **pulse != Pulse::default());
    let mut others: Vec<_> = unusual.map(|(id, pulse)| (*id, *pulse)).filter(|(id, _)| !is_there(*id)).collect();
    others.sort_unstable_by_key(|(id, _)| *id);
    others
}

/// What is not as always, in the order of ids where they were remembered.
fn paces(board: &Board, plan: &Plan, read: Option<&Read>) -> Vec<(u64, Pace)> {
    let unusual = |(_, pace): &(u64, Pace)| *pace != Pace::default();
    match read {
        None => plan.paces.iter().map(|(position, pace)| (board.entry(*position).health_id, *pace)).filter(unusual).collect(),
        Some(read) => {
            let mut paces: Vec<_> = read.paces.iter().map(|(id, pace)| (*id, *pace)).filter(unusual).collect();
            paces.sort_unstable_by_key(|(id, _)| *id);
            paces
        }
    }
}

/// A decision as it was written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    seed: u64,
    model: String,
    models: Vec<String>,
    preset: Option<String>,
    sticky: Option<u64>,
    patterns: Vec<String>,
    auto: Option<Auto>,
    wishes: Wishes,
    need: Need,
    pin: Option<Pin>,
    read: Read,
    /// What was chosen, in order.
    pub chosen: Vec<Chosen>,
}

/// An endpoint that was to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its stable id.
    pub endpoint: u64,
    /// The tier that it was asked for, where it sells that beside the usual one.
    pub tier: Option<Tier>,
    /// In which dialect.
    pub dialect: Dialect,
    /// It would probably refuse.
    pub reluctant: bool,
    /// It had the conversation's prompt in its cache.
    pub pinned: bool,
}

/// It is not what this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Inputs {
    /// Reads what [`Decided::write`] wrote, of a request that came at this moment.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(bytes: &[u8], unix_ms: u64) -> Result<Inputs, Malformed> {
        let mut fields = Fields(bytes);
        let seed = fields.u64()?;
        let flags = u16::from_le_bytes(fields.take()?);
        if flags & !has::ALL != 0 {
            return Err(Malformed);
        }
        let mut inputs = Inputs {
            seed,
            model: fields.text()?,
            models: if flags & has::MODELS != 0 { fields.texts()? } else { Vec::new() },
            preset: if flags & has::PRESET != 0 { Some(fields.text()?) } else { None },
            sticky: if flags & has::STICKY != 0 { Some(fields.u64()?) } else { None },
            patterns: if flags & has::PATTERNS != 0 { fields.texts()? } else { Vec::new() },
            auto: if flags & has::AUTO != 0 { Some(fields.auto()?) } else { None },
            wishes: if flags & has::WISHES != 0 { fields.wishes()? } else { Wishes::NONE },
            pin: if flags & has::PIN != 0 { Some(Pin { endpoint: fields.number()?, key: fields.small()? }) } else { None },
            need: Need { prompt_tokens: fields.number()?, has_tools: flags & has::TOOLS != 0, unix_ms, ..Need::tokens(0, None) },
            read: Read::default(),
            chosen: Vec::new(),
        };
        if flags & has::MAX_TOKENS != 0 {
            inputs.need.max_tokens = Some(fields.number()?);
        }
        inputs.need.account = fields.number()?;
        if flags & has::DEMANDS != 0 {
            inputs.need = Need { inputs: fields.names()?, outputs: fields.names()?, parameters: fields.names()?, ..inputs.need };
        }
        for _ in 0..fields.number()? {
            let endpoint = fields.number()?;
            let way = fields.u8()?;
            let dialect = Dialect::from_number(way & 7).filter(|_| way < 1 << 6).ok_or(Malformed)?;
            let tier = if way >> 5 & 1 == 1 { Some(Tier::from_number(fields.u8()?).ok_or(Malformed)?) } else { None };
            inputs.chosen.push(Chosen { endpoint, tier, dialect, reluctant: way >> 3 & 1 == 1, pinned: way >> 4 & 1 == 1 });
            inputs.read.pulses.insert(health_id(endpoint, tier), fields.pulse()?);
        }
        if flags & has::OTHERS != 0 {
            for _ in 0..fields.number()? {
                inputs.read.pulses.insert(fields.number()?, fields.pulse()?);
            }
        }
        if flags & has::PACES != 0 {
            for _ in 0..fields.number()? {
                inputs.read.paces.insert(fields.number()?, fields.pace()?);
            }
        }
        if fields.0.is_empty() { Ok(inputs) } else { Err(Malformed) }
    }

    /// The model that the request named first, as it named it.
    pub fn name(&self) -> &str {
        let preset = || self.preset.as_deref().unwrap_or_default();
        if self.model.is_empty() { self.models.first().map_or_else(preset, String::as_str) } else { &self.model }
    }

    /// Whether a plan holds the same choices in the same order.
    pub fn has_come_to(&self, board: &Board, plan: &Plan) -> bool {
        let chosen = plan.steps.iter().map(|step| Chosen {
            endpoint: board.entry(step.entry).id,
            tier: board.entry(step.entry).asks,
            dialect: step.dialect,
            reluctant: step.reluctant,
            pinned: step.pinned,
        });
        chosen.eq(self.chosen.iter().copied())
    }
}

/// Decides again, on this board, what was decided by these inputs; the plan may come out empty.
///
/// # Errors
/// A name or a wish means nothing there: the request would be refused. The text says which.
pub fn replay(board: &Board, inputs: &Inputs, serves: impl Fn(&Endpoint) -> Option<Way>, into: &mut Plan) -> Result<(), String> {
    into.clear();
    let Inputs { seed, model, models, preset, sticky, patterns, auto, wishes, need, pin, read, .. } = inputs;
    let unknown = wishes.order.iter().chain(&wishes.only).find(|slug| board.slug(slug).is_none());
    if let Some(slug) = unknown {
        return Err(format!("there is no provider {slug:?}"));
    }
    let request = names::Request { model, models, preset: preset.as_deref(), sticky: sticky.map(Sticky::Hash), auto: auto.as_ref() };
    let allowed = |id: &str| patterns.is_empty() || patterns.iter().any(|pattern| fairlead_snapshot::matches(pattern, id));
    let wanted = names::resolve(board, request, allowed, *seed).map_err(|error| error.message)?;
    let wishes = wanted.wishes(wishes.clone());
    let order = Order { pick: &wanted.pick, pool: &wanted.pool, models: &wanted.models, wishes: &wishes, need, pin: *pin, seed: *seed };
    let mut past = Recording { now: Now(0), read: Some(Box::new(Read { is_past: true, ..read.clone() })) };
    decide(board, &order, &mut past, serves, into);
    Ok(())
}

/// By their numbers in records: new ones come last.
const ORDERS: [By; 4] = [By::Price, By::Throughput, By::Latency, By::Exacto];
const STATES: [State; 3] = [State::Closed, State::Open, State::Due];
const STANDINGS: [Standing; 3] = [Standing::Normal, Standing::Degraded, Standing::Down];

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 1 << 7 {
        out.push(number as u8 | 1 << 7);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_texts<T: AsRef<str>>(out: &mut Vec<u8>, texts: &[T]) {
    put(out, texts.len() as u64);
    texts.iter().for_each(|text| put_text(out, text.as_ref()));
}

/// By name: positions change where a vocabulary grows.
fn put_names<V: Vocabulary>(out: &mut Vec<u8>, names: Names<V>) {
    put(out, names.names().count() as u64);
    names.names().for_each(|name| put_text(out, name));
}

/// 0 for none, else the place in the table and 1.
fn put_one_of<T: PartialEq>(out: &mut Vec<u8>, table: &[T], value: Option<&T>) {
    let place = value.and_then(|value| table.iter().position(|known| known == value));
    out.push(place.map_or(0, |place| place as u8 + 1));
}

fn put_option(out: &mut Vec<u8>, number: Option<u64>) {
    out.push(u8::from(number.is_some()));
    if let Some(number) = number {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_auto(out: &mut Vec<u8>, auto: &Auto) {
    let Auto { cost_tier, allowed, excluded } = auto;
    put_one_of(out, &CostTier::ALL.map(|(_, tier)| tier), cost_tier.as_ref());
    put_texts(out, allowed);
    put_texts(out, excluded);
}

fn put_wishes(out: &mut Vec<u8>, wishes: &Wishes) {
    let Wishes {
        order,
        only,
        ignore,
        allow_fallbacks,
        require_parameters,
        deny_data_collection,
        zdr,
        quantizations,
        sort,
        min_throughput,
        max_latency,
        max_price,
        tier,
    } = wishes;
    for slugs in [order, only, ignore] {
        put_texts(out, slugs);
    }
    for said in [allow_fallbacks, require_parameters, deny_data_collection, zdr] {
        put_one_of(out, &[false, true], said.as_ref());
    }
    put_names(out, *quantizations);
    put_one_of(out, &ORDERS, sort.by.as_ref());
    out.push(u8::from(sort.partition == Partition::None));
    for cutoff in min_throughput.0.iter().chain(&max_latency.0) {
        put_option(out, cutoff.map(f64::to_bits));
    }
    for price in [max_price.prompt, max_price.completion, max_price.request] {
        put_option(out, price.map(|price| price.0));
    }
    put_one_of(out, &Tier::ALL, tier.as_ref());
}

fn put_pulse(out: &mut Vec<u8>, pulse: &Pulse) {
    let Pulse { state, outage, standing, ramp, is_full, completion_tokens } = *pulse;
    let (is_ramping, is_known) = (ramp != FULL_SHARE, completion_tokens != 0);
    let flags = [outage, is_full, is_ramping, is_known];
    let flags = flags.iter().enumerate().fold(0, |bits, (place, flag)| bits | u8::from(*flag) << place);
    out.push(state as u8 | (standing as u8) << 2 | flags << 4);
    if is_ramping {
        put(out, u64::from(ramp));
    }
    if is_known {
        put(out, u64::from(completion_tokens));
    }
}

fn put_pace(out: &mut Vec<u8>, pace: &Pace) {
    let Pace { first_token_ms, throughput, tools, day } = pace;
    for Percentiles { samples, values } in [first_token_ms, throughput] {
        put(out, u64::from(*samples));
        values.iter().for_each(|value| put(out, u64::from(*value)));
    }
    for count in [tools.0, tools.1, *day] {
        put(out, u64::from(count));
    }
}

/// What is left to read.
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

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_le_bytes)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Malformed);
            }
            number |= bits << shift;
            if byte < 1 << 7 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.number()?).map_err(|_| Malformed)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = self.small::<usize>()?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| Malformed)
    }

    fn texts<T: From<String>>(&mut self) -> Result<Vec<T>, Malformed> {
        (0..self.number()?).map(|_| self.text().map(T::from)).collect()
    }

    fn names<V: Vocabulary>(&mut self) -> Result<Names<V>, Malformed> {
        Names::from_names(&self.texts::<String>()?).map_err(|_| Malformed)
    }

    fn one_of<T: Copy>(&mut self, table: &[T]) -> Result<Option<T>, Malformed> {
        let place = usize::from(self.u8()?).checked_sub(1);
        place.map(|place| table.get(place).copied().ok_or(Malformed)).transpose()
    }

    fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn option(&mut self) -> Result<Option<u64>, Malformed> {
        if self.bool()? { self.u64().map(Some) } else { Ok(None) }
    }

    fn auto(&mut self) -> Result<Auto, Malformed> {
        let cost_tier = self.one_of(&CostTier::ALL.map(|(_, tier)| tier))?;
        Ok(Auto { cost_tier, allowed: self.texts()?, excluded: self.texts()? })
    }

    fn wishes(&mut self) -> Result<Wishes, Malformed> {
        const SAID: [bool; 2] = [false, true];
        Ok(Wishes {
            order: self.texts()?,
            only: self.texts()?,
            ignore: self.texts()?,
            allow_fallbacks: self.one_of(&SAID)?,
            require_parameters: self.one_of(&SAID)?,
            deny_data_collection: self.one_of(&SAID)?,
            zdr: self.one_of(&SAID)?,
            quantizations: self.names()?,
            sort: Sort { by: self.one_of(&ORDERS)?, partition: if self.bool()? { Partition::None } else { Partition::Model } },
            min_throughput: self.cutoffs()?,
            max_latency: self.cutoffs()?,
            max_price: MaxPrice { prompt: self.price()?, completion: self.price()?, request: self.price()? },
            tier: self.one_of(&Tier::ALL)?,
        })
    }

    fn cutoffs(&mut self) -> Result<Cutoffs, Malformed> {
        let mut cutoffs = Cutoffs::NONE;
        for cutoff in &mut cutoffs.0 {
            *cutoff = self.option()?.map(f64::from_bits);
        }
        Ok(cutoffs)
    }

    fn price(&mut self) -> Result<Option<PicoUsd>, Malformed> {
        self.option().map(|price| price.map(PicoUsd))
    }

    fn pulse(&mut self) -> Result<Pulse, Malformed> {
        let bits = self.u8()?;
        let flag = |place: u32| bits >> 4 >> place & 1 == 1;
        Ok(Pulse {
            state: *STATES.get(usize::from(bits & 3)).ok_or(Malformed)?,
            standing: *STANDINGS.get(usize::from(bits >> 2 & 3)).ok_or(Malformed)?,
            outage: flag(0),
            is_full: flag(1),
            ramp: if flag(2) { self.small()? } else { FULL_SHARE },
            completion_tokens: if flag(3) { self.small()? } else { 0 },
        })
    }

    fn pace(&mut self) -> Result<Pace, Malformed> {
        Ok(Pace {
            first_token_ms: self.percentiles()?,
            throughput: self.percentiles()?,
            tools: (self.small()?, self.small()?),
            day: self.small()?,
        })
    }

    fn percentiles(&mut self) -> Result<Percentiles, Malformed> {
        let mut percentiles = Percentiles { samples: self.small()?, ..Percentiles::default() };
        for value in &mut percentiles.values {
            *value = self.small()?;
        }
        Ok(percentiles)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn numbers_read_back_and_what_is_too_long_is_none() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            assert_eq!(Fields(&bytes).number(), Ok(number));
            assert_eq!(Fields(&bytes[1..]).number().is_ok(), bytes.len() > 1, "{number}");
            bytes.pop();
            assert_eq!(Fields(&bytes).number(), Err(Malformed), "{number}");
        }
        assert_eq!(Fields(&[0xff; 11]).number(), Err(Malformed));
        assert_eq!(Fields(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).number(), Err(Malformed));
    }

    #[test]
    fn every_state_has_the_number_it_is_read_by() {
        for (number, state) in STATES.iter().enumerate() {
            for (other, standing) in STANDINGS.iter().enumerate() {
                let pulse = Pulse { state: *state, standing: *standing, is_full: true, ramp: 5, completion_tokens: 70_000, outage: false };
                let mut bytes = Vec::new();
                put_pulse(&mut bytes, &pulse);
                assert_eq!(usize::from(bytes[0] & 15), number | other << 2);
                assert_eq!(Fields(&bytes).pulse().unwrap(), pulse);
            }
        }
        assert_eq!(Fields(&[3]).pulse(), Err(Malformed));
    }
}
