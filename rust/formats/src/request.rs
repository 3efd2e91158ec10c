//! Requests: what routing needs to know of a body, and the few bytes that change before it goes upstream.
//!
//! A body is scanned while it arrives, never parsed into a tree, and never copied: the facts hold byte ranges, the edits are
//! splices. Only what routing, metering and the gateway's own keys need is checked; the rest is the provider's to judge.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;
use std::sync::LazyLock;

use fairlead_ir::{Dialect, ErrorKind, Manner};

use crate::error::shorten;
use crate::extension::{EXTENSIONS, Treatment, user_is_foreign};
use crate::json::walk::{as_bool, as_str, as_u64, write_string};
use crate::json::{Files, Keys, Kind, Members, Reason, Reject, Scanner};
use crate::openai_chat::request::StreamOptions;
use crate::openai_chat::wire::is_hollow;
use crate::splice::{Edits, MemberEdits, Misplaced, gather};
use crate::{anthropic_messages, gemini_generate, openai_chat, openai_responses};

/// The longest model name, in bytes.
pub const MAX_MODEL_BYTES: usize = 256;
/// The longest `user`, in bytes.
pub const MAX_USER_BYTES: usize = 1024;
/// The longest `session_id`, in bytes; OpenRouter's limit is 256 characters.
pub const MAX_SESSION_BYTES: usize = 1024;

/// Why a request is refused before anything is sent anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status and words.
    pub kind: ErrorKind,
    /// What is wrong, where, and what to do about it.
    pub message: String,
    /// The top-level member it is about.
    pub param: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn field(param: &'static str, message: String) -> Refusal {
        Refusal { kind: ErrorKind::InvalidRequest, message, param: Some(param) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl core::error::Error for Refusal {}

/// Scans a request body while it arrives.
#[derive(Debug)]
pub struct RequestScan {
    dialect: Dialect,
    scanner: Scanner<'static>,
    address: Option<Address>,
}

/// What a request says in its path, in a dialect that names the model there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The model, escapes of the path decoded.
    pub model: String,
    /// Whether a stream is asked for.
    pub stream: bool,
}

impl RequestScan {
    /// A scan of a body in `dialect` with at most `max_depth` nested containers.
    pub fn new(dialect: Dialect, max_depth: u16) -> RequestScan {
        RequestScan { dialect, scanner: Scanner::prepared(layout_of(dialect), max_depth), address: None }
    }

    /// As [`RequestScan::new`], of a dialect whose path says more: [`Dialect::GeminiGenerate`].
    pub fn addressed(dialect: Dialect, max_depth: u16, address: Address) -> RequestScan {
        RequestScan { address: Some(address), ..RequestScan::new(dialect, max_depth) }
    }

    /// Scans the next bytes of the body; they may be cut anywhere.
    ///
    /// # Errors
    /// The body is not one acceptable JSON object. Whatever follows, it stays refused.
    pub fn feed(&mut self, slice: &[u8]) -> Result<(), Refusal> {
        self.scanner.feed(slice).map_err(|reject| refuse_json(self.dialect, &reject))
    }

    /// Ends the body and reads the facts out of `frames`, which are the slices that were fed.
    ///
    /// # Errors
    /// The body ends too early, a member that routing needs is missing or of the wrong type, a gateway feature is asked for
    /// that is not in this version, or the dialect is not.
    pub fn finish<F: AsRef<[u8]>>(self, frames: &[F]) -> Result<Facts, Refusal> {
        let dialect = self.dialect;
        let spoken = match dialect {
            Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::AnthropicMessages => true,
            Dialect::GeminiGenerate => self.address.is_some(),
            Dialect::BedrockConverse => false,
        };
        if !spoken {
            let message = format!("{} requests are not in this version; use openai_chat or anthropic_messages", dialect.name());
            return Err(Refusal { kind: ErrorKind::InvalidRequest, message, param: None });
        }
        let members = self.scanner.finish().map_err(|reject| refuse_json(dialect, &reject))?;
        Body { dialect, members: &members, frames }.facts(self.address).map(|facts| Facts { members, ..facts })
    }
}

/// What a request says, as far as the gateway cares.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The dialect it was read in.
    pub dialect: Dialect,
    /// The model as the client named it. Not empty, no control characters.
    pub model: String,
    /// Where the model's value lies in the body, quotes included. Empty where the path names the model.
    pub model_range: Range<usize>,
    /// Where the conversation lies (`messages`, `contents`, or `input` of a Responses body, which may be a text or absent), for estimates and affinity.
    pub messages_range: Range<usize>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// The client's cap on completion tokens.
    pub max_completion_tokens: Option<u64>,
    /// How many choices are asked for (`n`); 1 where the dialect has no such thing.
    pub choices: u64,
    /// The end user, not empty.
    pub user: Option<String>,
    /// The session, not empty.
    pub session_id: Option<String>,
    /// What a chat client said about `stream_options.include_usage`.
    pub include_usage: Option<bool>,
    /// Length of the body in bytes.
    pub body_bytes: usize,
    members: Members,
    stream_options: Option<StreamOptions>,
    /// Where the end user stands in a Messages body's own place for it.
    metadata_users: Vec<Range<usize>>,
}

impl Facts {
    /// What of the body is files in base64: see [`Members::files`](crate::json::Members::files).
    pub fn files(&self) -> Files {
        self.members.files()
    }

    /// Whether the usage chunk is ours alone: [`edits`] asks the provider for it, and this client shall not see it.
    /// OpenRouter's manner always shows it.
    pub fn withhold_usage(&self, manner: Manner) -> bool {
        self.dialect == Dialect::OpenaiChat && self.stream && manner == Manner::Native && self.include_usage != Some(true)
    }
}

/// Where a request goes, as far as its bytes depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The model name the provider knows.
    pub upstream_model: &'a str,
    /// The manner of the client's route.
    pub manner: Manner,
    /// What stands for `user` on `/api/v1`; without it `user` is removed there. Not used on `/v1`.
    pub hashed_user: Option<&'a str>,
    /// Whether this provider understands `stream_options`. False for the few that answer 400 to it.
    pub stream_options: bool,
}

/// Writes down the edits that make the client's body the provider's. Everything else stays byte for byte.
///
/// # Errors
/// When `edits` already holds edits of the same places; never on an empty list.
pub fn edits(facts: &Facts, target: &Target<'_>, out: &mut Edits) -> Result<(), Misplaced> {
    let mut changes = MemberEdits::new(&facts.members);
    match facts.dialect {
        // The path says it, and nothing else may.
        Dialect::GeminiGenerate => changes.remove(MODEL),
        _ => changes.set(MODEL, "model", quoted(target.upstream_model)),
    }
    (0..EXTENSIONS.len()).for_each(|row| changes.remove(FIRST_EXTENSION + row));
    if target.manner == Manner::Openrouter && facts.user.is_some() {
        hide_user(facts, target, &mut changes, out)?;
    }
    if let Some(options) = facts.stream_options.as_ref().filter(|_| facts.stream && target.stream_options) {
        options.ask_for_usage(&mut changes, out)?;
    }
    changes.write(out)
}

fn hide_user(facts: &Facts, target: &Target<'_>, changes: &mut MemberEdits<'_, '_>, out: &mut Edits) -> Result<(), Misplaced> {
    for place in &facts.metadata_users {
        out.replace(place.clone(), &target.hashed_user.map_or(Cow::Borrowed(b"null".as_slice()), quoted))?;
    }
    match target.hashed_user {
        hashed if user_is_foreign(facts.dialect) => anthropic_messages::request::move_user(&facts.members, hashed, changes),
        Some(hashed) => changes.set(USER, "user", quoted(hashed)),
        None => changes.remove(USER),
    }
    Ok(())
}

fn quoted(text: &str) -> Cow<'static, [u8]> {
    let mut json = Vec::with_capacity(text.len() + 2);
    write_string(&mut json, text);
    Cow::Owned(json)
}

// The places of the wanted members: the common ones, the gateway's own, then those of one dialect.
const MODEL: usize = 0;
pub(crate) const MESSAGES: usize = 1;
const STREAM: usize = 2;
pub(crate) const USER: usize = 3;
const FIRST_EXTENSION: usize = 4;
pub(crate) const FIRST_OWN: usize = FIRST_EXTENSION + EXTENSIONS.len();

/// The whole list of wanted names for a dialect that calls the conversation `messages` and has `own` names.
pub(crate) const fn keys<const OWN: usize, const ALL: usize>(messages: &'static str, own: [&'static str; OWN]) -> [&'static str; ALL] {
    let mut all = [""; ALL];
    all[MODEL] = "model";
    all[MESSAGES] = messages;
    all[STREAM] = "stream";
    all[USER] = "user";
    let mut row = 0;
    while row < EXTENSIONS.len() {
        all[FIRST_EXTENSION + row] = EXTENSIONS[row].key;
        row += 1;
    }
    let mut index = 0;
    while index < OWN {
        all[FIRST_OWN + index] = own[index];
        index += 1;
    }
    all
}

/// The same keys, laid out for the scanner.
fn layout_of(dialect: Dialect) -> &'static Keys {
    static CHAT: LazyLock<Keys> = LazyLock::new(|| Keys::new(&openai_chat::request::KEYS));
    static RESPONSES: LazyLock<Keys> = LazyLock::new(|| Keys::new(&openai_responses::request::KEYS));
    static MESSAGES: LazyLock<Keys> = LazyLock::new(|| Keys::new(&anthropic_messages::request::KEYS));
    static GENERATE: LazyLock<Keys> = LazyLock::new(|| Keys::new(&gemini_generate::request::KEYS));
    match dialect {
        Dialect::OpenaiResponses => &RESPONSES,
        Dialect::AnthropicMessages => &MESSAGES,
        Dialect::GeminiGenerate => &GENERATE,
        _ => &CHAT,
    }
}

fn keys_of(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::OpenaiResponses => &openai_responses::request::KEYS,
        Dialect::AnthropicMessages => &anthropic_messages::request::KEYS,
        Dialect::GeminiGenerate => &gemini_generate::request::KEYS,
        _ => &openai_chat::request::KEYS,
    }
}

fn refuse_json(dialect: Dialect, reject: &Reject) -> Refusal {
    let (name, message) = match &reject.reason {
        Reason::DuplicateKey(name) => (name.as_str(), format!("\"{name}\" occurs twice (byte {}); send it once", reject.offset)),
        Reason::KeyCase(name) => {
            (name.as_str(), format!("a member (byte {}) differs from \"{name}\" only in letter case; write \"{name}\"", reject.offset))
        }
        _ => ("", format!("the body is not acceptable: {reject}; send one JSON object")),
    };
    let param = keys_of(dialect).iter().find(|key| **key == name).copied();
    Refusal { kind: ErrorKind::InvalidRequest, message, param }
}

/// A scanned body, while facts are read out of it.
pub(crate) struct Body<'a, F> {
    dialect: Dialect,
    members: &'a Members,
    frames: &'a [F],
}

impl<F: AsRef<[u8]>> Body<'_, F> {
    fn facts(&self, address: Option<Address>) -> Result<Facts, Refusal> {
        let ((model, model_range), in_path) = match address {
            Some(Address { model, stream }) => ((addressed_model(model)?, 0..0), Some(stream)),
            None => (self.model()?, None),
        };
        let messages_range = self.messages()?;
        self.refuse_missing_features()?;
        let is_chat = self.dialect == Dialect::OpenaiChat;
        let stream_options = if is_chat { Some(StreamOptions::read(self)?) } else { None };
        let (metadata_user, metadata_users) = match self.dialect {
            Dialect::AnthropicMessages => anthropic_messages::request::metadata_users(self),
            _ => (None, Vec::new()),
        };
        if self.dialect == Dialect::OpenaiResponses {
            openai_responses::request::refuse_background(self)?;
        }
        let (max_completion_tokens, choices) = match self.dialect {
            Dialect::AnthropicMessages => (anthropic_messages::request::max_completion_tokens(self)?, 1),
            Dialect::OpenaiResponses => (openai_responses::request::max_output_tokens(self)?, 1),
            Dialect::GeminiGenerate => gemini_generate::request::limits(self)?,
            _ => (openai_chat::request::max_completion_tokens(self)?, openai_chat::request::choices(self)?),
        };
        let session = FIRST_EXTENSION + EXTENSIONS.iter().position(|row| row.key == "session_id").unwrap_or(0);
        Ok(Facts {
            dialect: self.dialect,
            model,
            model_range,
            messages_range,
            stream: in_path.map_or_else(|| self.flag(STREAM), Ok)?,
            max_completion_tokens,
            choices,
            user: self.short_text(USER, MAX_USER_BYTES)?.or(metadata_user),
            session_id: self.short_text(session, MAX_SESSION_BYTES)?,
            include_usage: stream_options.as_ref().and_then(|options| options.include_usage),
            body_bytes: self.frames.iter().map(|frame| frame.as_ref().len()).sum(),
            // The caller owns the members and puts them in.
            members: Members::default(),
            stream_options,
            metadata_users,
        })
    }

    fn model(&self) -> Result<(String, Range<usize>), Refusal> {
        let missing = || Refusal::field("model", "\"model\" is missing or empty; name a model such as \"vendor/model\"".to_owned());
        let (_, range) = self.value(MODEL).ok_or_else(missing)?;
        let model = self.short_text(MODEL, MAX_MODEL_BYTES)?.ok_or_else(missing)?;
        Ok((model, range))
    }

    fn messages(&self) -> Result<Range<usize>, Refusal> {
        let is_input = self.dialect == Dialect::OpenaiResponses;
        match self.value(MESSAGES) {
            Some((Kind::Array, range)) => Ok(range),
            // Google takes a lone content for a list of one.
            Some((Kind::Object, range)) if self.dialect == Dialect::GeminiGenerate => Ok(range),
            Some((Kind::String, range)) if is_input => Ok(range),
            // A stored prompt, or a conversation that the provider keeps, stands in.
            None | Some((Kind::Null, _)) if is_input => Ok(0..0),
            Some(_) if is_input => Err(self.wrong_type(MESSAGES, "a string or an array")),
            Some(_) => Err(self.wrong_type(MESSAGES, "an array")),
            None => {
                let name = self.name(MESSAGES);
                Err(Refusal::field(name, format!("\"{name}\" is missing; send the conversation as an array")))
            }
        }
    }

    fn refuse_missing_features(&self) -> Result<(), Refusal> {
        for (number, row) in EXTENSIONS.iter().enumerate().filter(|(_, row)| row.treatment == Treatment::NotInThisVersion) {
            if let Some((kind, range)) = self.value(FIRST_EXTENSION + number)
                && self.asks_for_something(kind, range)
            {
                let message = format!("\"{}\" ({}) is not in this version; leave it out", row.key, row.feature);
                return Err(Refusal::field(row.key, message));
            }
        }
        Ok(())
    }

    fn asks_for_something(&self, kind: Kind, range: Range<usize>) -> bool {
        match kind {
            Kind::Null | Kind::False => false,
            Kind::String => range.len() > 2,
            Kind::Array | Kind::Object => {
                let inside = range.start + 1..range.end - 1;
                // White space alone is nothing; a container inside is something, however empty.
                !is_hollow(&self.text(inside.clone())) || self.text(inside).iter().any(|byte| matches!(byte, b'[' | b'{'))
            }
            Kind::True | Kind::Number => true,
        }
    }

    pub(crate) fn flag(&self, index: usize) -> Result<bool, Refusal> {
        match self.value(index) {
            None | Some((Kind::Null, _)) => Ok(false),
            Some((_, range)) => as_bool(&self.text(range)).ok_or_else(|| self.wrong_type(index, "true or false")),
        }
    }

    pub(crate) fn whole_number(&self, index: usize) -> Result<Option<u64>, Refusal> {
        match self.value(index) {
            None | Some((Kind::Null, _)) => Ok(None),
            Some((Kind::Number, range)) => match as_u64(&self.text(range)) {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong_type(index, "a whole number, 0 or more")),
            },
            Some(_) => Err(self.wrong_type(index, "a whole number, 0 or more")),
        }
    }

    /// A text for the record: bounded, without control characters. `None` when absent, `null` or empty.
    fn short_text(&self, index: usize, max_bytes: usize) -> Result<Option<String>, Refusal> {
        let (name, range) = match self.value(index) {
            None | Some((Kind::Null, _)) => return Ok(None),
            Some((Kind::String, range)) => (self.name(index), range),
            Some(_) => return Err(self.wrong_type(index, "a string")),
        };
        // Written with escapes a text is at most six times as long; a longer one is not even gathered.
        let text = if range.len() <= max_bytes * 6 + 2 { as_str(&self.text(range)).map(Cow::into_owned) } else { None };
        match text {
            Some(text) if text.len() > max_bytes => Err(Refusal::field(name, too_long(name, max_bytes))),
            Some(text) if text.chars().any(char::is_control) => {
                Err(Refusal::field(name, format!("\"{name}\" contains a control character; remove it")))
            }
            Some(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            None => Err(Refusal::field(name, too_long(name, max_bytes))),
        }
    }

    pub(crate) fn value(&self, index: usize) -> Option<(Kind, Range<usize>)> {
        self.members.kind(index).zip(self.members.value(index))
    }

    pub(crate) fn text(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        gather(self.frames, range)
    }

    pub(crate) fn wrong_type(&self, index: usize, wanted: &str) -> Refusal {
        let name = self.name(index);
        let found = match self.value(index) {
            Some((Kind::Number | Kind::True | Kind::False, range)) => shorten(&String::from_utf8_lossy(&self.text(range)), SHOWN_BYTES),
            Some((Kind::String, _)) => "a string".to_owned(),
            Some((Kind::Object, _)) => "an object".to_owned(),
            Some((Kind::Array, _)) => "an array".to_owned(),
            Some((Kind::Null, _)) | None => "null".to_owned(),
        };
        Refusal::field(name, format!("\"{name}\" must be {wanted}; it is {found}"))
    }

    fn name(&self, index: usize) -> &'static str {
        keys_of(self.dialect).get(index).copied().unwrap_or_default()
    }
}

/// How much of a wrong number a message shows.
const SHOWN_BYTES: usize = 24;

/// The model that a path names, by the same rules as one in a body.
fn addressed_model(model: String) -> Result<String, Refusal> {
    let wrong = match model.as_str() {
        "" => "the path names no model; write it as models/{model}:generateContent".to_owned(),
        long if long.len() > MAX_MODEL_BYTES => format!("the model in the path is longer than {MAX_MODEL_BYTES} bytes; shorten it"),
        odd if odd.chars().any(char::is_control) => "the model in the path contains a control character; remove it".to_owned(),
        _ => return Ok(model),
    };
    Err(Refusal::field("model", wrong))
}

fn too_long(name: &str, max_bytes: usize) -> String {
    format!("\"{name}\" is longer than {max_bytes} bytes; shorten it")
}
