//! Request keys that mean something to a gateway and nothing to a provider: the one table of what happens to each.
//!
//! Every key here is removed from the request on both manners, because providers refuse or misread it. A key that asks for a
//! feature we do not have is refused by name: silently ignored, it would look like a feature that works.

use fairlead_ir::Dialect;

/// What happens to a gateway-only key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The value is read, then the key is removed.
    Used,
    /// The key is removed; it asks for nothing that we would do otherwise.
    Removed,
    /// A value that asks for something is refused; an empty one (`null`, `false`, `""`, `[]`, `{}`) is removed.
    NotInThisVersion,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The top-level member name.
    pub key: &'static str,
    /// What the key is for, in words an error message can use.
    pub feature: &'static str,
    /// What happens to it.
    pub treatment: Treatment,
    /// Why.
    pub reason: &'static str,
}

/// The table. `user` is no row: it is a provider's parameter too, and only `/api/v1` changes it.
#[rustfmt::skip]
pub const EXTENSIONS: [Extension; 12] = [
    row("models",                 "fallback lists",              Treatment::Used,             "other models that may answer when the first fails"),
    row("provider",               "provider preferences",        Treatment::Used,             "which endpoints may answer, and in which order"),
    row("plugins",                "plugins",                     Treatment::Used,             "how openrouter/auto picks; any other is refused by name"),
    row("route",                  "routing strategies",          Treatment::Used,             "how fallback models are tried"),
    row("preset",                 "a preset beside a model",     Treatment::Used,             "stands for wishes that the operator keeps"),
    row("transforms",             "prompt transforms",           Treatment::NotInThisVersion, "would shorten the prompt; an empty list asks for none"),
    row("stop_server_tools_when", "server tools",                Treatment::NotInThisVersion, "bounds a loop that we do not run"),
    row("deferred_tools",         "tool search",                 Treatment::NotInThisVersion, "the model would never see these tools"),
    row("debug",                  "echo of the upstream body",   Treatment::NotInThisVersion, "the caller waits for a first chunk that never comes"),
    row("session_id",             "sessions",                    Treatment::Used,             "groups generations; kept in the record"),
    row("trace",                  "trace labels",                Treatment::Removed,          "labels for exports; changes nothing about the reply"),
    row("usage",                  "usage accounting",            Treatment::Removed,          "asks for usage with cost, which is always there"),
];

/// Whether a top-level member is one of ours, which no dialect's reader looks at.
pub(crate) fn is_extension(name: &str) -> bool {
    EXTENSIONS.iter().any(|row| row.key == name)
}

/// `user` of a Messages body: OpenRouter's addition, unknown to Anthropic, whose own field is `metadata.user_id`.
pub(crate) const fn user_is_foreign(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::AnthropicMessages)
}

const fn row(key: &'static str, feature: &'static str, treatment: Treatment, reason: &'static str) -> Extension {
    Extension { key, feature, treatment, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_keys_are_in_the_table_once() {
        for key in ["models", "provider", "plugins", "route", "preset", "transforms", "session_id", "trace", "usage"] {
            assert_eq!(EXTENSIONS.iter().filter(|row| row.key == key).count(), 1, "{key}");
        }
    }

    #[test]
    fn no_row_takes_a_providers_parameter_away() {
        for key in ["model", "messages", "stream", "stream_options", "max_tokens", "user", "metadata", "tools", "reasoning", "sim"] {
            assert!(EXTENSIONS.iter().all(|row| row.key != key), "{key}");
        }
    }
}
