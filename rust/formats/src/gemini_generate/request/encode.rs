//! Writes a request in this dialect.
//!
//! The conversation comes last, so that a longer one begins with the same bytes. Model and streaming go into the path.

mod config;
mod contents;
mod tools;

use std::borrow::Cow;

use fairlead_ir::{Dialect, ErrorKind, Losses, Member, Param, Request, Role, Severity, Text};

use crate::gemini_generate::wire::media::inner_name;
use crate::request::Refusal;
use crate::translate::{Bridge, Target, plain_name};
use crate::write::Object;

/// Appends the body of `request` for `target`.
pub(crate) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    out: &mut Vec<u8>,
    losses: &mut Losses,
    bridge: &mut Bridge,
) -> Result<(), Refusal> {
    refuse_prefill(request, target)?;
    let own = request.source == Dialect::GeminiGenerate;
    let mut writing = Writing { request, target, own, losses, bridge };
    let mut body = Object::open(out);
    contents::write_system(&mut writing, &mut body);
    tools::write(&mut writing, &mut body);
    config::write(&mut writing, &mut body);
    write_labels(&mut writing, &mut body);
    write_rest(&mut writing, &mut body);
    contents::write(&mut writing, &mut body);
    body.close();
    Ok(())
}

/// A request while it is written.
struct Writing<'w, 'r> {
    request: &'w Request<'r>,
    target: &'w Target<'w>,
    /// It was read from this dialect: everything stays as it was.
    own: bool,
    losses: &'w mut Losses,
    bridge: &'w mut Bridge,
}

impl Writing<'_, '_> {
    /// Whether thinking and the form of the reply are said as the caller said them.
    fn is_as_asked(&self) -> bool {
        self.own && !self.target.reworded
    }

    fn lose(&mut self, param: Param, severity: Severity, reason: impl Into<Cow<'static, str>>) {
        self.losses.param(param, self.request, severity, reason);
    }

    /// What is kept with a block, a turn or a tool of another dialect has no place here.
    fn lose_rest(&mut self, origin: fairlead_ir::Origin, rest: &[Member<'_>]) {
        if !self.own {
            self.losses.members(origin, rest, Severity::Dropped, "only the dialect it was written in knows it");
        }
    }

    /// A tool's name as Gemini takes it. The same name always becomes the same one.
    fn tool_name<'n>(&self, name: &'n Text<'_>) -> Text<'n> {
        if self.own || fits(name.as_bytes()) { name.borrowed() } else { plain_name(name, LONGEST_NAME, true) }
    }
}

const LONGEST_NAME: usize = 64;

/// Letters, digits, `_`, `.`, `:` and `-`, beginning with a letter or `_`.
fn fits(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
    name.len() <= LONGEST_NAME && name.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_') && name.iter().all(fits)
}

fn refuse_prefill(request: &Request<'_>, target: &Target<'_>) -> Result<(), Refusal> {
    let prefill = request.turns.last().filter(|turn| turn.role == Role::Assistant);
    let Some(prefill) = prefill.filter(|_| target.traits.no_prefill) else { return Ok(()) };
    let message = format!("{} does not go on with an assistant's message; end the conversation with the user", target.model);
    Err(Refusal { kind: ErrorKind::InvalidRequest, message, param: Some(prefill.origin.to_string().into()) })
}

fn write_labels(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    let labels = &writing.request.labels;
    if let Some(metadata) = &labels.metadata {
        match writing.own {
            true => drop(body.raw("labels", metadata.as_bytes())),
            false => writing.lose(Param::Metadata, Severity::Hint, "labels of a call stay with the gateway"),
        }
    }
    if let Some(tier) = &labels.service_tier {
        write_tier(tier, writing, body);
    }
    if let Some(store) = labels.store {
        match writing.own {
            true => drop(body.flag("store", store)),
            // Nothing is kept either way.
            false if !store => {}
            false => writing.lose(Param::Store, Severity::Hint, "Gemini keeps no replies for callers"),
        }
    }
    if labels.user.is_some() {
        writing.lose(Param::User, Severity::Hint, "Gemini has no place for an end user");
    }
    lose_cache(writing);
}

fn write_tier(tier: &Text<'_>, writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    let word = match tier.as_bytes() {
        _ if writing.own => tier.borrowed(),
        b"auto" => return,
        b"default" | b"standard" | b"standard_only" => Text::word("standard"),
        b"flex" => Text::word("flex"),
        b"priority" => Text::word("priority"),
        _ => return writing.lose(Param::ServiceTier, Severity::Dropped, "Gemini sells no such tier; the usual one serves"),
    };
    body.escaped("serviceTier", &word);
}

fn lose_cache(writing: &mut Writing<'_, '_>) {
    const WHY: &str = "Gemini caches prompts by itself";
    let cache = &writing.request.cache;
    let asked = [
        (Param::CacheKey, cache.key.is_some()),
        (Param::CacheRetention, cache.retention.is_some()),
        (Param::CacheAutomatic, cache.automatic.is_some()),
    ];
    asked.into_iter().filter(|(_, asked)| *asked).for_each(|(param, _)| writing.lose(param, Severity::Hint, WHY));
}

/// Members that only the source knows: back where they came from, or a loss each.
fn write_rest(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    for member in &writing.request.rest {
        let inside = |object| inner_name(object, &member.name).is_some();
        match writing.own {
            true if inside("generationConfig") || inside("toolConfig") => {}
            true => drop(body.members(std::slice::from_ref(member))),
            false => {
                let path = String::from_utf8_lossy(member.name.as_bytes()).into_owned();
                writing.losses.at(path, member.loss(), "Gemini has no such parameter");
            }
        }
    }
}
