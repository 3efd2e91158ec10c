//! The pieces a message is made of, in their order: the order is the truth, and every dialect is a projection of it.

use std::fmt;

use crate::dialect::Dialect;
use crate::text::{Member, Raw, Text};

/// One piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// What it is.
    pub kind: Kind<'a>,
    /// The provider is asked to cache the prompt up to here.
    pub cache: Option<CacheMark>,
    /// Opaque state of the provider that must return to it byte for byte with this block.
    pub seal: Option<Seal<'a>>,
    /// Where it stood in what it was read from.
    pub origin: Origin,
    /// Members that only the dialect it was read from knows.
    pub rest: Vec<Member<'a>>,
}

impl<'a> Block<'a> {
    /// A block without mark, seal or unknown members.
    pub const fn new(kind: Kind<'a>, origin: Origin) -> Block<'a> {
        Block { kind, cache: None, seal: None, origin, rest: Vec::new() }
    }

    /// A plain text.
    pub const fn text(text: Text<'a>, origin: Origin) -> Block<'a> {
        Block::new(Kind::Text { text, citations: Vec::new() }, origin)
    }
}

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Text, with the sources it cites.
    Text {
        /// The text.
        text: Text<'a>,
        /// What it cites, in the order given.
        citations: Vec<Citation<'a>>,
    },
    /// The model's words for why it does not answer.
    Refusal(Text<'a>),
    /// An image, a document, sound or a film.
    Media(Media<'a>),
    /// What the model thought.
    Thought(Thought<'a>),
    /// The model wants a tool run.
    ToolCall(ToolCall<'a>),
    /// What a tool gave back. Stands in a user's turn.
    ToolResult(ToolResult<'a>),
    /// Something that only the dialect it was read from knows, as written (hosted tools' items, compaction, containers …).
    Opaque {
        /// Its `type` word or key, for loss reports.
        word: Text<'a>,
        /// All of it.
        raw: Raw<'a>,
    },
}

/// What was thought. Without parts, only the seal tells (omitted or redacted thinking).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thought<'a> {
    /// Readable parts in order.
    pub parts: Vec<ThoughtPart<'a>>,
    /// The provider hides the text for safety (Anthropic's `redacted_thinking`); the seal is all there is.
    pub redacted: bool,
    /// The item's id (Responses: `rs_…`).
    pub id: Option<Text<'a>>,
}

/// A readable part of what was thought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThoughtPart<'a> {
    /// Whether it is the thought itself or a summary of it.
    pub shape: ThoughtShape,
    /// The text.
    pub text: Text<'a>,
}

/// Whether a readable thought is the thought itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ThoughtShape {
    /// The text that the model thought.
    #[default]
    Full,
    /// A summary of it.
    Summary,
}

/// Opaque state: a signature, encrypted reasoning, a thought signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal<'a> {
    /// As the provider wrote it. Where [`Maker`] is known, what the provider wrote before we wrapped it.
    pub data: Text<'a>,
    /// Who made it, where our own wrapping tells; otherwise whoever speaks the dialect it was read from.
    pub maker: Option<Maker<'a>>,
}

/// Who made a seal. Another model, account or provider refuses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker<'a> {
    /// The dialect it was written in.
    pub dialect: Dialect,
    /// The provider's slug.
    pub provider: Text<'a>,
    /// A name of the account or credential, never the credential.
    pub account: Text<'a>,
    /// The provider's name of the model.
    pub model: Text<'a>,
}

/// A tool call of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall<'a> {
    /// Ties result and call. Empty where the dialect has none; encoders that need one make it from the call's place.
    pub id: Text<'a>,
    /// The tool's name.
    pub name: Text<'a>,
    /// What the tool is given.
    pub arguments: Arguments<'a>,
}

/// What a tool is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arguments<'a> {
    /// A JSON value as written.
    Json(Raw<'a>),
    /// A JSON text inside a JSON string: its escapes are one level deeper. May be no JSON at all, as models write it.
    Quoted(Text<'a>),
    /// Free text, for custom (grammar) tools.
    Free(Text<'a>),
}

/// What a tool gave back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult<'a> {
    /// The call's id. Empty where the dialect has none.
    pub id: Text<'a>,
    /// The tool's name, where the dialect repeats it.
    pub name: Option<Text<'a>>,
    /// Texts and media; an object the dialect wants parsed (Gemini's `response`, Converse's `json`) is a [`Kind::Opaque`] with the word `json`.
    pub content: Vec<Block<'a>>,
    /// The tool failed.
    pub is_error: bool,
    /// The answer to a call with [`Arguments::Free`].
    pub free: bool,
}

/// An image, a document, sound or a film.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// What kind.
    pub class: MediaClass,
    /// Where it is.
    pub source: MediaSource<'a>,
    /// How closely to look (OpenAI's `low`, `high`, `auto`, `original`).
    pub detail: Option<Text<'a>>,
    /// File name or title.
    pub name: Option<Text<'a>>,
}

/// Kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaClass {
    /// A picture.
    Image,
    /// A document: PDF, text, office formats.
    Document,
    /// Sound.
    Audio,
    /// A film.
    Video,
}

/// Where the bytes of media are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource<'a> {
    /// In base64, here.
    Base64 {
        /// Such as `image/png`. Empty: unknown.
        mime: Text<'a>,
        /// The bytes.
        data: Text<'a>,
    },
    /// Behind an address (`https:`, `gs:`, `s3:`).
    Url {
        /// The address.
        url: Text<'a>,
        /// Such as `image/png`, where the dialect says so.
        mime: Option<Text<'a>>,
    },
    /// A file that was uploaded to the provider before: means nothing to another one.
    File(Text<'a>),
    /// A document given as plain text.
    Plain(Text<'a>),
}

/// A source that a text cites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation<'a> {
    /// Address of the source.
    pub url: Option<Text<'a>>,
    /// Title of the source.
    pub title: Option<Text<'a>>,
    /// The words cited.
    pub quote: Option<Text<'a>>,
    /// First character of the text that cites, and the one behind the last.
    pub range: Option<(u64, u64)>,
    /// All of it, as the dialect it was read from wrote it.
    pub raw: Raw<'a>,
}

/// A wish that the provider cache the prompt up to here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CacheMark {
    /// For how long; absent: the provider's usual time.
    pub ttl: Option<CacheTtl>,
}

/// How long a cached prompt should live, in the steps that providers sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheTtl {
    /// `5m`.
    FiveMinutes,
    /// `30m`.
    ThirtyMinutes,
    /// `1h`.
    OneHour,
    /// `12h`.
    TwelveHours,
}

impl CacheTtl {
    /// Every step, shortest first.
    pub const ALL: [CacheTtl; 4] = [CacheTtl::FiveMinutes, CacheTtl::ThirtyMinutes, CacheTtl::OneHour, CacheTtl::TwelveHours];

    /// As dialects write it, such as `5m`.
    pub const fn word(self) -> &'static str {
        match self {
            CacheTtl::FiveMinutes => "5m",
            CacheTtl::ThirtyMinutes => "30m",
            CacheTtl::OneHour => "1h",
            CacheTtl::TwelveHours => "12h",
        }
    }

    /// The step that is written so.
    pub fn from_word(word: &[u8]) -> Option<CacheTtl> {
        CacheTtl::ALL.into_iter().find(|ttl| ttl.word().as_bytes() == word)
    }

    /// The nearest step among `offered` (shortest first) that is not shorter; the longest when all are.
    pub fn nearest(self, offered: &[CacheTtl]) -> Option<CacheTtl> {
        offered.iter().copied().find(|ttl| *ttl >= self).or(offered.last().copied())
    }
}

/// Where something stood in the body it was read from, for messages: `messages[3].content[0]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    list: &'static str,
    index: Option<u32>,
    inner: &'static str,
    part: Option<u32>,
}

impl Origin {
    /// A member of the body that is no list, such as `instructions`.
    pub const fn member(name: &'static str) -> Origin {
        Origin { list: name, index: None, inner: "", part: None }
    }

    /// An element of a list of the body, such as `messages[3]`.
    pub fn item(list: &'static str, index: usize) -> Origin {
        Origin { list, index: u32::try_from(index).ok(), inner: "", part: None }
    }

    /// An element of a list inside this one, such as `messages[3].content[0]`.
    pub fn part(self, inner: &'static str, part: usize) -> Origin {
        Origin { inner, part: u32::try_from(part).ok(), ..self }
    }

    /// What holds this one: `messages[3]` of `messages[3].content[0]`.
    pub const fn outer(self) -> Origin {
        Origin { inner: "", part: None, ..self }
    }

    /// A member of this one that is no list, such as `messages[3].content`.
    pub const fn inside(self, inner: &'static str) -> Origin {
        Origin { inner, part: None, ..self }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.list)?;
        if let Some(index) = self.index {
            write!(out, "[{index}]")?;
        }
        if !self.inner.is_empty() {
            write!(out, ".{}", self.inner)?;
        }
        match self.part {
            Some(part) => write!(out, "[{part}]"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_read_like_paths() {
        for (origin, path) in [
            (Origin::member("instructions"), "instructions"),
            (Origin::item("messages", 3), "messages[3]"),
            (Origin::item("messages", 3).inside("content"), "messages[3].content"),
            (Origin::item("contents", 0).part("parts", 12), "contents[0].parts[12]"),
            (Origin::member("systemInstruction").part("parts", 1), "systemInstruction.parts[1]"),
        ] {
            assert_eq!(origin.to_string(), path);
        }
        assert_eq!(Origin::item("messages", 3).part("content", 0).outer(), Origin::item("messages", 3));
    }

    #[test]
    fn a_cache_lives_at_least_as_long_as_asked_where_that_is_sold() {
        use CacheTtl::{FiveMinutes, OneHour, ThirtyMinutes, TwelveHours};
        let check = |asked: CacheTtl, offered: &[CacheTtl], got| assert_eq!(asked.nearest(offered), got, "{asked:?} of {offered:?}");
        check(FiveMinutes, &[FiveMinutes, OneHour], Some(FiveMinutes));
        check(ThirtyMinutes, &[FiveMinutes, OneHour], Some(OneHour));
        check(TwelveHours, &[FiveMinutes, OneHour], Some(OneHour));
        check(OneHour, &[ThirtyMinutes, TwelveHours], Some(TwelveHours));
        check(OneHour, &[], None);
        for ttl in CacheTtl::ALL {
            assert_eq!(CacheTtl::from_word(ttl.word().as_bytes()), Some(ttl));
        }
    }
}
