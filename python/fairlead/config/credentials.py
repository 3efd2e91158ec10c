"""A provider's credentials: where they come from, how they travel, and the region that signatures hold for."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from fairlead.catalog.positions import Path as Place
from fairlead.catalog.schema import GOOGLE_SERVICE_ACCOUNT, PLACEHOLDERS, Auth, KeyPair, NamedAuth, ProviderFacts
from fairlead.config import wire
from fairlead.config.google import KeyFile, SigningIn
from fairlead.config.load import Loaded
from fairlead.config.schema import Provider, ProviderKey

SIMULATOR = "sim"
"""The slug of the built-in provider."""
_SIGNED = "sigv4"
_SIMULATOR_KEY = "sim-5f0e83a1c7d2946b"
"""The simulator refuses requests without a credential, as a real provider would; it takes any. This is no word, because what a provider
says is told without its credentials."""
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_OWN_HEADERS = {"anthropic_messages": "x-api-key", "gemini_generate": "x-goog-api-key"}
"""Where the owner of a dialect wants the credential, if not as a bearer."""


class Credentials(NamedTuple):
    """What a provider is called with."""

    keys: list[wire.ProviderKey]
    source: str
    """`configuration`, a variable, or `none`."""
    auth: wire.Auth
    dialect_auth: dict[str, wire.Auth]
    accounts: list[KeyFile]
    """The service accounts that tokens are minted for, one for each of `keys` or none."""


def usual_variable(facts: ProviderFacts, environ: Mapping[str, str]) -> str | None:
    """The variable that switches a provider of the catalogue on, if one does."""
    places = {name for name in placeholders(facts.base_url, *facts.base_urls.values()) if name != "region"}
    if not facts.on_by_environment or any(_usual_place(name, facts, environ) is None for name in places):
        return None
    for name in facts.environment:
        if _value(environ, name):
            return name
    pair = facts.environment_key_pair
    if pair and _value(environ, pair.access_key_id) and _value(environ, pair.secret_access_key) and _usual_place("region", facts, environ):
        return pair.access_key_id
    return None


def placeholders(*urls: str) -> list[str]:
    """The names that stand in braces in any of the URLs, each once."""
    return [name for name in PLACEHOLDERS if any(f"{{{name}}}" in url for url in urls)]


def places_of(
    loaded: Loaded, place: Place, provider: Provider, facts: ProviderFacts | None, environ: Mapping[str, str]
) -> dict[str, str | None]:
    """What the placeholders of base URLs stand for: the configuration's word, or that of the usual variable."""
    found: dict[str, str | None] = {}
    for name in PLACEHOLDERS:
        found[name] = getattr(provider, name)
        variable = _usual_place(name, facts, environ) if facts and found[name] is None else None
        if variable is None:
            continue
        found[name] = _value(environ, variable)
        if not (_REGION if name == "region" else _PLACE).fullmatch(found[name] or ""):
            loaded.document.report(place, f"{variable} does not name a {name}")
            found[name] = None
    return found


def usual_places(name: str, facts: ProviderFacts | None) -> list[str]:
    """Variables that usually hold what a placeholder stands for."""
    return getattr(facts, f"environment_{name}") if facts else []


def credentials(
    loaded: Loaded,
    place: Place,
    provider: Provider,
    facts: ProviderFacts | None,
    environ: Mapping[str, str],
    dialects: Mapping[str, str],
    region: str | None,
    signing: SigningIn | None,
) -> Credentials:
    """Keys and how they travel. Mistakes go to `loaded.document`."""
    keys, source = (signing.keys, signing.source) if signing else _keys(loaded, place, provider, facts, environ)
    signs = bool(keys) and all(key.access_key_id is not None for key in keys)
    chosen = {name: _auth(name, provider, facts, dialects, signs) for name in dialects}
    for name in provider.auths:
        if name not in dialects:
            loaded.document.report((*place, "auths", name), f'the provider does not list the dialect "{name}"')
    _check(loaded, place, [*chosen.values()], keys, region)
    common: Auth = next(iter(chosen.values()), "bearer")
    others = {name: _wire(auth, region) for name, auth in chosen.items() if auth != common}
    return Credentials(keys, source, _wire(common, region), others, signing.accounts if signing else [])


def _auth(dialect: str, provider: Provider, facts: ProviderFacts | None, dialects: Mapping[str, str], signs: bool) -> Auth:
    """The nearest word wins: the dialect's own before the common one, the configuration before the catalogue."""
    own = {str(name): auth for name, auth in provider.auths.items()}
    shipped = {str(name): auth for name, auth in facts.auths.items()} if facts else {}
    named = own.get(dialect) or provider.auth
    if named is None and signs:
        return "sigv4"
    named = named or shipped.get(dialect) or (facts.auth if facts else None)
    if named is None and [*dialects] == [dialect] and dialect in _OWN_HEADERS:
        return NamedAuth(header=_OWN_HEADERS[dialect])
    return named or "bearer"


def _wire(auth: Auth, region: str | None) -> wire.Auth:
    if isinstance(auth, NamedAuth):
        return wire.QueryAuth(name=auth.query) if auth.query is not None else wire.HeaderAuth(name=(auth.header or "").lower())
    return wire.Sigv4(region=region or "") if auth == _SIGNED else wire.Bearer()


def _check(loaded: Loaded, place: Place, auths: list[Auth], keys: list[wire.ProviderKey], region: str | None) -> None:
    """Whether keys, region and ways of travelling fit each other."""
    report = loaded.document.report
    if GOOGLE_SERVICE_ACCOUNT in auths:
        if any(auth != GOOGLE_SERVICE_ACCOUNT for auth in auths):
            report((*place, "auths"), "a service account signs in for every dialect or for none")
        return
    if any(isinstance(auth, NamedAuth) and (auth.header is None) == (auth.query is None) for auth in auths):
        report((*place, "auth"), 'give either "header" or "query"')
        return
    pairs = sum(key.access_key_id is not None for key in keys)
    if _SIGNED not in auths:
        if pairs:
            report((*place, "keys"), 'a key pair signs requests, so auth must be "sigv4"; here the key itself would be sent')
        return
    if any(auth != _SIGNED for auth in auths) and pairs:
        report((*place, "auths"), "a key pair signs requests, so every dialect must be signed")
    if pairs < len(keys):
        report((*place, "keys"), "requests are signed: every key needs access_key_id and secret_access_key")
    if not keys:
        report(place, "requests are signed, and there is no key pair to sign them with")
    if region is None:
        report(place, 'requests are signed for a region: give region = "…"')


def _keys(
    loaded: Loaded, place: Place, provider: Provider, facts: ProviderFacts | None, environ: Mapping[str, str]
) -> tuple[list[wire.ProviderKey], str]:
    """The credentials and where they come from."""
    if provider.keys is not None:
        return _configured(loaded, (*place, "keys"), provider.keys), "configuration" if provider.keys else "none"
    if facts is not None and facts.slug == SIMULATOR:
        return [wire.ProviderKey(_SIMULATOR_KEY)], "none"
    if facts is not None and (variable := _key_variable(facts, environ)):
        return _from_environment(loaded, place, facts, variable, environ), variable
    if facts is None and (provider.base_url or "").startswith("https://"):
        loaded.document.report(place, "has no keys: requests go out without a credential", "warning")
    if facts is not None and facts.needs_key:
        pair = facts.environment_key_pair
        names = [*facts.environment, *([f"{pair.access_key_id} and {pair.secret_access_key}"] if pair else [])]
        variables = " or ".join(names)
        loaded.document.report(place, f"no key: give keys = [ … ] or set {variables}" if variables else "no key: give keys = [ … ]")
    return [], "none"


def _configured(loaded: Loaded, place: Place, keys: list[str | ProviderKey]) -> list[wire.ProviderKey]:
    found: list[wire.ProviderKey] = []
    named: set[tuple[str | None, str]] = set()
    for index, key in enumerate(keys):
        one = wire.ProviderKey(key) if isinstance(key, str) else _table(loaded, (*place, index), key)
        if one is None:
            continue
        if not _sent_as_it_is(one.secret):
            loaded.document.report(
                (*place, index), 'is no secret that a header can carry; the key of a service account needs auth = "google_service_account"'
            )
        if (identity := (one.access_key_id, one.secret)) in named:
            loaded.document.report((*place, index), "the same key is listed twice")
        named.add(identity)
        found.append(one)
    if found and not any(key.weight for key in found):
        loaded.document.report(place, "every weight is 0: give at least one key a weight")
    return found


def _table(loaded: Loaded, place: Place, key: ProviderKey) -> wire.ProviderKey | None:
    pair = (key.access_key_id, key.secret_access_key)
    limits = (key.weight, key.rpm, key.tpm, key.max_concurrency)
    if key.secret is not None and pair == (None, None) and key.session_token is None:
        return wire.ProviderKey(key.secret, None, None, *limits)
    if key.secret is None and key.access_key_id is not None and key.secret_access_key is not None:
        return wire.ProviderKey(key.secret_access_key, key.access_key_id, key.session_token, *limits)
    loaded.document.report(place, 'give "secret", or "access_key_id" and "secret_access_key"')
    return None


def _key_variable(facts: ProviderFacts, environ: Mapping[str, str]) -> str | None:
    """As `usual_variable`, also where the region stands in the configuration."""
    pair = facts.environment_key_pair
    usual = next((name for name in facts.environment if _value(environ, name)), None)
    return usual or (pair.access_key_id if pair and _value(environ, pair.access_key_id) else None)


def _from_environment(
    loaded: Loaded, place: Place, facts: ProviderFacts, variable: str, environ: Mapping[str, str]
) -> list[wire.ProviderKey]:
    pair = facts.environment_key_pair
    if pair is not None and variable == pair.access_key_id:
        return _pair_from_environment(loaded, place, pair, environ)
    return [wire.ProviderKey(secret) for secret in [_sendable(loaded, place, variable, environ)] if secret]


def _pair_from_environment(loaded: Loaded, place: Place, pair: KeyPair, environ: Mapping[str, str]) -> list[wire.ProviderKey]:
    id = _sendable(loaded, place, pair.access_key_id, environ)
    secret = _sendable(loaded, place, pair.secret_access_key, environ)
    token = _sendable(loaded, place, pair.session_token, environ) if _value(environ, pair.session_token) else None
    if id and not secret and not _value(environ, pair.secret_access_key):
        loaded.document.report(place, f"{pair.access_key_id} is set, but {pair.secret_access_key} is not")
    return [wire.ProviderKey(secret, id, token)] if id and secret else []


def _sendable(loaded: Loaded, place: Place, variable: str, environ: Mapping[str, str]) -> str | None:
    value = _value(environ, variable)
    if value and not _sent_as_it_is(value):
        loaded.document.report(place, f"{variable} holds characters that a header cannot carry")
        return None
    return value


def _sent_as_it_is(secret: str) -> bool:
    """Whether a header can carry it."""
    return all("!" <= character <= "~" for character in secret)


def _usual_place(name: str, facts: ProviderFacts, environ: Mapping[str, str]) -> str | None:
    return next((variable for variable in usual_places(name, facts) if _value(environ, variable)), None)


def _value(environ: Mapping[str, str], name: str) -> str | None:
    return environ.get(name, "").strip() or None
