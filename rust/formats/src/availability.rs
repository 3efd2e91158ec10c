//! `error.availability`: why a request found no endpoint, for programs. OpenRouter's shape, on OpenRouter's routes.

use crate::write::{Array, Object};

/// Why nothing can serve a request, and what would change that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    /// In a word.
    pub code: AvailabilityCode,
    /// When the same request may be served, where waiting helps.
    pub retry_after_s: Option<u64>,
    /// The models that were asked for, as the caller wrote them.
    pub requested_models: Vec<String>,
    /// Slugs of the providers whose endpoints are out.
    pub affected_providers: Vec<String>,
    /// What took them out.
    pub excluded_by: Vec<&'static str>,
    /// Models that might do instead.
    pub fallback_models: Vec<String>,
    /// What took most of them out, and what would let them in.
    pub constraint: Option<Constraint>,
}

/// What of a request takes endpoints out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// The request's member that says so.
    pub field: &'static str,
    /// What would relax it.
    pub detail: String,
}

/// OpenRouter's words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvailabilityCode {
    /// There is no such model.
    ModelNotFound,
    /// The model does not do this kind of work.
    WrongEndpoint,
    /// The model has no endpoint at all.
    NoEndpoints,
    /// What may be done with the prompt keeps them out.
    PrivacyRestricted,
    /// Something else that was asked for does.
    ConstraintFiltered,
    /// Nobody serves it for nothing.
    FreeVariantEnded,
    /// All that may serve it are at their limits.
    CapacityExhausted,
}

impl AvailabilityCode {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            AvailabilityCode::ModelNotFound => "model_not_found",
            AvailabilityCode::WrongEndpoint => "wrong_endpoint",
            AvailabilityCode::NoEndpoints => "no_endpoints",
            AvailabilityCode::PrivacyRestricted => "privacy_restricted",
            AvailabilityCode::ConstraintFiltered => "constraint_filtered",
            AvailabilityCode::FreeVariantEnded => "free_variant_ended",
            AvailabilityCode::CapacityExhausted => "capacity_exhausted",
        }
    }
}

impl Availability {
    /// Adds it to an error.
    pub(crate) fn write(&self, error: &mut Object<'_>) {
        error.object("availability", |json| {
            json.text("code", self.code.word()).flag("retryable", self.code == AvailabilityCode::CapacityExhausted);
            match self.retry_after_s {
                Some(seconds) => json.number("retry_after", seconds),
                None => json.raw("retry_after", b"null"),
            };
            json.array("requested_models", |list| texts(list, &self.requested_models));
            json.array("affected_providers", |list| texts(list, &self.affected_providers));
            json.array("excluded_by", |list| texts(list, &self.excluded_by));
            json.array("fallback_models", |list| texts(list, &self.fallback_models));
            match &self.constraint {
                Some(Constraint { field, detail }) => json.object("constraint", |constraint| {
                    constraint.text("field", field).text("detail", detail);
                }),
                None => json.raw("constraint", b"null"),
            };
            json.raw("docs_url", b"null");
        });
    }
}

fn texts(list: &mut Array<'_>, texts: &[impl AsRef<str>]) {
    for text in texts {
        list.text(text.as_ref());
    }
}
