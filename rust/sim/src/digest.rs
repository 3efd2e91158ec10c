//! Hashes of what a caller sent, in the form in which it can be compared: JSON with sorted keys and without cache marks.

use ring::digest::{Context, SHA256};
use serde_json::Value;

/// Keys that say how a prefix is to be cached; a prefix with and without them is the same prefix.
const CACHE_MARKS: &[&str] = &["cache_control", "prompt_cache_breakpoint"];

/// The first eight bytes of a SHA-256.
pub(crate) type Fingerprint = u64;

/// A hash that grows, and can be looked at on the way.
#[derive(Clone)]
pub(crate) struct Trail {
    context: Context,
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Trail({:016x})", self.fingerprint())
    }
}

impl Trail {
    pub(crate) fn new() -> Self {
        Self { context: Context::new(&SHA256) }
    }

    /// Adds text, with an end that no text contains.
    pub(crate) fn text(&mut self, text: &str) {
        self.context.update(text.as_bytes());
        self.context.update(&[0xff]);
    }

    /// Adds JSON without its cache marks.
    pub(crate) fn json(&mut self, value: &Value) {
        self.text(&canonical(value).to_string());
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        first_bytes(self.context.clone().finish().as_ref())
    }
}

/// The fingerprint of `text` alone.
pub(crate) fn fingerprint(text: &str) -> Fingerprint {
    first_bytes(ring::digest::digest(&SHA256, text.as_bytes()).as_ref())
}

fn first_bytes(digest: &[u8]) -> Fingerprint {
    digest.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// `value` without cache marks. Objects come out with sorted keys: that is how `serde_json` keeps them.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !CACHE_MARKS.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name.clone(), canonical(value))).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn marks_and_key_order_do_not_count() {
        let of = |value: Value| {
            let mut trail = Trail::new();
            trail.json(&value);
            trail.fingerprint()
        };
        let plain = of(json!({"type": "text", "text": "x"}));
        assert_eq!(of(json!({"text": "x", "cache_control": {"type": "ephemeral"}, "type": "text"})), plain);
        assert_ne!(of(json!({"type": "text", "text": "y"})), plain);
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let of = |texts: [&str; 2]| {
            let mut trail = Trail::new();
            texts.iter().for_each(|text| trail.text(text));
            trail.fingerprint()
        };
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
    }
}
