//! The JSON that Python sends. Durations and sizes are integers with their unit in the name; prices are integers of pico-dollars.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// The whole configuration of the data plane at one moment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Grows with every snapshot of a process; reservations name it as their price version.
    pub version: u64,
    /// Timeouts, limits and switches.
    #[serde(default)]
    pub settings: Settings,
    /// 64 hex digits: the hash of the admin token, made as that of a key is. Empty: nobody may see `/metrics` on the traffic port.
    #[serde(default)]
    pub admin_token_hash: String,
    /// Providers, each with its credentials.
    pub providers: Vec<Provider>,
    /// Models, each with its endpoints.
    pub models: Vec<Model>,
    /// Names for a model with wishes.
    #[serde(default)]
    pub presets: Vec<Preset>,
    /// Names for several models with shares.
    #[serde(default)]
    pub splits: Vec<Split>,
    /// Copies of requests that go to a second model.
    #[serde(default)]
    pub shadows: Vec<Shadow>,
    /// Providers of the catalogue that are off here.
    #[serde(default)]
    pub absent_providers: Vec<Absent>,
    /// Models of the catalogue that nobody serves here.
    #[serde(default)]
    pub absent_models: Vec<Absent>,
}

/// What the catalogue knows and requests cannot have here: for error texts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Absent {
    /// What a request may call it.
    pub names: Vec<String>,
    /// Why it is not here, as a sentence without its end.
    pub why: String,
}

/// Timeouts, limits and switches.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Bounds.
    pub limits: Limits,
    /// Completion tokens reserved for a request that names no limit.
    pub reserve_completion_tokens: u64,
    /// Web searches reserved for a request that lets its provider make as many as it likes.
    pub reserve_web_searches: u64,
    /// Most attempts for one request, the first included.
    pub attempts: usize,
    /// Whether a second attempt may begin beside one that is slow to bring its first token.
    pub hedge: bool,
    /// Whether models may be listed without a key.
    pub open_catalogue: bool,
    /// Whether responses are kept for `previous_response_id`.
    pub responses_store: bool,
    /// How long each of them is kept.
    pub responses_ttl_seconds: u64,
    /// What they may take of the disk together; the oldest make room.
    pub responses_store_bytes: u64,
    /// Whether decisions are logged.
    pub decisions: bool,
    /// How long they are kept.
    pub decisions_ttl_seconds: u64,
    /// What they may take of the disk together; the oldest make room.
    pub decisions_bytes: u64,
    /// Whether prompts and replies are kept, of keys that do not say so themselves.
    pub content: bool,
    /// How long they are kept.
    pub content_ttl_seconds: u64,
    /// What they may take of the disk together; the oldest make room.
    pub content_bytes: u64,
    /// What the prompt, the reply and its reasoning may have of one generation, each; what is longer is cut.
    pub content_text_bytes: u64,
    /// What accounts may ask of free models; absent: as of all others.
    pub free_tier: Option<FreeTier>,
    /// Whether replies are cached for requests that do not say so themselves, and whose key does not.
    pub response_cache: bool,
    /// How long each of them is kept, where the request does not say so.
    pub response_cache_ttl_seconds: u64,
    /// What they may take of the memory together.
    pub response_cache_bytes: u64,
    /// How long the reply to a request with a name (`Idempotency-Key`) is kept.
    pub idempotency_ttl_seconds: u64,
    /// What these may take of the disk together; no name is let go of before its time.
    pub idempotency_bytes: u64,
}

/// What an account may ask of models whose names end in `:free`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct FreeTier {
    /// Refilled continuously.
    pub requests_per_minute: NonZeroU32,
    /// In a day of UTC.
    pub requests_per_day: u64,
    /// The same, where credit of the threshold or more was bought.
    pub requests_per_day_with_credits: u64,
    /// Nano-dollars.
    pub credits_threshold_nanousd: i64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            reserve_completion_tokens: 4096,
            reserve_web_searches: 10,
            attempts: 3,
            hedge: false,
            open_catalogue: false,
            responses_store: false,
            responses_ttl_seconds: 30 * 86_400,
            responses_store_bytes: 1 << 30,
            decisions: true,
            decisions_ttl_seconds: 30 * 86_400,
            decisions_bytes: 1 << 30,
            content: false,
            content_ttl_seconds: 30 * 86_400,
            content_bytes: 1 << 30,
            content_text_bytes: 1 << 20,
            free_tier: None,
            response_cache: false,
            response_cache_ttl_seconds: 300,
            response_cache_bytes: 64 << 20,
            idempotency_ttl_seconds: 86_400,
            idempotency_bytes: 1 << 30,
        }
    }
}

/// Timeouts in milliseconds. The defaults are those of `reliability.md` 6.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// TCP connect to a provider.
    pub connect_ms: u64,
    /// TLS handshake with a provider or client.
    pub tls_ms: u64,
    /// From the request sent to the provider's response head.
    pub upstream_head_ms: u64,
    /// Silence of any kind on a provider's connection.
    pub idle_ms: u64,
    /// A stream without an event that carries content (comments do not count).
    pub content_idle_ms: u64,
    /// The whole call.
    pub total_ms: u64,
    /// A client's request head, from its first byte.
    pub client_head_ms: u64,
    /// A client's kept-alive connection without a request.
    pub client_idle_ms: u64,
    /// After this grace a request body must come at `body_bytes_per_second` or faster.
    pub body_grace_ms: u64,
    /// A client that takes nothing although there is something to send.
    pub write_stall_ms: u64,
    /// How long a request may wait for a provider's credential where all that could serve it are in use; 0: not at all.
    pub queue_ms: u64,
    /// Silence after which a streaming client gets its head before the first content.
    pub early_head_ms: u64,
    /// Between keep-alives after an early head.
    pub keepalive_ms: u64,
    /// How long a provider's idle connection is kept.
    pub pool_idle_ms: u64,
    /// How old a provider's connection may become; a fifth of it is jitter.
    pub pool_age_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect_ms: 3_000,
            tls_ms: 5_000,
            upstream_head_ms: 300_000,
            idle_ms: 60_000,
            content_idle_ms: 300_000,
            total_ms: 3_600_000,
            client_head_ms: 10_000,
            client_idle_ms: 60_000,
            body_grace_ms: 10_000,
            write_stall_ms: 30_000,
            queue_ms: 5_000,
            early_head_ms: 10_000,
            keepalive_ms: 10_000,
            pool_idle_ms: 30_000,
            pool_age_ms: 300_000,
        }
    }
}

/// Bounds of everything that could grow.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A request body.
    pub body_bytes: u64,
    /// A unary reply.
    pub reply_bytes: u64,
    /// One server-sent event.
    pub event_bytes: usize,
    /// All headers of a request together.
    pub header_bytes: usize,
    /// Number of headers of a request.
    pub headers: usize,
    /// Frames held back until the first content.
    pub hold_bytes: usize,
    /// Nesting of a request's JSON.
    pub json_depth: u16,
    /// Open client connections of the process.
    pub connections: usize,
    /// Streams of one HTTP/2 client connection.
    pub http2_streams: u32,
    /// Idle connections kept per provider origin and worker.
    pub pool_idle: usize,
    /// The slowest a request body may come after its grace.
    pub body_bytes_per_second: u64,
    /// End users remembered of everybody who limits them.
    pub end_users: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: 32 << 20,
            reply_bytes: 64 << 20,
            event_bytes: 32 << 20,
            header_bytes: 32 << 10,
            headers: 100,
            hold_bytes: 256 << 10,
            json_depth: 128,
            connections: 16_384,
            http2_streams: 128,
            pool_idle: 64,
            body_bytes_per_second: 1024,
            end_users: 100_000,
        }
    }
}

/// A provider: where it is, how it wants its credential, what it speaks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Routing slug, such as `openai`. Unique.
    pub slug: String,
    /// Display name, such as `OpenAI`.
    pub name: String,
    /// Dialect name → base URL, as the dialect's official SDK takes it.
    pub dialects: BTreeMap<String, String>,
    /// How the credential travels.
    #[serde(default)]
    pub auth: Auth,
    /// Dialect name → how it travels there, where that is another way.
    #[serde(default)]
    pub dialect_auth: BTreeMap<String, Auth>,
    /// Credentials. Empty: none is sent (a local server).
    #[serde(default)]
    pub keys: Vec<ProviderKey>,
    /// Headers added to every request, such as `anthropic-version`; the client's own value wins where it may send one.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether closing the connection stops the provider's meter.
    #[serde(default)]
    pub cancel_stops_billing: bool,
    /// Whether the `usage.cost` of its replies is what it charges us; without this such a figure is not looked at.
    #[serde(default)]
    pub reports_cost: bool,
    /// PEM file of extra roots for this provider.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// Names of [`fairlead_ir::Traits`] that all its endpoints have.
    #[serde(default)]
    pub quirks: Vec<String>,
    /// What it does with prompts and replies.
    #[serde(default)]
    pub data_policy: DataPolicy,
    /// Country of its seat, ISO 3166 in capitals; absent: unknown.
    #[serde(default)]
    pub headquarters: Option<String>,
    /// Countries where it computes, ISO 3166 in capitals; empty: unknown.
    #[serde(default)]
    pub datacenters: Vec<String>,
}

/// What a provider does with prompts and replies. Absent is unknown, and unknown satisfies no demand for privacy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataPolicy {
    /// Whether it may train on them.
    pub training: Option<bool>,
    /// For how many days it keeps them; 0: not at all.
    pub retention_days: Option<u32>,
    /// Whether it keeps nothing for these credentials, by contract or by default.
    pub zdr: Option<bool>,
}

/// How a provider wants its credential.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "scheme", rename_all = "snake_case")]
#[derive(Default)]
pub enum Auth {
    /// `Authorization: Bearer …`.
    #[default]
    Bearer,
    /// A header of its own, such as `x-api-key`.
    Header {
        /// The header's name.
        name: String,
    },
    /// The query of the URL, such as `?key=…`.
    Query {
        /// The parameter's name.
        name: String,
    },
    /// It does not travel: requests are signed as AWS wants them (Signature Version 4), and every key needs an `access_key_id`.
    Sigv4 {
        /// Such as `eu-central-1`.
        region: String,
        /// The service's signing name.
        #[serde(default = "bedrock")]
        service: String,
    },
}

fn bedrock() -> String {
    "bedrock".to_owned()
}

/// One credential of a provider.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderKey {
    /// The secret itself; of a key pair of AWS, the secret access key. Empty: there is none at the moment, and none is sent.
    pub secret: String,
    /// Names the credential, where its secret is replaced from time to time: what is known of it is known under this name.
    #[serde(default)]
    pub identity: Option<String>,
    /// The other half of a key pair of AWS.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// Belongs to a temporary key pair of AWS.
    #[serde(default)]
    pub session_token: Option<String>,
    /// Its share of the requests, relative to the provider's other keys; 0: only when no other can be used.
    #[serde(default = "one")]
    pub weight: u32,
    /// Most requests per minute; absent: unlimited as far as we know.
    #[serde(default)]
    pub rpm: Option<u64>,
    /// Most tokens per minute; absent: unlimited as far as we know.
    #[serde(default)]
    pub tpm: Option<u64>,
    /// Most requests at a time; absent: unlimited as far as we know.
    #[serde(default)]
    pub max_concurrency: Option<u64>,
}

const fn one() -> u32 {
    1
}

impl std::fmt::Debug for ProviderKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ProviderKey(…)")
    }
}

/// A model and where it is served.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Catalogue id, `vendor/model`. Unique among ids and aliases.
    pub id: String,
    /// Other names that mean it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Most completion tokens it gives; caps a reservation.
    #[serde(default)]
    pub max_completion_tokens: Option<u64>,
    /// In the order of preference.
    pub endpoints: Vec<Endpoint>,
    /// Requests per minute of all callers together; not 0.
    #[serde(default)]
    pub rpm: Option<u64>,
    /// Tokens per minute likewise; not 0.
    #[serde(default)]
    pub tpm: Option<u64>,
    /// Requests at the same time likewise; not 0.
    #[serde(default)]
    pub max_concurrency: Option<NonZeroU32>,
}

/// A model at a provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Stable id, never reused.
    pub id: u64,
    /// The provider's slug.
    pub provider: String,
    /// The name the provider knows the model by.
    pub upstream_model: String,
    /// Dialects this endpoint is served in, the preferred one first; empty: all of the provider's, in the order of their names.
    #[serde(default)]
    pub dialects: Vec<String>,
    /// Prices in pico-dollars per unit.
    pub price: Price,
    /// Most completion tokens it gives, where it differs from the model.
    #[serde(default)]
    pub max_completion_tokens: Option<u64>,
    /// Names of [`fairlead_ir::Traits`] that it has beside its provider's.
    #[serde(default)]
    pub quirks: Vec<String>,
    /// Words of the efforts that it knows; empty: unknown.
    #[serde(default)]
    pub efforts: Vec<String>,
    /// Where it is served, as its provider names it (`us`, `eu-central-1`, `global`); empty: not said.
    #[serde(default)]
    pub region: String,
    /// OpenRouter's name of how its weights are stored, such as `fp8`.
    #[serde(default = "unknown")]
    pub quantization: String,
    /// How far along its life it is.
    #[serde(default)]
    pub status: Status,
    /// Prompt and completion together; absent: unknown.
    #[serde(default)]
    pub context_tokens: Option<u64>,
    /// The longest prompt, where that is less than the context; absent: unknown.
    #[serde(default)]
    pub max_prompt_tokens: Option<u64>,
    /// OpenRouter's names of what a prompt may hold; empty: unknown.
    #[serde(default)]
    pub input_modalities: Vec<String>,
    /// OpenRouter's names of what a reply may hold; empty: unknown.
    #[serde(default)]
    pub output_modalities: Vec<String>,
    /// OpenRouter's names of the parameters that it knows; absent: unknown.
    #[serde(default)]
    pub supported_parameters: Option<Vec<String>>,
    /// ISO date on which its provider said that it goes.
    #[serde(default)]
    pub deprecated_on: Option<String>,
    /// ISO date from which it is gone. One that is past does not come here.
    #[serde(default)]
    pub shutdown_on: Option<String>,
    /// Whether it caches prompts by itself.
    #[serde(default)]
    pub implicit_caching: bool,
    /// How long its cache may keep a prompt, in seconds, the shortest first; empty: unknown.
    #[serde(default)]
    pub cache_ttl_seconds: Vec<u64>,
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// How far along its life an endpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its provider promises nothing yet.
    Preview,
    /// Generally available.
    #[default]
    Ga,
    /// Its provider has said that it goes.
    Deprecated,
}

/// A name for a model with wishes: `@preset/{name}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What stands behind `@preset/`. Unique.
    pub name: String,
    /// A model's id or alias, with suffixes such as `:nitro`. Absent: requests name one beside the preset.
    #[serde(default)]
    pub model: Option<String>,
    /// A translation that loses something is refused.
    #[serde(default)]
    pub strict_translation: bool,
    /// Where a client marks nothing for the prompt cache, it is marked by us.
    #[serde(default)]
    pub automatic_cache: bool,
    /// Whether replies to requests that name it are cached: `false` wins over the request, `true` stands in for it.
    #[serde(default)]
    pub cache_enabled: Option<bool>,
    /// How long they are, where the request does not say so.
    #[serde(default)]
    pub cache_ttl_seconds: Option<u64>,
    /// Models to fall back to, where the request names none; named likewise.
    #[serde(default)]
    pub models: Vec<String>,
    /// What it wants of routing, as the `provider` object of a request; the request's own wins.
    #[serde(default)]
    pub provider: Option<Box<RawValue>>,
    /// How its models are tried, as the `route` of a request.
    #[serde(default)]
    pub route: Option<Box<RawValue>>,
    /// What else it says for requests that do not say it: members of a chat request, and `system_prompt`.
    #[serde(default)]
    pub fields: Option<Box<RawValue>>,
    /// Names its content in records.
    #[serde(default)]
    pub version: String,
}

/// A name that stands for several models, each for a share of the sessions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The name; no model or alias may have it.
    pub name: String,
    /// At least one.
    pub arms: Vec<Arm>,
}

/// Some of a model's requests are also sent to a second model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The model's id or alias; no other shadow may be of it.
    pub of: String,
    /// Id or alias of the second model, which is another one.
    pub model: String,
    /// Of a million requests, so many; 1 to 1,000,000.
    pub share_millionths: u32,
}

/// One side of a [`Split`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// A model's id or alias, with suffixes such as `:nitro`.
    pub model: String,
    /// Its part of the sum of all shares.
    pub share: u32,
}

/// Prices in pico-dollars per unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Uncached prompt token.
    pub prompt: u64,
    /// Completion token.
    pub completion: u64,
    /// Absent: as `prompt`.
    #[serde(default)]
    pub cache_read: Option<u64>,
    /// Absent: as `prompt`.
    #[serde(default)]
    pub cache_write: Option<u64>,
    /// Absent: as `cache_write`.
    #[serde(default)]
    pub cache_write_1h: Option<u64>,
    /// Absent: as `completion`.
    #[serde(default)]
    pub reasoning: Option<u64>,
    /// Per request.
    #[serde(default)]
    pub request: u64,
    /// Per web search.
    #[serde(default)]
    pub web_search: u64,
    /// Other prices under conditions; later ones win, rate by rate.
    #[serde(default)]
    pub overrides: Vec<Override>,
}

/// Other prices under conditions, all of which must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Strictly more prompt tokens than this, cached ones included.
    #[serde(default)]
    pub prompt_tokens_above: Option<u64>,
    /// The name of a [`fairlead_ir::Tier`].
    #[serde(default)]
    pub service_tier: Option<String>,
    /// Times of the week in minutes from Monday 00:00 UTC: the first, and the one behind the last, at most a day later. Empty: always.
    #[serde(default)]
    pub hours: Vec<(u16, u16)>,
    /// What costs something else then.
    pub rates: Rates,
}

/// Some prices in pico-dollars per unit; what is absent is inherited.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of Price")]
pub struct Rates {
    pub prompt: Option<u64>,
    pub completion: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
    pub cache_write_1h: Option<u64>,
    pub reasoning: Option<u64>,
    pub request: Option<u64>,
    pub web_search: Option<u64>,
}

/// Keys that were made, changed or deleted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDelta {
    /// Which run of the control plane numbers these deltas.
    pub epoch: u64,
    /// Position; one at or below the last applied of its epoch is skipped.
    pub seq: u64,
    /// When true the listed keys are all there are.
    #[serde(default)]
    pub replace: bool,
    /// Keys to add or change.
    #[serde(default)]
    pub upsert: Vec<Key>,
    /// Ids of keys to remove.
    #[serde(default)]
    pub delete: Vec<u64>,
    /// Whose limits are others now; with `replace`, all who have any.
    #[serde(default)]
    pub scopes: Vec<Scope>,
}

/// The limits of an account, a team, a user or a key. What is absent is not limited.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Whose.
    pub kind: ScopeKind,
    /// The database's id.
    pub id: u64,
    /// Requests per minute; not 0.
    #[serde(default)]
    pub rpm: Option<u64>,
    /// Tokens per minute; not 0.
    #[serde(default)]
    pub tpm: Option<u64>,
    /// Requests at the same time; not 0.
    #[serde(default)]
    pub max_concurrency: Option<NonZeroU32>,
    /// What may be spent.
    #[serde(default)]
    pub budgets: Vec<Budget>,
    /// Credit ever granted and not taken back, where it has to be paid in advance.
    #[serde(default)]
    pub granted_nanousd: Option<i64>,
    /// Of an account: credit ever bought and not paid back, which decides how many free requests it has a day.
    #[serde(default)]
    pub bought_nanousd: i64,
    /// What holds for each of its end users: of whom requests name in their body's `user` field.
    #[serde(default)]
    pub end_user: Option<EndUser>,
}

/// The limits of each end user of somebody.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndUser {
    /// Requests per minute; not 0.
    #[serde(default)]
    pub rpm: Option<u64>,
    /// Tokens per minute; not 0.
    #[serde(default)]
    pub tpm: Option<u64>,
    /// Requests at the same time; not 0.
    #[serde(default)]
    pub max_concurrency: Option<NonZeroU32>,
    /// What one may spend, in a day, a week or a month.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// A request has to name one.
    #[serde(default)]
    pub required: bool,
}

/// Who has limits.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    /// An account.
    Account,
    /// A team of an account.
    Team,
    /// A person.
    User,
    /// A key.
    Key,
}

/// A budget.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// What is counted together.
    pub interval: BudgetInterval,
    /// The most.
    pub limit_nanousd: i64,
    /// It never refuses.
    #[serde(default)]
    pub soft: bool,
}

/// An interval of UTC.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum BudgetInterval {
    /// From midnight.
    Day,
    /// From Monday's midnight.
    Week,
    /// From the first's midnight.
    Month,
    /// For ever.
    Total,
}

/// What was spent before the data plane began to count.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spending {
    /// The moment whose day, week and month they are, Unix milliseconds.
    pub at_ms: u64,
    /// Who has spent anything.
    pub scopes: Vec<ScopeSpending>,
    /// What was taken of rates in the minute before `at_ms`.
    #[serde(default)]
    pub recent: Vec<ScopeRecent>,
    /// Who has asked free models anything on the day of `at_ms`.
    #[serde(default)]
    pub free: Vec<AccountFree>,
    /// What was asked of models in the minute before `at_ms`.
    #[serde(default)]
    pub models: Vec<ModelRecent>,
    /// End users with limits of their own who have spent anything in the week or month of `at_ms`, or asked anything in the minute before.
    #[serde(default)]
    pub end_users: Vec<EndUserSpending>,
}

/// What was taken of a model's rates in the last minute.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecent {
    /// Its catalogue id.
    pub model: String,
    /// Generations that began then.
    pub requests: u64,
    /// Their prompt and completion tokens.
    pub tokens: u64,
}

/// What an end user has spent, in nano-dollars, and taken of its rates in the last minute.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndUserSpending {
    /// As in the records.
    pub id: u64,
    /// In the day.
    pub day: i64,
    /// In the week.
    pub week: i64,
    /// In the month.
    pub month: i64,
    /// Generations that began in the last minute.
    pub requests: u64,
    /// Their prompt and completion tokens.
    pub tokens: u64,
}

/// What one of them has taken of its rates in the last minute.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeRecent {
    /// Whose.
    pub kind: ScopeKind,
    /// The database's id.
    pub id: u64,
    /// Generations that began then.
    pub requests: u64,
    /// Their prompt and completion tokens.
    pub tokens: u64,
}

/// How many requests to free models an account has made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountFree {
    /// The account.
    pub id: u64,
    /// On the day.
    pub day: u64,
    /// In the last minute.
    pub minute: u64,
}

/// What one of them has spent: nano-dollars.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeSpending {
    /// Whose.
    pub kind: ScopeKind,
    /// The database's id.
    pub id: u64,
    /// In the day.
    pub day: i64,
    /// In the week.
    pub week: i64,
    /// In the month.
    pub month: i64,
    /// In total.
    pub total: i64,
}

/// A gateway key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The database's id.
    pub id: u64,
    /// 64 hex digits: HMAC-SHA-256(server secret, SHA-256(key)).
    pub hash: String,
    /// The account that pays.
    pub account: u64,
    /// Team, 0 for none.
    #[serde(default)]
    pub team: u64,
    /// User, 0 for none.
    #[serde(default)]
    pub user: u64,
    /// A disabled key is known and refused.
    #[serde(default)]
    pub disabled: bool,
    /// A management key administers and cannot run inference.
    #[serde(default)]
    pub management: bool,
    /// Unix milliseconds after which it is refused; 0 for never.
    #[serde(default)]
    pub expires_at_ms: u64,
    /// Model patterns it may use (`acme/*`); empty: all.
    #[serde(default)]
    pub models: Vec<String>,
    /// No more than its budgets is ever spent, whatever that costs in calls that are refused or cut short.
    #[serde(default)]
    pub strict_budget: bool,
    /// A translation that loses something is refused.
    #[serde(default)]
    pub strict_translation: bool,
    /// Whether the prompts and replies of its generations are kept; absent: as the settings say.
    #[serde(default)]
    pub content: Option<bool>,
    /// Whether replies are cached for its requests that do not say so themselves; absent: as the settings say.
    #[serde(default)]
    pub response_cache: Option<bool>,
    /// The secret that it had before its present one, where it was rotated.
    #[serde(default)]
    pub previous: Option<PreviousSecret>,
}

/// A secret that was replaced by rotation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousSecret {
    /// As that of the key.
    pub hash: String,
    /// Unix milliseconds after which it is refused.
    pub until_ms: u64,
}
