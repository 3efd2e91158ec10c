//! The rates of models: what all callers together may ask of one, whatever keys they come with. A reload replaces what is written about a model;
//! how full its buckets are and how many calls it answers lives on here, by its name.

use fairlead_journal::{Recent, Unapplied};
use fairlead_ledger::Scopes;
use fairlead_limits::{Full, Gate, RateLimits, Taken, Wanted};
use fairlead_snapshot::wire::ModelRecent;
use fairlead_snapshot::{KeyHasher, ModelRates, Snapshot, SnapshotError};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// A model with rates.
pub(crate) struct ModelGate {
    pub(crate) name: Arc<str>,
    /// What records know it by ([`Scopes::MODEL`]).
    pub(crate) id: u64,
    pub(crate) gate: Gate,
}

/// All of them.
pub(crate) struct Models(Mutex<HashMap<Arc<str>, Arc<ModelGate>>>);

impl Models {
    pub(super) fn new() -> Models {
        Models(Mutex::default())
    }

    /// The rates of a model that has any.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<ModelGate>> {
        self.0.lock().get(name).cloned()
    }

    /// The rates of another configuration. What was taken stays taken.
    ///
    /// # Errors
    /// A rate is none; nothing is changed then.
    pub(crate) fn apply(&self, snapshot: &Snapshot, hasher: &KeyHasher, now_ms: u64) -> Result<(), SnapshotError> {
        let now_ns = now_ms.saturating_mul(1_000_000);
        let rated = snapshot.models.iter().filter_map(|model| Some((&model.id, model.rates.as_deref()?)));
        let read = |(id, said): (&Arc<str>, &ModelRates)| {
            let limits = super::rates(|name| format!("models.{id}.{name}"), said.rpm, said.tpm, said.max_concurrency)?;
            Ok((id.clone(), limits))
        };
        let limits: Vec<(Arc<str>, RateLimits)> = rated.map(read).collect::<Result<_, _>>()?;
        let mut known = self.0.lock();
        // One that is in use is come back to when its rates are.
        known.retain(|name, gate| Arc::strong_count(gate) > 1 || snapshot.model(name).is_some_and(|model| model.rates.is_some()));
        for (_, gate) in known.iter().filter(|(name, _)| snapshot.model(name).is_none_or(|model| model.rates.is_none())) {
            gate.gate.rates().limit(&RateLimits::default(), now_ns);
        }
        for (name, limits) in limits {
            let gate = known.entry(name.clone()).or_insert_with(|| {
                let id = super::short_id(hasher, &[b"model", name.as_bytes()]);
                Arc::new(ModelGate { name, id, gate: Gate::default() })
            });
            gate.gate.rates().limit(&limits, now_ns);
        }
        Ok(())
    }

    /// What was taken in the minute before this start, by the database and by the journal.
    pub(super) fn resume(&self, recent: &[ModelRecent], unapplied: &[Unapplied], at_ms: u64) {
        for model in self.0.lock().values() {
            let of_journal = unapplied.iter().filter(|more| (more.scope, more.id) == (Scopes::MODEL, model.id)).map(|more| more.recent);
            let of_database = recent.iter().filter(|recent| *recent.model == *model.name);
            let of_database = of_database.map(|&ModelRecent { requests, tokens, .. }| Recent { requests, tokens, ..Recent::default() });
            for Recent { requests, tokens, .. } in of_journal.chain(of_database) {
                model.gate.rates().resume(requests, tokens, at_ms.saturating_mul(1_000_000));
            }
        }
    }
}

/// What a request has taken of a model's rates. Its place is given back when this is dropped, and with it the tokens that no settlement says were
/// used.
pub(crate) struct Admission {
    model: Arc<ModelGate>,
    tokens: u64,
}

impl Admission {
    /// What was taken of it, with the rates of others or by itself.
    pub(crate) fn of(model: Arc<ModelGate>, tokens: u64) -> Admission {
        Admission { model, tokens }
    }

    /// Takes of a model alone: for a request that was let in by the others already.
    ///
    /// # Errors
    /// It is full.
    pub(crate) fn take(model: Arc<ModelGate>, wanted: Wanted, now_ms: u64) -> Result<Admission, Full> {
        let taken = Gate::enter(&[&model.gate], wanted, now_ms)?;
        Ok(Admission { tokens: taken.tokens, model })
    }

    /// What records know the model by.
    pub(crate) fn id(&self) -> u64 {
        self.model.id
    }

    pub(crate) fn settle(mut self, used: u64, now_ms: u64) {
        self.model.gate.settle(std::mem::take(&mut self.tokens), used, now_ms);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let held = self.model.gate.leave(Taken { tokens: self.tokens, free_day_ms: None });
        debug_assert!(held, "a place is given back twice");
    }
}
