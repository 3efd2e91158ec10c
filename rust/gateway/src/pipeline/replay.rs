//! Decisions that were logged, made again by another configuration: what it would have chosen, and what that would have cost.
//!
//! Whoever embeds this reads some decisions ([`Replay::read`]), looks up what came of them, and says so ([`Replay::settle`]); at the end there
//! is a [`Replay::summary`]. One block of the log and one batch of decisions are in memory, sums, and the ids of those
//! that waited in vain.
//!
//! What would have happened is taken to be what did: the reply would have had the same usage, and whoever failed, or was passed over because
//! its keys were at their limits, would have been passed over. So the same configuration comes to the same cost to the nano-dollar. An
//! endpoint counts as one for each service tier that it is asked for.

mod tally;

use super::decided::was_in_vain;
use super::plan::{Asked, way};
use crate::decisions::segment::{self, Reader, Record};
use fairlead_ir::{GenerationId, Terms, Tier, Usage};
use fairlead_ledger::settle::{Seen, bill};
use fairlead_ledger::{Flags, Outcome};
use fairlead_router::{Board, Inputs, Plan, Registry, replay};
use fairlead_snapshot::{Endpoint, Snapshot, SnapshotError};
use serde::Deserialize;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tally::Tally;

/// Which decisions are made again.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Of requests that began at this Unix millisecond or later.
    pub since_ms: u64,
    /// Of requests that began before this one.
    pub until_ms: u64,
    /// So many at most, the oldest of them.
    pub most: u64,
}

/// Why nothing can be replayed.
#[derive(Debug)]
pub enum ReplayError {
    /// The configuration is not valid.
    Snapshot(SnapshotError),
    /// The log cannot be read.
    Log(io::Error),
    /// What came of the decisions is not what was asked for.
    Happened(serde_json::Error),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Snapshot(error) => error.fmt(formatter),
            ReplayError::Log(error) => write!(formatter, "the log of decisions: {error}"),
            ReplayError::Happened(error) => write!(formatter, "what came of the decisions: {error}"),
        }
    }
}

impl std::error::Error for ReplayError {}

/// A replay in progress.
pub struct Replay {
    board: Board,
    /// Positions on the board by stable id.
    positions: HashMap<u64, usize>,
    /// Requests that waited in vain for a key.
    in_vain: HashSet<GenerationId>,
    reader: Reader,
    window: Window,
    /// Records of the block that is being read.
    block: VecDeque<Kept>,
    plan: Plan,
    waiting: Vec<Again>,
    tally: Tally,
}

/// A record that is not borrowed.
struct Kept {
    generation: GenerationId,
    asked: u8,
    inputs: Vec<u8>,
}

/// A decision, made again.
struct Again {
    generation: GenerationId,
    /// What the request called the model.
    name: String,
    /// What was chosen.
    then: Vec<Place>,
    now: Result<Vec<Choice>, String>,
    /// The order is the same to its end, and so are the dialects.
    is_same: bool,
    /// Nothing was sent: all that was chosen was at its limits for too long.
    was_in_vain: bool,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    /// The endpoint, by its stable id.
    endpoint: u64,
    /// The tier that it is asked for, where it sells that beside the usual one.
    tier: Option<Tier>,
}

/// What this configuration would try.
#[derive(Clone, Copy)]
struct Choice {
    place: Place,
    expected_usd: f64,
}

/// What came of a generation, as its settlement says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Happened {
    outcome: String,
    flags: u32,
    charged_nanousd: i64,
    prompt_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    cache_write_1h_tokens: u64,
    completion_tokens: u64,
    reasoning_tokens: u64,
    web_searches: u64,
    /// The endpoints that were asked, one per attempt, in order.
    endpoints: Vec<u64>,
    /// The service tiers that those were billed by; empty where the record is older than tiers.
    tiers: Vec<String>,
}

/// What it would have cost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cost {
    /// At the usage that there was.
    Exact(i64),
    /// What such a request is expected to cost: what this endpoint would have replied is not known.
    Expected(f64),
    /// Nobody who has not failed at that moment is left.
    Failed,
}

const PICO: f64 = 1e12;

impl Replay {
    /// Over the decisions in a folder, by this configuration.
    ///
    /// # Errors
    /// The configuration is not valid, or the folder cannot be read.
    pub fn new(snapshot: &[u8], folder: &Path, window: Window) -> Result<Replay, ReplayError> {
        let snapshot = Arc::new(Snapshot::from_json(snapshot).map_err(ReplayError::Snapshot)?);
        let board = Board::new(snapshot, &Registry::default()).map_err(ReplayError::Snapshot)?;
        let in_vain = in_vain(folder, window.since_ms).map_err(ReplayError::Log)?;
        let reader = Reader::open(folder, window.since_ms).map_err(ReplayError::Log)?;
        let positions = board.entries().enumerate().map(|(position, entry)| (entry.id, position)).collect();
        Ok(Replay {
            board,
            positions,
            in_vain,
            reader,
            window,
            block: VecDeque::new(),
            plan: Plan::default(),
            waiting: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Makes up to so many decisions again. Their generations, whose ends are to be told to [`Replay::settle`]; none: there are no more.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn read(&mut self, most: usize) -> Result<Vec<String>, ReplayError> {
        let mut generations = Vec::new();
        while generations.len() < most && self.window.most > 0 {
            let Some(Kept { generation, asked, inputs }) = self.block.pop_front() else {
                if self.next_block()? {
                    continue;
                }
                break;
            };
            if !(self.window.since_ms..self.window.until_ms).contains(&generation.unix_ms()) {
                continue;
            }
            self.window.most -= 1;
            match (Asked::from_byte(asked), Inputs::read(&inputs, generation.unix_ms())) {
                (Some(asked), Ok(inputs)) => {
                    let again = self.decide(generation, asked, &inputs);
                    self.waiting.push(again);
                    generations.push(generation.to_string());
                }
                _ => self.tally.unreadable_records += 1,
            }
        }
        Ok(generations)
    }

    /// Takes the records of the next block. False: there is none.
    fn next_block(&mut self) -> Result<bool, ReplayError> {
        let Some(block) = self.reader.next().map_err(ReplayError::Log)? else { return Ok(false) };
        for record in segment::records(&block) {
            match record {
                Some(Record { asked, .. }) if was_in_vain(asked) => {}
                Some(Record { generation, asked, inputs }) => self.block.push_back(Kept { generation, asked, inputs: inputs.to_vec() }),
                None => self.tally.unreadable_records += 1,
            }
        }
        Ok(true)
    }

    fn decide(&mut self, generation: GenerationId, asked: Asked, inputs: &Inputs) -> Again {
        let Replay { board, plan, .. } = self;
        let made = replay(board, inputs, |endpoint: &Endpoint| way(endpoint, asked), plan);
        let is_same = made.is_ok() && inputs.has_come_to(board, plan);
        let now = made.and_then(|()| {
            if plan.steps.is_empty() {
                return Err(plan.main_reason().map_or("there is no such endpoint", |reason| reason.word()).to_owned());
            }
            let choice = |step: &fairlead_router::Step| {
                let entry = board.entry(step.entry);
                Choice { place: Place { endpoint: entry.id, tier: entry.asks }, expected_usd: step.expected_pico / PICO }
            };
            Ok(plan.steps.iter().map(choice).collect())
        });
        let then = inputs.chosen.iter().map(|chosen| Place { endpoint: chosen.endpoint, tier: chosen.tier }).collect();
        let was_in_vain = self.in_vain.contains(&generation);
        Again { generation, name: inputs.name().to_owned(), then, now, is_same, was_in_vain }
    }

    /// Says what came of the decisions that were read last: JSON, an object of objects by generation; those that have not ended are not in
    /// it. `wants_each`: the decisions one by one, as a JSON array.
    ///
    /// # Errors
    /// It is no such JSON.
    pub fn settle(&mut self, happened: &[u8], wants_each: bool) -> Result<Vec<u8>, ReplayError> {
        let happened: HashMap<String, Happened> = serde_json::from_slice(happened).map_err(ReplayError::Happened)?;
        let mut each = Vec::new();
        for again in std::mem::take(&mut self.waiting) {
            let id = again.generation.to_string();
            let end = happened.get(&id);
            let then_nanousd = end.map(|end| end.charged_nanousd);
            let now = again.now.as_ref().ok().map(|choices| self.cost(&again, choices, end));
            self.tally.add(&again, then_nanousd, now);
            if wants_each {
                each.push(tally::told(&again, id, then_nanousd, now));
            }
        }
        serde_json::to_vec(&each).map_err(ReplayError::Happened)
    }

    /// The sums so far: JSON.
    pub fn summary(&self) -> Vec<u8> {
        self.tally.summary(self.reader.unreadable)
    }

    fn cost(&self, again: &Again, now: &[Choice], end: Option<&Happened>) -> Cost {
        let then = &again.then;
        if again.was_in_vain {
            let free = now.iter().find(|choice| !then.contains(&choice.place));
            return free.map_or(Cost::Failed, |choice| Cost::Expected(choice.expected_usd));
        }
        let first = now.first().map_or(0.0, |choice| choice.expected_usd);
        let asked = end.map_or_else(Vec::new, |end| end.asked(then));
        let (Some(end), Some((answered, before))) = (end, asked.split_last()) else { return Cost::Expected(first) };
        let passed_over = then.iter().take_while(|place| *place != answered && then.contains(answered));
        let failed = before.iter().filter(|place| *place != answered);
        let out: HashSet<Place> = passed_over.chain(failed).copied().collect();
        let Some(choice) = now.iter().find(|choice| !out.contains(&choice.place)) else { return Cost::Failed };
        let is_same = choice.place == *answered;
        // Who answered then is billed by the tier it said it served.
        let served = end.tiers.last().filter(|_| is_same).and_then(|tier| Tier::from_word(tier.as_bytes()));
        let terms = Terms { tier: served.or(choice.place.tier).unwrap_or_default(), unix_ms: again.generation.unix_ms() };
        end.cost_at(self.endpoint(choice.place.endpoint), terms, is_same).map_or(Cost::Expected(choice.expected_usd), Cost::Exact)
    }

    fn endpoint(&self, id: u64) -> Option<&Endpoint> {
        self.positions.get(&id).map(|position| self.board.endpoint(self.board.entry(*position)))
    }
}

/// The requests of a log that waited in vain: at most as many as the log has room for. What says so stands behind their decisions, often in
/// another block.
fn in_vain(folder: &Path, since_ms: u64) -> io::Result<HashSet<GenerationId>> {
    let mut reader = Reader::open(folder, since_ms)?;
    let mut found = HashSet::new();
    while let Some(block) = reader.next()? {
        let records = segment::records(&block).flatten();
        found.extend(records.filter(|record| was_in_vain(record.asked)).map(|record| record.generation));
    }
    Ok(found)
}

impl Happened {
    /// What was asked, one place per attempt, in order. An attempt says by which tier it was billed: the one that was asked for, unless the
    /// provider served another.
    fn asked(&self, then: &[Place]) -> Vec<Place> {
        let asked = |(attempt, endpoint): (usize, &u64)| {
            let billed = self.tiers.get(attempt).and_then(|tier| Tier::from_word(tier.as_bytes()));
            let mut places = then.iter().filter(|place| place.endpoint == *endpoint);
            let is_billed_so = |place: &&Place| billed == Some(place.tier.unwrap_or_default());
            let found = places.clone().find(is_billed_so).or_else(|| places.next());
            found.copied().unwrap_or(Place { endpoint: *endpoint, tier: None })
        };
        self.endpoints.iter().enumerate().map(asked).collect()
    }

    /// What the same reply costs there; `None`: there was no reply to go by. `is_same`: it is the endpoint that did answer.
    fn cost_at(&self, endpoint: Option<&Endpoint>, terms: Terms, is_same: bool) -> Option<i64> {
        let flags = Flags(self.flags);
        // What the provider said itself it would say again.
        if is_same && flags.has(Flags::COST_REPORTED) {
            return Some(self.charged_nanousd);
        }
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.name() == self.outcome)?;
        let usage = Usage {
            prompt_tokens: self.prompt_tokens,
            cache_read_tokens: self.cache_read_tokens,
            cache_write_tokens: self.cache_write_tokens,
            cache_write_1h_tokens: self.cache_write_1h_tokens,
            completion_tokens: self.completion_tokens,
            reasoning_tokens: self.reasoning_tokens,
            web_searches: self.web_searches,
        };
        let content = flags.has(Flags::CONTENT);
        // No provider had taken on the work where nothing was used.
        let billable = content || usage != Usage::default();
        let has_reply = match outcome {
            Outcome::Completed | Outcome::Cancelled => billable,
            Outcome::Failed => content,
            Outcome::Recovered | Outcome::Void => false,
        };
        if !is_same && !has_reply {
            return None;
        }
        let seen = Seen { usage: Some(usage), content, billable, ..Seen::default() };
        Some(bill(&endpoint?.prices, terms, outcome, &seen).charged.0)
    }
}
