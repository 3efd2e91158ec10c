"""The snapshot as the data plane reads it: the mirror of `rust/snapshot/src/wire.rs`, field by field.

Both sides refuse fields that they do not know, so a field is added here and there in one commit.
"""

from typing import Any

from msgspec import Struct

from fairlead.catalog.schema import DataPolicy
from fairlead.config.view import Price


class Bearer(Struct, frozen=True, tag_field="scheme", tag="bearer"):
    """`Authorization: Bearer …`."""


class HeaderAuth(Struct, frozen=True, tag_field="scheme", tag="header"):
    """A header of its own."""

    name: str


class QueryAuth(Struct, frozen=True, tag_field="scheme", tag="query"):
    """The query of the URL."""

    name: str


class Sigv4(Struct, frozen=True, tag_field="scheme", tag="sigv4"):
    """Requests are signed as AWS wants them."""

    region: str


Auth = Bearer | HeaderAuth | QueryAuth | Sigv4


class ProviderKey(Struct, frozen=True, omit_defaults=True):
    """One credential."""

    secret: str
    access_key_id: str | None = None
    session_token: str | None = None
    weight: int = 1
    rpm: int | None = None
    tpm: int | None = None
    max_concurrency: int | None = None
    identity: str | None = None
    """Names it where the secret is replaced from time to time."""

    def __repr__(self) -> str:
        return "ProviderKey(…)"


class Provider(Struct, frozen=True, kw_only=True):
    """A provider."""

    slug: str
    name: str
    dialects: dict[str, str]
    auth: Auth
    dialect_auth: dict[str, Auth]
    keys: list[ProviderKey]
    headers: dict[str, str]
    cancel_stops_billing: bool
    reports_cost: bool
    ca_file: str | None
    quirks: list[str]
    data_policy: DataPolicy
    headquarters: str | None
    datacenters: list[str]


class Endpoint(Struct, frozen=True, kw_only=True):
    """A model at a provider."""

    id: int
    provider: str
    upstream_model: str
    dialects: list[str]
    price: Price
    max_completion_tokens: int | None
    quirks: list[str]
    efforts: list[str]
    region: str
    quantization: str
    status: str
    context_tokens: int | None
    max_prompt_tokens: int | None
    input_modalities: list[str]
    output_modalities: list[str]
    supported_parameters: list[str] | None
    deprecated_on: str | None
    shutdown_on: str | None
    implicit_caching: bool
    cache_ttl_seconds: list[int]


class Model(Struct, frozen=True, kw_only=True):
    """A model and where it is served."""

    id: str
    aliases: list[str]
    max_completion_tokens: int | None
    endpoints: list[Endpoint]
    rpm: int | None
    tpm: int | None
    max_concurrency: int | None


class Preset(Struct, frozen=True, kw_only=True):
    """A name for a model with wishes."""

    name: str
    model: str | None
    """`None`: requests name one beside it."""
    models: list[str]
    provider: dict[str, Any] | None
    route: str | None
    fields: dict[str, Any] | None
    """What else it says for requests: members of a chat request, and `system_prompt`."""
    strict_translation: bool
    automatic_cache: bool
    cache_enabled: bool | None
    cache_ttl_seconds: int | None
    version: str
    """Names its content in records."""


class Arm(Struct, frozen=True, kw_only=True):
    """One side of a split."""

    model: str
    share: int


class Split(Struct, frozen=True, kw_only=True):
    """A name that stands for several models."""

    name: str
    arms: list[Arm]


class Shadow(Struct, frozen=True, kw_only=True):
    """Some of a model's requests are also sent to a second model."""

    of: str
    model: str
    share_millionths: int


class FreeTier(Struct, frozen=True, kw_only=True):
    """What an account may ask of free models."""

    requests_per_minute: int
    requests_per_day: int
    requests_per_day_with_credits: int
    credits_threshold_nanousd: int


class Settings(Struct, frozen=True, kw_only=True):
    """Timeouts, limits and switches."""

    timeouts: dict[str, int]
    limits: dict[str, int]
    reserve_completion_tokens: int
    reserve_web_searches: int
    attempts: int
    hedge: bool
    open_catalogue: bool
    responses_store: bool
    responses_ttl_seconds: int
    responses_store_bytes: int
    content: bool
    content_ttl_seconds: int
    content_bytes: int
    content_text_bytes: int
    decisions: bool
    decisions_ttl_seconds: int
    decisions_bytes: int
    free_tier: FreeTier | None
    response_cache: bool
    response_cache_ttl_seconds: int
    response_cache_bytes: int
    idempotency_ttl_seconds: int
    idempotency_bytes: int


class Absent(Struct, frozen=True, kw_only=True):
    """What the catalogue knows and requests cannot have here: for error texts."""

    names: list[str]
    why: str


class Snapshot(Struct, frozen=True, kw_only=True):
    """The whole configuration of the data plane at one moment."""

    version: int
    settings: Settings
    admin_token_hash: str
    providers: list[Provider]
    models: list[Model]
    presets: list[Preset]
    splits: list[Split]
    shadows: list[Shadow]
    absent_providers: list[Absent]
    """Providers of the catalogue that are off here."""
    absent_models: list[Absent]
    """Models of the catalogue that nobody serves here."""
