"""What the routes work with: one `Desk` per process, one `Call` per request."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.requests import Request

from fairlead.catalog import Catalogue, shipped
from fairlead.config.alerts import AlertSettings
from fairlead.config.schema import Credits
from fairlead.control.access import ANONYMOUS, Principal
from fairlead.control.db import Database
from fairlead.control.directory import Directory
from fairlead.control.drain import Behind, Drainer
from fairlead.control.engine import Engine
from fairlead.control.offer import Offer
from fairlead.control.operator.gate import Gate
from fairlead.control.operator.live import Hub
from fairlead.control.operator.openid import OpenId
from fairlead.control.operator.shared import Answers
from fairlead.control.replies import Refusal, invalid
from fairlead.control.secret import new_secret
from fairlead.control.windows import day_number

if TYPE_CHECKING:
    from fairlead.control.operator.configuration import Configured
    from fairlead.control.operator.playground import Run

T = TypeVar("T")

MOST_BODY_BYTES = 1 << 20


@dataclass(slots=True)
class Desk:
    """Everything that the control plane's routes share. `offer`, `credits`, `alerts`, `retention_days` and the digest are replaced by a
    reload."""

    database: Database
    directory: Directory
    engine: Engine
    drainer: Drainer
    offer: Offer
    admin_token_digest: str
    reload: Callable[[], Awaitable[str]]
    now_ms: Callable[[], int]
    facts: dict[str, Any] = field(default_factory=dict)
    sign_ins: Callable[[], list[dict[str, Any]]] = list
    """How signing in to providers goes, one entry per service account."""
    credits: Credits = field(default_factory=Credits)
    """As configured: whether credit is prepaid, and the secret of the payment webhook."""
    alerts: AlertSettings = field(default_factory=AlertSettings)
    retention_days: int | None = None
    """How many whole days before today the rows of requests are kept; None: for ever."""
    gate: Gate = field(default_factory=lambda: Gate(new_secret(), _wall_ms))
    """Who comes in on the admin port without the token."""
    openid: OpenId | None = None
    """The provider that people may log in through; replaced by a reload."""
    estimate_tokens: Callable[[str, str], int] = lambda text, model: -(-len(text.encode()) // 4)
    """The tokens of a text, for a model. The process's own: four bytes a token."""
    configured: "Configured | None" = None
    """What is in force, and judging what is not; None: no process runs."""
    republish: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)
    """Gives the data plane the configuration anew, without what is set aside now."""
    runs: dict[str, "Run"] = field(default_factory=dict)
    """Of the playground, in progress, by their ids."""
    live: Hub = field(default_factory=lambda: Hub(_wall_ms))
    """Who listens there."""
    answers: Answers = field(default_factory=Answers)
    """What pages were told within a second."""
    catalogue: Callable[[], Catalogue] = shipped
    """Models with their dated prices, as they are in force: what ships, and what was synced before the last reload."""
    recalling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the log of decisions is read."""
    probing: set[str] = field(default_factory=set)
    """Providers that a probe is on its way to."""


class Call:
    """One request."""

    def __init__(self, desk: Desk, request: Request, principal: Principal | None) -> None:
        self.desk = desk
        self.principal = principal or ANONYMOUS
        self.request = request
        self._is_caught_up = False

    @property
    def path(self) -> str:
        """The path that was routed on."""
        return str(self.request.scope["path"])

    def place(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def header(self, name: str) -> str | None:
        """A header of the client's."""
        return self.request.headers.get(name)

    @property
    def wants_csv(self) -> bool:
        """Whether it asks for a spreadsheet."""
        return "text/csv" in (self.header("accept") or "")

    def if_match(self) -> str | None:
        """Which state an edit is of, as `states.check_match` takes it. Who logged in must say it (428): a page shows what may be old."""
        given = self.header("if-match")
        if given is None and self.principal.session:
            raise Refusal(428, "precondition_required", "If-Match is missing: send the ETag of what was shown, or *")
        return given

    def query(self, name: str) -> str | None:
        """A value of the query string; the last one when it is there twice."""
        return self.request.query_params.get(name)

    def queries(self) -> dict[str, str]:
        """The whole query string."""
        return dict(self.request.query_params)

    def asked(self, type: type[T]) -> T:
        """The query string as a struct; 400 names what is wrong with it."""
        given = self.request.query_params.multi_items()
        if len(given) != len(dict(given)):
            raise invalid("the query string says something twice")
        try:
            return msgspec.convert(dict(given), type, strict=False)
        except msgspec.ValidationError as error:
            said, _, at = str(error).partition(" - at `$.")
            name = at.removesuffix("`")
            raise invalid(f"{name}: {said}", path=name) if name else invalid(f"query: {said}") from None

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number of the query string; 400 when it is none or out of bounds."""
        text = self.query(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 19 and least <= int(text) <= most):
            raise invalid(f"{name}: a whole number from {least} to {most} is expected")
        return int(text)

    def days(self) -> tuple[int | None, int | None]:
        """The numbers of the days `from` and `to` of the query string, both included; None for one that is absent. 400 when one is no date,
        or when they are in the wrong order: the sums of no time at all would look like those of an idle one."""
        first, last = self._day("from"), self._day("to")
        if first is not None and last is not None and last < first:
            raise invalid("to: a day that is not before from is expected", path="to")
        return first, last

    def _day(self, name: str) -> int | None:
        text = self.query(name)
        if text is None:
            return None
        try:
            return day_number(date.fromisoformat(text))
        except ValueError:
            raise invalid(f"{name}: a date such as 2026-11-20 is expected, got {text[:40]!r}", path=name) from None

    async def raw_body(self, most_bytes: int = MOST_BODY_BYTES) -> bytes:
        """The body as it came; 413 when it is too long."""
        received = bytearray()
        async for part in self.request.stream():
            received += part
            if len(received) > most_bytes:
                raise Refusal(413, "payload_too_large", f"the body is longer than {most_bytes} bytes")
        return bytes(received)

    async def body(self, type: type[T], most_bytes: int = MOST_BODY_BYTES) -> T:
        """The body, decoded; 400 names what is wrong with it, 413 when it is too long."""
        received = await self.raw_body(most_bytes)
        try:
            return msgspec.json.decode(received, type=type)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise invalid(f"body: {error}") from None

    async def caught_up(self) -> None:
        """Returns when the database holds all that was settled before this call; 503 when it cannot be brought there. Once in a call: one
        that changes something asks before it does, so that it is not told of a failure afterwards."""
        if self._is_caught_up:
            return
        try:
            await self.desk.drainer.catch_up()
            self._is_caught_up = True
        except Behind as error:
            raise Refusal(503, "server", f"the store is behind the traffic: {error}") from None


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
