"""Configuration + catalogue + environment → what the data plane and the control plane run with."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct, structs

from fairlead.catalog import Catalogue
from fairlead.catalog.document import Mistakes, Problem
from fairlead.config import alerts, keys, oidc, wire
from fairlead.config.alerts import AlertSettings
from fairlead.config.amounts import BadAmount, nanousd
from fairlead.config.google import SignIn
from fairlead.config.keys import ConfigKey, ConfigTeam, ConfigUser
from fairlead.config.load import Loaded
from fairlead.config.models import Context, EndpointIds, models, most_completion_tokens, why_absent
from fairlead.config.oidc import OidcSettings
from fairlead.config.providers import off_message, sources
from fairlead.config.routing import Routes, preset_views, shadow_views, split_views
from fairlead.config.schema import Credits, Server, Storage
from fairlead.config.view import EndpointView, ModelView, PresetView, ProviderView, ShadowView, SplitView

_SHORT_KEY_CHARACTERS = 20


class Compiled(Struct, frozen=True, kw_only=True):
    """One configuration, valid as a whole."""

    snapshot: bytes
    """JSON of `rust/snapshot/src/wire.rs`. Holds the providers' credentials: never log it."""
    server: Server
    """Addresses, folders and switches, with absolute paths."""
    storage: Storage
    """How what happened is kept."""
    providers: tuple[ProviderView, ...]
    models: tuple[ModelView, ...]
    presets: tuple[PresetView, ...]
    splits: tuple[SplitView, ...]
    shadows: tuple[ShadowView, ...]
    keys: tuple[ConfigKey, ...]
    teams: tuple[ConfigTeam, ...]
    users: tuple[ConfigUser, ...]
    credits: Credits
    alerts: AlertSettings
    oidc: OidcSettings | None
    """None: nobody logs in that way."""
    sign_ins: tuple[SignIn, ...]
    """The service accounts that tokens are minted for; until `with_tokens` the snapshot has none of theirs."""
    simulator: bool
    """The simulator is one of the providers."""
    zero_configuration: bool
    """No configuration file was found."""
    warnings: tuple[Problem, ...]
    routes: Routes
    """What judges names that are made at run time."""
    made: dict[tuple[str, str], tuple[Problem, ...]] = {}
    """Kind and name of what was made at run time (`made.with_made`) → what there is to say about it. With an error it is not in force."""

    def __repr__(self) -> str:
        return f"Compiled({len(self.providers)} providers, {len(self.models)} models, {len(self.keys)} keys)"


def hashed_endpoint_id(model: str, provider: str, upstream_model: str, region: str) -> int:
    """An endpoint id without a database: 48 bits of a hash of its names. The same everywhere and always."""
    identity = "\0".join((model, provider, upstream_model, region)).encode()
    return int.from_bytes(hashlib.sha256(identity).digest()[:6], "big")


def compile(
    loaded: Loaded,
    catalogue: Catalogue,
    environ: Mapping[str, str],
    *,
    version: int = 1,
    today: date | None = None,
    simulator_address: str | None = None,
    endpoint_id: EndpointIds = hashed_endpoint_id,
    admin_token_hash: str = "",
) -> Compiled:
    """Judges a configuration as a whole and makes the snapshot.

    Args:
        loaded: what `load` gave.
        catalogue: providers and models that need not be spelt out.
        environ: where the catalogue's providers find their keys.
        version: the snapshot's; it grows with every one of a process.
        today: which of the dated prices apply (UTC; default: the current day).
        simulator_address: host and port of the running simulator. Without it, a snapshot that needs the simulator is for reading only.
        endpoint_id: where stable endpoint ids come from.
        admin_token_hash: what the data plane knows the admin token by, made as the hash of a key is. Empty: it knows none.

    Raises:
        Mistakes: with everything that is wrong.
    """
    found = sources(loaded, catalogue, environ, simulator_address)
    context = Context(
        loaded=loaded,
        catalogue=catalogue,
        sources=found,
        declared=_declared(loaded),
        endpoint_id=endpoint_id,
        today=today or datetime.now(UTC).date(),
    )
    views = models(context)
    routes = Routes(context, views)
    presets, splits, shadows = routes.presets(), routes.splits(), routes.shadows()
    owned_keys, teams, users = keys.keys(loaded), keys.teams(loaded), keys.users(loaded)
    alert_settings, oidc_settings = alerts.settings(loaded), oidc.settings(loaded)
    free_tier = _free_tier(loaded)
    _check_addresses(loaded)
    _check_zone(loaded)
    if loaded.document.errors:
        raise Mistakes(sorted(loaded.document.problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
    _warn(loaded, [source.view for source in found.values()], views)
    snapshot = wire.Snapshot(
        version=version,
        settings=_settings(loaded, free_tier),
        admin_token_hash=admin_token_hash,
        providers=[source.wire for source in found.values()],
        models=[_wire_model(view) for view in views],
        presets=presets,
        splits=splits,
        shadows=shadows,
        absent_providers=_absent_providers(context),
        absent_models=_absent_models(context, views),
    )
    return Compiled(
        snapshot=msgspec.json.encode(snapshot),
        server=loaded.config.server,
        storage=loaded.config.storage,
        providers=tuple(source.view for source in found.values()),
        models=tuple(views),
        presets=tuple(preset_views(presets)),
        splits=tuple(split_views(splits)),
        shadows=tuple(shadow_views(shadows)),
        keys=owned_keys,
        teams=teams,
        users=users,
        credits=loaded.config.credits,
        alerts=alert_settings,
        oidc=oidc_settings,
        sign_ins=tuple(sign_in for source in found.values() for sign_in in source.sign_ins),
        simulator="sim" in found,
        zero_configuration=loaded.path is None,
        warnings=tuple(loaded.document.problems),
        routes=routes,
    )


def _absent_providers(context: Context) -> list[wire.Absent]:
    off = [facts for slug, facts in context.catalogue.providers.items() if slug not in context.sources]
    why = {facts.slug: off_message(facts.slug, context.loaded, context.catalogue) for facts in off}
    return [wire.Absent(names=[facts.slug, facts.name, *facts.aliases], why=why[facts.slug]) for facts in off]


def _absent_models(context: Context, views: list[ModelView]) -> list[wire.Absent]:
    served = {view.id for view in views}
    files = [file for file in context.catalogue.models.values() if file.model.id not in served]
    return [wire.Absent(names=[file.model.id, *file.model.aliases], why=why_absent(context, file)) for file in files]


def _check_zone(loaded: Loaded) -> None:
    name = loaded.config.storage.reporting_zone
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        message = f"is no time zone that this machine knows, such as Europe/Berlin or Asia/Kathmandu: {name[:40]!r}"
        loaded.document.report(("storage", "reporting_zone"), message)


def _check_addresses(loaded: Loaded) -> None:
    server = loaded.config.server
    if server.data == server.admin and not server.data.endswith(":0"):
        loaded.document.report(("server", "admin"), "is the same address as server.data")


def _declared(loaded: Loaded) -> frozenset[str]:
    named = loaded.document.tree.get("providers")
    return frozenset(named) if isinstance(named, dict) else frozenset()


def _free_tier(loaded: Loaded) -> wire.FreeTier | None:
    """What the file says of free models; None: nothing is limited."""
    free = loaded.config.free_tier
    if free is None:
        return None
    try:
        threshold_nanousd = nanousd(free.credits_threshold_usd)
    except BadAmount as error:
        loaded.document.report(("free_tier", "credits_threshold_usd"), str(error))
        return None
    return wire.FreeTier(
        requests_per_minute=free.requests_per_minute,
        requests_per_day=free.requests_per_day,
        requests_per_day_with_credits=free.requests_per_day_with_credits,
        credits_threshold_nanousd=threshold_nanousd,
    )


def _settings(loaded: Loaded, free_tier: wire.FreeTier | None) -> wire.Settings:
    limits = structs.asdict(loaded.config.limits)
    return wire.Settings(
        timeouts=structs.asdict(loaded.config.timeouts),
        reserve_completion_tokens=limits.pop("reserve_completion_tokens"),
        reserve_web_searches=limits.pop("reserve_web_searches"),
        limits=limits,
        attempts=loaded.config.routing.attempts,
        hedge=loaded.config.routing.hedge,
        open_catalogue=loaded.config.server.open_catalogue,
        responses_store=loaded.config.responses.store,
        responses_ttl_seconds=loaded.config.responses.ttl_seconds,
        responses_store_bytes=loaded.config.responses.store_bytes,
        content=loaded.config.logging.content,
        content_ttl_seconds=loaded.config.logging.content_ttl_seconds,
        content_bytes=loaded.config.logging.content_bytes,
        content_text_bytes=loaded.config.logging.content_text_bytes,
        decisions=loaded.config.logging.decisions,
        decisions_ttl_seconds=loaded.config.logging.decisions_ttl_seconds,
        decisions_bytes=loaded.config.logging.decisions_bytes,
        free_tier=free_tier,
        response_cache=loaded.config.response_cache.enabled,
        response_cache_ttl_seconds=loaded.config.response_cache.ttl_seconds,
        response_cache_bytes=loaded.config.response_cache.memory_bytes,
        idempotency_ttl_seconds=loaded.config.idempotency.ttl_seconds,
        idempotency_bytes=loaded.config.idempotency.store_bytes,
    )


def _wire_model(view: ModelView) -> wire.Model:
    return wire.Model(
        id=view.id,
        aliases=[*view.aliases],
        max_completion_tokens=most_completion_tokens(view),
        endpoints=[_wire_endpoint(view, endpoint) for endpoint in view.endpoints],
        rpm=view.rpm,
        tpm=view.tpm,
        max_concurrency=view.max_concurrency,
    )


def _wire_endpoint(view: ModelView, endpoint: EndpointView) -> wire.Endpoint:
    return wire.Endpoint(
        id=endpoint.id,
        provider=endpoint.provider,
        upstream_model=endpoint.upstream_model,
        dialects=[*endpoint.dialects],
        price=endpoint.price,
        max_completion_tokens=endpoint.max_completion_tokens,
        quirks=[*endpoint.quirks],
        efforts=[*endpoint.efforts],
        region=endpoint.region,
        quantization=endpoint.quantization,
        status=endpoint.status,
        context_tokens=endpoint.context_length,
        max_prompt_tokens=endpoint.max_prompt_tokens,
        input_modalities=[*view.known_inputs],
        output_modalities=[*view.known_outputs],
        supported_parameters=[*endpoint.supported_parameters] if endpoint.supported_parameters is not None else None,
        deprecated_on=endpoint.deprecated_on,
        shutdown_on=endpoint.shutdown_on,
        implicit_caching=endpoint.supports_implicit_caching,
        cache_ttl_seconds=[*endpoint.cache_ttl_seconds],
    )


def _warn(loaded: Loaded, providers: list[ProviderView], views: list[ModelView]) -> None:
    used = {endpoint.provider for view in views for endpoint in view.endpoints}
    for provider in providers:
        if provider.slug not in used:
            loaded.document.report(("providers", provider.slug), "is on, but no model is served by it", "warning")
    known = {view.id for view in views}
    for name, key in loaded.config.keys.items():
        if len(key.secret) < _SHORT_KEY_CHARACTERS:
            message = f"is short: {_SHORT_KEY_CHARACTERS} random characters or more resist guessing"
            loaded.document.report(("keys", name, "secret"), message, "warning")
        for index, pattern in enumerate(key.models):
            if "*" in pattern or pattern in known:
                continue
            message = f'no model is called "{pattern}" here'
            if pattern in loaded.config.splits:
                message = f'"{pattern}" is a split: a key names the models of its arms'
            loaded.document.report(("keys", name, "models", index), message, "warning")
