"""`fairlead.toml`, as plain data: every key that this version reads, with its meaning and default.

Names that are fixed but not built yet stand in `unbuilt`, not here.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from fairlead.catalog.schema import (
    Alias,
    Auth,
    Count,
    Country,
    DataPolicy,
    Dialect,
    Effort,
    HeaderName,
    HeaderValue,
    Modality,
    ModelId,
    Override,
    Quantization,
    Region,
    Secret,
    Slug,
    UpstreamModel,
    Usd,
    UsdEach,
    UsdPerMillion,
)
from fairlead.config.fields import RequestFields

Address = Annotated[
    str,
    Meta(
        pattern=r"^(\[[0-9a-fA-F:.%]+\]|[A-Za-z0-9.-]+):([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$",
        description='an address such as "127.0.0.1:8080"',
    ),
]
FilePath = Annotated[str, Meta(min_length=1, max_length=4096, description="the path of a file or folder")]
Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
Bytes = Annotated[int, Meta(ge=1, le=1 << 40)]
KeyName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="a name of letters, digits and _ . - (64 at most)")]
ScopeName = KeyName
Pattern = Annotated[str, Meta(pattern=r"^[~*A-Za-z0-9_.:/@-]{1,200}$", description='a model id or a pattern such as "acme/*"')]
CacheTtl = Annotated[int, Meta(ge=1, le=86_400, description="a number of seconds from 1 to 86400")]
SplitName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,199}$", description='a name such as "vendor/model", of letters, digits and _ . / -')
]
Amount = Annotated[float, Meta(ge=0, le=1_000_000, description="a number from 0 to 1000000")]
UsdBound = Annotated[int | float | str, Meta(description='an amount of US dollars, such as "2.50" or 2.5')]
MailAddress = Annotated[
    str, Meta(pattern=r"^[^@\s<>,;]{1,64}@[A-Za-z0-9.-]{1,253}$", description='a mail address such as "ops@acme.example"')
]
ClaimValue = Annotated[str, Meta(min_length=1, max_length=300)]
Scope = Annotated[str, Meta(pattern=r"^[!#-\[\]-~]{1,100}$", description="a scope, without spaces")]
BaseUrl = Annotated[str, Meta(pattern=r"^https?://[!-~]+$", description='a URL such as "https://host/v1"')]
AdminUrl = Annotated[
    str,
    Meta(pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?$", description='an https URL without a path, such as "https://llm.acme.example"'),
]

Place = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="a name of letters, digits and . _ - (128 at most)")]


class Table(Struct, forbid_unknown_fields=True, kw_only=True):
    """What every table has in common: unknown keys are errors."""


class Tls(Table):
    """`tls = { cert, key }`: the data port speaks TLS."""

    cert: FilePath
    """PEM file of the chain, own certificate first."""
    key: FilePath
    """PEM file of its private key."""


class Server(Table):
    """`[server]`: where Fairlead listens and keeps its data. What a reload cannot change stands in `runtime.AT_START_ONLY`."""

    data: Address = "127.0.0.1:8080"
    """The traffic port."""
    admin: Address = "127.0.0.1:8081"
    """Console, operator API, metrics."""
    data_dir: FilePath = "~/.local/share/fairlead"
    """Database, journal, secret, lock."""
    admin_urls: Annotated[list[AdminUrl], Meta(max_length=16)] = field(default_factory=list)
    """Where browsers find the admin port beside loopback addresses, through a proxy that has a certificate."""
    admin_token: Secret | None = None
    """Absent: made at the first start and printed once."""
    secret: Annotated[Secret, Meta(min_length=16, description="a secret of at least 16 visible ASCII characters")] | None = None
    """The secret that key hashes depend on; replicas share it. Absent: `data_dir/secret.key`."""
    tls: Tls | None = None
    watch: bool = False
    """Reload when the configuration file is saved."""
    open_catalogue: bool = False
    """Models and providers can be read without a key."""
    workers: Annotated[int, Meta(ge=0, le=1024)] = 0
    """Threads that carry traffic; 0: one per core."""
    drain_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 120_000
    """How long running requests may go on after SIGTERM."""
    ca_file: FilePath | None = None
    """PEM file of roots trusted towards every provider, beside the system's."""


class Timeouts(Table):
    """`[timeouts]`, in milliseconds."""

    connect_ms: Milliseconds = 3_000
    """TCP connect to a provider."""
    tls_ms: Milliseconds = 5_000
    """TLS handshake with a provider or client."""
    upstream_head_ms: Milliseconds = 300_000
    """From the request sent to the provider's response head."""
    idle_ms: Milliseconds = 60_000
    """Silence of any kind on a provider's connection."""
    content_idle_ms: Milliseconds = 300_000
    """A stream without an event that carries content; comments do not count."""
    total_ms: Milliseconds = 3_600_000
    """The whole call."""
    client_head_ms: Milliseconds = 10_000
    """A client's request head, from its first byte."""
    client_idle_ms: Milliseconds = 60_000
    """A client's kept-alive connection without a request."""
    body_grace_ms: Milliseconds = 10_000
    """After this a request body must come at `limits.body_bytes_per_second` or faster."""
    write_stall_ms: Milliseconds = 30_000
    """A client that takes nothing although there is something to send."""
    queue_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 5_000
    """How long a request waits for a provider's key where all that could serve it are in use; 0: not at all."""
    early_head_ms: Milliseconds = 10_000
    """Silence after which a streaming client gets its head before the first content."""
    keepalive_ms: Milliseconds = 10_000
    """Between keep-alives after an early head."""
    pool_idle_ms: Milliseconds = 30_000
    """How long a provider's idle connection is kept."""
    pool_age_ms: Milliseconds = 300_000
    """How old a provider's connection may become; a fifth of it is jitter."""


class Limits(Table):
    """`[limits]`: the bound of everything that could grow."""

    body_bytes: Bytes = 32 << 20
    """A request body."""
    reply_bytes: Bytes = 64 << 20
    """A unary reply."""
    event_bytes: Bytes = 32 << 20
    """One server-sent event."""
    header_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)] = 32 << 10
    """All headers of a request together."""
    headers: Annotated[int, Meta(ge=8, le=10_000)] = 100
    """Number of headers of a request."""
    hold_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 256 << 10
    """Frames held back until the first content."""
    json_depth: Annotated[int, Meta(ge=8, le=4096)] = 128
    """Nesting of a request's JSON."""
    connections: Annotated[int, Meta(ge=1, le=10_000_000)] = 16_384
    """Open client connections of the process."""
    http2_streams: Annotated[int, Meta(ge=1, le=65_536)] = 128
    """Streams of one HTTP/2 client connection."""
    pool_idle: Annotated[int, Meta(ge=0, le=65_536)] = 64
    """Idle connections kept per provider address and worker."""
    body_bytes_per_second: Bytes = 1024
    """The slowest a request body may come after its grace."""
    end_users: Annotated[int, Meta(ge=1, le=100_000_000)] = 100_000
    """End users remembered of each key, user, team or account that limits its end users."""
    reserve_completion_tokens: Annotated[int, Meta(ge=1, le=100_000_000)] = 4_096
    """Completion tokens reserved for a request that names no limit."""
    reserve_web_searches: Annotated[int, Meta(ge=0, le=100_000)] = 10
    """Web searches reserved for a request that lets its provider make as many as it likes."""


ProviderSecret = Annotated[str, Meta(pattern=r"^([!-~]{1,4096}|\s*\{[\s\S]{1,65536})$", description="a secret of visible ASCII characters")]
"""Or the text of a key file, which is JSON with spaces and line ends."""


class Routing(Table):
    """`[routing]`: what is tried for a request."""

    attempts: Annotated[int, Meta(ge=1, le=16)] = 3
    """Most attempts for one request, the first included."""
    hedge: bool = False
    """Whether a stream that is slow to bring its first token is asked of a second endpoint as well."""


class ProviderKey(Table):
    """A provider's credential as a table: a secret, or a key pair of AWS."""

    secret: ProviderSecret | None = None
    """With `auth = "google_service_account"` the text of a key file."""
    access_key_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$", description="the id of a key pair of AWS")] | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    """Belongs to a temporary key pair."""
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    """Its share of the requests, relative to the provider's other keys; 0: only when no other can be used."""
    rpm: Count | None = None
    """Most requests per minute."""
    tpm: Count | None = None
    """Most tokens per minute."""
    max_concurrency: Count | None = None
    """Most requests at a time."""


class Provider(Table):
    """`[providers.x]`. For a provider of the catalogue every key is optional and overrides the catalogue's."""

    name: str | None = None
    """Display name. Absent: the catalogue's, or the slug."""
    dialect: Dialect | None = None
    """Short form of `dialects = ["x"]`."""
    dialects: Annotated[list[Dialect], Meta(min_length=1)] | None = None
    """What it speaks; the first is preferred."""
    base_url: BaseUrl | None = None
    """What the dialect's official SDK takes; for Anthropic and Gemini with or without their version. `{region}`, `{account}`,
    `{resource}` and `{project}` stand for the keys of that name."""
    base_urls: dict[Dialect, BaseUrl] = {}
    """Where several dialects have different base URLs."""
    keys: list[ProviderSecret | ProviderKey] | None = None
    """Absent, for a provider of the catalogue: its usual environment variable. Empty: no credential is sent."""
    auth: Auth | None = None
    """`"bearer"`, `{ header = "x-api-key" }`, `"sigv4"` or `"google_service_account"`. Absent: `"sigv4"` where the keys are key pairs; else
    the catalogue's; else `x-api-key` for a provider that speaks Anthropic's dialect only, `x-goog-api-key` for one that speaks Gemini's
    only, and bearer."""
    auths: dict[Dialect, Auth] = {}
    """Where a dialect wants the credential otherwise."""
    region: Region | None = None
    """What signatures hold for, and `{region}` in base URLs. Absent, for a provider of the catalogue: its usual environment variable."""
    account: Place | None = None
    """`{account}` in base URLs. Absent: as for `region`."""
    resource: Place | None = None
    """`{resource}` in base URLs. Absent: as for `region`."""
    project: Place | None = None
    """`{project}` in base URLs. Absent: as for `region`, else that of the service account's key."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Added to every request; `anthropic-version` only to those in its dialect."""
    cancel_stops_billing: bool | None = None
    """Whether closing the connection stops its meter."""
    reports_cost: bool | None = None
    """Whether the `usage.cost` of its replies is what it charges. Otherwise the configured prices count."""
    quirks: list[str] | None = None
    """What it does otherwise than its dialects say, at all endpoints. Absent: the catalogue's."""
    ca_file: FilePath | None = None
    """PEM file of roots for this provider alone."""
    data_policy: DataPolicy | None = None
    """What it does with prompts and replies under your contract. Absent: the catalogue's, else unknown."""
    headquarters: Country | None = None
    """Absent: the catalogue's."""
    datacenters: list[Country] | None = None
    """Absent: the catalogue's."""


class Endpoint(Table):
    """`[[models.x.endpoints]]`: a model at a provider."""

    provider: Slug
    upstream_model: UpstreamModel
    """The name the provider knows the model by."""
    dialect: Dialect | None = None
    """Short form of `dialects = ["x"]`."""
    dialects: Annotated[list[Dialect], Meta(min_length=1)] | None = None
    """Absent: all of the provider's."""
    region: str = ""
    quantization: Quantization = "unknown"
    context_length: Count | None = None
    max_prompt_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    supported_parameters: list[str] | None = None
    """These four override the model's."""
    efforts: list[Effort] | None = None
    """The steps of effort that it knows; `["none"]`: it does not think. Absent: the catalogue's for the model, else unknown."""
    quirks: list[str] | None = None
    """What it does otherwise than its dialects say, beside its provider's quirks. Absent: what follows from the catalogue's model."""
    usd_per_million: UsdPerMillion | None = None
    """Absent: free of charge, with a warning unless the provider takes no key."""
    usd_each: UsdEach = field(default_factory=UsdEach)
    override: list[Override] = []
    """Other prices under conditions, as in the catalogue's files. Later ones win, key by key."""


class Model(Table):
    """`[models."vendor/model"]`: an own model, or what differs from the catalogue's. Endpoints, when given, replace the catalogue's."""

    name: str | None = None
    description: str | None = None
    aliases: list[Alias] | None = None
    """Other names; they replace the catalogue's."""
    context_length: Count | None = None
    max_prompt_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    supported_parameters: list[str] | None = None
    """OpenRouter's names. Absent: unknown, not refused."""
    input: list[Modality] | None = None
    output: list[Modality] | None = None
    rpm: Count | None = None
    """Most requests per minute of all keys together."""
    tpm: Count | None = None
    """Most tokens per minute of all keys together."""
    max_concurrency: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """Most requests at a time of all keys together."""
    endpoints: Annotated[list[Endpoint], Meta(min_length=1)] | None = None


Concurrency = Annotated[int, Meta(ge=1, le=1_000_000)]
LimitReset = Literal["daily", "weekly", "monthly"]


class Budget(Table):
    """One of `budgets`: most that may be spent in an interval."""

    limit_usd: Usd
    """US dollars."""
    reset: LimitReset | None = None
    """When it begins anew: at midnight UTC, on Mondays, on the first of the month. Absent: never."""
    soft: bool = False
    """Nothing is refused; alerts tell of it."""


class EndUser(Table):
    """`end_user`: what each end user may use and spend, whom requests name in their body's `user` field. Absent: without that limit."""

    limit_usd: Usd | None = None
    """Most that one may spend, in US dollars; 0: nothing."""
    limit_reset: LimitReset | None = None
    """When that limit begins anew. It has to: end users are not remembered for ever."""
    rpm: Count | None = None
    """Most requests per minute."""
    tpm: Count | None = None
    """Most tokens per minute."""
    max_concurrency: Concurrency | None = None
    """Most requests at a time."""
    required: bool = False
    """Whether a request without `user` is refused."""


class Limited(Table):
    """What a key, a team or a user may use and spend. Absent: without that limit."""

    limit_usd: Usd | None = None
    """Most that may be spent, in US dollars; 0: nothing."""
    limit_reset: LimitReset | None = None
    """When that limit begins anew. Absent: never."""
    rpm: Count | None = None
    """Most requests per minute."""
    tpm: Count | None = None
    """Most tokens per minute."""
    max_concurrency: Concurrency | None = None
    """Most requests at a time."""
    budgets: list[Budget] = []
    """Further limits of what may be spent."""
    end_user: EndUser | None = None
    """What each of its end users may use and spend."""


class Key(Limited, kw_only=True):
    """`[keys.x]`: a gateway key owned by this file."""

    secret: Secret
    models: list[Pattern] = []
    """Model patterns that it may use; empty: all."""
    management: bool = False
    """It administers and cannot run inference."""
    strict_translation: bool = False
    """A request that would lose something in translation is refused."""
    strict_budget: bool = False
    """No budget is overspent by it, not even by what an estimate was too low."""
    content: bool | None = None
    """Whether its prompts and replies are stored. Absent: as `[logging] content` says."""
    response_cache: bool | None = None
    """Whether replies are cached for its requests that do not say so themselves. Absent: `response_cache.enabled`."""
    account: ScopeName | None = None
    """Who pays. Absent: the team's or the user's, else `default`."""
    team: ScopeName | None = None
    """One of `[teams]`. Absent: the user's, if any."""
    user: ScopeName | None = None
    """One of `[users]`."""


class Team(Limited, kw_only=True):
    """`[teams.x]`: keys and users that share limits."""

    account: ScopeName | None = None
    """Who pays. Absent: `default`."""


class User(Limited, kw_only=True):
    """`[users.x]`: a person whose keys share limits."""

    account: ScopeName | None = None
    """Who pays. Absent: the team's, else `default`."""
    team: ScopeName | None = None
    """One of `[teams]`: that of its keys which name none."""


class Percentiles(Table, omit_defaults=True):
    """Bounds of percentiles; all that are given must hold."""

    p50: Amount | None = None
    p75: Amount | None = None
    p90: Amount | None = None
    p99: Amount | None = None


SortBy = Literal["price", "throughput", "latency", "exacto"]


class Sort(Table, omit_defaults=True):
    """`sort = { by, partition }`."""

    by: SortBy | None = None
    partition: Literal["model", "none"] | None = None
    """Whether one model comes after the other, or the endpoints of all models are put in one order."""


class MaxPrice(Table, omit_defaults=True):
    """`max_price`: most that may be charged. Tokens per million, everything else each."""

    prompt: UsdBound | None = None
    completion: UsdBound | None = None
    request: UsdBound | None = None
    image: UsdBound | None = None
    audio: UsdBound | None = None


class ProviderWishes(Table, omit_defaults=True):
    """`provider` of a preset: OpenRouter's `provider` object of a request."""

    order: list[str] | None = None
    """Providers to try first, in this order."""
    only: list[str] | None = None
    """The only providers that may be used."""
    ignore: list[str] | None = None
    """Providers that may not be used."""
    allow_fallbacks: bool | None = None
    """Whether anything may be tried after the first choice, or after those of `order`."""
    require_parameters: bool | None = None
    """Whether an endpoint must know every parameter that is sent."""
    data_collection: Literal["allow", "deny"] | None = None
    """Whether endpoints may keep prompts or train on them."""
    zdr: bool | None = None
    """Whether only endpoints may be used that keep nothing."""
    enforce_distillable_text: bool | None = None
    quantizations: list[Quantization] | None = None
    """How weights may be stored."""
    sort: SortBy | Sort | None = None
    """What endpoints are put in order by, instead of being balanced by price."""
    preferred_min_throughput: Amount | Percentiles | None = None
    """Tokens per second; slower endpoints come last. A number: the median."""
    preferred_max_latency: Amount | Percentiles | None = None
    """Seconds to the first token; slower endpoints come last. A number: the median."""
    max_price: MaxPrice | None = None


class Preset(RequestFields):
    """`[presets.x]`: a name for models with wishes and what else requests shall say, used as `@preset/x`.

    Unknown keys are judged by `fields`: one may be a provider's own.
    """

    model: str | None = None
    """A model's id or alias, with suffixes such as `:nitro`. Without it and `models`, requests name one beside the preset."""
    models: Annotated[list[str], Meta(min_length=1)] | None = None
    """The model, and those to fall back to."""
    provider: ProviderWishes | None = None
    """What is wanted of routing; what a request says itself wins."""
    route: Literal["fallback", "sort"] | None = None
    """How the models are tried: `fallback`, one after the other; `sort`, the endpoints of all in one order."""
    strict_translation: bool = False
    """A request that would lose something in translation is refused."""
    automatic_cache: bool = False
    """Prompts are marked for the provider's cache where the client marks nothing."""
    cache_enabled: bool | None = None
    """Whether replies are given again: `false` wins over the request's own wish, `true` stands in for it."""
    cache_ttl_seconds: CacheTtl | None = None
    """How long, where the request does not say so. Absent: `response_cache.ttl_seconds`."""


class Arm(Table):
    """One side of a split."""

    model: str
    """A model's id or alias, with suffixes such as `:nitro`."""
    weight: Annotated[int, Meta(ge=0, le=1_000_000)]
    """Its part of the sum of all weights."""


class Split(Table):
    """`[splits.x]`: a name for several models, each for a share of the sessions."""

    arms: Annotated[list[Arm], Meta(min_length=1)]


class Names(Table):
    """What names may stand for, whether the file says so or somebody did at run time."""

    presets: dict[KeyName, Preset] = {}
    splits: dict[SplitName, Split] = {}


class Shadow(Table):
    """`[shadows.x]`: some of a model's requests are also sent to a second model, whose replies nobody sees."""

    model: str
    """The second model's id or alias."""
    share: Annotated[float, Meta(ge=0.000001, le=1, description="a number from 0.000001 to 1")]
    """Of all requests to the model, so many; 1: every one."""


class Credits(Table):
    """`[credits]`."""

    enforce: bool = False
    """Credit is prepaid: an account without any is refused."""
    webhook_secret: (
        Annotated[Secret, Meta(min_length=16, description="the signing secret of the webhook, 16 characters or more")] | None
    ) = None
    """What payments are told with: the signing secret of Stripe's webhook. Absent: there is no webhook."""


class FreeTier(Table):
    """`[free_tier]`: what each account may ask of free models, those whose names end in `:free`. Without this table it is not limited."""

    requests_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    requests_per_day: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 50
    """In a day of UTC."""
    requests_per_day_with_credits: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 1_000
    """The same for an account that has bought credit of the threshold or more."""
    credits_threshold_usd: Usd = "10"
    """US dollars."""


class Smtp(Table):
    """`smtp` of `[alerts]`: alerts by mail."""

    host: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:-]{1,253}$", description="the name of a mail server")]
    """The mail server."""
    sender: MailAddress = field(name="from")
    to: Annotated[list[MailAddress], Meta(min_length=1, max_length=50)]
    port: Annotated[int, Meta(ge=1, le=65_535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is secured: after a first word, from the start (port 465), or not."""
    user: Annotated[str, Meta(min_length=1, max_length=320)] | None = None
    password: Annotated[str, Meta(min_length=1, max_length=4096, description="a password")] | None = None


class OidcRoles(Table):
    """`roles` and `emails` of `[oidc]`: which values give a role. The highest that fits is given; who has none is not let in."""

    viewer: Annotated[list[ClaimValue], Meta(max_length=1000)] = field(default_factory=list)
    member: Annotated[list[ClaimValue], Meta(max_length=1000)] = field(default_factory=list)
    admin: Annotated[list[ClaimValue], Meta(max_length=1000)] = field(default_factory=list)
    owner: Annotated[list[ClaimValue], Meta(max_length=1000)] = field(default_factory=list)


class Oidc(Table):
    """`[oidc]`: logging in at the console through a provider of OpenID Connect."""

    issuer: BaseUrl
    """As the provider writes it; below it lies `/.well-known/openid-configuration`."""
    client_id: Annotated[str, Meta(min_length=1, max_length=500)]
    """What the provider calls this installation."""
    client_secret: Secret | None = None
    """Absent: the provider knows it as a public client."""
    name: Annotated[str, Meta(min_length=1, max_length=60)] = "single sign-on"
    """What the button of the log-in page says after "Log in with"."""
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=30)] = field(default_factory=lambda: ["openid", "email", "profile"])
    """What is asked for; `openid` is one of them."""
    role_claim: ClaimValue = "groups"
    """The claim whose values `roles` is about: its name, or a path with dots."""
    roles: OidcRoles = field(default_factory=OidcRoles)
    emails: OidcRoles = field(default_factory=OidcRoles)
    """By mail addresses that the provider says are verified: `ada@acme.example`, or `@acme.example` for all of a domain."""
    account: KeyName = "default"
    """Where users are made who log in for the first time."""
    ca_file: FilePath | None = None
    """PEM file of roots trusted towards the provider, beside the system's."""


class Alerts(Table):
    """`[alerts]`: what is told to the operator. Every alert is in the log; the rest is where it goes besides."""

    thresholds: Annotated[list[Annotated[int, Meta(ge=1, le=1000)]], Meta(max_length=20)] = field(default_factory=lambda: [50, 80, 100])
    """Percent of a budget at which it is told of."""
    low_balance_usd: Usd | None = None
    """Prepaid credit that is left, in US dollars, at which an account is told of. Absent: at none."""
    unusual_factor: Annotated[int, Meta(ge=2, le=1000)] | None = None
    """An account is told of that spends as many times as much today as on the mean of the seven days before. Absent: none is."""
    unusual_usd: Usd = "1"
    """US dollars; days below them are never unusual."""
    webhook_url: BaseUrl | None = None
    """Where alerts are sent."""
    webhook_secret: Annotated[Secret, Meta(min_length=16, description="a secret of at least 16 visible ASCII characters")] | None = None
    """What they are signed with."""
    smtp: Smtp | None = None
    """The mail server that they are sent through."""


class Storage(Table):
    """`[storage]`."""

    url: Literal["sqlite"] = "sqlite"
    limits_url: Literal[""] = ""
    durability: Literal["process", "power"] = "process"
    """What settlements survive at once: the death of the process (a power loss may take the last 20 ms), or a power loss, too, for which
    the end of each reply waits for the disk."""
    reporting_zone: str = "UTC"
    """Whose days sums are also kept by, such as `Europe/Berlin`. Fixed when the database is made."""
    retention_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    """How many whole UTC days before today the rows of requests are kept; sums stay. None: for ever."""


class Logging(Table):
    """`[logging]`."""

    content: bool = False
    """Whether prompts and replies are stored, of keys that do not say so themselves."""
    content_ttl_seconds: Annotated[int, Meta(ge=60, le=10 * 365 * 86_400)] = 30 * 86_400
    """How long those of one generation are stored."""
    content_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 1 << 30
    """What they may take of the disk together; the oldest make room."""
    content_text_bytes: Annotated[int, Meta(ge=1 << 10, le=16 << 20)] = 1 << 20
    """What the prompt, the reply, its reasoning and the arguments of its tool calls may have of one generation, each; more is cut, and
    marked."""
    decisions: bool = True
    """Routing decisions are logged, without content, so that `fairlead replay` can make them again."""
    decisions_ttl_seconds: Annotated[int, Meta(ge=60, le=10 * 365 * 86_400)] = 30 * 86_400
    """How long each of them is kept."""
    decisions_bytes: Annotated[int, Meta(ge=16 << 20, le=1 << 40)] = 1 << 30
    """What they may take of the disk together; the oldest make room."""


class Responses(Table):
    """`[responses]`."""

    store: bool = False
    """Responses are kept, so that later requests can name them."""
    ttl_seconds: Annotated[int, Meta(ge=60, le=10 * 365 * 86_400)] = 30 * 86_400
    """How long each of them is kept."""
    store_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 1 << 30
    """What they may take of the disk together; the oldest make room."""


class ResponseCache(Table):
    """`[response_cache]`."""

    enabled: bool = False
    """Replies are given again to requests that ask the same and do not say themselves whether they want that."""
    ttl_seconds: CacheTtl = 300
    """How long, where the request does not say so."""
    memory_bytes: Annotated[int, Meta(ge=0, le=1 << 40)] = 64 << 20
    """What they may take of the memory together; 0: nothing is kept."""


class Idempotency(Table):
    """`[idempotency]`."""

    ttl_seconds: Annotated[int, Meta(ge=60, le=30 * 86_400)] = 86_400
    """How long a request with an `Idempotency-Key` is remembered, and its reply."""
    store_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 1 << 30
    """What they may take of the disk together; what is beyond it is refused, because nothing may be forgotten before its time."""


class Config(Table):
    """The whole file."""

    server: Server = field(default_factory=Server)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    routing: Routing = field(default_factory=Routing)
    providers: dict[Slug, Provider] | UnsetType = UNSET
    """Absent (not: empty): those of the catalogue whose usual environment variable is set, or else the simulator."""
    models: dict[ModelId, Model] = {}
    keys: dict[KeyName, Key] = {}
    teams: dict[ScopeName, Team] = {}
    users: dict[ScopeName, User] = {}
    presets: dict[KeyName, Preset] = {}
    splits: dict[SplitName, Split] = {}
    shadows: dict[str, Shadow] = {}
    """By the model's id or alias."""
    credits: Credits = field(default_factory=Credits)
    free_tier: FreeTier | None = None
    alerts: Alerts = field(default_factory=Alerts)
    oidc: Oidc | None = None
    storage: Storage = field(default_factory=Storage)
    logging: Logging = field(default_factory=Logging)
    responses: Responses = field(default_factory=Responses)
    response_cache: ResponseCache = field(default_factory=ResponseCache)
    idempotency: Idempotency = field(default_factory=Idempotency)
