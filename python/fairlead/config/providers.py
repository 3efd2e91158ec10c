"""Which providers are on, and how the data plane is to talk to them."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import UnsetType
from msgspec.structs import replace

from fairlead.catalog import Catalogue
from fairlead.catalog.document import did_you_mean
from fairlead.catalog.load import check_quirks
from fairlead.catalog.positions import Path as Place
from fairlead.catalog.schema import PLACEHOLDERS, DataPolicy, ProviderFacts
from fairlead.config import wire
from fairlead.config.credentials import SIMULATOR, credentials, placeholders, places_of, usual_places, usual_variable
from fairlead.config.google import SignIn, project_of, signing_in
from fairlead.config.load import Loaded
from fairlead.config.schema import Provider
from fairlead.config.view import ProviderView

ANTHROPIC_VERSION = "2023-06-01"
_NOT_THIS_ADDRESS = "127.0.0.1:0"
"""Stands for the simulator's address while it has none (`fairlead check`)."""
_OWNED_HEADERS = frozenset(
    {
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "accept-encoding",
    }
)
"""Headers that the data plane writes itself."""


class Source(NamedTuple):
    """A provider that is on: for the data plane and for people."""

    wire: wire.Provider
    view: ProviderView
    takes_key: bool
    region: str
    """Where it is called, as far as it says; empty: it does not."""
    sign_ins: tuple[SignIn, ...] = ()


def simulator_is_on(loaded: Loaded, catalogue: Catalogue, environ: Mapping[str, str]) -> bool:
    """Whether this configuration needs a running simulator: it names the simulator, or names no provider and no usual variable is set."""
    return SIMULATOR in _chosen(loaded, catalogue, environ)


def sources(loaded: Loaded, catalogue: Catalogue, environ: Mapping[str, str], simulator_address: str | None) -> dict[str, Source]:
    """The providers that are on, by slug. Mistakes go to `loaded.document`; a provider that has one is left out."""
    found = {}
    for slug, provider in _chosen(loaded, catalogue, environ).items():
        facts = catalogue.providers.get(slug)
        if slug == SIMULATOR and facts is not None:
            facts = _simulator_at(facts, simulator_address or _NOT_THIS_ADDRESS)
        source = _source(loaded, slug, provider, facts, catalogue, environ)
        if source is not None:
            found[slug] = source
    return found


def _simulator_at(facts: ProviderFacts, address: str) -> ProviderFacts:
    root = f"http://{address}"
    return replace(facts, base_url=f"{root}/v1", base_urls={"gemini_generate": root, "bedrock_converse": root})


def off_message(slug: str, loaded: Loaded, catalogue: Catalogue) -> str:
    """Why an endpoint cannot use the provider `slug`, and what to do."""
    facts = catalogue.providers.get(slug)
    if facts is None:
        named = [] if isinstance(loaded.config.providers, UnsetType) else [*loaded.config.providers]
        return f'unknown provider "{slug}"{did_you_mean_provider(slug, catalogue, named)}'
    if isinstance(loaded.config.providers, UnsetType) and facts.environment and facts.on_by_environment:
        needed = placeholders(facts.base_url, *facts.base_urls.values())
        variables = [facts.environment[0], *(name for place in needed for name in usual_places(place, facts)[:1])]
        return f'provider "{slug}" is off: set {" and ".join(variables)} or add [providers.{slug}]'
    return f'provider "{slug}" is off: add [providers.{slug}]'


def did_you_mean_provider(slug: str, catalogue: Catalogue, named: list[str]) -> str:
    """The nearest slug that is configured or in the catalogue; other names of catalogue providers count too."""
    for facts in catalogue.providers.values():
        if slug in facts.aliases:
            return f'; did you mean "{facts.slug}"?'
    return did_you_mean(slug, [*named, *catalogue.providers])


def _chosen(loaded: Loaded, catalogue: Catalogue, environ: Mapping[str, str]) -> dict[str, Provider]:
    named = loaded.config.providers
    if not isinstance(named, UnsetType):
        return named
    usual = {slug: Provider() for slug, facts in catalogue.providers.items() if usual_variable(facts, environ)}
    return usual or {SIMULATOR: Provider()}


def _source(
    loaded: Loaded, slug: str, provider: Provider, facts: ProviderFacts | None, catalogue: Catalogue, environ: Mapping[str, str]
) -> Source | None:
    place: Place = ("providers", slug)
    before = len(loaded.document.errors)
    signing = signing_in(loaded, place, provider, facts, environ)
    places = places_of(loaded, place, provider, facts, environ)
    places["project"] = places["project"] or project_of(signing)
    dialects = _dialects(loaded, place, provider, facts, catalogue, places)
    found = credentials(loaded, place, provider, facts, environ, dialects, places["region"], signing)
    headers = _headers(loaded, place, provider, facts, dialects)
    check_quirks(loaded.document, (*place, "quirks"), provider.quirks or [])
    _check_places(loaded, place, provider, facts, signs=isinstance(found.auth, wire.Sigv4) or bool(found.dialect_auth))
    if len(loaded.document.errors) > before:
        return None
    name = provider.name or (facts.name if facts else slug)
    policy = provider.data_policy or (facts.data_policy if facts else DataPolicy())
    headquarters = provider.headquarters or (facts.headquarters if facts else None)
    datacenters = provider.datacenters if provider.datacenters is not None else facts.datacenters if facts else []
    stops, reports = provider.cancel_stops_billing, provider.reports_cost
    ca_file = provider.ca_file or loaded.config.server.ca_file
    return Source(
        wire.Provider(
            slug=slug,
            name=name,
            dialects=dialects,
            auth=found.auth,
            dialect_auth=found.dialect_auth,
            keys=found.keys,
            headers=headers,
            cancel_stops_billing=stops if stops is not None else bool(facts and facts.cancel_stops_billing),
            reports_cost=reports if reports is not None else bool(facts and facts.reports_cost),
            ca_file=ca_file,
            quirks=[*(provider.quirks if provider.quirks is not None else facts.quirks if facts else ())],
            data_policy=policy,
            headquarters=headquarters,
            datacenters=[*datacenters],
        ),
        ProviderView(
            slug=slug,
            name=name,
            dialects=dialects,
            keys=len(found.keys),
            key_source=found.source,
            source="catalogue" if facts else "configuration",
            data_policy=policy,
            headquarters=headquarters,
            datacenters=tuple(datacenters),
            privacy_policy=(facts.privacy_policy if facts else None) or "",
            terms_of_service=(facts.terms_of_service if facts else None) or "",
            status_page=(facts.status_page if facts else None) or "",
        ),
        takes_key=facts is None or facts.needs_key,
        region=places["region"] or "",
        sign_ins=tuple(SignIn(provider=slug, key=account, ca_file=ca_file) for account in found.accounts),
    )


def _dialects(
    loaded: Loaded, place: Place, provider: Provider, facts: ProviderFacts | None, catalogue: Catalogue, places: Mapping[str, str | None]
) -> dict[str, str]:
    """Dialect → base URL, in the order of preference."""
    report = loaded.document.report
    if provider.dialect and provider.dialects:
        report((*place, "dialects"), 'give either "dialect" or "dialects"')
    names = [provider.dialect] if provider.dialect else provider.dialects or (facts.dialects if facts else [])
    if not names:
        slug = str(place[1])
        hint = did_you_mean_provider(slug, catalogue, [])
        report(place, f'"{slug}" is not in the catalogue: say how to talk to it with dialect and base_url{hint}')
        return {}
    dialects = {}
    for name in names:
        url = _base_url(name, provider, facts, places["region"])
        if url:
            dialects[str(name)] = url
        else:
            report(place, f'"base_url" is missing for the dialect "{name}"')
    for name, url in provider.base_urls.items():
        if name not in names:
            report((*place, "base_urls", name), f'the provider does not list the dialect "{name}"')
        _check_url(loaded, (*place, "base_urls", name), url)
    if provider.base_url is not None:
        _check_url(loaded, (*place, "base_url"), provider.base_url)
    # A key file may say the project; one that was not read says nothing.
    unread = any(where[:3] == (*place, "keys") for where in loaded.document.unresolved)
    for wanted in placeholders(*dialects.values()):
        if places[wanted] is None and not (unread and wanted == "project"):
            variables = " or ".join(usual_places(wanted, facts))
            report(place, f'no {wanted}: give {wanted} = "…"' + (f" or set {variables}" if variables else ""))
    return {name: _filled(_normal_url(name, url), places) for name, url in dialects.items()}


def _filled(url: str, places: Mapping[str, str | None]) -> str:
    for name, value in places.items():
        url = url.replace(f"{{{name}}}", value or "")
    return url


def _check_places(loaded: Loaded, place: Place, provider: Provider, facts: ProviderFacts | None, *, signs: bool) -> None:
    """A word for a placeholder that no URL has was meant for something."""
    urls = [
        provider.base_url or "",
        *provider.base_urls.values(),
        facts.base_url if facts else "",
        *(facts.base_urls.values() if facts else ()),
    ]
    used = placeholders(*urls)
    for name in PLACEHOLDERS:
        if getattr(provider, name) is None or name in used or (name == "region" and signs):
            continue
        why = "nothing is signed, and no base URL has" if name == "region" else "no base URL has"
        loaded.document.report((*place, name), f'is of no use here: {why} "{{{name}}}"')


def _base_url(dialect: str, provider: Provider, facts: ProviderFacts | None, region: str | None) -> str:
    """The nearest word wins: the dialect's own URL before the common one, the configuration before the catalogue."""
    own = {str(name): url for name, url in provider.base_urls.items()}
    shipped = {str(name): url for name, url in facts.base_urls.items()} if facts else {}
    configured = own.get(dialect) or provider.base_url
    if configured or facts is None:
        return configured or ""
    return _of_region(shipped.get(dialect) or facts.base_url, facts.region_hosts.get(region or ""))


def _of_region(url: str, host: str | None) -> str:
    """The URL at the host that its region has instead of the usual one."""
    scheme, _, rest = url.partition("://")
    usual, slash, path = rest.partition("/")
    return f"{scheme}://{host}{slash}{path}" if host and "{region}" in usual else url


def _check_url(loaded: Loaded, place: Place, url: str) -> None:
    _, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    port = host.rpartition(":")[2] if ":" in host and not host.endswith("]") else "80"
    if "@" in host:
        loaded.document.report(place, "credentials do not belong into the URL; use keys")
    elif "?" in rest or "#" in rest:
        loaded.document.report(place, "a query or fragment does not belong into a base URL")
    elif not (port.isdigit() and 0 < int(port) < 65536 and host.removesuffix(":" + port)):
        loaded.document.report(place, f'"{host}" is not a host with an optional port')


def _normal_url(dialect: str, url: str) -> str:
    """Without a slash at the end; Anthropic's, which people write with and without `/v1`, without."""
    url = url.rstrip("/")
    return url.removesuffix("/v1") if dialect == "anthropic_messages" else url


def _headers(loaded: Loaded, place: Place, provider: Provider, facts: ProviderFacts | None, dialects: Mapping[str, str]) -> dict[str, str]:
    for name in provider.headers:
        if name.lower() in _OWNED_HEADERS:
            loaded.document.report((*place, "headers", name), "this header is written by the gateway itself")
    headers = {name.lower(): value for name, value in (facts.headers.items() if facts else ())}
    headers |= {name.lower(): value for name, value in provider.headers.items()}
    if "anthropic_messages" in dialects:
        headers.setdefault("anthropic-version", ANTHROPIC_VERSION)
    return headers
