//! What a translation could not keep.

use std::borrow::Cow;
use std::fmt;

use crate::block::Origin;
use crate::param::Param;
use crate::request::Request;
use crate::text::Member;

/// One thing that did not survive a translation as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where it stood in the body that was translated, such as `messages[3].content[0]`.
    pub path: String,
    /// What happened to it and why, in a sentence without a full stop.
    pub reason: Cow<'static, str>,
    /// How much it matters.
    pub severity: Severity,
}

/// How much a loss matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The meaning of the request or reply is whole: a hint (caching, labels, detail) found no place.
    Hint,
    /// It was replaced by the nearest thing.
    Changed,
    /// It is gone.
    Dropped,
}

impl Severity {
    /// Every severity, in the order of their stable numbers, which is that of how much they matter.
    pub const ALL: [Severity; 3] = [Severity::Hint, Severity::Changed, Severity::Dropped];

    /// A number that journals store; never reused for another severity.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The severity with this stored number.
    pub fn from_number(number: u8) -> Option<Severity> {
        Severity::ALL.get(usize::from(number)).copied()
    }

    /// As headers, records and Python spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Hint => "hint",
            Severity::Changed => "changed",
            Severity::Dropped => "dropped",
        }
    }

    /// Whether a caller that asked for strictness is refused because of it.
    pub const fn is_strict_refusal(self) -> bool {
        !matches!(self, Severity::Hint)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.path, self.severity.name(), self.reason)
    }
}

/// Before the name of a member that a block keeps for what holds it.
pub const OUTER: &str = "../";

/// The losses of one translation, in the order they were met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(Vec<Loss>);

impl Losses {
    /// None so far.
    pub const fn new() -> Losses {
        Losses(Vec::new())
    }

    /// A parameter, named as the request spells it. Told once, where one member of the caller's says what several parameters say.
    pub fn param(&mut self, param: Param, request: &Request<'_>, severity: Severity, reason: impl Into<Cow<'static, str>>) {
        let (path, reason) = (request.path(param), reason.into());
        if !self.0.iter().any(|told| told.path == path && told.reason == reason) {
            self.at(path.to_owned(), severity, reason);
        }
    }

    /// A message, block or tool.
    pub fn block(&mut self, origin: Origin, severity: Severity, reason: impl Into<Cow<'static, str>>) {
        self.at(origin.to_string(), severity, reason);
    }

    /// Members of a message, block or tool that only the dialect it was read from knows. One that asks for nothing is a hint.
    pub fn members(&mut self, origin: Origin, members: &[Member<'_>], severity: Severity, reason: &'static str) {
        for member in members {
            let name = String::from_utf8_lossy(member.name.as_bytes());
            let (origin, name) = name.strip_prefix(OUTER).map_or((origin, &*name), |name| (origin.outer(), name));
            self.at(format!("{origin}.{name}"), severity.min(member.loss()), reason);
        }
    }

    /// Anything with a path of its own.
    pub fn at(&mut self, path: String, severity: Severity, reason: impl Into<Cow<'static, str>>) {
        self.0.push(Loss { path, reason: reason.into(), severity });
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Loss] {
        &self.0
    }

    /// Whether nothing was lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of another step.
    pub fn append(&mut self, mut other: Losses) {
        self.0.append(&mut other.0);
    }
}

#[cfg(test)]
mod tests {
    use super::Severity;

    #[test]
    fn severities_are_numbered_by_how_much_they_matter() {
        for (number, severity) in Severity::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(severity.number()), number);
            assert_eq!(Severity::from_number(severity.number()), Some(severity));
        }
        assert!(Severity::ALL.is_sorted());
        assert_eq!(Severity::from_number(3), None);
    }
}
