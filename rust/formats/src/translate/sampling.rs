//! What many models do not know of how tokens are chosen.

use fairlead_ir::{Param, Raw, Severity};

use super::Job;

/// Tells the loss of the parameters that only OpenAI's dialects and their relatives have. A value that asks for nothing is no loss.
pub(crate) fn lose_unknown(job: &mut Job<'_, '_>, reason: &'static str) {
    let (sampling, output) = (&job.request.sampling, &job.request.output);
    let asks = |raw: &Option<Raw<'_>>, neutral: f64| raw.as_ref().is_some_and(|raw| number(raw) != neutral);
    let unknown = [
        (Param::MinP, asks(&sampling.min_p, 0.0)),
        (Param::TopA, asks(&sampling.top_a, 0.0)),
        (Param::FrequencyPenalty, asks(&sampling.frequency_penalty, 0.0)),
        (Param::PresencePenalty, asks(&sampling.presence_penalty, 0.0)),
        (Param::RepetitionPenalty, asks(&sampling.repetition_penalty, 1.0)),
        (Param::Seed, sampling.seed.is_some()),
        (Param::Choices, sampling.choices.is_some_and(|choices| choices > 1)),
        (Param::Logprobs, sampling.logprobs == Some(true)),
        (Param::TopLogprobs, sampling.top_logprobs.is_some_and(|count| count > 0)),
        (Param::LogitBias, sampling.logit_bias.as_ref().is_some_and(|bias| !bias.is("{}") && !bias.is("null"))),
        (Param::Prediction, sampling.prediction.is_some()),
        (Param::Modalities, output.modalities.as_ref().is_some_and(|list| !is_text_only(list))),
        (Param::Audio, output.audio.is_some()),
    ];
    for (param, _) in unknown.into_iter().filter(|(_, asked)| *asked) {
        job.lose(param, Severity::Dropped, reason);
    }
}

/// A list of kinds of output that names text alone.
fn is_text_only(list: &Raw<'_>) -> bool {
    let letters: Vec<u8> = list.as_bytes().iter().filter(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect();
    letters == b"text"
}

/// The value of a JSON number; not a number where it is none.
pub(crate) fn number(raw: &Raw<'_>) -> f64 {
    std::str::from_utf8(raw.as_bytes()).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}
