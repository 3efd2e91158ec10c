//! The record of one generation: a [`Reserve`] before the first byte goes upstream, perhaps a [`Progress`] now and then, then exactly one
//! [`Settle`].
//!
//! A settlement is self-contained: the row of the generation and of its attempts can be made from it alone.

use fairlead_ir::{Dialect, GenerationId, Manner, NanoUsd, Severity, Tier, Usage};

/// Places of a record's scopes. Ids are allotted by the database and never reused, but for those of end users and models, of which the database
/// has no list: theirs are keyed hashes. 0 means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(pub [u64; 8]);

impl Scopes {
    /// Index of the account, which every call has.
    pub const ACCOUNT: usize = 0;
    /// Index of the team.
    pub const TEAM: usize = 1;
    /// Index of the user (a person with a log-in).
    pub const USER: usize = 2;
    /// Index of the key.
    pub const KEY: usize = 3;
    /// Index of the end user (the body's `user` field), where it has a budget of its own.
    pub const END_USER: usize = 4;
    /// Index of the model that answered, where it has rates of its own. It pays nothing: a start reads here what was taken of them.
    pub const MODEL: usize = 5;
}

/// Written before the first byte goes upstream: from here on the call has a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// The generation.
    pub generation: GenerationId,
    /// When it was admitted, Unix milliseconds.
    pub started_at_ms: u64,
    /// Who pays.
    pub scopes: Scopes,
    /// The most the call may cost at the dearest endpoint still possible.
    pub reserved: NanoUsd,
    /// Catalogue id of the model, enough to list an orphan.
    pub model: String,
    /// Provider slug of the first endpoint.
    pub provider: String,
    /// Estimated prompt tokens, for settling an orphan.
    pub prompt_tokens_estimate: u64,
    /// What those prompt tokens cost at the first endpoint: an orphan's estimated upstream cost.
    pub prompt_cost_estimate: NanoUsd,
    /// The snapshot whose prices hold for this call, whatever is reloaded meanwhile.
    pub price_version: u64,
}

/// How far a call has come, in case its process dies before it is settled. Written now and then between the two; the last one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress<T = String> {
    /// The generation.
    pub generation: GenerationId,
    /// Which note of its call it is: a later one has a higher number.
    pub number: u32,
    /// How far.
    pub reach: Reach<T>,
    /// What is held for it by then; 0 where that is what its reservation says.
    pub reserved: NanoUsd,
}

/// How far a call has come. A reservation without any such note was sent at once, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach<T = String> {
    /// Its first attempt waits for a connection: no provider has the request.
    Waiting,
    /// A provider may have the request.
    Sent,
    /// Content has been delivered.
    Content(Box<Delivered<T>>),
}

/// What a stream has delivered so far, and what a client that left now would pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered<T = String> {
    /// The client's dialect.
    pub dialect: Dialect,
    /// The client's manner.
    pub manner: Manner,
    /// Marks of the bill so far.
    pub flags: Flags,
    /// What was used so far.
    pub usage: Usage,
    /// What it costs the caller so far.
    pub charged: NanoUsd,
    /// What the provider will invoice for that.
    pub upstream_cost: NanoUsd,
    /// What the attempts before it cost.
    pub earlier_cost: NanoUsd,
    /// Endpoint id in the catalogue.
    pub endpoint: u64,
    /// Catalogue id of the model that answers.
    pub model: T,
    /// Provider slug that answers.
    pub provider: T,
    /// The model name sent upstream.
    pub upstream_model: T,
    /// The provider's own reply id, when it sent one.
    pub upstream_id: T,
}

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// The dialect's terminal was seen and passed on.
    Completed = 0,
    /// The client left first.
    Cancelled = 1,
    /// The provider failed, before or after content.
    Failed = 2,
    /// The process died; settled at the next start.
    Recovered = 3,
    /// Nothing reached a provider; nothing is charged.
    Void = 4,
}

impl Outcome {
    /// Every outcome, in the order of the stored numbers.
    pub const ALL: [Outcome; 5] = [Outcome::Completed, Outcome::Cancelled, Outcome::Failed, Outcome::Recovered, Outcome::Void];

    /// The name used in SQL and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Cancelled => "cancelled",
            Outcome::Failed => "failed",
            Outcome::Recovered => "recovered",
            Outcome::Void => "void",
        }
    }
}

/// Marks on a settlement or attempt, as bits that journals store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// Token counts are our estimate, not the provider's figures.
    pub const ESTIMATED: Flags = Flags(1);
    /// The provider reported no usage.
    pub const USAGE_MISSING: Flags = Flags(1 << 1);
    /// Settled after a crash.
    pub const RECOVERED: Flags = Flags(1 << 2);
    /// Nothing was charged although the provider may bill: no content came.
    pub const INSURED: Flags = Flags(1 << 3);
    /// The upstream connection had gone stale and the request was sent once more.
    pub const RESENT: Flags = Flags(1 << 4);
    /// The provider reported the cost itself; `upstream_cost` is that figure.
    pub const COST_REPORTED: Flags = Flags(1 << 5);
    /// Content had been delivered when the generation ended.
    pub const CONTENT: Flags = Flags(1 << 6);
    /// A copy of the request, sent to a second model. Nobody waited for it, and nobody is charged.
    pub const SHADOW: Flags = Flags(1 << 7);
    /// It counts as one of the account's requests to free models.
    pub const FREE_TIER: Flags = Flags(1 << 8);

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets the bits of `other`.
    pub const fn add(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

/// Durations of a generation in microseconds from its admission; 0 where the moment never came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Until the request was handed to the provider's connection.
    pub sent_us: u64,
    /// Until the provider's response head was complete.
    pub head_us: u64,
    /// Until the first content (time to first token).
    pub content_us: u64,
    /// Until the settlement.
    pub total_us: u64,
    /// Of all this, our own work before and after the provider's.
    pub own_us: u64,
}

/// One try at one endpoint. Its texts are owned where it is read and borrowed where it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt<T = String> {
    /// Provider slug.
    pub provider: T,
    /// Endpoint id in the catalogue.
    pub endpoint: u64,
    /// The model name sent upstream.
    pub upstream_model: T,
    /// The provider's own reply id, when it sent one.
    pub upstream_id: T,
    /// HTTP status, 0 when no head came.
    pub status: u16,
    /// What went wrong, as a stable word; empty when nothing did.
    pub error: T,
    /// Microseconds from the attempt's start to its end.
    pub latency_us: u64,
    /// What the provider will invoice for it, as far as we know.
    pub upstream_cost: NanoUsd,
    /// Marks.
    pub flags: Flags,
    /// The service tier it was billed by: the one that the provider reported, else the one that it was asked for.
    pub tier: Tier,
}

/// One thing of the request or reply that did not reach the other side as it was. Its texts are owned where it is read and borrowed
/// where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss<T = String> {
    /// Where it stood, such as `messages[3].content[0]`.
    pub path: T,
    /// What happened to it and why.
    pub reason: T,
    /// How much it matters.
    pub severity: Severity,
}

/// Which of OpenRouter's APIs a generation belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Api {
    /// Chat in any dialect, and legacy completions.
    #[default]
    Completions = 0,
    /// Embeddings.
    Embeddings = 1,
}

impl Api {
    /// Every one, in the order of the stored numbers.
    pub const ALL: [Api; 2] = [Api::Completions, Api::Embeddings];

    /// OpenRouter's word.
    pub const fn name(self) -> &'static str {
        match self {
            Api::Completions => "completions",
            Api::Embeddings => "embeddings",
        }
    }
}

/// What is told of a generation and counts nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Particulars {
    /// Which API.
    pub api: Api,
    /// Images, sounds, films and documents of the prompt.
    pub prompt_media: u32,
    /// Of these, sounds; `None` where they were not counted.
    pub prompt_sounds: Option<u32>,
    /// What the prompt would have cost more without a cache; negative where writing it cost more than was saved.
    pub cache_discount: NanoUsd,
}

/// The one terminal record of a generation. Its texts are owned where it is read and borrowed where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle<T = String> {
    /// The generation.
    pub generation: GenerationId,
    /// When it was admitted, Unix milliseconds.
    pub started_at_ms: u64,
    /// When it was settled, Unix milliseconds; its UTC day and month are the ones it counts in.
    pub settled_at_ms: u64,
    /// Who pays.
    pub scopes: Scopes,
    /// The client's dialect.
    pub dialect: Dialect,
    /// The client's manner.
    pub manner: Manner,
    /// Whether the client asked for a stream.
    pub streamed: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Marks.
    pub flags: Flags,
    /// HTTP status the client got; 0 when it left before one was sent.
    pub status: u16,
    /// What went wrong, as a stable word; empty when nothing did.
    pub error: T,
    /// The model as the client named it.
    pub requested_model: T,
    /// Catalogue id of the model that answered.
    pub model: T,
    /// Provider slug that answered.
    pub provider: T,
    /// Finish reason in OpenRouter's words; empty when none came.
    pub finish: T,
    /// The provider's own word.
    pub native_finish: T,
    /// What was used.
    pub usage: Usage,
    /// What had been reserved.
    pub reserved: NanoUsd,
    /// What balances, budgets and `usage.cost` move by.
    pub charged: NanoUsd,
    /// The price table's version.
    pub price_version: u64,
    /// Durations.
    pub timings: Timings,
    /// `HTTP-Referer`, which names the app.
    pub referer: T,
    /// `X-OpenRouter-Title` or `X-Title`.
    pub title: T,
    /// The client's user agent.
    pub user_agent: T,
    /// The body's `user` field.
    pub end_user: T,
    /// The session the client named.
    pub session: T,
    /// The tries, in order; the last one answered when the outcome is completed.
    pub attempts: Vec<Attempt<T>>,
    /// The dialect that was spoken with the provider; absent where it was the client's own, so that nothing was translated.
    pub upstream_dialect: Option<Dialect>,
    /// What did not reach the other side as it was, in the order it was met.
    pub losses: Vec<Loss<T>>,
    /// How many more there were than `losses` has.
    pub losses_more: u32,
    /// The split that the requested model was a name of; empty where it was none.
    pub split: T,
    /// The arm of it that was drawn, as the configuration names it. The model that answered may be another: one to fall back to.
    pub arm: T,
    /// The presets that the request named, in the order in which they count, a comma between two; empty where it named none.
    pub preset: T,
    /// Their versions, likewise: each names what its preset said at that moment.
    pub preset_version: T,
    /// What is told of it and counts nowhere.
    pub particulars: Particulars,
    /// It was answered from the response cache: nothing was sent anywhere, and nothing is charged.
    pub hit: Option<CacheHit>,
}

/// Whose reply a cache hit gave again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheHit {
    /// The generation that the reply was made for.
    pub source: GenerationId,
    /// What that was charged: so much was saved.
    pub saved: NanoUsd,
}

impl<T> Settle<T> {
    /// How much the worst of the losses matters; `None` when nothing was lost.
    pub fn worst_loss(&self) -> Option<Severity> {
        self.losses.iter().map(|loss| loss.severity).max()
    }
}
