//! From one dialect to another, through the canonical representation of `fairlead_ir`.
//!
//! Each dialect has, in the folder of its name, a reader and a writer of requests (`request/`), of whole replies (`response/`) and of
//! streams (`stream/`). This file holds what they share: where a request goes ([`Target`]), what of the request the way back needs
//! ([`Bridge`]), and how the caller shall see the reply ([`Face`]). Between reading and writing, [`seals`] keeps the state of thoughts on
//! its way through the client.
//!
//! Writing is deterministic and append-only: it reads no clock and draws no number, and a conversation that goes on is written with the
//! same bytes up to where it went on, because prompt caches and the signatures of thoughts depend on the prefix.

use fairlead_ir::request::{Effort, Show};
use fairlead_ir::{Dialect, ErrorKind, Losses, Origin, Param, Request, Severity, Text};
use std::borrow::Cow;

use crate::identity::Identity;
use crate::read::Malformed;
use crate::request::{Refusal, TierWord};
use crate::traits::Traits;

pub(crate) mod answers;
pub(crate) mod arguments;
pub(crate) mod calling;
mod calls;
pub mod completions;
pub mod dialects;
pub(crate) mod form;
mod job;
pub(crate) mod marks;
pub(crate) mod message;
#[cfg(test)]
pub(crate) mod promises;
pub(crate) mod remainder;
pub(crate) mod sampling;
pub(crate) mod schema;
pub mod seals;
pub mod stream;
pub mod streamed;
pub(crate) mod thinking;
pub(crate) mod tier;
pub(crate) mod tools;
pub mod wire;

pub use dialects::{Encoded, Wanted};
pub(crate) use job::Job;

/// Where a request goes, as far as its bytes depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The provider's dialect.
    pub dialect: Dialect,
    /// The provider's name of the model.
    pub model: &'a str,
    /// What the endpoint does differently.
    pub traits: Traits,
    /// The steps of effort that the model knows, least first. Empty: not known, any is passed on.
    pub efforts: &'a [Effort],
    /// The most tokens the model can write: where a dialect demands a limit and the caller gave none.
    pub max_output_tokens: Option<u64>,
    /// Put cache marks where the caller put none: on the last tool, the last instruction and the last turns.
    pub automatic_cache: bool,
    /// The request asks for [`Tier::Fast`] in the way of Messages, which have no other word for it.
    pub speed: bool,
    /// What the request says of thinking and of the reply's form is not its caller's: it is said in the endpoint's words, also where the caller
    /// speaks the target's dialect.
    pub reworded: bool,
}

impl<'a> Target<'a> {
    /// A model that does everything as its dialect says.
    pub const fn new(dialect: Dialect, model: &'a str) -> Target<'a> {
        Target {
            dialect,
            model,
            traits: Traits::NONE,
            efforts: &[],
            max_output_tokens: None,
            automatic_cache: false,
            speed: false,
            reworded: false,
        }
    }
}

/// Makes a request ask for the tier that is decided on. What is taken out is a loss.
pub fn say_tier(request: &mut Request<'_>, tier: TierWord, losses: &mut Losses) {
    let speaks_of_it = |name: &Text<'_>| name.is("speed");
    match tier {
        TierWord::Kept => return,
        TierWord::Removed(why) => {
            match request.labels.service_tier {
                Some(_) => losses.param(Param::ServiceTier, request, Severity::Changed, why.reason()),
                None => losses.at("speed".to_owned(), Severity::Changed, why.reason()),
            }
            request.labels.service_tier = None;
        }
        TierWord::Asked(tier) => request.labels.service_tier = Some(Text::word(tier.name())),
    }
    request.rest.retain(|member| !speaks_of_it(&member.name));
}

/// What of a request the way back needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Whether the caller wants the usage chunk of a chat stream.
    pub include_usage: bool,
    /// Whether thoughts shall not be shown; seals still travel.
    pub hide_thoughts: bool,
    /// Whether the caller gave its tools in chat's older way, as `functions`: calls go back as `function_call`.
    pub legacy_functions: bool,
    /// Tools that were sent under another name or in another shape.
    tools: Vec<BridgedTool>,
    /// The tool that stands for a form of reply, under the name it was sent: a call of it is the reply's text.
    pub format_tool: Option<String>,
}

/// A tool that was sent under another name or in another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BridgedTool {
    sent: Vec<u8>,
    original: Vec<u8>,
    free: bool,
}

impl Bridge {
    /// What the way back needs of `request`, whatever its target is; the target's writer adds what it changed.
    pub fn of(request: &Request<'_>) -> Bridge {
        Bridge {
            include_usage: request.labels.include_usage == Some(true),
            hide_thoughts: request.reasoning.show == Some(Show::Nothing),
            legacy_functions: request.tools.iter().any(|tool| tool.origin == Origin::item("functions", 0)),
            ..Bridge::default()
        }
    }

    /// Remembers that `original` went out as `sent`; `free`: a tool that takes free text, wrapped as `{"input": "…"}`.
    pub(crate) fn tool(&mut self, sent: &Text<'_>, original: &Text<'_>, free: bool) {
        if free || sent != original {
            self.tools.push(BridgedTool { sent: sent.as_bytes().to_vec(), original: original.as_bytes().to_vec(), free });
        }
    }

    /// Whether a tool stands for the form of the reply.
    pub(crate) fn is_format(&self, sent: &Text<'_>) -> bool {
        self.format_tool.as_deref().is_some_and(|tool| sent.is(tool))
    }

    /// The caller's name of a tool, and whether the caller gave it as one that takes free text.
    pub fn original<'t>(&'t self, sent: &'t Text<'_>) -> (Text<'t>, bool) {
        match self.tools.iter().find(|tool| tool.sent == sent.as_bytes()) {
            Some(tool) => (Text::escaped(&tool.original), tool.free),
            None => (sent.borrowed(), false),
        }
    }
}

/// How the caller shall see the reply.
#[derive(Clone, Copy, Debug)]
pub struct Face<'a> {
    /// Manner of the route, generation id, model, provider and time. On `/v1` the provider's own id is shown where it has one.
    pub identity: &'a Identity,
    /// What of the request matters here.
    pub bridge: &'a Bridge,
}

/// Turns a fault of the caller's body into its refusal.
pub(crate) fn refusal(fault: Malformed) -> Refusal {
    let message = fault.to_string();
    Refusal { kind: ErrorKind::InvalidRequest, message, param: Some(fault.path).filter(|path| !path.is_empty()).map(Cow::Owned) }
}

/// A name as dialects with a narrow alphabet take it: `[a-zA-Z0-9_-]`, at most `limit` long, everything else becomes `_`; a name that had to be
/// changed gets a short hash of the original behind it, so that two names stay two.
pub(crate) fn plain_name<'n>(name: &'n Text<'_>, limit: usize, starts_with_letter: bool) -> Text<'n> {
    let bytes = name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let fits =
        !bytes.is_empty() && bytes.len() <= limit && bytes.iter().all(plain) && (!starts_with_letter || bytes[0].is_ascii_alphabetic());
    if fits {
        return name.borrowed();
    }
    let mut made: Vec<u8> = Vec::with_capacity(limit);
    if starts_with_letter && !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        made.extend_from_slice(b"t_");
    }
    made.extend(bytes.iter().map(|byte| if plain(byte) { *byte } else { b'_' }));
    made.truncate(limit.saturating_sub(9));
    made.push(b'_');
    made.extend(format!("{:08x}", fnv1a(bytes)).bytes());
    Text::owned(made)
}

/// FNV-1a, folded to 32 bits: short, the same everywhere and always. No secret depends on it.
pub(crate) fn fnv1a(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_stay_apart() {
        let check = |name: &str, limit, letter, expected: &str| {
            let name = Text::word(name);
            let made = plain_name(&name, limit, letter);
            assert_eq!(made, Text::word(expected), "{name:?}");
            assert!(made.as_bytes().len() <= limit);
        };
        check("get_weather", 64, true, "get_weather");
        check("9lives", 64, false, "9lives");
        check("9lives", 64, true, "t_9lives_21766e29");
        check("mcp.read", 64, true, "mcp_read_3244eaf9");
        check("mcp:read", 64, true, "mcp_read_6ba903dc");
        check("abcdefghijklmnopqrstuvwxyz", 20, true, "abcdefghijk_49935c13");
    }

    #[test]
    fn a_tool_comes_back_under_its_own_name() {
        let mut bridge = Bridge::default();
        let (dotted, sent) = (Text::word("mcp.read"), Text::word("mcp_read_1"));
        bridge.tool(&sent, &dotted, false);
        bridge.tool(&Text::word("same"), &Text::word("same"), false);
        bridge.tool(&Text::word("patch"), &Text::word("patch"), true);
        assert_eq!(bridge.original(&sent), (dotted.borrowed(), false));
        assert_eq!(bridge.original(&Text::word("same")), (Text::word("same"), false));
        assert_eq!(bridge.original(&Text::word("patch")), (Text::word("patch"), true));
        assert_eq!(bridge.tools.len(), 2);
    }
}
