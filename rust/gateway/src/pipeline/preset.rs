//! What presets say for a request that names them, put into its body before anything is decided: from there on it is a request like any
//! other, for the router as for the reservation, the log of decisions and the provider.

use super::failure::Failure;
use super::intake::Intake;
use super::plan::named;
use super::translate::join;
use super::whole::aside;
use bytes::Bytes;
use fairlead_formats::preset::{self, Filled};
use fairlead_formats::request::{Facts, LimitName, Refusal, RequestScan};
use fairlead_ir::preset::Template;
use fairlead_ir::{Dialect, ErrorKind, Losses, Traits};
use fairlead_router::names;
use fairlead_snapshot::{Snapshot, SnapshotError};
use std::sync::Arc;

/// What is to be known of a body that presets were put into.
#[derive(Clone)]
pub(crate) struct Said {
    /// What they say and the client's dialect has no words for.
    pub(crate) losses: Losses,
    has_words_of_endpoints: bool,
    has_limit: bool,
    /// They ask for a service tier, of which no client knows what it is called here.
    pub(crate) has_tier: bool,
}

impl Said {
    /// Whether the body says in one endpoint's words what this one has others for.
    pub(crate) fn has_other_words(&self, dialect: Dialect, traits: Traits) -> bool {
        self.has_words_of_endpoints && !(dialect == Dialect::OpenaiChat && traits.openrouter_reasoning)
    }

    /// Whether a preset has said what endpoints of one dialect say differently.
    pub(crate) fn has_words_of_endpoints(&self) -> bool {
        self.has_words_of_endpoints
    }

    /// What the endpoint calls the limit of a reply, where a preset has set it.
    pub(crate) fn limit_name(&self, traits: Traits) -> Option<LimitName> {
        self.has_limit.then_some(if traits.legacy_max_tokens { LimitName::Older } else { LimitName::Newer })
    }
}

/// A snapshot whose presets are in the words of every dialect.
///
/// # Errors
/// It is not valid, or a preset says what no request can.
pub(crate) fn snapshot(json: &[u8]) -> Result<Snapshot, SnapshotError> {
    let mut snapshot = Snapshot::from_json(json)?;
    for preset in &mut snapshot.presets {
        let Some(fields) = &preset.fields else { continue };
        let wrong = |Refusal { message, param, .. }: Refusal| {
            SnapshotError::new(format!("presets.{}.{}", preset.name, param.as_deref().unwrap_or("fields")), message)
        };
        preset.template = Some(preset::compile(fields.as_bytes()).map_err(wrong)?);
    }
    Ok(snapshot)
}

/// The presets that a request names, as positions among the snapshot's; the first to say something wins.
pub(super) fn all_named(snapshot: &Snapshot, facts: &Facts) -> Vec<usize> {
    if snapshot.presets.is_empty() || !is_named(facts) { Vec::new() } else { names::presets(snapshot, &named(facts, None)) }
}

/// Whether a request names a preset at all.
pub(crate) fn is_named(facts: &Facts) -> bool {
    facts.preset.is_some() || [&facts.model].into_iter().chain(&facts.fallback_models).any(|name| name.contains(names::MARK))
}

/// The templates that a request names: as positions among the snapshot's presets, the first to say something first.
fn templates(snapshot: &Snapshot, facts: &Facts) -> Vec<usize> {
    let mut found = names::presets(snapshot, &named(facts, None));
    found.retain(|position| snapshot.presets[*position].template.is_some());
    found
}

/// Puts into the body what the presets that it names say for it. Nothing happens where it names none.
///
/// # Errors
/// With what they say the request is one that is refused.
pub(crate) async fn fill(snapshot: &Arc<Snapshot>, intake: &mut Intake) -> Result<(), Failure> {
    let templates = templates(snapshot, &intake.facts);
    if templates.is_empty() {
        return Ok(());
    }
    let (snapshot, facts, frames) = (snapshot.clone(), intake.facts.clone(), intake.frames.clone());
    let filled = aside(intake.bytes as usize, move || filled(&snapshot, &templates, &facts, &frames)).await??;
    intake.take_filled(filled);
    Ok(())
}

/// As [`fill`], at once.
///
/// # Errors
/// As there.
pub(crate) fn fill_here(snapshot: &Snapshot, intake: &mut Intake) -> Result<(), Failure> {
    let templates = templates(snapshot, &intake.facts);
    if !templates.is_empty() {
        intake.take_filled(filled(snapshot, &templates, &intake.facts, &intake.frames)?);
    }
    Ok(())
}

/// A body that was filled, where anything was put in, and what is to be known of it.
type Became = (Option<(Bytes, Facts)>, Said);

impl Intake {
    fn take_filled(&mut self, (body, said): Became) {
        if let Some((body, facts)) = body {
            (self.bytes, self.frames, self.facts) = (body.len() as u64, vec![body], facts);
        }
        self.said = Some(Box::new(said));
    }
}

fn filled(snapshot: &Snapshot, templates: &[usize], facts: &Facts, frames: &[Bytes]) -> Result<Became, Failure> {
    let templates: Vec<&Template> = templates.iter().filter_map(|position| snapshot.presets[*position].template.as_ref()).collect();
    let broken = |_| Failure::new(ErrorKind::Internal, "what the preset says could not be put into the request");
    let filled = preset::fill(&templates, facts.dialect, facts.purpose, &join(frames)).map_err(broken)?;
    let Filled { body, losses, has_words_of_endpoints, has_limit, has_tier } = filled;
    let scanned = body.map(|body| scan(Bytes::from(body), facts, snapshot.settings.limits.json_depth)).transpose();
    Ok((scanned.map_err(refused)?, Said { losses, has_words_of_endpoints, has_limit, has_tier }))
}

fn scan(body: Bytes, facts: &Facts, depth: u16) -> Result<(Bytes, Facts), Refusal> {
    let mut scan = RequestScan::again(facts, depth);
    scan.feed(&body)?;
    let facts = scan.finish(std::slice::from_ref(&body))?;
    Ok((body, facts))
}

fn refused(refusal: Refusal) -> Failure {
    Failure::new(refusal.kind, format!("with what its preset says for it: {}", refusal.message)).param(refusal.param)
}
