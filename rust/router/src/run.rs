//! A plan, carried out: attempts one after the other, at most so many, each step once, none after which nothing may follow.

use crate::board::{Board, Entry};
use crate::health::lane::{Turn, choose, mark};
use crate::health::outcome::{Circuit, Class, Cools, Outcome, Retry};
use crate::health::{Admission, Endpoint as Health, Quota, Standing, State};
use crate::hedge;
use crate::need::Need;
use crate::plan::{Plan, Step};
use crate::random::Draws;
use crate::sticky::{self, Pins, Reply};
use fairlead_ir::Dialect;
use std::sync::Arc;

/// Beyond so many steps, those that were passed over are not come back to.
const REMEMBERED: usize = u128::BITS as usize;

/// The state of a request on its way through a plan.
#[derive(Debug)]
pub struct Run {
    draws: Draws,
    most: u32,
    made: u32,
    /// The step of the attempt before.
    at: usize,
    /// The step to look at next.
    next: usize,
    /// Keys of the step that were tried.
    keys: u64,
    /// Steps that were tried.
    tried: u128,
    /// The step and keys of the attempt that another was begun beside.
    beside: Option<(usize, u64)>,
    /// Models that will not do: the prompt is too long, or they refuse.
    barred: Vec<usize>,
}

/// An attempt that may be made. It holds its place (a key's concurrency, a breaker's probe) until it is finished or dropped.
#[derive(Debug)]
pub struct Attempt {
    /// The number of the attempt, from 1.
    pub number: u32,
    /// Position of its step in the plan.
    pub step: usize,
    /// Position of its endpoint on the board.
    pub entry: usize,
    /// In which dialect.
    pub dialect: Dialect,
    /// Position of the credential.
    pub key: usize,
    held: Held,
}

#[derive(Debug)]
struct Held {
    health: Arc<Health>,
    /// `None` where there is no credential to speak of.
    turn: Option<Turn>,
    probe: bool,
    started_ms: u64,
    seed: u64,
}

/// What a reply told of the conversation's cache.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// [`Plan::through_router`] of the plan.
    pub through_router: bool,
    /// A part of the prompt was read from the cache, or written to it.
    pub used_cache: bool,
    /// How long the caller asked the prompt to be kept.
    pub cache_seconds: Option<u64>,
    /// Where the conversation was pinned when the plan was made ([`Plan::pinned`]).
    pub pinned: Option<usize>,
}

/// What a step must satisfy to be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    /// A free key, and a breaker that lets it in.
    Full,
    /// A free key. The endpoint is shut out, but nothing else is left: the last one is never ejected.
    Keys,
    /// A key whose configured limits hold; what a provider said of limits and refusals may be outdated.
    Limits,
}

impl Run {
    /// A run with at most so many attempts.
    pub const fn new(seed: u64, most: u32) -> Run {
        Run { draws: Draws::new(seed ^ 0x5bd1_e995), most, made: 0, at: 0, next: 0, keys: 0, tried: 0, beside: None, barred: Vec::new() }
    }

    /// The first attempt, with a key that is free. `None`: none is; the caller may wait.
    pub fn first(&mut self, board: &Board, plan: &Plan, need: &Need, now_ms: u64) -> Option<Attempt> {
        if let Some(attempt) = self.spared(board, plan, need, now_ms) {
            return Some(attempt);
        }
        self.next = 0;
        let attempt = self.find(board, plan, need, now_ms, Care::Full).or_else(|| {
            self.next = 0;
            self.find(board, plan, need, now_ms, Care::Keys)
        })?;
        board.budget(board.entry(attempt.entry).provider).deposit();
        Some(attempt)
    }

    /// The first attempt where the provider of the first choice has used up its retries: a failure there could not be followed by another attempt,
    /// so the request goes to an endpoint of the same model that is well, if there is one. Its deposit is the first choice's, which is asked
    /// again once it can afford a failure: no request is answered by its failure as long as somebody else is well, and attempts remain within a
    /// fifth more than requests.
    fn spared(&mut self, board: &Board, plan: &Plan, need: &Need, now_ms: u64) -> Option<Attempt> {
        let choice = plan.steps.first()?;
        let wanted = board.entry(choice.entry);
        let budget = board.budget(wanted.provider);
        // Where the breaker keeps it out, nobody is spared it.
        if self.is_barred(wanted.model) || !budget.is_low() || choice.pulse.state != State::Closed {
            return None;
        }
        for (position, step) in plan.steps.iter().enumerate().skip(1) {
            let entry = board.entry(step.entry);
            let is_well = step.pulse.state == State::Closed && step.pulse.standing == Standing::Normal && !step.pulse.outage;
            if entry.model != wanted.model || step.reluctant || !is_well || board.budget(entry.provider).is_low() {
                continue;
            }
            (self.next, self.keys) = (position, 0);
            if let Some(attempt) = self.take(entry, step, need, now_ms, Care::Full) {
                budget.deposit();
                return Some(attempt);
            }
        }
        self.keys = 0;
        None
    }

    /// The first attempt, whatever providers said of their limits. `None`: every key of every endpoint is at a configured limit.
    pub fn first_regardless(&mut self, board: &Board, plan: &Plan, need: &Need, now_ms: u64) -> Option<Attempt> {
        let attempt = self.regardless(board, plan, need, now_ms)?;
        board.budget(board.entry(attempt.entry).provider).deposit();
        Some(attempt)
    }

    /// How long until time alone could give this request a key, where none is free; 0 where that is up to other requests.
    pub fn wait_ms(&self, board: &Board, plan: &Plan, need: &Need, now_ms: u64) -> u64 {
        let tokens = need.tokens_at_most();
        plan.steps.iter().map(|step| board.entry(step.entry).wait_ms(now_ms, tokens)).min().unwrap_or(0)
    }

    /// The attempt that follows a failure of this class, if one may.
    pub fn next(&mut self, board: &Board, plan: &Plan, need: &Need, failed: Class, now_ms: u64) -> Option<Attempt> {
        let retry = failed.verdict().retry;
        if retry == Retry::Never || self.made >= self.most || self.made == 0 {
            return None;
        }
        let failed_entry = board.entry(plan.steps.get(self.at)?.entry);
        if retry == Retry::NextModel {
            self.barred.push(failed_entry.model);
        }
        let keys = self.keys;
        (self.next, self.keys) = if retry == Retry::NextKey { (self.at, keys) } else { (self.at + 1, 0) };
        let attempt = self.find(board, plan, need, now_ms, Care::Full).or_else(|| self.passed_over(board, plan, need, now_ms))?;
        // Another key or another model is no second helping of the same trouble.
        let is_repetition = !matches!(retry, Retry::NextModel);
        if is_repetition && !board.budget(failed_entry.provider).withdraw(failed == Class::TimedOut) {
            return None;
        }
        Some(attempt)
    }

    /// The attempt in place of one that was never sent, because its endpoint cannot be told this request: the next endpoint's. It costs
    /// nothing and is not counted.
    pub fn instead(&mut self, board: &Board, plan: &Plan, need: &Need, now_ms: u64) -> Option<Attempt> {
        self.made = self.made.saturating_sub(1);
        (self.next, self.keys) = (self.at + 1, 0);
        let found = self.find(board, plan, need, now_ms, Care::Full).or_else(|| self.passed_over(board, plan, need, now_ms));
        // In the first attempt's place, what providers said of their limits may be outdated.
        found.or_else(|| if self.made == 0 { self.regardless(board, plan, need, now_ms) } else { None })
    }

    /// After how long without a first token [`beside`](Run::beside) may be asked.
    pub fn hedge_after_ms(&self, board: &Board, plan: &Plan, now_ms: u64) -> Option<u64> {
        self.step_beside(board, plan, now_ms).map(|(_, delay_ms)| delay_ms)
    }

    /// A second attempt at the same time: at the next endpoint of the same model that has a free key. If it fails while the first goes on,
    /// [`rejoin`](Run::rejoin) says so.
    pub fn beside(&mut self, board: &Board, plan: &Plan, need: &Need, now_ms: u64) -> Option<Attempt> {
        let (position, _) = self.step_beside(board, plan, now_ms)?;
        let before = (self.at, self.next, self.keys);
        (self.next, self.keys) = (position, 0);
        let step = &plan.steps[position];
        let attempt = self.take(board.entry(step.entry), step, need, now_ms, Care::Full);
        match attempt {
            Some(_) => self.beside = Some((before.0, before.2)),
            None => (self.at, self.next, self.keys) = before,
        }
        attempt
    }

    /// The attempt that was begun beside the first is over, and the first is not.
    pub fn rejoin(&mut self) {
        if let Some((at, keys)) = self.beside.take() {
            (self.at, self.keys) = (at, keys);
        }
    }

    /// The first step behind the current one that may be hedged with, and after how long.
    fn step_beside(&self, board: &Board, plan: &Plan, now_ms: u64) -> Option<(usize, u64)> {
        let current = board.entry(plan.steps.get(self.at)?.entry);
        let steps = plan.steps.iter().enumerate().skip(self.at + 1).take(REMEMBERED);
        let entries = steps.map(|(position, step)| (position, board.entry(step.entry)));
        let fit = |(position, other): (usize, &Entry)| Some((position, hedge::delay_ms(current, other, now_ms)?));
        let mut alike = entries.filter(|(_, other)| other.model == current.model);
        if self.made < self.most && self.beside.is_none() { alike.find_map(fit) } else { None }
    }

    /// Whether another attempt may follow the one that was handed out last, as far as can be said before it has failed.
    pub fn may_go_on(&self, board: &Board, plan: &Plan) -> bool {
        let keys = plan.steps.get(self.at).map_or(0, |step| board.entry(step.entry).turns.len());
        self.made < self.most && (keys > 1 || plan.steps.len() > 1)
    }

    /// Whether a model may follow that is not the one of the attempt that was handed out last.
    pub fn may_change_model(&self, board: &Board, plan: &Plan) -> bool {
        let model = |step: &Step| board.entry(step.entry).model;
        let Some(current) = plan.steps.get(self.at).map(model) else { return false };
        self.made < self.most && plan.steps.iter().map(model).any(|model| model != current && !self.barred.contains(&model))
    }

    /// This model will not do: no step of it is taken any more.
    pub fn bar(&mut self, model: usize) {
        self.barred.push(model);
    }

    /// Whether a model was found not to do.
    pub fn is_barred(&self, model: usize) -> bool {
        self.barred.contains(&model)
    }

    /// Attempts that were handed out.
    pub const fn made(&self) -> u32 {
        self.made
    }

    /// Steps that were passed over: shut out, or without a free key.
    fn passed_over(&mut self, board: &Board, plan: &Plan, need: &Need, now_ms: u64) -> Option<Attempt> {
        (self.next, self.keys) = (0, 0);
        self.find(board, plan, need, now_ms, Care::Keys)
    }

    fn regardless(&mut self, board: &Board, plan: &Plan, need: &Need, now_ms: u64) -> Option<Attempt> {
        (self.next, self.keys) = (0, 0);
        self.find(board, plan, need, now_ms, Care::Limits)
    }

    fn find(&mut self, board: &Board, plan: &Plan, need: &Need, now_ms: u64, care: Care) -> Option<Attempt> {
        while let Some(step) = plan.steps.get(self.next) {
            let position = self.next;
            let entry = board.entry(step.entry);
            // A step is tried again only with another of its keys.
            let again = position < REMEMBERED && self.tried >> position & 1 == 1;
            let unseen = position < REMEMBERED || care == Care::Full;
            let may = !self.barred.contains(&entry.model) && unseen && (!again || self.keys != 0);
            if let Some(attempt) = may.then(|| self.take(entry, step, need, now_ms, care)).flatten() {
                return Some(attempt);
            }
            self.next += 1;
            self.keys = 0;
        }
        None
    }

    fn take(&mut self, entry: &Entry, step: &Step, need: &Need, now_ms: u64, care: Care) -> Option<Attempt> {
        let tokens = need.tokens_at_most();
        let key = match care {
            _ if entry.turns.is_empty() => (self.keys == 0).then_some(0),
            Care::Full | Care::Keys => choose(&entry.turns, now_ms, tokens, step.key.map(usize::from), self.keys, &mut self.draws),
            Care::Limits => entry.turns.iter().position(|turn| turn.is_within_limits(now_ms, tokens)),
        }?;
        let probe = match care {
            Care::Full => match entry.health.admit(now_ms) {
                Admission::Open => false,
                Admission::Probe => true,
                Admission::Denied => return None,
            },
            Care::Keys | Care::Limits => false,
        };
        let turn = entry.turns.get(key).cloned();
        if let Some(turn) = &turn {
            turn.take(now_ms, tokens);
        }
        self.made += 1;
        self.at = self.next;
        self.keys = mark(self.keys, key);
        if self.at < REMEMBERED {
            self.tried |= 1 << self.at;
        }
        let held = Held { health: Arc::clone(&entry.health), turn, probe, started_ms: now_ms, seed: self.draws.number() };
        Some(Attempt { number: self.made, step: self.at, entry: step.entry, dialect: step.dialect, key, held })
    }
}

impl Attempt {
    /// Whether everybody waits for how this one goes: a server that was out is tried again.
    pub const fn is_probe(&self) -> bool {
        self.held.probe
    }

    /// Pins the conversation to where it went well, if it is one to be pinned. `cache_seconds`: how long the caller asked the prompt to be
    /// kept. Also called for a reply that was refreshed from the cache, which refreshes the pin.
    pub fn remember(&self, board: &Board, pins: &Pins, need: &Need, told: Told, now_ms: u64) {
        // Where the pinned endpoint failed or was passed over, its cache is still the one that the conversation comes back to.
        if told.pinned.is_some_and(|pinned| pinned != self.entry) {
            return;
        }
        let reply =
            Reply { key: u16::try_from(self.key).unwrap_or_default(), used_cache: told.used_cache, cache_seconds: told.cache_seconds };
        sticky::remember(pins, board, board.entry(self.entry), need, told.through_router, &reply, now_ms);
    }

    /// Takes back how it went, and what the provider's headers said of its limits. What comes of it: whether another attempt may follow.
    pub fn finish(mut self, outcome: &Outcome, quota: Option<&Quota>, now_ms: u64) -> Retry {
        let verdict = outcome.class.verdict();
        self.held.health.note(outcome, now_ms, self.held.seed);
        if let Some(turn) = &self.held.turn {
            if let Some(quota) = quota {
                turn.lane.learn(quota, now_ms);
            }
            match (verdict.cools, outcome.class) {
                (Cools::Lane, Class::RateLimited) => turn.lane.limited(now_ms, outcome.retry_after_ms),
                (Cools::Lane, _) => turn.lane.cool(now_ms, outcome.retry_after_ms),
                (Cools::Key, _) => turn.key.refused(now_ms),
                (Cools::Nothing, Class::Success) => turn.succeeded(),
                (Cools::Nothing, _) => {}
            }
        }
        // A probe that only learned of a full or a wrong key has not seen the server at work: the next one may try.
        self.held.probe &= verdict.circuit == Circuit::Silent;
        self.held.started_ms = now_ms;
        verdict.retry
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(turn) = &self.turn {
            turn.give_back();
        }
        if self.probe {
            self.health.abandon(self.started_ms);
        }
    }
}
