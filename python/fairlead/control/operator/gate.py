"""The door of the admin port: who comes in with a cookie, and what a browser must say along with it.

A cookie is sent by the browser, whoever wrote the page that asks; it ignores ports, and a page of another server on the same host name is
"same site". So whatever a cookie stands for is only done when the request names our own host and, where it changes something, comes from
exactly our own origin, with JSON and a token that only our page could read. Calls with the bearer token need none of that: a browser never
adds it by itself.
"""

import contextlib
import hashlib
import hmac
import ipaddress
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.requests import Request

from fairlead.control.replies import Refusal, forbidden

COOKIE, LOCAL_COOKIE = "__Host-fairlead", "fairlead_local"
CSRF_HEADER = "x-fairlead-csrf"
IDLE_MS, MOST_MS = 3_600_000, 12 * 3_600_000
"""How long a log-in lasts without a request, and in all."""
CODE_MS = 600_000
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self';"
    " connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""What every reply of the admin port says to browsers."""

FAILURES, MINUTE_MS = 5, 60_000
MOST_DELAY_MS = 60_000
MOST_ADDRESSES = 10_000


class Origin(NamedTuple):
    """Where a browser found us."""

    text: str
    """As its `Origin` header says it."""
    is_tls: bool

    @property
    def cookie(self) -> str:
        """The name of our cookie there."""
        return COOKIE if self.is_tls else LOCAL_COOKIE

    @property
    def ticket(self) -> str:
        """The name of what a browser keeps while it is at a provider."""
        return f"{self.cookie}_oidc"


@dataclass(slots=True)
class Gate:
    """One per process. `admin_urls` are replaced by a reload."""

    secret: bytes = field(repr=False)
    now_ms: Callable[[], int]
    admin_urls: Sequence[str] = ()
    failures: dict[str, deque[int]] = field(default_factory=dict)
    """Address → when its last log-ins failed."""
    code_digest: str = ""
    code_until_ms: int = 0

    # --- where a request says that it comes from ----------------------------------------------------------------------

    def origin(self, request: Request) -> Origin:
        """Ours, as the request's `Host` says it; 421 for a host that is not ours."""
        hosts = request.headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        for url in self.admin_urls:
            parts = urlsplit(url)
            if host == parts.netloc.lower():
                return Origin(f"{parts.scheme}://{host}", parts.scheme == "https")
        if is_loopback(host):
            return Origin(f"http://{host}", False)
        message = f"the host {host[:80]!r} is not one of this installation: use a loopback address, or name its URL in [server] admin_urls"
        raise Refusal(421, "misdirected_request", message)

    def check_change(self, request: Request, origin: Origin) -> None:
        """403 unless a change comes from our own page: exact origin, same site where the browser says so, JSON."""
        if request.headers.getlist("origin") != [origin.text]:
            raise forbidden(f"changes are taken from pages of {origin.text} alone; programs send the admin token as bearer")
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise forbidden("changes are taken from pages of this origin alone")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise forbidden("changes are taken as application/json alone")

    def check_csrf(self, request: Request, session: int) -> None:
        """403 unless the request has the token that `GET /admin/session` told its page."""
        given = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(given.encode(), self.csrf(session).encode()):
            raise forbidden(f"the header {CSRF_HEADER} is missing or of another log-in: GET /admin/session tells it")

    def csrf(self, session: int) -> str:
        """The token of a log-in."""
        return hmac.new(self.secret, f"fairlead: changes of the log-in {session}".encode(), hashlib.sha256).hexdigest()

    # --- log-ins that fail --------------------------------------------------------------------------------------------

    def check_pace(self, address: str) -> None:
        """429 for an address that failed five times within a minute, until its delay is over. The delay doubles with each failure."""
        now_ms, failed = self.now_ms(), self._recent(address)
        if len(failed) >= FAILURES:
            wait_ms = failed[-1] + min(1000 << min(len(failed) - FAILURES, 16), MOST_DELAY_MS) - now_ms
            if wait_ms > 0:
                seconds = -(-wait_ms // 1000)
                raise Refusal(429, "rate_limit_exceeded", f"too many log-ins failed; try again in {seconds} s", retry_after=seconds)

    @contextlib.contextmanager
    def trying(self, address: str) -> Iterator[None]:
        """While what was given is looked at it counts as a failure, so that those sent at the same time do not all get through. Raises as
        `check_pace`; a failure is noted by whoever finds it."""
        self.check_pace(address)
        self.note_failure(address)
        at_ms = self.failures[address][-1]
        try:
            yield
        finally:
            with contextlib.suppress(KeyError, ValueError):
                self.failures[address].remove(at_ms)

    def note_failure(self, address: str) -> None:
        """A log-in failed."""
        if len(self.failures) >= MOST_ADDRESSES and address not in self.failures:
            del self.failures[next(iter(self.failures))]
        self.failures[address] = deque([*self._recent(address), self.now_ms()], maxlen=FAILURES + 16)

    def _recent(self, address: str) -> list[int]:
        return [at_ms for at_ms in self.failures.get(address, ()) if at_ms > self.now_ms() - MINUTE_MS]

    # --- the link that is printed at the start ------------------------------------------------------------------------

    def new_code(self) -> str:
        """A code that logs in once, within ten minutes."""
        code = secrets.token_urlsafe(32)
        self.code_digest, self.code_until_ms = digest(code), self.now_ms() + CODE_MS
        return code

    def take_code(self, code: str) -> bool:
        """Whether it is the one; it is used up then."""
        if not self.code_digest or self.now_ms() >= self.code_until_ms or not hmac.compare_digest(digest(code), self.code_digest):
            return False
        self.code_digest = ""
        return True


def new_cookie() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def digest(text: str) -> str:
    """What is kept of a cookie or code."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def set_cookie(origin: Origin, value: str, seconds: int, name: str | None = None) -> str:
    """The header's value; 0 seconds take the cookie away. Without a name it is that of log-ins."""
    secure = "; Secure" if origin.is_tls else ""
    return f"{name or origin.cookie}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine itself."""
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    if port and not (port.isascii() and port.isdigit()):
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def address_of(request: Request) -> str:
    """Who is connected: the address without the port."""
    return request.client.host if request.client else ""
