//! What came of a call, for whoever made it from within this process: the settlement as the journal has it, how a stream failed, and why it
//! went where it went.

use super::failure::Failure;
use crate::routes::Face;
use fairlead_formats::error::{self, Details};
use fairlead_ir::{Dialect, Loss, Manner, NanoUsd, Usage};
use fairlead_ledger::{Flags, Settle};
use fairlead_router::Explanation;
use std::cell::RefCell;

/// Filled by the call, read by who made it.
#[derive(Default)]
pub(crate) struct Receipt {
    settlement: RefCell<Option<Box<Settlement>>>,
    failure: RefCell<Option<Told>>,
    explanation: RefCell<Option<Vec<u8>>>,
}

/// How a stream failed after its head was out.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) retry_after_ms: Option<u64>,
}

/// A settled call.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The generation id.
    pub generation: String,
    /// Catalogue id of the model that answered.
    pub model: String,
    /// Slug of the provider that answered.
    pub provider: String,
    /// How many requests were sent for it.
    pub attempts: usize,
    /// How it ended, as the ledger names it.
    pub outcome: &'static str,
    /// Finish reason in OpenRouter's words; empty when none came.
    pub finish: String,
    /// What was used.
    pub usage: Usage,
    /// Whether that is our estimate.
    pub estimated: bool,
    /// What it costs.
    pub charged: NanoUsd,
    /// What the providers will invoice for all attempts, as far as we know.
    pub upstream_cost: NanoUsd,
    /// What did not reach the other side as it was.
    pub losses: Vec<Loss>,
}

impl Receipt {
    /// The face of errors here: of all the one that says the most.
    pub(crate) const FACE: Face = Face { dialect: Dialect::OpenaiChat, manner: Manner::Openrouter };

    pub(crate) fn settle(&self, record: &Settle<&str>) {
        let losses = record.losses.iter().map(|loss| Loss {
            path: loss.path.to_owned(),
            reason: loss.reason.to_owned().into(),
            severity: loss.severity,
        });
        let settlement = Settlement {
            generation: String::from_utf8_lossy(&record.generation.text()).into_owned(),
            model: record.model.to_owned(),
            provider: record.provider.to_owned(),
            attempts: record.attempts.len(),
            outcome: record.outcome.name(),
            finish: record.finish.to_owned(),
            usage: record.usage,
            estimated: record.flags.has(Flags::ESTIMATED),
            charged: record.charged,
            upstream_cost: NanoUsd(record.attempts.iter().map(|attempt| attempt.upstream_cost.0).sum()),
            losses: losses.collect(),
        };
        *self.settlement.borrow_mut() = Some(Box::new(settlement));
    }

    /// In place of an event in the stream.
    pub(crate) fn fail(&self, failure: &Failure, details: &Details<'_>) {
        let details = Details { status: failure.status, param: failure.param.as_deref(), ..*details };
        let Face { dialect, manner } = Receipt::FACE;
        let body = error::body(dialect, manner, failure.kind, &failure.message, &details);
        *self.failure.borrow_mut() = Some(Told { status: failure.status(), body, retry_after_ms: failure.retry_after_ms() });
    }

    /// Why it goes where it goes, whole: nobody carries it in a header here.
    pub(crate) fn explain(&self, explanation: &Explanation<'_>) {
        *self.explanation.borrow_mut() = serde_json::to_vec(explanation).ok();
    }

    pub(crate) fn take_explanation(&self) -> Option<Vec<u8>> {
        self.explanation.take()
    }

    pub(crate) fn take_settlement(&self) -> Option<Box<Settlement>> {
        self.settlement.take()
    }

    pub(crate) fn take_failure(&self) -> Option<Told> {
        self.failure.take()
    }
}
