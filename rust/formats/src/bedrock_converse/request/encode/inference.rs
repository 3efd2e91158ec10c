//! How tokens are chosen, and how many.

use fairlead_ir::{Param, Raw, Severity};

use super::Job;
use crate::translate::remainder;
use crate::translate::sampling::{lose_unknown, number};
use crate::write::Object;

/// Where a stop sequence that was met is told: whole replies and streams have it in different places. Models that do not tell are not
/// refused for it.
const STOP_PATHS: &[u8] = br#"["/stop_sequence","/delta/stop_sequence"]"#;

/// Writes `inferenceConfig` and loses what has no place. `thinks`: Claude was asked to think, and then chooses tokens its own way.
pub(super) fn write(job: &mut Job<'_, '_>, thinks: bool, body: &mut Object<'_>) {
    let carried = remainder::of(job, "inferenceConfig");
    let temperature = temperature(job, thinks);
    let top_p = top_p(job, thinks);
    let stop = stop(job);
    let limit = limit(job);
    if limit.is_some() || temperature.is_some() || top_p.is_some() || !stop.is_empty() || carried.is_some() {
        body.object("inferenceConfig", |config| {
            if let Some(limit) = limit {
                config.number("maxTokens", limit);
            }
            if let Some(temperature) = &temperature {
                config.raw("temperature", temperature.as_bytes());
            }
            if let Some(top_p) = top_p {
                config.raw("topP", top_p.as_bytes());
            }
            if !stop.is_empty() {
                config.array("stopSequences", |list| {
                    for text in stop {
                        list.escaped(text);
                    }
                });
            }
            remainder::write(carried, config);
        });
    }
    if !stop.is_empty() && !job.own {
        body.raw("additionalModelResponseFieldPaths", STOP_PATHS);
    }
    lose_unknown(job, "the provider has no such parameter");
}

/// `top_k`, which goes to the model as it is.
pub(super) fn top_k<'r>(job: &mut Job<'_, 'r>, thinks: bool) -> Option<&'r Raw<'r>> {
    let top_k = job.request.sampling.top_k.as_ref()?;
    unhindered(job, Param::TopK, thinks).then_some(top_k)
}

fn limit(job: &mut Job<'_, '_>) -> Option<u64> {
    match (job.request.max_output_tokens, job.target.max_output_tokens) {
        (Some(wish), Some(most)) if wish > most && !job.own => {
            job.lose(Param::MaxOutputTokens, Severity::Changed, "the model writes fewer tokens at most; its own limit was sent");
            Some(most)
        }
        (wish, _) => wish,
    }
}

fn temperature<'r>(job: &mut Job<'_, 'r>, thinks: bool) -> Option<Raw<'r>> {
    let temperature = job.request.sampling.temperature.as_ref()?;
    let value = number(temperature);
    // One is what a model that thinks uses.
    if (thinks && value == 1.0) || !unhindered(job, Param::Temperature, thinks) {
        return None;
    }
    if value > 1.0 && !job.own {
        job.lose(Param::Temperature, Severity::Changed, "the provider takes at most 1, which was sent");
        return Some(Raw::json(b"1"));
    }
    Some(temperature.borrowed())
}

fn top_p<'r>(job: &mut Job<'_, 'r>, thinks: bool) -> Option<&'r Raw<'r>> {
    const LEAST_OF_THINKERS: f64 = 0.95;
    let top_p = job.request.sampling.top_p.as_ref()?;
    let hindered = thinks && number(top_p) < LEAST_OF_THINKERS;
    unhindered(job, Param::TopP, hindered).then_some(top_p)
}

/// Whether a parameter of sampling can be sent; a loss when not.
fn unhindered(job: &mut Job<'_, '_>, param: Param, thinks: bool) -> bool {
    let reason = match () {
        () if job.own => return true,
        () if job.target.traits.no_sampling => "the model chooses tokens its own way",
        () if thinks => "the model does not take it while it thinks",
        () => return true,
    };
    job.lose(param, Severity::Dropped, reason);
    false
}

fn stop<'r>(job: &mut Job<'_, 'r>) -> &'r [fairlead_ir::Text<'r>] {
    let stop = &job.request.sampling.stop;
    if job.target.traits.no_stop && !job.own && !stop.is_empty() {
        job.lose(Param::Stop, Severity::Dropped, "the model does not know stop sequences");
        return &[];
    }
    stop
}
