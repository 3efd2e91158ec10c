"""The catalogue's files, as plain data: one TOML file per provider, one per model.

Prices are decimal strings of US dollars (`usd_per_million` for tokens, `usd_each` for everything else); counts are integers. Absent means
unknown. `fairlead.toml` uses the same price tables, so what a user writes there can move into the catalogue unchanged.
"""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Dialect = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini_generate", "bedrock_converse"]
"""The wire formats that the contract names."""

Slug = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$", description="a name of a-z, 0-9 and - (64 at most)")]
ModelId = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}/[A-Za-z0-9_.:-]{1,128}$", description='a model id such as "vendor/model"'),
]
Alias = Annotated[
    str, Meta(pattern=r"^[~A-Za-z0-9][A-Za-z0-9_.:/@-]{0,199}$", description="a model name of letters, digits and _ . : / @ -")
]
UpstreamModel = Annotated[str, Meta(pattern=r"^[!-~]{1,256}$", description="a model name of visible ASCII characters (256 at most)")]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$", description='a header name, such as "x-api-key"')]
HeaderValue = Annotated[str, Meta(pattern=r"^[ -~]{0,4096}$", description="a header value of printable ASCII characters")]
Secret = Annotated[str, Meta(pattern=r"^[!-~]{1,4096}$", description="a secret of visible ASCII characters")]
Count = Annotated[int, Meta(ge=1, le=10_000_000_000)]
Usd = Annotated[str, Meta(description='a decimal number in quotes, such as "2.50"')]
Hours = Annotated[str, Meta(pattern=r"^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$", description='hours such as "10:00-01:00"')]
Modality = Literal["text", "image", "file", "audio", "video", "embeddings"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How hard to think; `none` where thinking can be switched off by an effort."""
Region = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}$", description='a region such as "eu-central-1"')]
Host = Annotated[str, Meta(pattern=r"^[a-z0-9.-]{1,253}$", description='a host such as "api.acme.com"')]

Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$", description='a country such as "FR" (ISO 3166, two capitals)')]
Url = Annotated[str, Meta(pattern=r"^https://[!-~]+$", description='a URL such as "https://host/page"')]
Quantization = Literal["unknown", "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32"]
"""OpenRouter's names of how weights are stored."""

PARAMETERS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "top_a",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "max_tokens",
    "max_completion_tokens",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "prediction",
    "seed",
    "response_format",
    "structured_outputs",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "include_reasoning",
    "reasoning",
    "reasoning_effort",
    "web_search_options",
    "verbosity",
)
"""OpenRouter's names for what an endpoint may support."""

QUIRKS = (
    "no_stream_options",
    "legacy_max_tokens",
    "no_developer_role",
    "no_system_role",
    "no_mid_system",
    "no_parallel_tool_calls",
    "no_forced_tool_choice",
    "no_strict_tools",
    "no_json_schema",
    "no_json_object",
    "no_sampling",
    "no_stop",
    "no_penalties",
    "no_seed",
    "no_prefill",
    "no_custom_tools",
    "cache_control_parts",
    "cache_breakpoints",
    "random_seed",
    "object_arguments",
    "media_tool_results",
    "no_thinking_chat_tools",
    "native_completions",
    "open_sampling",
    "openrouter_reasoning",
    "reasoning_in",
    "reasoning_content_in",
    "reasoning_content_required",
    "reasoning_outside_completion",
    "no_encrypted_reasoning",
    "content_lists",
    "think_tags",
    "budget_thinking",
    "adaptive_thinking",
    "always_thinking",
    "native_schema",
    "raw_predict",
    "block_binding",
    "no_function_ids",
    "thinking_level",
    "thought_signatures",
    "no_media_results",
    "schema_without_tools",
)
"""What an endpoint may do otherwise than its dialects say. `fairlead._native.QUIRKS` has the meanings; a test compares the names."""


class File(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What every table of a file has in common: unknown keys are errors, defaults are not written."""


class DataPolicy(File, kw_only=True):
    """What a provider does with prompts and replies. Absent is unknown, and unknown satisfies no demand for privacy."""

    training: bool | None = None
    """Whether it may train on them."""
    retention_days: Annotated[int, Meta(ge=0, le=36_500)] | None = None
    """For how many days it keeps them; 0: not at all."""
    zdr: bool | None = None
    """Whether it keeps nothing for these credentials, by contract or by default."""


class NamedAuth(File, kw_only=True):
    """A credential that travels in a header of its own, or in the query of the URL: one of the two."""

    header: HeaderName | None = None
    query: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description='the name of a query parameter, such as "key"')] | None = None


GOOGLE_SERVICE_ACCOUNT = "google_service_account"
"""Tokens are minted from the key of a service account, which itself is never sent."""
Auth = Literal["bearer", "sigv4", "google_service_account"] | NamedAuth
"""`"bearer"`: `Authorization: Bearer …`; `{ header = "x-api-key" }`: the bare secret in that header; `{ query = "key" }`: in the URL's
query; `"sigv4"`: requests are signed with a key pair of AWS; `"google_service_account"`: a token that is minted from a service account's
key, and renewed, is sent as a bearer."""

PLACEHOLDERS = ("region", "account", "resource", "project")
"""What stands in braces in a base URL and is filled in by the configuration or a usual variable."""


class UsdPerMillion(File, kw_only=True):
    """US dollars per million tokens. Buckets are disjoint: `prompt` is uncached prompt tokens."""

    prompt: Usd | None = None
    completion: Usd | None = None
    cache_read: Usd | None = None
    """Absent: as `prompt`."""
    cache_write: Usd | None = None
    """Kept five minutes. Absent: as `prompt`."""
    cache_write_1h: Usd | None = None
    """Absent: as `cache_write`."""
    reasoning: Usd | None = None
    """Absent: as `completion`."""
    cache_write_30m: Usd | None = None
    cache_write_12h: Usd | None = None
    audio_prompt: Usd | None = None
    audio_completion: Usd | None = None
    audio_cache_read: Usd | None = None
    image_prompt: Usd | None = None
    image_completion: Usd | None = None
    video_prompt: Usd | None = None


class UsdEach(File, kw_only=True):
    """US dollars for one of what is not a token."""

    request: Usd | None = None
    web_search: Usd | None = None
    image: Usd | None = None
    image_hd: Usd | None = None
    second_audio_in: Usd | None = None
    second_audio_out: Usd | None = None
    second_video_720p: Usd | None = None
    character: Usd | None = None
    page: Usd | None = None
    session: Usd | None = None
    file_search: Usd | None = None
    gigabyte_day: Usd | None = None


CHARGED_PER_MILLION = ("prompt", "completion", "cache_read", "cache_write", "cache_write_1h", "reasoning")
"""Token prices that this version charges by; the others are facts it keeps and names as not applied."""
CHARGED_EACH = ("request", "web_search")
"""Unit prices that this version charges by."""


class When(File, kw_only=True):
    """Conditions of a price override; all must hold."""

    prompt_tokens_above: Count | None = None
    """Strictly more prompt tokens than this, cached ones included; the whole request is priced anew."""
    service_tier: Literal["batch", "flex", "priority", "fast", "ultrafast", "scale"] | None = None
    """The tier that the provider reports."""
    utc: Hours | None = None
    """A window of the day, which may wrap midnight."""
    days: list[Annotated[int, Meta(ge=1, le=7)]] | None = None
    """ISO weekdays of the window's start."""
    region: str | None = None
    outside_region: str | None = None
    """Any other region than this one."""


class Override(File, kw_only=True):
    """Prices that replace some of the base prices under a condition. Later ones win, key by key."""

    when: When
    usd_per_million: UsdPerMillion | None = None
    usd_each: UsdEach | None = None
    multiplier: Usd | None = None


class DatedPrice(File, kw_only=True, rename={"from_": "from"}):
    """The prices of an endpoint from a day on. A change is a further block; none is deleted."""

    from_: date
    source: str
    checked: date
    currency: Literal["USD"] = "USD"
    usd_per_million: UsdPerMillion
    usd_each: UsdEach = field(default_factory=UsdEach)
    override: list[Override] = []


class CacheFacts(File, kw_only=True):
    """How an endpoint caches prompts."""

    min_tokens: int | None = None
    ttl_seconds: list[Count] = []
    automatic: bool | None = None


class CatalogueEndpoint(File, kw_only=True):
    """A model at a provider."""

    provider: Slug
    upstream_model: UpstreamModel
    dialect: Dialect | None = None
    """The only dialect it is served in. Absent: all of the provider's, or those of `dialects`."""
    dialects: list[Dialect] | None = None
    region: str = ""
    quantization: Quantization = "unknown"
    status: Literal["preview", "ga", "deprecated"] = "ga"
    deprecated_on: date | None = None
    shutdown_on: date | None = None
    context_tokens: Count | None = None
    """Overrides the model's."""
    max_prompt_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    supported_parameters: list[str] | None = None
    efforts: list[Effort] | None = None
    """Overrides the model's."""
    quirks: list[str] = []
    """Beside its provider's, and those that follow from the model's capabilities."""
    cache: CacheFacts | None = None
    price: Annotated[list[DatedPrice], Meta(min_length=1)]


class ModelFacts(File, kw_only=True):
    """The table `[model]`."""

    id: ModelId
    aliases: list[Alias] = []
    name: str
    description: str = ""
    released: date | None = None
    knowledge: str = ""
    open_weights: bool | None = None
    hugging_face_id: str = ""
    tokenizer: str = ""
    input: list[Modality] = field(default_factory=lambda: ["text"])
    output: list[Modality] = field(default_factory=lambda: ["text"])
    context_tokens: Count
    max_prompt_tokens: int = 0
    """0: context minus output."""
    max_completion_tokens: Count | None = None


class Capabilities(File, kw_only=True):
    """What the model can do; absent is unknown."""

    tools: bool | None = None
    parallel_tools: bool | None = None
    tool_choice: list[Literal["auto", "none", "required", "named"]] | None = None
    structured_outputs: bool | None = None
    strict_tools: bool | None = None
    sampling: bool | None = None
    system_in_messages: bool | None = None
    prefill: bool | None = None
    parameters_refused: list[str] = []


class Reasoning(File, kw_only=True):
    """How the model reasons and how that is asked for."""

    style: Literal["none", "always", "toggle", "effort", "budget", "adaptive"]
    efforts: list[Effort] = []
    default_effort: str = ""
    can_disable: bool | None = None
    budget_min_tokens: int = 0
    budget_max_tokens: int = 0
    visible: Literal["full", "summary", "hidden"] | None = None
    sealed: list[str] = []
    replay: Literal["none", "text_required", "signature"] | None = None


class ModelFile(File, kw_only=True):
    """One file of `models/`."""

    model: ModelFacts
    capabilities: Capabilities | None = None
    reasoning: Reasoning | None = None
    endpoint: Annotated[list[CatalogueEndpoint], Meta(min_length=1)]


class KeyPair(File, kw_only=True):
    """Variables that usually hold a key pair of AWS."""

    access_key_id: str
    secret_access_key: str
    session_token: str


class ProviderFacts(File, kw_only=True):
    """The table `[provider]`: how to talk to it. Where the credential comes from stands in `fairlead.toml` or the environment."""

    slug: Slug
    aliases: list[Slug] = []
    """Other names that people try; only offered in error messages."""
    name: str
    base_url: str = ""
    """What the official SDK of the first dialect takes; `{region}`, `{account}`, `{resource}` and `{project}` stand for what the
    installation says. Empty: the whole of it depends on the installation."""
    base_urls: dict[Dialect, str] = {}
    """For dialects whose base URL differs."""
    region_hosts: dict[Region, Host] = {}
    """Regions that are served at another host than the base URLs say."""
    dialects: Annotated[list[Dialect], Meta(min_length=1)]
    auth: Auth = "bearer"
    auths: dict[Dialect, Auth] = {}
    """For dialects that want the credential otherwise."""
    headers: dict[HeaderName, HeaderValue] = {}
    environment: list[str] = []
    """Variables that usually hold its key; the first that is set counts. Empty: it is never switched on by the environment."""
    environment_key_pair: KeyPair | None = None
    """Where requests can be signed instead: counts when none of `environment` is set, and both halves and a region are."""
    environment_key_file: list[str] = []
    """Variables that usually hold the path of a service account's key file; the first that is set counts, where that is how it signs in."""
    environment_region: list[str] = []
    """Variables that usually hold its region; the first that is set counts."""
    environment_account: list[str] = []
    environment_resource: list[str] = []
    environment_project: list[str] = []
    """The same for the other placeholders of its base URLs."""
    on_by_environment: bool = True
    """False: its usual variable gives its key but does not switch it on, because people set it for other things too."""
    needs_key: bool = True
    cancel_stops_billing: bool = False
    reports_cost: bool = False
    """The `usage.cost` of its replies is what it charges."""
    quirks: list[str] = []
    """Of all its endpoints."""
    data_policy: DataPolicy = field(default_factory=DataPolicy)
    """Without a contract of one's own."""
    headquarters: Country | None = None
    datacenters: list[Country] = []
    privacy_policy: Url | None = None
    terms_of_service: Url | None = None
    models_list: str = ""
    status_page: Url | None = None
    docs: Url | None = None


class ProviderFile(File, kw_only=True):
    """One file of `providers/`."""

    provider: ProviderFacts
