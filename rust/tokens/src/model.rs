//! Models by name: which encoding is known to be theirs, and which family counts as they do.

use crate::encoding::Encoding;
use crate::estimate::Family;

/// Names whose encoding OpenAI publishes (`tiktoken/model.py`), and `codex-mini`, which is o4-mini. A name fits that is the listed one, or goes
/// on after it with `-`; a listed name that ends with a dot only has to begin. The first row that fits is taken.
const ENCODINGS: [(&str, Encoding); 20] = [
    ("gpt-5", Encoding::O200kBase),
    ("gpt-5.", Encoding::O200kBase),
    ("gpt-4.5", Encoding::O200kBase),
    ("gpt-4.1", Encoding::O200kBase),
    ("gpt-4o", Encoding::O200kBase),
    ("chatgpt-4o", Encoding::O200kBase),
    ("o1", Encoding::O200kBase),
    ("o3", Encoding::O200kBase),
    ("o4-mini", Encoding::O200kBase),
    ("gpt-oss", Encoding::O200kBase),
    ("codex-mini", Encoding::O200kBase),
    ("gpt-4", Encoding::Cl100kBase),
    ("gpt-3.5", Encoding::Cl100kBase),
    ("gpt-35", Encoding::Cl100kBase),
    ("text-embedding-3", Encoding::Cl100kBase),
    ("text-embedding-ada-002", Encoding::Cl100kBase),
    ("davinci-002", Encoding::Cl100kBase),
    ("babbage-002", Encoding::Cl100kBase),
    ("o200k_base", Encoding::O200kBase),
    ("cl100k_base", Encoding::Cl100kBase),
];
/// Who serves OpenAI's models under their own names.
const VENDORS_OF_OPENAI: [&str; 3] = ["", "openai", "azure"];

/// How names of each family begin. The first row that fits is taken.
const FAMILIES: [(&str, Family); 37] = [
    ("gpt-4.", Family::O200k),
    ("gpt-4o", Family::O200k),
    ("gpt-4", Family::Cl100k),
    ("gpt-3", Family::Cl100k),
    ("gpt-", Family::O200k),
    ("text-embedding-", Family::Cl100k),
    ("davinci-002", Family::Cl100k),
    ("babbage-002", Family::Cl100k),
    ("cl100k", Family::Cl100k),
    ("o200k", Family::O200k),
    ("o1", Family::O200k),
    ("o3", Family::O200k),
    ("o4", Family::O200k),
    ("chat", Family::O200k),
    ("codex", Family::O200k),
    ("claude-v1", Family::Claude),
    ("claude-instant", Family::Claude),
    ("claude-2", Family::Claude),
    ("claude-3", Family::Claude),
    ("claude-haiku-4", Family::Claude),
    ("claude-sonnet-4", Family::Claude),
    ("claude-opus-4-7", Family::ClaudeFine),
    ("claude-opus-4.7", Family::ClaudeFine),
    ("claude-opus-4-8", Family::ClaudeFine),
    ("claude-opus-4.8", Family::ClaudeFine),
    ("claude-opus-4", Family::Claude),
    ("claude", Family::ClaudeFine),
    ("gemini", Family::Gemini),
    ("gemma", Family::Gemini),
    ("llama", Family::Llama),
    ("mistral", Family::Mistral),
    ("deepseek", Family::Deepseek),
    ("qw", Family::Qwen),
    ("kimi", Family::Kimi),
    ("glm", Family::Glm),
    ("minimax", Family::Minimax),
    ("ministral", Family::Mistral),
];
/// Families by vendor, for names that say nothing (`codestral`, `magistral`, …).
const VENDORS: [(&str, Family); 14] = [
    ("openai", Family::O200k),
    ("azure", Family::O200k),
    ("anthropic", Family::ClaudeFine),
    ("google", Family::Gemini),
    ("meta-llama", Family::Llama),
    ("meta", Family::Llama),
    ("mistralai", Family::Mistral),
    ("mistral", Family::Mistral),
    ("deepseek", Family::Deepseek),
    ("qwen", Family::Qwen),
    ("alibaba", Family::Qwen),
    ("moonshotai", Family::Kimi),
    ("z-ai", Family::Glm),
    ("minimax", Family::Minimax),
];

/// The encoding that is published for a model, such as `openai/gpt-5-mini`, `gpt-4o-2024-08-06`, `ft:gpt-4o-mini:acme::1`,
/// `openai.gpt-oss-120b-1:0`, or an encoding's own name.
pub fn encoding(model: &str) -> Option<Encoding> {
    let name = Name::parse(model);
    if !VENDORS_OF_OPENAI.iter().any(|vendor| name.vendor.eq_ignore_ascii_case(vendor)) {
        return None;
    }
    let fits = |listed: &str| match name.after(listed) {
        Some(rest) => rest.is_empty() || rest.starts_with('-') || listed.ends_with('.'),
        None => false,
    };
    ENCODINGS.iter().find(|(listed, _)| fits(listed)).map(|(_, encoding)| *encoding)
}

/// The family that a model's text is estimated as; [`Family::Other`] for a name that says nothing.
pub fn family(model: &str) -> Family {
    let name = Name::parse(model);
    let by_name = FAMILIES.iter().find(|(listed, _)| name.after(listed).is_some());
    let by_vendor = || VENDORS.iter().find(|(vendor, _)| name.vendor.eq_ignore_ascii_case(vendor));
    by_name.or_else(by_vendor).map_or(Family::Other, |(_, family)| *family)
}

/// A model's id, taken apart.
pub(crate) struct Name<'a> {
    vendor: &'a str,
    name: &'a str,
}

impl<'a> Name<'a> {
    /// `router/vendor/name:variant`, `region.vendor.name-v1:0`, `ft:name:organisation::id`, `name@version`.
    pub(crate) fn parse(model: &'a str) -> Name<'a> {
        let (path, last) = model.rsplit_once('/').unwrap_or(("", model));
        let mut vendor = path.rsplit('/').next().unwrap_or_default().trim_start_matches('~');
        let last = last.strip_prefix("ft:").unwrap_or(last);
        let mut name = last.split([':', '@']).next().unwrap_or_default();
        // Versions have dots too, but digits before them.
        while let Some((before, after)) = name.split_once('.') {
            if before.is_empty() || !before.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
                break;
            }
            (vendor, name) = (before, after);
        }
        Name { vendor, name }
    }

    /// What follows in the name after this beginning, capitals or not.
    pub(crate) fn after(&self, beginning: &str) -> Option<&'a str> {
        let (start, rest) = self.name.split_at_checked(beginning.len())?;
        start.eq_ignore_ascii_case(beginning).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::{encoding, family};
    use crate::encoding::Encoding;
    use crate::estimate::Family;

    #[test]
    fn names_are_resolved() {
        let check = |model: &str, expected: (Option<Encoding>, Family)| assert_eq!((encoding(model), family(model)), expected, "{model}");
        let o200k = (Some(Encoding::O200kBase), Family::O200k);
        for model in [
            "gpt-5",
            "openai/gpt-5-mini",
            "gpt-5.1-codex",
            "openrouter/openai/gpt-4o:free",
            "~openai/gpt-4o",
            "chatgpt-4o-latest",
            "o3",
            "o1-preview",
            "o4-mini-2025-04-16",
            "ft:gpt-4o-mini-2024-07-18:acme::abc",
            "openai.gpt-oss-120b-1:0",
            "groq/openai/gpt-oss-20b",
            "o200k_base",
            "azure/gpt-4.1",
        ] {
            check(model, o200k);
        }
        let cl100k = (Some(Encoding::Cl100kBase), Family::Cl100k);
        for model in [
            "gpt-4",
            "gpt-4-turbo",
            "gpt-4-0613",
            "gpt-3.5-turbo",
            "gpt-35-turbo-16k",
            "text-embedding-3-large",
            "davinci-002",
            "cl100k_base",
            "ft:gpt-4:acme",
        ] {
            check(model, cl100k);
        }
        for (model, expected) in [
            ("gpt-6-sol", Family::O200k),
            ("gpt-4.9", Family::O200k),
            ("o10", Family::O200k),
            ("text-davinci-003", Family::Other),
            ("", Family::Other),
            ("acme/fast", Family::Other),
            ("acme/gpt-4o", Family::O200k),
            ("anthropic/claude-sonnet-4.5", Family::Claude),
            ("us.anthropic.claude-opus-4-7-20260416-v1:0", Family::ClaudeFine),
            ("claude-opus-5.5", Family::ClaudeFine),
            ("google/gemini-3.8-flash", Family::Gemini),
            ("meta-llama/Llama-4-Maverick", Family::Llama),
            ("mistralai/codestral-2508", Family::Mistral),
            ("Qwen/QwQ-32B", Family::Qwen),
            ("z-ai/glm-5.3", Family::Glm),
        ] {
            check(model, (None, expected));
        }
    }
}
