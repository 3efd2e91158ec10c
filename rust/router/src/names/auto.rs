//! What a caller may say to `openrouter/auto`.

use crate::wishes::{WishError, shown};
use fairlead_snapshot::did_you_mean;
use serde_json::Value;

/// How `openrouter/auto` picks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auto {
    /// How dear the model may be; `None`: by the size of the task.
    pub cost_tier: Option<CostTier>,
    /// Patterns of models, such as `anthropic/*`; empty: all.
    pub allowed: Vec<String>,
    /// Patterns of models that are out.
    pub excluded: Vec<String>,
}

/// A fifth of the models, by price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CostTier {
    /// The cheapest fifth.
    Low,
    /// Up to two fifths.
    Medium,
    /// Up to three fifths.
    High,
    /// Up to four fifths.
    Xhigh,
    /// The dearest fifth.
    Max,
}

impl CostTier {
    /// Every tier, the cheapest first.
    pub const ALL: [(&'static str, CostTier); 5] = [
        ("low", CostTier::Low),
        ("medium", CostTier::Medium),
        ("high", CostTier::High),
        ("xhigh", CostTier::Xhigh),
        ("max", CostTier::Max),
    ];
}

impl Auto {
    /// What the plugin `auto-router` says; `path` is where it stands.
    ///
    /// # Errors
    /// A member that is unknown or of the wrong type.
    pub fn read(path: &str, plugin: &Value) -> Result<Auto, WishError> {
        let mut auto = Auto::default();
        for (key, value) in plugin.as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            match key.as_str() {
                "id" => {}
                "cost_tier" => auto.cost_tier = Some(cost_tier(&path, value)?),
                "allowed_models" => auto.allowed = patterns(&path, value)?,
                "excluded_models" => auto.excluded = patterns(&path, value)?,
                _ => {
                    let hint = did_you_mean(["cost_tier", "allowed_models", "excluded_models"].into_iter(), key);
                    return Err(WishError::new(path, format!("there is no such member{hint}")));
                }
            }
        }
        Ok(auto)
    }

    /// Whether it may pick this model.
    pub(crate) fn may_pick(&self, id: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, id));
        (self.allowed.is_empty() || any(&self.allowed)) && !any(&self.excluded)
    }
}

fn cost_tier(path: &str, value: &Value) -> Result<CostTier, WishError> {
    let text = value.as_str().unwrap_or_default();
    let found = CostTier::ALL.iter().find(|(name, _)| *name == text).map(|(_, tier)| *tier);
    found.ok_or_else(|| {
        let hint = did_you_mean(CostTier::ALL.iter().map(|(name, _)| *name), text);
        WishError::new(path, format!("{:?} is none of low, medium, high, xhigh, max{hint}", shown(text)))
    })
}

fn patterns(path: &str, value: &Value) -> Result<Vec<String>, WishError> {
    let values = value.as_array().map(|values| values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<_>>());
    values.flatten().ok_or_else(|| WishError::new(path, "wanted: a list of models, with * for any text"))
}

/// Whether a pattern with `*` for any text means this id.
fn matches(pattern: &str, id: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == id,
        Some((before, after)) => match id.strip_prefix(before) {
            Some(rest) => (0..=rest.len()).any(|skipped| rest.get(skipped..).is_some_and(|rest| matches(after, rest))),
            None => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_look_like() {
        let check = |pattern: &str, id: &str, expected: bool| assert_eq!(matches(pattern, id), expected, "{pattern} {id}");
        check("a/b", "a/b", true);
        check("a/b", "a/bc", false);
        check("a/*", "a/bc", true);
        check("*/b*d", "a/bcd", true);
        check("*/b*d", "a/bce", false);
        check("*", "", true);
    }

    #[test]
    fn a_plugin_is_read_with_paths() {
        let read = |text: &str| Auto::read("plugins.0", &serde_json::from_str(text).unwrap_or_default());
        let auto = read(r#"{"id":"auto-router","cost_tier":"high","allowed_models":["a/*"],"excluded_models":["a/x"]}"#);
        assert_eq!(auto.as_ref().map(|auto| auto.cost_tier), Ok(Some(CostTier::High)));
        assert_eq!(auto.map(|auto| (auto.may_pick("a/b"), auto.may_pick("a/x"), auto.may_pick("b/x"))), Ok((true, false, false)));
        let check = |text: &str, path: &str, part: &str| {
            let error = read(text).err().map(|error| (error.path.clone(), error.message.contains(part)));
            assert_eq!(error, Some((path.to_owned(), true)), "{text}");
        };
        check(r#"{"cost_tier":"lo"}"#, "plugins.0.cost_tier", "low");
        check(r#"{"cost_tire":"low"}"#, "plugins.0.cost_tire", "did you mean \"cost_tier\"?");
        check(r#"{"allowed_models":"a/*"}"#, "plugins.0.allowed_models", "a list");
    }
}
