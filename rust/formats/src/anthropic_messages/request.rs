//! What a Messages request says beside the members that both dialects have.

pub(crate) mod decode;
pub(crate) mod encode;

use core::ops::Range;
use std::borrow::Cow;

use crate::json::walk::{self, write_string};
use crate::json::{Kind, Members};
use crate::request::{Body, FIRST_OWN, Refusal, USER, keys};
use crate::splice::MemberEdits;

const MAX_TOKENS: usize = FIRST_OWN;
pub(crate) const METADATA: usize = FIRST_OWN + 1;
const THREAD: usize = FIRST_OWN + 2;
pub(crate) const TOOLS: usize = FIRST_OWN + 3;
pub(crate) const SPEED: usize = FIRST_OWN + 4;
const VERSION: usize = FIRST_OWN + 5;

/// The members that are looked for.
pub(crate) static KEYS: [&str; FIRST_OWN + 6] = keys("messages", ["max_tokens", "metadata", "thread", "tools", "speed", VERSION_NAME]);

/// Where the path names the model, the body has this member, and no other version is known there.
const VERSION_NAME: &str = "anthropic_version";
const RAW_PREDICT_VERSION: &str = "vertex-2023-10-16";

/// The cap on completion tokens. Missing is the provider's to refuse; 0 only warms its cache.
pub(crate) fn max_completion_tokens<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<Option<u64>, Refusal> {
    body.whole_number(MAX_TOKENS)
}

/// Whether the provider shall hold the conversation, so that the next request brings its last turn alone.
pub(crate) fn is_threaded<F: AsRef<[u8]>>(body: &Body<'_, F>) -> bool {
    body.value(THREAD).is_some_and(|(kind, _)| kind != Kind::Null)
}

/// The end user of `metadata.user_id`, and where it stands: everywhere, should the name occur twice.
pub(crate) fn metadata_users<F: AsRef<[u8]>>(body: &Body<'_, F>) -> (Option<String>, Vec<Range<usize>>) {
    let Some((Kind::Object, range)) = body.value(METADATA) else { return (None, Vec::new()) };
    let text = body.text(range.clone());
    let (mut user, mut places) = (None, Vec::new());
    for member in walk::members(&text).map_while(Result::ok).filter(|member| member.kind == Kind::String && member.is("user_id")) {
        places.push(range.start + member.value_range.start..range.start + member.value_range.end);
        user = walk::as_str(member.value).map(Cow::into_owned);
    }
    (user.filter(|user| !user.is_empty()), places)
}

/// Moves OpenRouter's `user`, which Anthropic refuses, to where Anthropic wants an end user. A caller's own `metadata` is not added to.
pub(crate) fn move_user(members: &Members, hashed: Option<&str>, changes: &mut MemberEdits<'_, '_>) {
    changes.remove(USER);
    let has_metadata = members.kind(METADATA).is_some_and(|kind| kind != Kind::Null);
    if let Some(hashed) = hashed.filter(|_| !has_metadata) {
        let mut metadata = br#"{"user_id":"#.to_vec();
        write_string(&mut metadata, hashed);
        metadata.push(b'}');
        changes.set(METADATA, "metadata", Cow::Owned(metadata));
    }
}

/// Puts the version of a body whose model stands in the path, whatever version it had.
pub(crate) fn name_version(changes: &mut MemberEdits<'_, '_>) {
    let mut version = Vec::new();
    write_string(&mut version, RAW_PREDICT_VERSION);
    changes.set(VERSION, VERSION_NAME, version);
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
