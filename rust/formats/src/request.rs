//! Requests: what routing needs to know of a body, and the few bytes that change before it goes upstream.
//!
//! A body is scanned while it arrives, never parsed into a tree, and never copied: the facts hold byte ranges, the edits are
//! splices. Only what routing, metering and the gateway's own keys need is checked; the rest is the provider's to judge.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;
use std::sync::LazyLock;

use fairlead_ir::{Dialect, ErrorKind, Manner, Tier};

use crate::error::shorten;
use crate::extension::{EXTENSIONS, Treatment, user_is_foreign};
use crate::json::walk::{as_bool, as_str, as_u64, elements, write_string};
use crate::json::{Files, Keys, Kind, Members, Reason, Reject, Scanner};
use crate::openai_chat::request::StreamOptions;
use crate::openai_chat::wire::is_hollow;
use crate::splice::{Edits, MemberEdits, Misplaced, gather};
use crate::{anthropic_messages, gemini_generate, openai_chat, openai_completions, openai_embeddings, openai_responses};

pub use crate::openai_responses::request::state::{Resume, State};

/// The longest model name, in bytes.
pub const MAX_MODEL_BYTES: usize = 256;
/// The most names in `models`. OpenRouter's own limit is three.
pub const MAX_MODELS: usize = 64;
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
    /// The member it is about, as a path from the top such as `messages[3].content`.
    pub param: Option<Cow<'static, str>>,
}

impl Refusal {
    pub(crate) fn field(param: &'static str, message: String) -> Refusal {
        Refusal { kind: ErrorKind::InvalidRequest, message, param: Some(Cow::Borrowed(param)) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl core::error::Error for Refusal {}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// A reply, in the way the dialect is made for.
    #[default]
    Generate,
    /// A text that goes on: OpenAI's legacy completions. The dialect is chat.
    Completions,
    /// Vectors of texts: OpenAI's embeddings. The dialect is chat.
    Embeddings,
    /// How many tokens the same body would have as a prompt.
    CountTokens,
}

/// Scans a request body while it arrives.
#[derive(Debug)]
pub struct RequestScan {
    dialect: Dialect,
    purpose: Purpose,
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
        RequestScan::of(dialect, Purpose::Generate, max_depth)
    }

    /// As [`RequestScan::new`], of a dialect whose path says more: [`Dialect::GeminiGenerate`].
    pub fn addressed(dialect: Dialect, max_depth: u16, address: Address) -> RequestScan {
        RequestScan { address: Some(address), ..RequestScan::new(dialect, max_depth) }
    }

    /// A scan of a body of legacy completions.
    pub fn completions(max_depth: u16) -> RequestScan {
        RequestScan::of(Dialect::OpenaiChat, Purpose::Completions, max_depth)
    }

    /// A scan of a body of embeddings.
    pub fn embeddings(max_depth: u16) -> RequestScan {
        RequestScan::of(Dialect::OpenaiChat, Purpose::Embeddings, max_depth)
    }

    /// A scan of a body whose tokens shall be counted; `model` is the one that the path names, in dialects that do so.
    pub fn count(dialect: Dialect, max_depth: u16, model: Option<String>) -> RequestScan {
        let address = model.map(|model| Address { model, stream: false });
        RequestScan { address, ..RequestScan::of(dialect, Purpose::CountTokens, max_depth) }
    }

    fn of(dialect: Dialect, purpose: Purpose, max_depth: u16) -> RequestScan {
        RequestScan { dialect, purpose, scanner: Scanner::prepared(layout_of(dialect, purpose), max_depth), address: None }
    }

    /// Scans the next bytes of the body; they may be cut anywhere.
    ///
    /// # Errors
    /// The body is not one acceptable JSON object. Whatever follows, it stays refused.
    pub fn feed(&mut self, slice: &[u8]) -> Result<(), Refusal> {
        self.scanner.feed(slice).map_err(|reject| refuse_json(keys_of(self.dialect, self.purpose), &reject))
    }

    /// Ends the body and reads the facts out of `frames`, which are the slices that were fed.
    ///
    /// # Errors
    /// The body ends too early, a member that routing needs is missing or of the wrong type, a gateway feature is asked for
    /// that is not in this version, or nothing is asked in this dialect here.
    pub fn finish<F: AsRef<[u8]>>(self, frames: &[F]) -> Result<Facts, Refusal> {
        let (dialect, purpose) = (self.dialect, self.purpose);
        let spoken = match dialect {
            Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::AnthropicMessages => true,
            Dialect::GeminiGenerate => self.address.is_some(),
            Dialect::BedrockConverse => false,
        };
        if !spoken {
            let message = format!("{} is spoken with providers only, or on another path", dialect.name());
            return Err(Refusal { kind: ErrorKind::InvalidRequest, message, param: None });
        }
        let members = self.scanner.finish().map_err(|reject| refuse_json(keys_of(dialect, purpose), &reject))?;
        Body { dialect, purpose, members: &members, frames }.facts(self.address).map(|facts| Facts { members, ..facts })
    }
}

mod routing;
mod searches;

pub use searches::Searches;

pub use routing::Media;

impl RequestScan {
    /// A scan of a body that was made of the one that these facts are of: it asks for the same in the same way.
    pub fn again(facts: &Facts, max_depth: u16) -> RequestScan {
        let address = || Address { model: facts.model.clone(), stream: facts.stream };
        let is_addressed = facts.dialect == Dialect::GeminiGenerate;
        RequestScan { address: is_addressed.then(address), ..RequestScan::of(facts.dialect, facts.purpose, max_depth) }
    }
}

/// What a request says, as far as the gateway cares.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The dialect it was read in.
    pub dialect: Dialect,
    /// What it asks for.
    pub purpose: Purpose,
    /// The model as the client named it. Not empty, no control characters.
    pub model: String,
    /// The models that may answer when that one fails, in the order in which they are tried (`models`).
    pub fallback_models: Vec<String>,
    /// The preset that the request names beside its model (`preset`).
    pub preset: Option<String>,
    /// Where the model's value lies in the body, quotes included. Empty where the path names the model, or `models` alone does.
    pub model_range: Range<usize>,
    /// The model is the first of `models`, which alone name any.
    pub model_is_listed: bool,
    /// Where the conversation lies (`messages`, `contents`, or `input` of a Responses body, which may be a text or absent), for estimates and affinity.
    /// Of completions the `prompt`, of embeddings the `input`: a text or an array.
    pub messages_range: Range<usize>,
    /// How many tokens the prompt of completions or the input of embeddings has, where it is given in tokens instead of text. Never
    /// too few.
    pub prompt_tokens: Option<u64>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// The client's cap on completion tokens of one choice; 0 where nothing is generated.
    pub max_completion_tokens: Option<u64>,
    /// How many choices are paid for (`n`); 1 where the dialect has no such thing. Of completions those of every prompt, with what
    /// `best_of` throws away.
    pub choices: u64,
    /// The end user, not empty.
    pub user: Option<String>,
    /// The session, not empty.
    pub session_id: Option<String>,
    /// What a chat client said about `stream_options.include_usage`.
    pub include_usage: Option<bool>,
    /// A chat request with tools for a model that may think about them.
    pub thinks_with_tools: bool,
    /// Tools are on offer.
    pub has_tools: bool,
    /// The provider holds the conversation, and the body has not all of it (`thread` of a Messages body).
    pub is_threaded: bool,
    /// The wish about thinking is told in OpenRouter's own object, `reasoning` of a chat body.
    pub has_reasoning_object: bool,
    /// The service tier that is asked for; `None` where nothing is said, which "auto" says as well, or in a word that nobody here knows.
    pub tier: Option<Tier>,
    /// Length of the body in bytes.
    pub body_bytes: usize,
    pub(crate) members: Members,
    stream_options: Option<StreamOptions>,
    /// Where the end user stands in a Messages body's own place for it.
    metadata_users: Vec<Range<usize>>,
}

impl Facts {
    /// What of the body is files in base64: see [`Members::files`](crate::json::Members::files).
    pub fn files(&self) -> Files {
        self.members.files()
    }

    /// Bytes of top-level members that are no part of the prompt, as far as they are known: names, labels, switches, what is ours to read.
    pub fn aside_bytes(&self) -> usize {
        let metadata = match (self.purpose, self.dialect) {
            (Purpose::Generate | Purpose::CountTokens, Dialect::OpenaiChat) => Some(openai_chat::request::METADATA),
            (Purpose::Generate | Purpose::CountTokens, Dialect::OpenaiResponses) => Some(openai_responses::request::METADATA),
            (Purpose::Generate | Purpose::CountTokens, Dialect::AnthropicMessages) => Some(anthropic_messages::request::METADATA),
            _ => None,
        };
        let is_aside = |index: usize| index < FIRST_OWN && index != MESSAGES || Some(index) == metadata;
        self.members.found().iter().filter(|found| is_aside(found.index())).map(|found| found.member.len()).sum()
    }

    /// Whether the body may hold one of our sealed tokens: then it must not go to a provider as it is.
    pub fn has_tokens(&self) -> bool {
        self.members.has_tokens()
    }

    /// What a Responses body says of replies that are kept; `frames` are the slices that were scanned.
    ///
    /// # Errors
    /// A member is not of its type.
    pub fn state<F: AsRef<[u8]>>(&self, frames: &[F]) -> Result<State, Refusal> {
        openai_responses::request::state::read(&self.body(frames))
    }

    /// The Responses body where the gateway keeps the replies: the whole conversation in `input`. It has to be scanned again.
    ///
    /// # Errors
    /// Never for the slices that were scanned.
    pub fn resume<F: AsRef<[u8]>>(&self, frames: &[F], resume: &Resume<'_>) -> Result<Vec<u8>, Refusal> {
        let message =
            || Refusal { kind: ErrorKind::Internal, message: "the conversation could not be put together".to_owned(), param: None };
        openai_responses::request::state::resume(&self.body(frames), resume).ok_or_else(message)
    }

    /// A gateway-only member that asks for something, as it stands in the body; `frames` are the slices that were scanned.
    pub fn extension<'a, F: AsRef<[u8]>>(&'a self, name: &str, frames: &'a [F]) -> Option<Cow<'a, [u8]>> {
        let body = self.body(frames);
        let (kind, range) = body.extension(name)?;
        body.asks_for_something(kind, range.clone()).then(|| gather(frames, range))
    }

    /// As [`Facts::extension`], also where it asks for nothing; null is nothing said.
    pub fn said<'a, F: AsRef<[u8]>>(&'a self, name: &str, frames: &'a [F]) -> Option<Cow<'a, [u8]>> {
        let (_, range) = self.body(frames).extension(name).filter(|(kind, _)| *kind != Kind::Null)?;
        Some(gather(frames, range))
    }

    /// What stands in `service_tier`, where nobody here knows that word.
    pub fn unknown_tier<F: AsRef<[u8]>>(&self, frames: &[F]) -> Option<String> {
        let (_, range) = self.body(frames).value(TIER).filter(|(kind, _)| *kind == Kind::String)?;
        let text = gather(frames, range);
        as_str(&text).filter(|word| Tier::from_word(word.as_bytes()).is_none()).map(Cow::into_owned)
    }

    fn body<'a, F>(&'a self, frames: &'a [F]) -> Body<'a, F> {
        Body { dialect: self.dialect, purpose: self.purpose, members: &self.members, frames }
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
    /// Whether the path names the model of Messages, and the body the version.
    pub raw_predict: bool,
    /// What becomes of the service tier.
    pub tier: TierWord,
    /// The name that the endpoint knows the limit of a chat's reply by, where the limit is not the client's own.
    pub limit_name: Option<LimitName>,
}

/// What a chat endpoint calls the limit of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitName {
    /// `max_completion_tokens`.
    Newer,
    /// `max_tokens`.
    Older,
}

/// What becomes of what a request says of its service tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TierWord {
    /// It is sent as it stands.
    #[default]
    Kept,
    /// It is taken out: the usual tier serves.
    Removed(NoTier),
    /// This one is asked for instead.
    Asked(Tier),
}

/// Why the usual tier serves where another one was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTier {
    /// The endpoint has no other, as far as is known.
    NotSold,
    /// The endpoint has it, but was not to be asked for it.
    PassedOver,
}

impl NoTier {
    /// What a loss says of it.
    pub const fn reason(self) -> &'static str {
        match self {
            NoTier::NotSold => "the endpoint sells no such tier; its usual one serves",
            NoTier::PassedOver => {
                "the endpoint's tier was passed over (max_price, ignore, its health, a failure or its keys' limits); its usual one serves"
            }
        }
    }
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
        Dialect::AnthropicMessages if target.raw_predict => {
            changes.remove(MODEL);
            anthropic_messages::request::name_version(&mut changes);
        }
        _ => changes.set(MODEL, "model", quoted(target.upstream_model)),
    }
    (0..EXTENSIONS.len()).for_each(|row| changes.remove(FIRST_EXTENSION + row));
    if target.tier != TierWord::Kept {
        say_tier(facts.dialect, target.tier, &mut changes);
    }
    if let Some(name) = target.limit_name {
        openai_chat::request::name_limit(facts.max_completion_tokens, name, &mut changes);
    }
    if target.manner == Manner::Openrouter && facts.user.is_some() {
        hide_user(facts, target, &mut changes, out)?;
    }
    if let Some(options) = facts.stream_options.as_ref().filter(|_| facts.stream && target.stream_options) {
        options.ask_for_usage(&mut changes, out)?;
    }
    changes.write(out)
}

fn say_tier(dialect: Dialect, tier: TierWord, changes: &mut MemberEdits<'_, '_>) {
    let (place, name) = match dialect {
        Dialect::AnthropicMessages => (anthropic_messages::request::SPEED, "speed"),
        Dialect::GeminiGenerate => (gemini_generate::request::TIER, "serviceTier"),
        Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::BedrockConverse => (TIER, "service_tier"),
    };
    if place != TIER {
        changes.remove(TIER);
    }
    match tier {
        TierWord::Asked(tier) => changes.set(place, name, quoted(tier.word(dialect).unwrap_or(tier.name()))),
        TierWord::Kept | TierWord::Removed(_) => changes.remove(place),
    }
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

const MODELS: &str = "models";
const PRESET: &str = "preset";

// The places of the wanted members: the common ones, the gateway's own, then those of one dialect.
const MODEL: usize = 0;
pub(crate) const MESSAGES: usize = 1;
const STREAM: usize = 2;
pub(crate) const USER: usize = 3;
const TIER: usize = 4;
const FIRST_EXTENSION: usize = 5;
pub(crate) const FIRST_OWN: usize = FIRST_EXTENSION + EXTENSIONS.len();

/// The whole list of wanted names for a dialect that calls the conversation `messages` and has `own` names.
pub(crate) const fn keys<const OWN: usize, const ALL: usize>(messages: &'static str, own: [&'static str; OWN]) -> [&'static str; ALL] {
    let mut all = [""; ALL];
    all[MODEL] = "model";
    all[MESSAGES] = messages;
    all[STREAM] = "stream";
    all[USER] = "user";
    all[TIER] = "service_tier";
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
fn layout_of(dialect: Dialect, purpose: Purpose) -> &'static Keys {
    static CHAT: LazyLock<Keys> = LazyLock::new(|| Keys::new(&openai_chat::request::KEYS));
    static RESPONSES: LazyLock<Keys> = LazyLock::new(|| Keys::new(&openai_responses::request::KEYS));
    static MESSAGES: LazyLock<Keys> = LazyLock::new(|| Keys::new(&anthropic_messages::request::KEYS));
    static GENERATE: LazyLock<Keys> = LazyLock::new(|| Keys::new(&gemini_generate::request::KEYS));
    static COUNT: LazyLock<Keys> = LazyLock::new(|| Keys::new(&gemini_generate::count::KEYS));
    static COMPLETIONS: LazyLock<Keys> = LazyLock::new(|| Keys::new(&openai_completions::request::KEYS));
    static EMBEDDINGS: LazyLock<Keys> = LazyLock::new(|| Keys::new(&openai_embeddings::request::KEYS));
    match (dialect, purpose) {
        (_, Purpose::Completions) => &COMPLETIONS,
        (_, Purpose::Embeddings) => &EMBEDDINGS,
        (Dialect::GeminiGenerate, Purpose::CountTokens) => &COUNT,
        (Dialect::OpenaiResponses, _) => &RESPONSES,
        (Dialect::AnthropicMessages, _) => &MESSAGES,
        (Dialect::GeminiGenerate, _) => &GENERATE,
        _ => &CHAT,
    }
}

fn keys_of(dialect: Dialect, purpose: Purpose) -> &'static [&'static str] {
    match (dialect, purpose) {
        (_, Purpose::Completions) => &openai_completions::request::KEYS,
        (_, Purpose::Embeddings) => &openai_embeddings::request::KEYS,
        (Dialect::GeminiGenerate, Purpose::CountTokens) => &gemini_generate::count::KEYS,
        (Dialect::OpenaiResponses, _) => &openai_responses::request::KEYS,
        (Dialect::AnthropicMessages, _) => &anthropic_messages::request::KEYS,
        (Dialect::GeminiGenerate, _) => &gemini_generate::request::KEYS,
        _ => &openai_chat::request::KEYS,
    }
}

fn refuse_json(keys: &'static [&'static str], reject: &Reject) -> Refusal {
    let (name, message) = match &reject.reason {
        Reason::DuplicateKey(name) => (name.as_str(), format!("\"{name}\" occurs twice (byte {}); send it once", reject.offset)),
        Reason::KeyCase(name) => {
            (name.as_str(), format!("a member (byte {}) differs from \"{name}\" only in letter case; write \"{name}\"", reject.offset))
        }
        _ => ("", format!("the body is not acceptable: {reject}; send one JSON object")),
    };
    let param = keys.iter().find(|key| **key == name).map(|key| Cow::Borrowed(*key));
    Refusal { kind: ErrorKind::InvalidRequest, message, param }
}

/// A scanned body, while facts are read out of it.
pub(crate) struct Body<'a, F> {
    dialect: Dialect,
    purpose: Purpose,
    members: &'a Members,
    frames: &'a [F],
}

impl<F: AsRef<[u8]>> Body<'_, F> {
    fn facts(&self, address: Option<Address>) -> Result<Facts, Refusal> {
        let mut fallback_models = self.fallback_models()?;
        let listed = fallback_models.len();
        let extension = |name: &str| FIRST_EXTENSION + EXTENSIONS.iter().position(|row| row.key == name).unwrap_or(0);
        let preset = self.short_text(extension(PRESET), MAX_MODEL_BYTES)?;
        let ((model, model_range), in_path) = match address {
            Some(Address { model, stream }) => ((addressed_model(model)?, 0..0), Some(stream)),
            None => (self.model(&mut fallback_models, preset.as_deref())?, None),
        };
        let messages_range = self.messages()?;
        self.refuse_missing_features()?;
        let writes_chunks = self.dialect == Dialect::OpenaiChat && matches!(self.purpose, Purpose::Generate | Purpose::Completions);
        let writes_chat = self.dialect == Dialect::OpenaiChat && self.purpose == Purpose::Generate;
        let stream_options = if writes_chunks { Some(StreamOptions::read(self)?) } else { None };
        let (metadata_user, metadata_users) = match self.dialect {
            Dialect::AnthropicMessages => anthropic_messages::request::metadata_users(self),
            _ => (None, Vec::new()),
        };
        if (self.dialect, self.purpose) == (Dialect::OpenaiResponses, Purpose::Generate) {
            openai_responses::request::refuse_background(self)?;
        }
        let (max_completion_tokens, choices) = self.limits()?;
        Ok(Facts {
            dialect: self.dialect,
            purpose: self.purpose,
            model,
            model_is_listed: fallback_models.len() < listed,
            fallback_models,
            preset,
            model_range,
            messages_range,
            prompt_tokens: self.prompt_tokens(),
            stream: match in_path {
                Some(stream) => stream,
                None => self.stream()?,
            },
            max_completion_tokens,
            choices,
            user: self.short_text(USER, MAX_USER_BYTES)?.or(metadata_user),
            session_id: self.short_text(extension("session_id"), MAX_SESSION_BYTES)?,
            include_usage: stream_options.as_ref().and_then(|options| options.include_usage),
            thinks_with_tools: writes_chunks && self.purpose == Purpose::Generate && openai_chat::request::thinks_with_tools(self),
            has_tools: self.purpose == Purpose::Generate && self.has_tools(),
            is_threaded: self.dialect == Dialect::AnthropicMessages && anthropic_messages::request::is_threaded(self),
            has_reasoning_object: writes_chat && openai_chat::request::wishes_in_an_object(self),
            tier: self.tier()?,
            body_bytes: self.frames.iter().map(|frame| frame.as_ref().len()).sum(),
            // The caller owns the members and puts them in.
            members: Members::default(),
            stream_options,
            metadata_users,
        })
    }

    /// The tier in the dialect's own place, else in OpenAI's. Of a word that nobody here knows the provider is the judge.
    fn tier(&self) -> Result<Option<Tier>, Refusal> {
        if self.value(TIER).is_some_and(|(kind, _)| !matches!(kind, Kind::String | Kind::Null)) {
            return Err(self.wrong_type(TIER, "a string"));
        }
        let in_own_place = match self.dialect {
            Dialect::AnthropicMessages => self.tier_at(anthropic_messages::request::SPEED).filter(|speed| *speed == Tier::Fast),
            Dialect::GeminiGenerate if self.purpose == Purpose::Generate => self.tier_at(gemini_generate::request::TIER),
            _ => None,
        };
        Ok(in_own_place.or_else(|| self.tier_at(TIER)))
    }

    fn tier_at(&self, index: usize) -> Option<Tier> {
        let (_, range) = self.value(index).filter(|(kind, _)| *kind == Kind::String)?;
        let text = self.text(range);
        // "auto" leaves it to whoever serves, as saying nothing does.
        let word = as_str(&text).filter(|word| !word.eq_ignore_ascii_case("auto"))?;
        Tier::from_word(word.as_bytes())
    }

    /// The model, which is the first of the others where the body names them alone, and else that of the preset.
    fn model(&self, others: &mut Vec<String>, preset: Option<&str>) -> Result<(String, Range<usize>), Refusal> {
        let missing = || Refusal::field("model", "\"model\" is missing or empty; name a model such as \"vendor/model\"".to_owned());
        let Some((_, range)) = self.value(MODEL) else {
            return match preset.filter(|_| others.is_empty()) {
                Some(preset) => Ok((format!("@preset/{}", preset.trim_start_matches("@preset/")), 0..0)),
                None if others.is_empty() => Err(missing()),
                None => Ok((others.remove(0), 0..0)),
            };
        };
        let model = self.short_text(MODEL, MAX_MODEL_BYTES)?.ok_or_else(missing)?;
        Ok((model, range))
    }

    fn fallback_models(&self) -> Result<Vec<String>, Refusal> {
        let range = match self.extension(MODELS) {
            Some((kind, range)) if !self.asks_for_something(kind, range.clone()) => return Ok(Vec::new()),
            None => return Ok(Vec::new()),
            Some((Kind::Array, range)) => range,
            Some(_) => return Err(Refusal::field(MODELS, format!("\"{MODELS}\" must be an array of names"))),
        };
        let text = self.text(range);
        let mut models = Vec::new();
        for element in elements(&text).flatten() {
            let place = || format!("{MODELS}[{}]", models.len());
            let name = as_str(element.value);
            if name.as_ref().is_some_and(|name| name.len() > MAX_MODEL_BYTES) {
                return Err(Refusal::field(MODELS, too_long(&place(), MAX_MODEL_BYTES)));
            }
            let name = name
                .filter(|name| is_name(name))
                .ok_or_else(|| Refusal::field(MODELS, format!("\"{}\" must name a model, such as \"vendor/model\"", place())))?;
            if models.len() == MAX_MODELS {
                return Err(Refusal::field(MODELS, format!("\"{MODELS}\" has more than {MAX_MODELS} names; shorten it")));
            }
            models.push(name.into_owned());
        }
        Ok(models)
    }

    /// The cap on completion tokens of a choice, and how many choices there are.
    fn limits(&self) -> Result<(Option<u64>, u64), Refusal> {
        Ok(match (self.purpose, self.dialect) {
            (Purpose::Embeddings | Purpose::CountTokens, _) => (Some(0), 1),
            (Purpose::Completions, _) => (openai_chat::request::max_completion_tokens(self)?, openai_completions::request::choices(self)?),
            (_, Dialect::AnthropicMessages) => (anthropic_messages::request::max_completion_tokens(self)?, 1),
            (_, Dialect::OpenaiResponses) => (openai_responses::request::max_output_tokens(self)?, 1),
            (_, Dialect::GeminiGenerate) => gemini_generate::request::limits(self)?,
            _ => (openai_chat::request::max_completion_tokens(self)?, openai_chat::request::choices(self)?),
        })
    }

    fn stream(&self) -> Result<bool, Refusal> {
        match self.purpose {
            Purpose::Generate | Purpose::Completions => self.flag(STREAM),
            // It would be ignored; bodies are sent here as they go to where replies come from.
            Purpose::CountTokens => Ok(false),
            Purpose::Embeddings if self.flag(STREAM)? => {
                Err(Refusal::field("stream", "\"stream\" is not known in embeddings; leave it out".to_owned()))
            }
            Purpose::Embeddings => Ok(false),
        }
    }

    fn prompt_tokens(&self) -> Option<u64> {
        match self.purpose {
            Purpose::Completions | Purpose::Embeddings => openai_embeddings::request::tokens_given(self),
            Purpose::Generate | Purpose::CountTokens => None,
        }
    }

    fn messages(&self) -> Result<Range<usize>, Refusal> {
        match (self.purpose, self.dialect) {
            (Purpose::Completions | Purpose::Embeddings, _) => return self.texts(),
            (Purpose::CountTokens, Dialect::GeminiGenerate) if self.value(MESSAGES).is_none() => {
                return gemini_generate::count::contents(self);
            }
            _ => {}
        }
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

    /// What goes on, or becomes vectors.
    fn texts(&self) -> Result<Range<usize>, Refusal> {
        let name = self.name(MESSAGES);
        match self.value(MESSAGES) {
            Some((Kind::String | Kind::Array, range)) => Ok(range),
            Some((Kind::Null, _)) | None => Err(Refusal::field(name, format!("\"{name}\" is missing; send a text"))),
            Some(_) => Err(self.wrong_type(MESSAGES, "a string or an array")),
        }
    }

    /// Whether there is a tool in the list, whatever kind it is.
    fn has_tools(&self) -> bool {
        self.tools().is_some_and(|range| {
            let start = range.start + 1..(range.end - 1).min(range.start + LOOKED_AT_BYTES);
            !is_blank(&self.text(start))
        })
    }

    /// Where the list of tools lies.
    fn tools(&self) -> Option<Range<usize>> {
        let tools = match self.dialect {
            Dialect::OpenaiChat => openai_chat::request::TOOLS,
            Dialect::OpenaiResponses => openai_responses::request::TOOLS,
            Dialect::AnthropicMessages => anthropic_messages::request::TOOLS,
            Dialect::GeminiGenerate => gemini_generate::request::TOOLS,
            Dialect::BedrockConverse => return None,
        };
        self.value(tools).filter(|(kind, _)| *kind == Kind::Array).map(|(_, range)| range)
    }

    /// A gateway-only member.
    fn extension(&self, name: &str) -> Option<(Kind, Range<usize>)> {
        let row = EXTENSIONS.iter().position(|row| row.key == name)?;
        self.value(FIRST_EXTENSION + row)
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

    pub(crate) fn members(&self) -> &Members {
        self.members
    }

    /// A text for the record: bounded, without control characters. `None` when absent, `null` or empty.
    pub(crate) fn short_text(&self, index: usize, max_bytes: usize) -> Result<Option<String>, Refusal> {
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
        keys_of(self.dialect, self.purpose).get(index).copied().unwrap_or_default()
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

/// How far a list is looked into for a first element.
const LOOKED_AT_BYTES: usize = 64;

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
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
