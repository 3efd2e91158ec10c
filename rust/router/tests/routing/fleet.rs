//! A fleet: endpoints that behave as a function of the time says, a clock that is only turned, and callers.

use crate::world::{Spec, board_of, serves};
use fairlead_router::health::outcome::{Class, Outcome};
use fairlead_router::names::Named;
use fairlead_router::{Attempt, Board, Need, Now, Order, Pins, Plan, Registry, Run, Told, Wishes, plan};
use std::collections::BTreeMap;

pub(crate) struct Fleet<'a> {
    pub(crate) board: Board,
    pub(crate) pins: Pins,
    pub(crate) now_ms: u64,
    pub(crate) need: Need,
    pub(crate) wishes: Wishes,
    seed: u64,
    plan: Plan,
    /// What an endpoint (by its id) answers at a moment, to its so-manieth attempt.
    behave: Box<dyn Fn(u64, u64, u64) -> Outcome + 'a>,
    /// Attempts by endpoint.
    pub(crate) attempts: BTreeMap<u64, u64>,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
}

pub(crate) const START_MS: u64 = 1_795_266_000_000;
const MOST_ATTEMPTS: u32 = 3;

impl<'a> Fleet<'a> {
    pub(crate) fn new(specs: &[Spec], providers: &[(&str, &str)], behave: impl Fn(u64, u64, u64) -> Outcome + 'a) -> Fleet<'a> {
        Fleet {
            board: board_of(specs, providers, "", &Registry::default()),
            pins: Pins::new(1_000),
            now_ms: START_MS,
            need: Need::tokens(100, Some(100)),
            wishes: Wishes::NONE,
            seed: 0,
            plan: Plan::default(),
            behave: Box::new(behave),
            attempts: BTreeMap::new(),
            requests: 0,
            failed: 0,
        }
    }

    /// A request for the first model: the ids of the endpoints that were tried, and how the last attempt ended.
    pub(crate) fn request(&mut self) -> (Vec<u64>, Option<Class>) {
        let mut run = self.start();
        let mut tried = Vec::new();
        let mut last = None;
        let mut attempt = self.begin(&mut run);
        while let Some(made) = attempt {
            let id = self.board.entry(made.entry).id;
            let outcome = self.answer(id);
            if outcome.class == Class::Success {
                let told = Told {
                    through_router: self.plan.through_router,
                    used_cache: outcome.completion_tokens > 1,
                    cache_seconds: None,
                    pinned: self.plan.pinned(),
                };
                made.remember(&self.board, &self.pins, &self.need, told, self.now_ms);
            }
            made.finish(&outcome, None, self.now_ms);
            tried.push(id);
            last = Some(outcome.class);
            attempt = run.next(&self.board, &self.plan, &self.need, outcome.class, self.now_ms);
        }
        self.failed += u64::from(last != Some(Class::Success));
        (tried, last)
    }

    /// An attempt that is held open.
    pub(crate) fn hold(&mut self) -> Option<Attempt> {
        let mut run = self.start();
        self.begin(&mut run)
    }

    pub(crate) fn plan(&mut self) -> Vec<u64> {
        self.start();
        self.plan.steps.iter().map(|step| self.board.entry(step.entry).id).collect()
    }

    /// Nobody waits here.
    fn begin(&self, run: &mut Run) -> Option<Attempt> {
        let (board, plan, need, now_ms) = (&self.board, &self.plan, &self.need, self.now_ms);
        run.first(board, plan, need, now_ms).or_else(|| run.first_regardless(board, plan, need, now_ms))
    }

    fn start(&mut self) -> Run {
        self.seed += 1;
        self.requests += 1;
        let models = [Named::model(0)];
        let order = Order { wishes: &self.wishes, ..Order::model(&models, &self.need, self.seed) };
        let order = order.pinned(&self.board, &self.pins, self.now_ms);
        plan(&self.board, &order, &mut Now(self.now_ms), serves, &mut self.plan);
        Run::new(self.seed, MOST_ATTEMPTS)
    }

    fn answer(&mut self, id: u64) -> Outcome {
        let number = self.attempts.entry(id).or_default();
        *number += 1;
        (self.behave)(id, self.now_ms - START_MS, *number)
    }

    /// So many requests evenly over so many milliseconds; the share of first attempts that endpoint `id` got.
    pub(crate) fn load(&mut self, requests: u64, over_ms: u64, id: u64) -> f64 {
        let from_ms = self.now_ms;
        let mut first = 0;
        for number in 0..requests {
            self.now_ms = from_ms + number * over_ms / requests;
            first += u64::from(self.request().0.first() == Some(&id));
        }
        self.now_ms = from_ms + over_ms;
        first as f64 / requests as f64
    }

    pub(crate) fn total_attempts(&self) -> u64 {
        self.attempts.values().sum()
    }
}
