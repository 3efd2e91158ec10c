"""`[oidc]`: who logs in at the console through a provider of OpenID Connect, as the control plane takes it."""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from fairlead.config.load import Loaded
from fairlead.config.schema import Oidc, OidcRoles

_MAIL = re.compile(r"[^@\s]{0,64}@[A-Za-z0-9.-]{1,253}")


class OidcSettings(Struct, frozen=True, kw_only=True):
    """As configured; equal settings are the same provider."""

    issuer: str
    client_id: str
    client_secret: str | None
    name: str
    scopes: tuple[str, ...]
    role_claim: str
    roles: Mapping[str, frozenset[str]]
    """Role → the values of the claim that give it."""
    emails: Mapping[str, frozenset[str]]
    """Role → mail addresses, and `@domain`s, in lower case."""
    account: str
    ca_file: str | None

    def __repr__(self) -> str:
        return f"OidcSettings({self.issuer})"


def settings(loaded: Loaded) -> OidcSettings | None:
    """The file's. Mistakes are reported."""
    oidc = loaded.config.oidc
    if oidc is None:
        return None
    _check(loaded, oidc)
    return OidcSettings(
        issuer=oidc.issuer,
        client_id=oidc.client_id,
        client_secret=oidc.client_secret,
        name=oidc.name,
        scopes=tuple(dict.fromkeys(oidc.scopes)),
        role_claim=oidc.role_claim,
        roles={role: frozenset(values) for role, values in _by_role(oidc.roles)},
        emails={role: frozenset(value.lower() for value in values) for role, values in _by_role(oidc.emails)},
        account=oidc.account,
        ca_file=oidc.ca_file,
    )


def _by_role(roles: OidcRoles) -> list[tuple[str, list[str]]]:
    return [(role, getattr(roles, role)) for role in roles.__struct_fields__]


def _check(loaded: Loaded, oidc: Oidc) -> None:
    def report(*path: str | int, message: str) -> None:
        loaded.document.report(("oidc", *path), message)

    parts = urlsplit(oidc.issuer)
    if parts.query or parts.fragment or parts.username is not None:
        report("issuer", message="is a URL without a query, a fragment or a user")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        report("issuer", message="must be https: whoever is between us could log in as anybody")
    if "openid" not in oidc.scopes:
        report("scopes", message='"openid" is missing, without which the provider says nothing about who logs in')
    for role, values in _by_role(oidc.emails):
        for index, value in enumerate(values):
            if not _MAIL.fullmatch(value):
                report("emails", role, index, message='is neither a mail address nor "@" and a domain')
    if not any(values for table in (oidc.roles, oidc.emails) for _, values in _by_role(table)):
        report("roles", message='nobody could log in: say what gives a role, such as roles = { admin = ["fairlead-admins"] }')


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
