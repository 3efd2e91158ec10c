//! What a caller may say to `openrouter/auto`.

use crate::wishes::{WishError, json, shown};
use fairlead_snapshot::{did_you_mean, matches};
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

/// A list may hold so many patterns, and each so many bytes: every model is held against all of them.
const MOST_PATTERNS: usize = 100;
const MOST_BYTES: usize = 256;

impl Auto {
    /// What `plugins`, the JSON of a body's list, says. A plugin that is switched off says nothing.
    ///
    /// # Errors
    /// A plugin that there is not, or a member that is unknown or of the wrong type.
    pub fn read(plugins: &[u8]) -> Result<Auto, WishError> {
        let mut auto = Auto::default();
        let value = json("plugins", plugins)?;
        let plugins = value.as_array().ok_or_else(|| WishError::new("plugins", r#"wanted: a list such as [{"id": "auto-router"}]"#))?;
        for (position, plugin) in plugins.iter().enumerate() {
            let path = format!("plugins.{position}");
            match plugin.get("id").and_then(Value::as_str) {
                Some(_) if plugin.get("enabled") == Some(&Value::Bool(false)) => {}
                Some("auto-router") => auto.add(&path, plugin)?,
                Some(id) => {
                    let message = format!("the plugin {:?} is not in this version; leave it out", shown(id));
                    return Err(WishError::new(format!("{path}.id"), message));
                }
                None => return Err(WishError::new(path, r#"wanted: a plugin such as {"id": "auto-router"}"#)),
            }
        }
        Ok(auto)
    }

    fn add(&mut self, path: &str, plugin: &Value) -> Result<(), WishError> {
        for (key, value) in plugin.as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            match (key.as_str(), value) {
                ("id", _) | ("enabled", Value::Bool(_)) | ("pin_model", Value::Bool(false)) | (_, Value::Null) => {}
                ("enabled" | "pin_model", value) if !value.is_boolean() => return Err(WishError::new(path, "wanted: true or false")),
                ("pin_model", _) => {
                    let message =
                        "is not in this version; leave it out: a conversation stays with its model while its prompt is cached there";
                    return Err(WishError::new(path, message));
                }
                ("cost_quality_tradeoff", _) => return Err(WishError::new(path, "is out of date; say cost_tier")),
                ("cost_tier", _) => self.cost_tier = Some(cost_tier(&path, value)?),
                ("allowed_models", _) => self.allowed = patterns(&path, value)?,
                ("excluded_models", _) => self.excluded = patterns(&path, value)?,
                _ => {
                    let hint = did_you_mean(["enabled", "cost_tier", "allowed_models", "excluded_models"].into_iter(), key);
                    return Err(WishError::new(path, format!("there is no such member{hint}")));
                }
            }
        }
        Ok(())
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
    let patterns: Vec<String> = values.flatten().ok_or_else(|| WishError::new(path, "wanted: a list of models, with * for any text"))?;
    if patterns.len() > MOST_PATTERNS || patterns.iter().any(|pattern| pattern.len() > MOST_BYTES) {
        return Err(WishError::new(path, format!("wanted: at most {MOST_PATTERNS} patterns of at most {MOST_BYTES} bytes")));
    }
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(plugins: &str) -> Result<Auto, (String, String)> {
        Auto::read(plugins.as_bytes()).map_err(|error| (error.path, error.message))
    }

    #[test]
    fn what_the_plugin_says_counts() {
        let check = |plugins: &str, expected: Auto| assert_eq!(read(plugins), Ok(expected), "{plugins}");
        check(r#"[{"id":"auto-router"}]"#, Auto::default());
        check(r#"[{"id":"web","enabled":false},{"id":"auto-router","enabled":true,"cost_tier":null,"pin_model":false}]"#, Auto::default());
        check(r#"[{"id":"auto-router","enabled":false,"cost_tier":"max"}]"#, Auto::default());
        check(
            r#"[{"id":"auto-router","cost_tier":"high","allowed_models":["a/*"],"excluded_models":["a/x"]}]"#,
            Auto { cost_tier: Some(CostTier::High), allowed: vec!["a/*".to_owned()], excluded: vec!["a/x".to_owned()] },
        );
        let auto = Auto { allowed: vec!["a/*".to_owned()], excluded: vec!["a/x".to_owned()], ..Auto::default() };
        assert_eq!((auto.may_pick("a/b"), auto.may_pick("a/x"), auto.may_pick("b/x")), (true, false, false));
    }

    #[test]
    fn what_makes_no_sense_is_refused_where_it_stands() {
        let check = |plugins: &str, path: &str, part: &str| {
            let (at, message) = read(plugins).unwrap_err();
            assert!(at == path && message.contains(part), "{plugins}: {at}: {message}");
        };
        check(r#"{"id":"web"}"#, "plugins", "a list");
        check(r#"[{"id":"auto-router"},"web"]"#, "plugins.1", "a plugin such as");
        check(r#"[{"max_results":5}]"#, "plugins.0", "a plugin such as");
        check(r#"[{"id":"web"}]"#, "plugins.0.id", "\"web\" is not in this version");
        check(r#"[{"id":"web","enabled":"false"}]"#, "plugins.0.id", "not in this version");
        check(r#"[{"id":"auto-router","enabled":"no"}]"#, "plugins.0.enabled", "true or false");
        check(r#"[{"id":"auto-router","pin_model":true}]"#, "plugins.0.pin_model", "not in this version");
        check(r#"[{"id":"auto-router","cost_quality_tradeoff":3}]"#, "plugins.0.cost_quality_tradeoff", "say cost_tier");
        check(r#"[{"id":"auto-router","cost_tier":"lo"}]"#, "plugins.0.cost_tier", "low");
        check(r#"[{"id":"auto-router","cost_tire":"low"}]"#, "plugins.0.cost_tire", "did you mean \"cost_tier\"?");
        check(r#"[{"id":"auto-router","allowed_models":"a/*"}]"#, "plugins.0.allowed_models", "a list of models");
        check(r#"[{"id":"auto-router","allowed_models":[7]}]"#, "plugins.0.allowed_models", "a list of models");
        let many = format!(r#"[{{"id":"auto-router","excluded_models":[{}"a/*"]}}]"#, r#""a/*","#.repeat(MOST_PATTERNS));
        check(&many, "plugins.0.excluded_models", "at most 100 patterns");
        let long = format!(r#"[{{"id":"auto-router","excluded_models":["{}"]}}]"#, "a".repeat(MOST_BYTES + 1));
        check(&long, "plugins.0.excluded_models", "at most 256 bytes");
    }
}
