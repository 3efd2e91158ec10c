//! What a preset says for requests that do not say it themselves, in the words of every way to ask. Made once per configuration from
//! chat's words, and put into bodies as bytes.

use crate::loss::Losses;

/// A preset's fields, one form for each way to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// For chat: as the preset has them.
    pub chat: Form,
    /// For Responses.
    pub responses: Form,
    /// For Messages.
    pub messages: Form,
    /// For Gemini.
    pub gemini: Form,
    /// For legacy completions.
    pub completions: Form,
    /// For embeddings.
    pub embeddings: Form,
}

/// A preset's fields as members of one kind of body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The members, in the order in which they are put in.
    pub fields: Vec<Field>,
    /// The system prompt, as JSON: the message or the member's value that the dialect wants.
    pub instruction: Option<Box<[u8]>>,
    /// What cannot be said so. Paths are the preset's own.
    pub losses: Losses,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The top-level object that it stands in, where it stands in one.
    pub within: Option<&'static str>,
    /// Its name.
    pub name: Box<str>,
    /// Its value, as JSON.
    pub value: Box<[u8]>,
}

impl Field {
    /// Where it stands: its name, behind that of its object.
    pub fn path(&self) -> String {
        self.within.map_or_else(|| self.name.to_string(), |within| format!("{within}.{}", self.name))
    }
}
