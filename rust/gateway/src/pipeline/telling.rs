//! What a caller is told of the routing of its request: how it went (`openrouter_metadata`), where it asked for that, and why there was
//! nowhere to go (`error.availability`).

use super::Admitted;
use super::failure::Failure;
use super::plan::Choice;
use fairlead_formats::availability::{Availability, AvailabilityCode, Constraint};
use fairlead_formats::metadata::{Metadata, Offered, Tried};
use fairlead_formats::request::Facts;
use fairlead_ir::Tier;
use fairlead_router::names::{NameError, NameErrorKind, Pick, Wanted};
use fairlead_router::{Board, Plan, Reason};
use fairlead_snapshot::Snapshot;

/// The part of it that is known once the plan is made.
#[derive(Clone, Debug)]
pub(crate) struct Telling {
    requested: String,
    strategy: &'static str,
    total: usize,
    available: Vec<Available>,
}

/// An endpoint that may be tried.
#[derive(Clone, Debug)]
struct Available {
    endpoint: u64,
    tier: Option<Tier>,
    model: String,
    provider: String,
}

impl Telling {
    /// `named` is the model as the caller wrote it.
    pub(crate) fn new(board: &Board, plan: &Plan, wanted: &Wanted, named: &str) -> Telling {
        let available = plan.steps.iter().map(|step| {
            let entry = board.entry(step.entry);
            let (model, provider) = (board.model(entry).id.to_string(), board.provider(entry).name.clone());
            Available { endpoint: entry.id, tier: entry.asks, model, provider }
        });
        Telling {
            requested: named.to_owned(),
            strategy: strategy(board.snapshot(), wanted, named),
            total: plan.steps.len() + plan.removed.len(),
            available: available.collect(),
        }
    }

    /// The member for a reply or an error, after these attempts, each with its status.
    pub(crate) fn member(&self, snapshot: &Snapshot, attempts: &[(Choice, u16)]) -> Vec<u8> {
        let last = attempts.last().map(|(choice, _)| (choice.endpoint(snapshot).id, choice.asks));
        let available = self.available.iter().map(|Available { endpoint, tier, model, provider }| Offered {
            model,
            provider,
            tier: tier.map(Tier::name),
            selected: last == Some((*endpoint, *tier)),
        });
        let tried = attempts.iter().map(|(choice, status)| Tried {
            model: &choice.model(snapshot).id,
            provider: &choice.provider(snapshot).name,
            tier: choice.asks.map(Tier::name),
            status: *status,
        });
        let (available, attempts): (Vec<_>, Vec<_>) = (available.collect(), tried.collect());
        let Telling { requested, strategy, total, .. } = self;
        Metadata { requested, strategy, total: *total, available: &available, attempts: &attempts }.member()
    }

    /// A failure before anything was sent.
    pub(crate) fn before_any(&self, snapshot: &Snapshot, failure: Failure) -> Failure {
        failure.telling(self.member(snapshot, &[]))
    }
}

/// OpenRouter's word for how the model was picked.
fn strategy(snapshot: &Snapshot, wanted: &Wanted, named: &str) -> &'static str {
    let is_listed_alone = |id: &str| {
        let plain = named.strip_prefix("openrouter/").unwrap_or(named);
        plain.is_empty() || plain.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
    };
    match (&wanted.pick, &wanted.models[..]) {
        (Pick::Auto(_), _) => "auto",
        (Pick::Free, _) => "free",
        (Pick::Listed, [_, _, ..]) => "fallback",
        (Pick::Listed, [only]) if is_listed_alone(&snapshot.models[only.model].id) || named.contains("@preset/") => "direct",
        (Pick::Listed, _) if named.starts_with('~') => "latest",
        (Pick::Listed, _) => "alias",
    }
}

/// The models as the caller wrote them.
pub(crate) fn requested(facts: &Facts) -> Vec<String> {
    [&facts.model].into_iter().chain(&facts.fallback_models).filter(|name| !name.is_empty()).cloned().collect()
}

/// Why a name stands for nothing that can be had; `None` where that is not for want of it.
pub(crate) fn unnamed(error: &NameError, facts: &Facts) -> Option<Availability> {
    let (code, constraint) = match error.kind {
        NameErrorKind::Unknown => (AvailabilityCode::ModelNotFound, None),
        NameErrorKind::NotFree => {
            (AvailabilityCode::FreeVariantEnded, Some(Constraint { field: "model", detail: Reason::NotFree.relax() }))
        }
        NameErrorKind::Senseless | NameErrorKind::Forbidden => return None,
    };
    let fallback_models = error.instead.iter().cloned().collect();
    let excluded_by = constraint.iter().map(|_| Reason::NotFree.word()).collect();
    Some(Availability { fallback_models, excluded_by, constraint, ..bare(code, requested(facts)) })
}

/// Why the plan is empty.
pub(crate) fn filtered(board: &Board, plan: &Plan, requested_models: Vec<String>) -> Availability {
    let code = match plan.main_reason() {
        None => AvailabilityCode::NoEndpoints,
        Some(Reason::NoDialect) => AvailabilityCode::WrongEndpoint,
        Some(Reason::NotFree | Reason::NotFreeToPick) => AvailabilityCode::FreeVariantEnded,
        Some(Reason::DataCollection | Reason::NotZdr) => AvailabilityCode::PrivacyRestricted,
        Some(_) => AvailabilityCode::ConstraintFiltered,
    };
    let constraint = plan.main_reason().and_then(|reason| Some(Constraint { field: reason.field()?, detail: reason.relax() }));
    let mut unavailable = Availability { constraint, ..bare(code, requested_models) };
    add_removed(&mut unavailable, board, plan);
    unavailable
}

/// Whose endpoints the filters took out, and which filters.
pub(crate) fn add_removed(unavailable: &mut Availability, board: &Board, plan: &Plan) {
    for removed in &plan.removed {
        let slug = &board.provider(board.entry(removed.entry)).slug;
        add_affected(unavailable, slug, removed.reason.word());
    }
}

/// A provider whose endpoint is out, and what took it out.
pub(crate) fn add_affected(unavailable: &mut Availability, slug: &str, word: &'static str) {
    if !unavailable.affected_providers.iter().any(|known| known == slug) {
        unavailable.affected_providers.push(slug.to_owned());
    }
    if !unavailable.excluded_by.contains(&word) {
        unavailable.excluded_by.push(word);
    }
}

/// An endpoint that a request would lose something at which would rather be refused.
pub(crate) fn strict(admitted: &Admitted<'_>, facts: &Facts) -> Availability {
    let (word, field, detail) = match () {
        () if admitted.head.strict().is_ok_and(|strict| strict) => {
            ("strict_translation", "X-Fairlead-Strict", "leave X-Fairlead-Strict away")
        }
        () if admitted.principal.strict_translation => ("strict_translation", "strict_translation", "use a key without strict_translation"),
        () if admitted.choice.strict => ("strict_translation", "preset", "use a preset without strict_translation"),
        () => (Reason::REQUIRE_PARAMETERS, "provider.require_parameters", "leave provider.require_parameters away"),
    };
    let constraint = Constraint { field, detail: format!("{detail}, or what would be lost") };
    let mut unavailable = Availability { constraint: Some(constraint), ..bare(AvailabilityCode::ConstraintFiltered, requested(facts)) };
    add_affected(&mut unavailable, &admitted.choice.provider(admitted.snapshot).slug, word);
    unavailable
}

/// All that might serve it are full.
pub(crate) fn full(board: &Board, plan: &Plan, requested_models: Vec<String>, wait_ms: Option<u64>) -> Availability {
    let mut affected_providers = Vec::new();
    for step in &plan.steps {
        let slug = &board.provider(board.entry(step.entry)).slug;
        if !affected_providers.contains(slug) {
            affected_providers.push(slug.clone());
        }
    }
    let retry_after_s = wait_ms.map(seconds);
    Availability { affected_providers, retry_after_s, ..bare(AvailabilityCode::CapacityExhausted, requested_models) }
}

/// Whole seconds to wait, at least one.
pub(crate) fn seconds(wait_ms: u64) -> u64 {
    wait_ms.div_ceil(1000).max(1)
}

fn bare(code: AvailabilityCode, requested_models: Vec<String>) -> Availability {
    Availability {
        code,
        retry_after_s: None,
        requested_models,
        affected_providers: Vec::new(),
        excluded_by: Vec::new(),
        fallback_models: Vec::new(),
        constraint: None,
    }
}
