"""Signing in to Google as a service account: key files, and where the tokens that are minted from them stand in the snapshot.

Here it is only read and judged; who mints and renews is `control.sign_in`. The library that understands private keys is imported when there
is one, and not before: most installations have none.
"""

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fairlead.catalog.positions import Path as Place
from fairlead.catalog.schema import GOOGLE_SERVICE_ACCOUNT, ProviderFacts
from fairlead.config import wire
from fairlead.config.load import Loaded, content
from fairlead.config.schema import Provider, ProviderKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
"""Where keys sign in whose file does not say."""
_TYPE = "service_account"
_MAKE_ONE = "make one with: gcloud iam service-accounts keys create FILE --iam-account EMAIL"


class KeyFile(Struct, frozen=True, kw_only=True):
    """The key of a service account."""

    client_email: str
    """Names the account."""
    private_key: str
    """PEM."""
    private_key_id: str = ""
    token_uri: str = TOKEN_URI
    project_id: str = ""

    def __repr__(self) -> str:
        return f"KeyFile({self.client_email!r})"


class SignIn(Struct, frozen=True, kw_only=True):
    """A service account that a provider is called as."""

    provider: str
    """The provider's slug."""
    key: KeyFile
    ca_file: str | None = None
    """PEM file of roots trusted beside the system's."""

    @property
    def account(self) -> str:
        """Its name, under which the data plane knows its tokens, however often they and the key are renewed."""
        return self.key.client_email


class SigningIn(NamedTuple):
    """The keys of a provider that is called as service accounts. Their secrets are empty: tokens come later."""

    keys: list[wire.ProviderKey]
    accounts: list[KeyFile]
    source: str
    """`configuration`, or a variable."""


def signs_in(provider: Provider, facts: ProviderFacts | None) -> bool:
    """Whether its keys are those of service accounts. Where only some dialects want that, this is a mistake that others report."""
    common = provider.auth or (facts.auth if facts else None)
    return GOOGLE_SERVICE_ACCOUNT in (common, *provider.auths.values())


def signing_in(
    loaded: Loaded, place: Place, provider: Provider, facts: ProviderFacts | None, environ: Mapping[str, str]
) -> SigningIn | None:
    """The service accounts of a provider; `None` where it is called otherwise. Mistakes go to `loaded.document`."""
    if not signs_in(provider, facts):
        return None
    if provider.keys is not None:
        found = [_configured(loaded, (*place, "keys", index), key) for index, key in enumerate(provider.keys)]
        source = "configuration"
    else:
        variables = facts.environment_key_file if facts else []
        source = next((name for name in variables if environ.get(name, "").strip()), "none")
        found = [_from_file(loaded, place, source, environ[source].strip())] if source != "none" else []
    if not found:
        variables = facts.environment_key_file if facts else []
        unset = f" or set {' or '.join(variables)}" if variables else ""
        loaded.document.report(place, f'no key to sign in with: give keys = ["file:service-account.json"]{unset}')
    good = [one for one in found if one is not None]
    _check_distinct(loaded, place, [account for account, _ in good])
    return SigningIn([key for _, key in good], [account for account, _ in good], source)


def project_of(signing: SigningIn | None) -> str | None:
    """The project that all the keys belong to."""
    projects = {account.project_id for account in signing.accounts} if signing else set()
    return (projects.pop() or None) if len(projects) == 1 else None


def with_tokens(snapshot: bytes, version: int, tokens: Mapping[tuple[str, str], str]) -> bytes:
    """The snapshot with another version and these tokens, by provider and account, in the place of those that it had.

    A key without a token is used only where there is no other.
    """
    parts = msgspec.json.decode(snapshot, type=dict[str, msgspec.Raw])
    providers = msgspec.json.decode(parts["providers"], type=list[wire.Provider])
    renewed = [replace(provider, keys=[_with_token(provider.slug, key, tokens) for key in provider.keys]) for provider in providers]
    parts["providers"] = msgspec.Raw(msgspec.json.encode(renewed))
    parts["version"] = msgspec.Raw(msgspec.json.encode(version))
    return msgspec.json.encode(parts)


def _with_token(slug: str, key: wire.ProviderKey, tokens: Mapping[tuple[str, str], str]) -> wire.ProviderKey:
    if key.identity is None:
        return key
    token = tokens.get((slug, key.identity), "")
    return replace(key, secret=token, weight=key.weight if token else 0)


def signing_key(pem: str) -> "RSAPrivateKey":
    """The private key of a key file. Raises `ValueError`, which does not tell what it is."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("its private_key is not a key in PEM form") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("its private_key is not an RSA key")
    return key


def read(text: str) -> KeyFile:
    """The key in the text of a key file. Raises `ValueError` with what is wrong and what to do; it holds nothing of the text."""
    if not text.lstrip().startswith("{"):
        raise ValueError(
            'is not the text of a service account\'s key file; write "file:PATH", or, for access tokens of your own, auth = "bearer"'
        )
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON (its line {error.lineno}, column {error.colno}: {error.msg}); {_MAKE_ONE}") from None
    except RecursionError:
        raise ValueError("is nested too deeply for a key file") from None
    return _checked(tree)


def _checked(tree: dict[str, Any]) -> KeyFile:
    kind = tree.get("type")
    if kind != _TYPE:
        said = f'says that it is of the type "{kind[:40]}"' if isinstance(kind, str) and kind.isprintable() else "does not say its type"
        raise ValueError(f'{said}, not "{_TYPE}": only the key of a service account can sign in here; {_MAKE_ONE}')
    if missing := [name for name in ("client_email", "private_key") if not tree.get(name)]:
        raise ValueError(f"has no {' and no '.join(missing)}; {_MAKE_ONE}")
    try:
        key = msgspec.convert(tree, KeyFile)
    except msgspec.ValidationError as error:
        raise ValueError(f"is not a key file of Google's: {error}") from None
    if not (key.client_email.isascii() and key.client_email.isprintable()):
        raise ValueError("has no usable client_email")
    _check_address(key.token_uri)
    try:
        signing_key(key.private_key)
    except ValueError as error:
        raise ValueError(f"cannot sign: {error}; {_MAKE_ONE}") from None
    return key


def _check_address(uri: str) -> None:
    """A token that travels in the open is anybody's, unless it stays on this machine."""
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("has a token_uri that is no URL") from None
    if not host or not uri.isascii() or not uri.isprintable() or " " in uri:
        raise ValueError("has a token_uri that is no URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(host)):
        raise ValueError(f"has a token_uri that is not https (usually {TOKEN_URI})")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_Found = tuple[KeyFile, wire.ProviderKey]


def _configured(loaded: Loaded, place: Place, key: str | ProviderKey) -> _Found | None:
    """One of `keys`; `None` when something is wrong with it."""
    where = place if isinstance(key, str) else (*place, "secret")
    text = key if isinstance(key, str) else key.secret
    if isinstance(key, ProviderKey) and (text is None or key.access_key_id or key.secret_access_key or key.session_token):
        loaded.document.report(place, 'a service account\'s key stands in "secret" alone, such as { secret = "file:service-account.json" }')
        return None
    if where in loaded.document.unresolved or text is None:
        return None
    try:
        account = read(text)
    except ValueError as error:
        loaded.document.report(where, " ".join(part for part in (loaded.references.get(where), str(error)) if part))
        return None
    limits = (1, None, None, None) if isinstance(key, str) else (key.weight, key.rpm, key.tpm, key.max_concurrency)
    return account, wire.ProviderKey("", None, None, *limits, identity=account.client_email)


def _from_file(loaded: Loaded, place: Place, variable: str, path: str) -> _Found | None:
    """The key in the file that a variable names."""
    file = Path(path).absolute()
    # Also when it cannot be read: it may come.
    loaded.watched = (*loaded.watched, file)
    try:
        account = read(content(file))
    except ValueError as error:
        loaded.document.report(place, f"{variable}: {file}: {str(error).removeprefix(f'file {file} ')}")
        return None
    return account, wire.ProviderKey("", identity=account.client_email)


def _check_distinct(loaded: Loaded, place: Place, accounts: list[KeyFile]) -> None:
    seen: set[str] = set()
    for account in accounts:
        if account.client_email in seen:
            loaded.document.report((*place, "keys"), f"the service account {account.client_email} is listed twice")
        seen.add(account.client_email)
