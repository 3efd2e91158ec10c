"""Logging in through a provider of OpenID Connect: the code flow with PKCE (OpenID Connect Core 1.0, RFC 7636, RFC 9207).

A log-in begins with a ticket, a cookie of random text; state, nonce and the verifier of PKCE follow from it and the server secret. So
nothing is kept of log-ins that never come back, and what a provider sends belongs to the browser that has the ticket, once. What the
provider says of itself and its keys is fetched when it is needed, off the event loop, and kept for an hour.
"""

import asyncio
import base64
import hashlib
import hmac
import http.client
import logging
import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec

from fairlead.config.oidc import OidcSettings
from fairlead.control.access import ROLES
from fairlead.control.operator.gate import Origin, digest
from fairlead.control.outward import aside, fetch
from fairlead.control.replies import Refusal, forbidden, unauthenticated

log = logging.getLogger("fairlead.control")

LANDING = "/login"
"""The page that providers send browsers back to: `redirect_uri` is our origin and this."""
TICKET_MS = 600_000
"""How long somebody may take at the provider."""
KEPT_MS = 3_600_000
"""How long what the provider says of itself, and its keys, are believed without asking again."""
FAILED_MS = 5_000
"""How long a provider that did not answer is not asked again what it is."""
SKEW_SECONDS = 60
"""By how much clocks may differ."""
MOST_SECONDS = 30.0
"""For a whole exchange."""
MOST_USED = 10_000
MOST_KEY_BYTES = 1 << 20
MOST_HEAD_BYTES = 8192
MOST_SUBJECT = 255
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures by a private key alone: whoever knows a public key, or the client's secret, can make none of them."""
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC"}
_BEGIN_AGAIN = "; begin again at the log-in page"

T = TypeVar("T")
Claims = Mapping[str, Any]


class Metadata(msgspec.Struct):
    """What a provider says of itself (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] = []
    authorization_response_iss_parameter_supported: bool = False


class _Tokens(msgspec.Struct):
    id_token: str
    access_token: str = ""


class _Refused(msgspec.Struct):
    error: str
    error_description: str = ""


class Begun(NamedTuple):
    """A log-in that was begun."""

    url: str
    """Where the browser goes."""
    ticket: str
    """What it keeps."""


class Arrival(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the provider sent a browser back with, which the log-in page hands on."""

    code: str
    state: str
    iss: str | None = None


class Person(NamedTuple):
    """Who logs in, as the provider says."""

    subject: str
    name: str
    role: str | None
    """None: nothing gives one."""


@dataclass(slots=True)
class OpenId:
    """A provider, and what is known of it. One per configuration."""

    settings: OidcSettings
    secret: bytes = field(repr=False)
    now_ms: Callable[[], int]
    arriving: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from looking for whom a subject means until that is noted: somebody who comes for the first time, twice at once, is one user."""
    _metadata: Metadata | None = None
    _metadata_until_ms: int = 0
    _failure: Refusal | None = None
    _failure_until_ms: int = 0
    _keys: Sequence[Any] = ()
    _keys_until_ms: int = 0
    _used: dict[str, int] = field(default_factory=dict)
    """Tickets that came back → when they would have ended."""
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    # --- a log-in -----------------------------------------------------------------------------------------------------

    async def begin(self, origin: Origin) -> Begun:
        """Where to send a browser. Raises a 503 when the provider does not say where that is."""
        metadata = await self._provider()
        ticket = f"{secrets.token_urlsafe(32)}.{self.now_ms()}"
        verifier = self._derived("verifier", origin, ticket)
        challenge = _base64(hashlib.sha256(verifier.encode()).digest())
        said = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": _landing(origin),
            "scope": " ".join(self.settings.scopes),
            "state": self._derived("state", origin, ticket),
            "nonce": self._derived("nonce", origin, ticket),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(metadata.authorization_endpoint).query else "?"
        return Begun(f"{metadata.authorization_endpoint}{joint}{urlencode(said)}", ticket)

    async def finish(self, origin: Origin, ticket: str, arrival: Arrival) -> Person:
        """Who came back. Raises a 401 for what is not to be believed, and a 503 when the provider does not answer."""
        self._check_ticket(origin, ticket, arrival.state)
        metadata = await self._provider()
        if (arrival.iss is None and metadata.authorization_response_iss_parameter_supported) or arrival.iss not in (None, metadata.issuer):
            raise unauthenticated(f"another provider than {self.settings.issuer} sent the browser back{_BEGIN_AGAIN}")
        self._use(ticket)
        verifier = self._derived("verifier", origin, ticket)
        tokens = await self._exchange(metadata, origin, arrival.code, verifier)
        claims = await self._verified(metadata, tokens.id_token, self._derived("nonce", origin, ticket))
        if self._wants_more(claims) and metadata.userinfo_endpoint and tokens.access_token:
            claims = {**await self._userinfo(metadata.userinfo_endpoint, tokens.access_token, claims["sub"]), **claims}
        return Person(claims["sub"], _name(claims), role_of(claims, self.settings))

    def _derived(self, what: str, origin: Origin, ticket: str) -> str:
        said = f"fairlead: {what} of the log-in {ticket} at {origin.text} through {self.settings.issuer}"
        return _base64(hmac.new(self.secret, said.encode("utf-8", "surrogatepass"), hashlib.sha256).digest())

    def _check_ticket(self, origin: Origin, ticket: str, state: str) -> None:
        _, _, begun = ticket.rpartition(".")
        # Who has no ticket has the wrong state, too: without ours none can be made.
        if not hmac.compare_digest(state.encode("utf-8", "surrogatepass"), self._derived("state", origin, ticket).encode()):
            raise unauthenticated(f"this answer belongs to no log-in that was begun in this browser{_BEGIN_AGAIN}")
        if int(begun) <= self.now_ms() - TICKET_MS:
            raise unauthenticated(f"this took longer than {TICKET_MS // 60_000} minutes{_BEGIN_AGAIN}")

    def _use(self, ticket: str) -> None:
        """Looks and notes at once, without an await in between: of those that come back with a ticket at the same time one goes on."""
        if digest(ticket) in self._used:
            raise unauthenticated(f"this log-in came back before, perhaps in another tab; it works once{_BEGIN_AGAIN}")
        now_ms = self.now_ms()
        for past in [past for past, until_ms in self._used.items() if until_ms <= now_ms]:
            del self._used[past]
        if len(self._used) >= MOST_USED:
            raise Refusal(503, "server", "too many log-ins at the same time; try again in a moment")
        self._used[digest(ticket)] = now_ms + TICKET_MS

    # --- the provider -------------------------------------------------------------------------------------------------

    async def _provider(self) -> Metadata:
        async with self._asking:
            now_ms = self.now_ms()
            if self._metadata is not None and now_ms < self._metadata_until_ms:
                return self._metadata
            if self._failure is not None and now_ms < self._failure_until_ms:
                raise self._failure
            try:
                found = await self._get(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration", Metadata)
                self._check_metadata(found)
            except Refusal as refusal:
                self._failure, self._failure_until_ms = refusal, now_ms + FAILED_MS
                raise
            self._metadata, self._metadata_until_ms, self._failure = found, now_ms + KEPT_MS, None
            return found

    def _check_metadata(self, found: Metadata) -> None:
        if found.issuer != self.settings.issuer:
            raise self._wrong(f"calls itself {found.issuer[:200]!r}: write it so as [oidc] issuer")
        for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint or found.jwks_uri):
            if urlsplit(url).scheme != "https" and urlsplit(self.settings.issuer).scheme == "https":
                raise self._wrong(f"names an address that is not https: {url[:200]!r}")

    async def _exchange(self, metadata: Metadata, origin: Origin, code: str, verifier: str) -> _Tokens:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": _landing(origin), "code_verifier": verifier}
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        id, secret = self.settings.client_id, self.settings.client_secret
        methods = metadata.token_endpoint_auth_methods_supported or ["client_secret_basic"]
        if secret is None:
            form["client_id"] = id
        elif "client_secret_basic" in methods:
            headers["authorization"] = "Basic " + base64.b64encode(f"{quote_plus(id)}:{quote_plus(secret)}".encode()).decode()
        else:
            form |= {"client_id": id, "client_secret": secret}
        status, reply = await self._ask("POST", metadata.token_endpoint, urlencode(form).encode(), headers)
        if 400 <= status < 500:
            log.warning("OIDC: %s does not take a code: %s", self._host(metadata.token_endpoint), _refusal(status, reply))
            raise unauthenticated(f"{self.settings.name} did not confirm this log-in ({_refusal(status, reply)}){_BEGIN_AGAIN}")
        return self._decoded(metadata.token_endpoint, status, reply, _Tokens)

    async def _userinfo(self, url: str, access_token: str, subject: str) -> Claims:
        found = await self._get(url, dict[str, Any], {"authorization": f"Bearer {access_token}"})
        if found.get("sub") != subject:
            raise self._disbelieved("the claims of its userinfo endpoint are somebody else's")
        return found

    def _wants_more(self, claims: Claims) -> bool:
        """Whether what decides the role is not in the ID token."""
        by_mail, by_claim = (any(table.values()) for table in (self.settings.emails, self.settings.roles))
        return (by_mail and "email" not in claims) or (by_claim and not _values(claims, self.settings.role_claim))

    # --- the ID token -------------------------------------------------------------------------------------------------

    async def _verified(self, metadata: Metadata, token: str, nonce: str) -> Claims:
        """The claims of an ID token (OpenID Connect Core 1.0, 3.1.3.7)."""
        from joserfc import errors, jws, jwt

        algorithm, kid = _head(token)
        if algorithm not in ALGORITHMS:
            raise self._disbelieved(f"the ID token is signed by {algorithm[:20]!r}, which proves nothing")
        if (key := await self._key(metadata, algorithm, kid)) is None:
            raise self._disbelieved(
                f"the ID token is signed by a key that the provider does not publish ({(kid or 'without a name')[:40]!r})"
            )
        try:
            # What a head says beside is the provider's affair, unless it says that it must be understood.
            registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
            registry.max_header_length = MOST_HEAD_BYTES
            claims: Claims = jwt.decode(token, key, registry=registry).claims
        except (errors.JoseError, ValueError) as error:
            raise self._disbelieved(f"the signature of the ID token does not hold ({type(error).__name__})") from None
        if (wrong := wrong_claim(claims, self.settings, nonce, self.now_ms() / 1000)) is not None:
            raise self._disbelieved(wrong)
        return claims

    async def _key(self, metadata: Metadata, algorithm: str, kid: str | None) -> Any:
        """The key that a token says it is signed by; the provider is asked once more when it is not one of those known."""
        async with self._asking:
            is_fresh = self.now_ms() >= self._keys_until_ms
            if is_fresh:
                await self._take_keys(metadata)
            found = _fitting(self._keys, algorithm, kid)
            if found is None and not is_fresh:
                await self._take_keys(metadata)
                found = _fitting(self._keys, algorithm, kid)
            return found

    async def _take_keys(self, metadata: Metadata) -> None:
        from joserfc import errors, jwk

        document = await self._get(metadata.jwks_uri, dict[str, Any], most_bytes=MOST_KEY_BYTES)
        found = []
        listed = document.get("keys")
        for each in listed if isinstance(listed, list) else []:
            # Of kinds that we do not know there may be others; private and shared ones are nobody's to publish.
            if isinstance(each, dict) and each.get("kty") in _KEY_TYPES.values() and each.get("use", "sig") == "sig":
                try:
                    found.append(jwk.import_key({name: value for name, value in each.items() if name != "d"}))
                except (errors.JoseError, ValueError, TypeError, KeyError):
                    log.warning("OIDC: a key of %s cannot be read", self._host(metadata.jwks_uri))
        self._keys, self._keys_until_ms = found, self.now_ms() + KEPT_MS

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _get(self, url: str, type: type[T], headers: Mapping[str, str] | None = None, most_bytes: int = MOST_KEY_BYTES) -> T:
        status, reply = await self._ask("GET", url, None, {"accept": "application/json", **(headers or {})}, most_bytes)
        return self._decoded(url, status, reply, type)

    async def _ask(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], most_bytes: int = MOST_KEY_BYTES
    ) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                return await aside(lambda: fetch(method, url, body, headers, self.settings.ca_file, most_bytes), "fl-oidc")
        except ssl.SSLCertVerificationError as error:
            raise self._away(f"the certificate of {self._host(url)} is not trusted ({error.verify_message})") from None
        except TimeoutError:
            raise self._away(f"{self._host(url)} does not come to an end") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._away(f"{self._host(url)} cannot be reached ({error or type(error).__name__})") from None

    def _decoded(self, url: str, status: int, reply: bytes, type: type[T]) -> T:
        if status != 200:
            raise self._away(f"{self._host(url)} answered {status}")
        try:
            return msgspec.json.decode(reply, type=type)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._wrong(f"answered {urlsplit(url).path or '/'} with something else than expected ({error})") from None

    def _away(self, why: str) -> Refusal:
        log.error("OIDC: %s", why)
        return Refusal(503, "server", f"{self.settings.name} cannot be used now: {why}; the admin token and passwords still work")

    def _wrong(self, what: str) -> Refusal:
        return self._away(f"{self.settings.issuer} {what}")

    def _disbelieved(self, why: str) -> Refusal:
        log.warning("OIDC: a log-in through %s is refused: %s", self.settings.issuer, why)
        return unauthenticated(f"what {self.settings.name} sent is not to be believed: {why}")

    @staticmethod
    def _host(url: str) -> str:
        return urlsplit(url).netloc


# --- what claims say --------------------------------------------------------------------------------------------------


def wrong_claim(claims: Claims, settings: OidcSettings, nonce: str, now: float) -> str | None:
    """What is wrong with an ID token whose signature holds; None: nothing. `now` is in seconds since 1970."""
    id, audience, party = settings.client_id, claims.get("aud"), claims.get("azp")
    audiences = audience if isinstance(audience, list) else [audience]
    times = [claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)]
    if claims.get("iss") != settings.issuer:
        return "iss: the ID token is another issuer's"
    if id not in audiences or party not in (None, id) or (len(audiences) > 1 and party is None):
        return "aud: the ID token is for somebody else"
    moments = [moment for moment in times if isinstance(moment, int | float) and not isinstance(moment, bool)]
    if len(moments) < len(times):
        return "exp, iat: the ID token does not say when it holds"
    expires, issued, begins = moments
    if expires <= now - SKEW_SECONDS:
        return "exp: the ID token has expired; look at the clocks of both machines"
    if max(issued, begins) > now + SKEW_SECONDS:
        return "iat: the ID token is of the future; look at the clocks of both machines"
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), nonce.encode()):
        return "nonce: the ID token is of another log-in"
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MOST_SUBJECT:
        return "sub: the ID token does not say who logs in"
    return None


def role_of(claims: Claims, settings: OidcSettings) -> str | None:
    """The highest role that a value of the claim, or a verified mail address, gives; None: none."""
    values = set(_values(claims, settings.role_claim))
    mail = _mail(claims)
    addresses = {mail, mail[mail.rfind("@") :]} if mail else set[str]()
    for role in (role.value for role in reversed(ROLES)):
        if values & settings.roles[role] or addresses & settings.emails[role]:
            return role
    return None


def without_role(person: Person, settings: OidcSettings) -> Refusal:
    """The 403 for somebody whom the provider knows and nothing gives a role."""
    return forbidden(
        f"{settings.name} knows you as {person.name}, but nothing gives you a role here: ask whoever runs this gateway,"
        " who writes in [oidc] which groups and addresses do"
    )


def _values(claims: Claims, name: str) -> list[str]:
    """The texts of a claim, by its name or else by a path with dots."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    return [found] if isinstance(found, str) else [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _mail(claims: Claims) -> str | None:
    """The address in lower case, where the provider says that it is verified."""
    mail, verified = claims.get("email"), claims.get("email_verified")
    return mail.lower() if isinstance(mail, str) and "@" in mail and (verified is True or verified == "true") else None


def _name(claims: Claims) -> str:
    """What somebody is called here: the verified address, else the name that was chosen, else the subject."""
    for name in (_mail(claims), claims.get("preferred_username"), claims["sub"]):
        if isinstance(name, str) and (shown := "".join(filter(str.isprintable, name)).strip()[:200]):
            return shown
    return "without a name"


# --- inside -----------------------------------------------------------------------------------------------------------


def _head(token: str) -> tuple[str, str | None]:
    """Algorithm and name of the key, as a token's head says them; empty where it says none."""
    try:
        part = token.split(".")[0]
        head = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        algorithm, kid = head.get("alg"), head.get("kid")
    except (ValueError, AttributeError):
        return "", None
    return algorithm if isinstance(algorithm, str) else "", kid if isinstance(kid, str) else None


def _fitting(keys: Sequence[Any], algorithm: str, kid: str | None) -> Any:
    """The one key that a token may be signed by: of its name and kind; without a name only where there is no other of the kind."""
    kind = _KEY_TYPES[algorithm[:2]]
    found = [key for key in keys if key.key_type == kind and kid in (None, key.kid) and (key.get("alg") or algorithm) == algorithm]
    return found[0] if len(found) == 1 else None


def _refusal(status: int, reply: bytes) -> str:
    """What a token endpoint said, in printable words."""
    try:
        refused = msgspec.json.decode(reply, type=_Refused)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return f"it answered {status}"
    return "".join(filter(str.isprintable, f"{refused.error}: {refused.error_description}".removesuffix(": ")))[:200]


def _landing(origin: Origin) -> str:
    return origin.text + LANDING


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
