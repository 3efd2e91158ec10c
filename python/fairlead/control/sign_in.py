"""Access tokens of service accounts: minted at the start, renewed before they end, off the path of requests.

`Lease` says when something is due and what a token is worth now; it reads no clock. `mint` is one exchange with the server that the key
file names (RFC 7523). `SignIns` keeps a lease for each account and tells when tokens may have changed, so that a snapshot with the new ones
is published.
"""

import asyncio
import base64
import http.client
import logging
import random
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from fairlead.config import KeyFile, SignIn
from fairlead.config.google import signing_key
from fairlead.control.outward import aside, fetch

log = logging.getLogger("fairlead.control")

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_SECONDS = 3600
RENEW_SECONDS = 600.0
"""A token is renewed when it has less than this to live, a short-lived one after half its life."""
FIRST_RETRY_SECONDS, MOST_RETRY_SECONDS = 1.0, 60.0
LEAST_LIFE_SECONDS = 1.0
"""Between two tokens of a server that gives such as live no time."""
LOOK_SECONDS = 60.0
"""The clock is looked at again at least this often: it may be set, and a machine may sleep."""
MOST_EXCHANGE_SECONDS = 30.0
FIRST_SECONDS = 5.0
"""How long a start or a reload waits for the tokens of new accounts before it goes on without."""
_MOST_SAID = 200
_RUN = re.compile(r"\S{40,}")
"""What is no word may be a secret that was sent back."""


class SignInError(Exception):
    """No token was given. One line: why, and what to do; it holds no secret."""


class Token(NamedTuple):
    """What requests are sent with."""

    secret: str
    expires_at: float
    """Seconds since 1970."""

    def __repr__(self) -> str:
        return f"Token(…, expires_at={self.expires_at})"


# --- one exchange -----------------------------------------------------------------------------------------------------


def mint(sign_in: SignIn, now: float) -> Token:
    """Asks for a token. Blocks. Raises `SignInError`."""
    key = sign_in.key
    body = urlencode({"grant_type": GRANT, "assertion": assertion(key, int(now))}).encode()
    try:
        status, reply = _post(key.token_uri, body, sign_in.ca_file)
    except ssl.SSLCertVerificationError as error:
        what = f"its certificate is not trusted ({error.verify_message}); name the roots in ca_file if a proxy of yours answers for it"
        raise SignInError(f"{_host(key)}: {what}") from None
    except (OSError, http.client.HTTPException) as error:
        raise SignInError(f"{_host(key)} cannot be reached ({error or type(error).__name__}); look at network and DNS") from None
    if status != 200:
        raise SignInError(f"{_host(key)} {_refusal(status, reply)}")
    return _token(key, reply, now)


def assertion(key: KeyFile, now: int) -> str:
    """The signed statement that is exchanged for a token (RFC 7515, RS256)."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    head = {"alg": "RS256", "typ": "JWT"} | ({"kid": key.private_key_id} if key.private_key_id else {})
    claims = {"iss": key.client_email, "scope": SCOPE, "aud": key.token_uri, "iat": now, "exp": now + ASSERTION_SECONDS}
    signed = f"{_base64(msgspec.json.encode(head))}.{_base64(msgspec.json.encode(claims))}"
    return f"{signed}.{_base64(signing_key(key.private_key).sign(signed.encode(), PKCS1v15(), SHA256()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _post(uri: str, body: bytes, ca_file: str | None) -> tuple[int, bytes]:
    return fetch("POST", uri, body, {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}, ca_file)


class _Reply(msgspec.Struct):
    access_token: str
    expires_in: int


def _token(key: KeyFile, reply: bytes, now: float) -> Token:
    try:
        given = msgspec.json.decode(reply, type=_Reply)
    except msgspec.MsgspecError:
        raise SignInError(f"{_host(key)} answered with something that is no token; is token_uri in the key file right?") from None
    if not (given.access_token and all("!" <= character <= "~" for character in given.access_token)) or given.expires_in <= 0:
        raise SignInError(f"{_host(key)} gave a token that cannot be used")
    return Token(given.access_token, now + given.expires_in)


class _Refused(msgspec.Struct):
    error: str
    error_description: str = ""


_ADVICE = (
    ("signature", "the key was deleted or is another account's: make a new key and name its file in the configuration"),
    ("timeframe", "look at this machine's clock"),
    ("account not found", "the service account was deleted: make another, with a key, and name its file in the configuration"),
    ("", "look at the service account, its key and the policies of its organisation in Google's console"),
)
"""What to do, by a word of the refusal; the first that fits."""


def _refusal(status: int, reply: bytes) -> str:
    """What the server said, and what to do."""
    if status == 429 or status >= 500:
        return f"answered {status}: it is busy or broken"
    try:
        refused = msgspec.json.decode(reply, type=_Refused)
    except msgspec.MsgspecError:
        return f"answered {status}; is token_uri in the key file right?"
    said = f"{refused.error}: {refused.error_description}".removesuffix(": ")
    shown = _RUN.sub("…", "".join(character if character.isprintable() else " " for character in said))[:_MOST_SAID]
    return f"refused with {status} ({shown}): {next(advice for word, advice in _ADVICE if word in said.lower())}"


def _host(key: KeyFile) -> str:
    return urlsplit(key.token_uri).netloc


# --- when something is due --------------------------------------------------------------------------------------------


@dataclass
class Lease:
    """What is known of one account's token. `now` is in seconds since 1970."""

    token: Token | None = None
    failure: str | None = None
    """Why the last attempt failed; `None` when it did not."""
    failures: int = 0
    """Without a success between them."""
    due_at: float = 0.0
    """When the next attempt is made."""

    def secret(self, now: float) -> str:
        """The token, or nothing when there is none that lives."""
        return self.token.secret if self.token is not None and now < self.token.expires_at else ""

    def succeed(self, token: Token, now: float) -> None:
        """A token was given."""
        life = token.expires_at - now
        self.token, self.failure, self.failures = token, None, 0
        self.due_at = now + max(life - RENEW_SECONDS, life / 2, LEAST_LIFE_SECONDS)

    def fail(self, why: str, now: float, jitter: float) -> float:
        """None was given; returns in how many seconds the next is asked for. `jitter` is from 0 to 1 and shortens that by up to a half."""
        self.failure, self.failures = why, self.failures + 1
        wait = min(FIRST_RETRY_SECONDS * 2.0 ** min(self.failures - 1, 16), MOST_RETRY_SECONDS) * (1 - jitter / 2)
        self.due_at = now + wait
        return wait


# --- all of them ------------------------------------------------------------------------------------------------------


class Clock:
    """The time, and waiting for it; tests have their own."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)


Mint = Callable[[SignIn, float], Token]


@dataclass
class _Kept:
    lease: Lease
    tried: asyncio.Event
    """Set after the first attempt."""
    task: "asyncio.Task[None]"


class SignIns:
    """The tokens of every account that is signed in as, renewed as long as it is kept.

    Args:
        changed: called after every attempt, which may have changed what `tokens` says.
        mint_token: makes one; it blocks, on a thread of its own.
        clock: the time.
    """

    def __init__(self, changed: Callable[[], Awaitable[None]], mint_token: Mint = mint, clock: Clock | None = None) -> None:
        self._changed = changed
        self._mint = mint_token
        self._clock = clock or Clock()
        self._kept: dict[SignIn, _Kept] = {}
        self._random = random.Random()  # noqa: S311 - spreads attempts, keeps no secret

    async def add(self, wanted: Iterable[SignIn]) -> None:
        """Begins to keep those that are not kept yet. Returns when each has been tried once, or has had time enough."""
        fresh = [sign_in for sign_in in wanted if sign_in not in self._kept]
        for sign_in in fresh:
            lease, tried = Lease(), asyncio.Event()
            self._kept[sign_in] = _Kept(lease, tried, asyncio.create_task(self._keep(sign_in, lease, tried)))
        waiting = [asyncio.create_task(self._kept[sign_in].tried.wait()) for sign_in in fresh]
        if waiting:
            _, slow = await asyncio.wait(waiting, timeout=FIRST_SECONDS)
            for task in slow:
                task.cancel()

    def keep_only(self, wanted: Iterable[SignIn]) -> None:
        """Lets go of the others."""
        for sign_in in self._kept.keys() - {*wanted}:
            self._kept.pop(sign_in).task.cancel()

    def tokens(self, wanted: Iterable[SignIn]) -> dict[tuple[str, str], str]:
        """The living tokens of these accounts, by provider and account."""
        now = self._clock.now()
        kept = [(sign_in, self._kept[sign_in]) for sign_in in wanted if sign_in in self._kept]
        found = {(sign_in.provider, sign_in.account): one.lease.secret(now) for sign_in, one in kept}
        return {name: secret for name, secret in found.items() if secret}

    def states(self) -> list[dict[str, Any]]:
        """What there is to say about each, without secrets."""
        now = self._clock.now()
        return [
            {
                "provider": sign_in.provider,
                "account": sign_in.account,
                "signed_in": bool(kept.lease.secret(now)),
                "expires_at_ms": int(kept.lease.token.expires_at * 1000) if kept.lease.token else None,
                "failure": kept.lease.failure,
            }
            for sign_in, kept in self._kept.items()
        ]

    async def _keep(self, sign_in: SignIn, lease: Lease, tried: asyncio.Event) -> None:
        while True:
            await self._until(lease.due_at)
            await self._try(sign_in, lease)
            tried.set()
            try:
                await self._changed()
            except Exception:
                log.exception("%s: the token of %s could not be put in force", sign_in.provider, sign_in.account)

    async def _until(self, due_at: float) -> None:
        while (wait := due_at - self._clock.now()) > 0:
            await self._clock.sleep(min(wait, LOOK_SECONDS))

    async def _try(self, sign_in: SignIn, lease: Lease) -> None:
        failed_before = lease.failure is not None
        try:
            async with asyncio.timeout(MOST_EXCHANGE_SECONDS):
                token = await aside(lambda: self._mint(sign_in, self._clock.now()), "fl-sign-in")
        except SignInError as error:
            why = str(error)
        except TimeoutError:
            why = f"{_host(sign_in.key)} does not come to an end"
        except Exception as error:
            log.exception("%s: signing in as %s failed", sign_in.provider, sign_in.account)
            why = f"{type(error).__name__}; the log has the details"
        else:
            lease.succeed(token, self._clock.now())
            if failed_before:
                log.info("%s: signed in as %s again", sign_in.provider, sign_in.account)
            return
        now = self._clock.now()
        wait = lease.fail(why, now, self._random.random())
        meanwhile = "the old token still lives" if lease.secret(now) else "until then nothing can be sent as this account"
        log.error("%s: cannot sign in as %s: %s; again in %.0f s, %s", sign_in.provider, sign_in.account, why, wait, meanwhile)
