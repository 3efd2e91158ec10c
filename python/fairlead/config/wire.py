"""The snapshot as the data plane reads it: the mirror of `rust/snapshot/src/wire.rs`, field by field.

Both sides refuse fields that they do not know, so a field is added here and there in one commit.
"""

from msgspec import Struct

from fairlead.config.view import Price


class Bearer(Struct, frozen=True, tag_field="scheme", tag="bearer"):
    """`Authorization: Bearer …`."""


class HeaderAuth(Struct, frozen=True, tag_field="scheme", tag="header"):
    """A header of its own."""

    name: str


Auth = Bearer | HeaderAuth


class ProviderKey(Struct, frozen=True):
    """One credential."""

    secret: str


class Provider(Struct, frozen=True, kw_only=True):
    """A provider."""

    slug: str
    name: str
    dialects: dict[str, str]
    auth: Auth
    keys: list[ProviderKey]
    headers: dict[str, str]
    cancel_stops_billing: bool
    reports_cost: bool
    ca_file: str | None
    quirks: list[str]


class Endpoint(Struct, frozen=True, kw_only=True):
    """A model at a provider."""

    id: int
    provider: str
    upstream_model: str
    dialects: list[str]
    price: Price


class Model(Struct, frozen=True, kw_only=True):
    """A model and where it is served."""

    id: str
    aliases: list[str]
    max_completion_tokens: int | None
    endpoints: list[Endpoint]


class Settings(Struct, frozen=True, kw_only=True):
    """Timeouts, limits and switches."""

    timeouts: dict[str, int]
    limits: dict[str, int]
    reserve_completion_tokens: int
    open_catalogue: bool


class Snapshot(Struct, frozen=True, kw_only=True):
    """The whole configuration of the data plane at one moment."""

    version: int
    settings: Settings
    admin_token_hash: str
    providers: list[Provider]
    models: list[Model]
