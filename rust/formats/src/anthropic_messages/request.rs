//! What a Messages request says beside the members that both dialects have.

use std::borrow::Cow;

use crate::json::walk::write_string;
use crate::json::{Kind, Members};
use crate::request::{Body, FIRST_OWN, Refusal, USER, keys};
use crate::splice::MemberEdits;

const MAX_TOKENS: usize = FIRST_OWN;
const METADATA: usize = FIRST_OWN + 1;

/// The members that are looked for.
pub(crate) static KEYS: [&str; FIRST_OWN + 2] = keys(["max_tokens", "metadata"]);

/// The cap on completion tokens. Missing is the provider's to refuse; 0 only warms its cache.
pub(crate) fn max_completion_tokens<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<Option<u64>, Refusal> {
    body.whole_number(MAX_TOKENS)
}

/// Moves OpenRouter's `user`, which Anthropic refuses, to where Anthropic wants an end user. The caller's own `metadata` stays.
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
