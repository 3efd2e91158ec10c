"""What a configuration amounts to, for whoever shows it: providers, models, endpoints and prices as they are in force.

Plain data, ready for JSON. Prices are decimal strings in US dollars per token or unit, under OpenRouter's names, exactly what is charged.
"""

from typing import Any

from msgspec import Struct

from fairlead.catalog.schema import DataPolicy


class Rates(Struct, frozen=True, omit_defaults=True):
    """Some prices in pico-dollars per unit. Absent: inherited."""

    prompt: int | None = None
    completion: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    request: int | None = None
    web_search: int | None = None


class PriceOverride(Struct, frozen=True, omit_defaults=True):
    """Other prices under conditions, all of which must hold. Later ones win, rate by rate."""

    rates: Rates
    prompt_tokens_above: int | None = None
    service_tier: str | None = None
    hours: tuple[tuple[int, int], ...] = ()
    """Times of the week in minutes from Monday 00:00 UTC; empty: always."""


class Price(Struct, frozen=True, omit_defaults=True):
    """Pico-dollars per unit, as the data plane takes them. Absent: the fallback that `wire.rs` states."""

    prompt: int
    completion: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    request: int = 0
    web_search: int = 0
    overrides: tuple[PriceOverride, ...] = ()


class ReasoningView(Struct, frozen=True):
    """How a model reasons."""

    mandatory: bool
    """It cannot be switched off."""
    supported_efforts: tuple[str, ...]
    default_effort: str | None
    supports_max_tokens: bool
    """A budget of reasoning tokens can be asked for."""


class EndpointView(Struct, frozen=True):
    """A model at a provider."""

    id: int
    """Stable; what the journal and the database name it by."""
    provider: str
    """The provider's slug."""
    provider_name: str
    upstream_model: str
    dialects: tuple[str, ...]
    region: str
    quantization: str
    status: str
    """`preview`, `ga` or `deprecated`."""
    deprecated_on: str | None
    shutdown_on: str | None
    """ISO dates."""
    context_length: int | None
    max_prompt_tokens: int | None
    max_completion_tokens: int | None
    supported_parameters: tuple[str, ...] | None
    """OpenRouter's names; `None`: unknown."""
    efforts: tuple[str, ...]
    """Empty: unknown; `none` alone: it does not think."""
    quirks: tuple[str, ...]
    """Beside its provider's."""
    supports_implicit_caching: bool
    cache_ttl_seconds: tuple[int, ...]
    """How long its cache may keep a prompt; empty: unknown."""
    pricing: dict[str, Any]
    """OpenRouter's, of the usual service tier."""
    tier_pricing: dict[str, dict[str, Any]]
    """The same of each other tier that it sells."""
    price: Price
    price_source: str
    not_applied: tuple[str, ...]
    """Prices of the provider that this version does not charge by, such as `audio_prompt`: then the usual price is charged."""


class ModelView(Struct, frozen=True):
    """A model that requests can name."""

    id: str
    aliases: tuple[str, ...]
    name: str
    description: str
    created: int
    """Unix seconds of its release; 0: unknown."""
    context_length: int | None
    max_prompt_tokens: int | None
    max_completion_tokens: int | None
    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]
    known_inputs: tuple[str, ...]
    """The same, as far as it is stated: what requests are filtered by. Empty: nobody says."""
    known_outputs: tuple[str, ...]
    tokenizer: str
    hugging_face_id: str
    knowledge_cutoff: str
    open_weights: bool | None
    supported_parameters: tuple[str, ...] | None
    reasoning: ReasoningView | None
    expiration_date: str | None
    """ISO date on which the last of its endpoints shuts down, when all of them do."""
    source: str
    """`catalogue`, `configuration`, or `catalogue+configuration` for an entry that overrides the catalogue's."""
    endpoints: tuple[EndpointView, ...]
    """In the order of preference. Never empty."""
    rpm: int | None = None
    """Most requests per minute of all keys together; None: not limited."""
    tpm: int | None = None
    """Most tokens per minute likewise."""
    max_concurrency: int | None = None
    """Most requests at a time likewise."""


class ProviderView(Struct, frozen=True):
    """A provider that is on."""

    slug: str
    name: str
    dialects: dict[str, str]
    """Dialect → base URL."""
    keys: int
    key_source: str
    """Where the credential comes from: `configuration`, `OPENAI_API_KEY`, `none`."""
    source: str
    """`catalogue` or `configuration`."""
    data_policy: DataPolicy
    headquarters: str | None
    datacenters: tuple[str, ...]
    """Countries, ISO 3166 in capitals."""
    privacy_policy: str
    terms_of_service: str
    status_page: str
    """URLs; empty: unknown."""


class PresetView(Struct, frozen=True, omit_defaults=True):
    """A name for models with wishes."""

    name: str
    """Requests say `@preset/` before it."""
    version: str
    """A hash of everything below: the same content has the same version, whatever its name."""
    models: tuple[str, ...]
    """As the configuration names them: the model, and those to fall back to; empty where requests name one beside it."""
    provider: dict[str, Any] | None
    """OpenRouter's `provider` object; prices are decimal strings."""
    route: str | None
    fields: dict[str, Any] | None
    """What else it says for requests."""
    strict_translation: bool
    automatic_cache: bool
    source: str = "file"
    """`file`, or `made` at run time."""


class ArmView(Struct, frozen=True):
    """One side of a split."""

    model: str
    weight: int


class ShadowView(Struct, frozen=True):
    """Some of a model's requests are also sent to a second model."""

    model: str
    shadow: str
    share: float


class SplitView(Struct, frozen=True, omit_defaults=True):
    """A name for several models, each for a share of the sessions."""

    name: str
    arms: tuple[ArmView, ...]
    source: str = "file"
    """`file`, or `made` at run time."""
