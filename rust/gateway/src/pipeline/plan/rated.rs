//! A plan some of whose models have rates of their own (`[models.x] rpm`, `tpm`, `max_concurrency`): one that is full is passed over like one that is down,
//! and what a request has taken of a model goes with it from attempt to attempt.

use super::{Journey, Leg};
use crate::tenants::models::{Admission, ModelGate, Models};
use crate::worker::unix_ms;
use fairlead_limits::Wanted;
use fairlead_router::Attempt;
use std::sync::Arc;

/// What a request takes of each model that it comes to.
pub(super) struct Rated {
    models: Arc<Models>,
    wanted: Wanted,
    /// The model whose rates it has been let in by.
    at: usize,
    /// The model of the leg that was handed out last: it is `at` once the request goes on there.
    towards: usize,
    /// What a leg that was never sent had taken of that model, for the next one there.
    unsent: Option<Option<Admission>>,
}

impl Journey {
    /// The model that the plan prefers of those that are not passed over, and its rates, if it has any.
    pub(crate) fn first_model(&self, models: &Models) -> (Option<usize>, Option<Arc<ModelGate>>) {
        let first = self.first_model_index();
        (first, first.and_then(|first| self.gate_of(models, first)))
    }

    /// The model is full: another one comes in its place, if there is one.
    pub(crate) fn pass_over(&mut self, model: usize) -> bool {
        self.run.bar(model);
        self.first_model_index().is_some()
    }

    /// It has been let in by this model's rates, and takes as much of every other one that it comes to.
    pub(crate) fn enter_model(&mut self, models: &Arc<Models>, wanted: Wanted, at: usize) {
        self.rated = Some(Box::new(Rated { models: models.clone(), wanted, at, towards: at, unsent: None }));
    }

    /// The leg that was handed out last was gone on with, and what it took of its model is what the request has.
    pub(super) fn went_on(&mut self) {
        if let Some(rated) = self.rated.as_deref_mut() {
            rated.at = rated.towards;
        }
    }

    /// It was not: what it took of its model went with it.
    pub(super) fn stayed(&mut self) {
        if let Some(rated) = self.rated.as_deref_mut() {
            rated.towards = rated.at;
        }
    }

    /// It was not, and what it took of its model is for the next leg there: a request counts once.
    pub(super) fn keep_unsent(&mut self, unsent: Option<Option<Admission>>) {
        if let Some(rated) = self.rated.as_deref_mut() {
            rated.unsent = unsent;
        }
    }

    fn first_model_index(&self) -> Option<usize> {
        self.plan.steps.iter().map(|step| self.board.entry(step.entry).model).find(|model| !self.run.is_barred(*model))
    }

    fn gate_of(&self, models: &Models, model: usize) -> Option<Arc<ModelGate>> {
        let model = &self.board.snapshot().models[model];
        model.rates.as_ref().and_then(|_| models.get(&model.id))
    }

    /// The attempt, or the next one whose model has room for it.
    pub(super) fn rated_leg(&mut self, mut attempt: Attempt, now_ms: u64) -> Option<Leg> {
        loop {
            let model = self.board.entry(attempt.entry).model;
            let Some(rated) = self.rated.as_deref_mut() else { return Some(self.leg_of(attempt, None)) };
            let unsent = rated.unsent.take().filter(|_| model == rated.towards);
            if unsent.is_some() {
                return Some(self.leg_of(attempt, unsent));
            }
            rated.towards = rated.at;
            if model == rated.at {
                return Some(self.leg_of(attempt, None));
            }
            let (models, wanted) = (rated.models.clone(), rated.wanted);
            match self.gate_of(&models, model).map(|gate| Admission::take(gate, wanted, unix_ms())).transpose() {
                Ok(admission) => {
                    if let Some(rated) = self.rated.as_deref_mut() {
                        rated.towards = model;
                    }
                    return Some(self.leg_of(attempt, Some(admission)));
                }
                Err(_) => {
                    self.run.bar(model);
                    drop(attempt);
                    attempt = self.run.instead(&self.board, &self.plan, &self.need, now_ms)?;
                }
            }
        }
    }
}
