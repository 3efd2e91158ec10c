//! What is said about the call, and what only the caller's dialect knows.

use fairlead_ir::{Member, Param, Severity, Text};

use super::Job;
use crate::write::Object;

/// Writes the members, and a loss for each that has no place.
pub(super) fn write(job: &mut Job<'_, '_>, body: &mut Object<'_>) {
    write_tier(job, body);
    write_metadata(job, body);
    job.lose_keeping();
    write_rest(job, body);
}

fn write_tier(job: &mut Job<'_, '_>, body: &mut Object<'_>) {
    let Some(tier) = &job.request.labels.service_tier else { return };
    let word = match tier.as_bytes() {
        word if job.own => Some(word),
        word @ (b"default" | b"flex" | b"priority" | b"reserved") => Some(word),
        b"standard" | b"standard_only" => Some(&b"default"[..]),
        b"auto" => return,
        _ => None,
    };
    match word {
        Some(word) => {
            body.object("serviceTier", |tier| {
                tier.escaped("type", &Text::escaped(word));
            });
        }
        None => job.lose(Param::ServiceTier, Severity::Changed, "the provider has no such tier; its usual one serves"),
    }
}

/// The caller's labels stay with us; the end user is a label of the provider's log.
fn write_metadata(job: &mut Job<'_, '_>, body: &mut Object<'_>) {
    let labels = &job.request.labels;
    if job.own {
        if let Some(metadata) = &labels.metadata {
            body.raw("requestMetadata", metadata.as_bytes());
        }
        return;
    }
    job.lose_metadata();
    match &labels.user {
        Some(user) if is_label(user.as_bytes()) => {
            body.object("requestMetadata", |metadata| {
                metadata.escaped("user", user);
            });
        }
        Some(_) => job.lose(Param::User, Severity::Hint, "the provider's labels are short and of few signs; the user was left out"),
        None => {}
    }
}

/// Whether AWS takes it as a label.
fn is_label(text: &[u8]) -> bool {
    const LONGEST_BYTES: usize = 256;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b" :_@$#=/+,-.".contains(byte);
    !text.is_empty() && text.len() <= LONGEST_BYTES && text.iter().all(allowed)
}

/// The members whose objects are read in part.
const PARTLY_KNOWN: [&str; 4] = ["inferenceConfig", "toolConfig", "outputConfig", "additionalModelRequestFields"];

/// Whether `member` is written into an object of its name rather than as it is.
fn is_carried(member: &Member<'_>) -> bool {
    PARTLY_KNOWN.iter().any(|name| member.name.is(name)) && member.value.as_bytes().starts_with(b"{")
}

/// What only the caller's dialect knows: back in its place, or a loss.
fn write_rest(job: &mut Job<'_, '_>, body: &mut Object<'_>) {
    for member in &job.request.rest {
        if !job.own {
            job.lose_parameter(member);
        } else if !is_carried(member) {
            body.members(std::slice::from_ref(member));
        }
    }
}
