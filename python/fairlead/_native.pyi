"""The native half of the package. Of this, `fairlead.limits`, `fairlead.sse`, `fairlead.tokens` and `fairlead.translate` are public;
everything else is how the package starts and follows the data plane.

`make test` compares this file with the module.
"""

from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any, Self, TypeAlias, final

__all__ = [
    "ATTEMPT_COLUMNS",
    "BEGAN",
    "GENERATION_COLUMNS",
    "LOSS_COLUMNS",
    "QUIRKS",
    "READY",
    "Bucket",
    "Calls",
    "Concurrency",
    "Decoder",
    "Engine",
    "Event",
    "Feed",
    "JournalBatch",
    "JournalReader",
    "Loss",
    "Replay",
    "RollupFold",
    "Simulator",
    "Stream",
    "StreamCounter",
    "Translated",
    "Usage",
    "Window",
    "__version__",
    "add_histograms",
    "count_request_tokens",
    "count_tokens",
    "estimate_tokens",
    "explain",
    "hash_key",
    "quantiles_ms",
    "read_content",
    "take_all",
    "translate_request",
    "translate_response",
]

_Cursor: TypeAlias = tuple[int, int, int, int, int]
"""A place in a journal chain: node, epoch, worker, segment, offset in bytes."""

__version__: str
GENERATION_COLUMNS: list[str]
"""Names of the values in a row of `JournalBatch.generations`."""
ATTEMPT_COLUMNS: list[str]
"""Names of the values in a row of `JournalBatch.attempts`."""
LOSS_COLUMNS: list[str]
"""Names of the values in a row of `JournalBatch.losses`."""
QUIRKS: list[tuple[str, str]]
"""What an endpoint may do otherwise than its dialects say: names with their meanings."""

BEGAN: int
"""In the place of a status in the news of `Calls`: a stream has begun."""
READY: int
"""The same: a stream's feed that was empty has events."""

def hash_key(secret: bytes, key: str) -> str:
    """HMAC-SHA-256(secret, SHA-256(key)) as 64 hexadecimal digits: what is stored of a gateway key."""

def read_content(folder: str, secret: bytes, account: int, id: str) -> bytes | None:
    """The content that was logged of a generation, in a folder that no process has: as `Engine.content`. Raises OSError for a secret that
    is too short."""

def explain(snapshot: bytes, question: bytes) -> bytes:
    """Why a request would go where it would go by this snapshot, where nothing has happened yet: JSON in, JSON out. A wrong snapshot raises
    ValueError."""

def count_tokens(text: str, model: str) -> int:
    """The exact tokens of a text. Raises ValueError when the model's encoding is not public."""

def estimate_tokens(text: str, model: str) -> int:
    """The estimated tokens of a text, for any model."""

def count_request_tokens(body: bytes, dialect: str, model: str | None) -> int:
    """The input tokens of a request. Raises ValueError when the body is none of this dialect."""

@final
class StreamCounter:
    """Counts a text that arrives in pieces."""

    def __new__(cls, *, model: str, exact: bool = True) -> Self:
        """For a model; `exact=False` estimates, whatever the model.

        Raises ValueError when counts are to be exact and the model's encoding is not public.
        """

    def feed(self, text: str) -> int:
        """Takes the next piece and returns the tokens so far, a likely figure until the text is over."""

    def finish(self) -> int:
        """The text is over; returns its tokens, those that counting it at once gives. The counter is then as new."""

@final
class Event:
    """One server-sent event."""

    def __new__(cls, event: str, data: str, id: str = ..., retry: int | None = None) -> Self:
        """For comparisons in tests; `id` is empty by default."""
    @property
    def event(self) -> str:
        """Its name; "message" when the stream names none."""

    @property
    def data(self) -> str:
        """Its data; several data lines are joined with newlines."""

    @property
    def id(self) -> str:
        """The last id the stream named, up to this event; empty when there is none."""

    @property
    def retry(self) -> int | None:
        """The reconnection time in milliseconds, if this event sets one."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Decoder:
    """Decodes a stream of server-sent events that arrives in any pieces."""

    def __new__(cls, max_event_bytes: int = ...) -> Self:
        """An event may have `max_event_bytes` (default: 32 MiB), its blank line included."""

    def feed(self, bytes: bytes) -> list[Event]:
        """Takes the next bytes and returns the events they complete.

        Raises ValueError when an event exceeds the limit, and from then on.
        """

    def finish(self) -> list[Event]:
        """The stream is over; returns a last event that lacks its blank line if its data is complete JSON or `[DONE]`.

        The decoder is then as new.
        """

@final
class Loss:
    """One thing that did not survive a translation as it was."""

    @property
    def path(self) -> str:
        """Where it stood in what was translated, such as `messages[3].content[0]`."""

    @property
    def reason(self) -> str:
        """What happened to it and why."""

    @property
    def severity(self) -> str:
        """`hint` (the meaning is whole), `changed` (the nearest thing stands for it) or `dropped`."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Usage:
    """Tokens that a provider says were used, in buckets that do not overlap."""

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens neither read from nor written to a cache."""

    @property
    def cache_read_tokens(self) -> int:
        """Prompt tokens read from a cache."""

    @property
    def cache_write_tokens(self) -> int:
        """Prompt tokens written to a cache, for five minutes or a provider's only time."""

    @property
    def cache_write_1h_tokens(self) -> int:
        """Prompt tokens written to a cache for an hour."""

    @property
    def completion_tokens(self) -> int:
        """Completion tokens, reasoning included."""

    @property
    def reasoning_tokens(self) -> int:
        """The part of them that is known to be reasoning."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Translated:
    """A body in another dialect."""

    @property
    def body(self) -> bytes:
        """The JSON body."""

    @property
    def losses(self) -> list[Loss]:
        """What could not be kept."""

    @property
    def usage(self) -> Usage | None:
        """What the provider says was used; None for requests and where it does not say."""

@final
class Stream:
    """A provider's stream on its way to a caller who speaks another dialect, cut anywhere."""

    def __new__(
        cls, *, source: str, target: str, request: Translated | None = None, traits: list[str] = ..., max_event_bytes: int = ...
    ) -> Self:
        """`source` is the provider's dialect, `target` the caller's; `request` and `traits` as for `fairlead.translate.response`.

        An event may have `max_event_bytes` (default: 32 MiB). Raises ValueError when a dialect or trait is unknown.
        """

    def feed(self, bytes: bytes) -> bytes:
        """Takes the provider's next bytes and returns what they become.

        A failure is written in the target's dialect; nothing follows it.
        """

    def finish(self) -> bytes:
        """The provider's connection has ended; returns the end of the stream, or its failure."""

    @property
    def usage(self) -> Usage | None:
        """What the provider says was used so far."""

    @property
    def losses(self) -> list[Loss]:
        """What the target's dialect had no place for so far."""

def translate_request(
    body: bytes,
    *,
    source: str,
    target: str,
    model: str | None = None,
    stream: bool | None = None,
    traits: list[str] = ...,
    efforts: list[str] = ...,
    max_output_tokens: int | None = None,
    automatic_cache: bool = False,
) -> Translated:
    """See `fairlead.translate.request`."""

def translate_response(body: bytes, *, source: str, target: str, request: Translated | None = None, traits: list[str] = ...) -> Translated:
    """See `fairlead.translate.response`."""

@final
class Bucket:
    """A rate limit: so many units per second, minute, hour or day, refilled continuously; a new one is full.

    Over any time it gives at most its burst and what its rate makes in that time, and at a clock that stands still exactly its burst.
    `now_ns` is a time of one clock, always the same; without it `time.monotonic_ns()`. A clock that is set back costs a refill of a second
    at most and gains nothing.
    """

    def __new__(
        cls,
        *,
        rate_per_second: int | None = None,
        rate_per_minute: int | None = None,
        rate_per_hour: int | None = None,
        rate_per_day: int | None = None,
        burst: int | None = None,
    ) -> Self:
        """One rate, from 1 to 10**18; `burst` is the most that can be taken at once, without it as much as the rate.

        Raises ValueError for anything else.
        """

    def take(self, n: int = 1, *, now_ns: int | None = None) -> None:
        """Takes `n` units. Raises `fairlead.limits.Refused` where they are not there; in debt not even 0 are."""

    def wait_ns(self, n: int = 1, *, now_ns: int | None = None) -> int | None:
        """After how many nanoseconds `n` units can be taken: 0 is now, None is never. Takes nothing."""

    def refund(self, n: int) -> None:
        """Gives back `n` units that were taken and not used; never above the burst."""

    def charge(self, n: int, *, now_ns: int | None = None) -> None:
        """Takes `n` units that have been used already. What is missing is a debt, which is refilled before anything else is given."""

    def remaining(self, *, now_ns: int | None = None) -> int:
        """Whole units that can be taken now."""

    def debt(self, *, now_ns: int | None = None) -> int:
        """Units of debt, begun ones counted whole."""

    def full_after_ns(self, *, now_ns: int | None = None) -> int:
        """After how many nanoseconds it is full, if nobody takes anything."""

    def change(
        self,
        *,
        rate_per_second: int | None = None,
        rate_per_minute: int | None = None,
        rate_per_hour: int | None = None,
        rate_per_day: int | None = None,
        burst: int | None = None,
        now_ns: int | None = None,
    ) -> None:
        """Another rate from now on, as for a new one.

        What was taken stays taken, but is never more than the new burst; a debt stays whole.
        """

    def save(self) -> tuple[int, int, int, int, int]:
        """Rate and level as five integers, for `load`.

        They are of use where the same clock goes on: over a restart of the machine, give `now_ns` from `time.time_ns()`.
        """

    @staticmethod
    def load(saved: tuple[int, int, int, int, int]) -> Bucket:
        """The bucket that was saved. Raises ValueError for what is no such thing."""

@final
class Concurrency:
    """So many at the same time. `with` takes a place and gives it back."""

    def __new__(cls, limit: int) -> Self:
        """Places, from 1 to 2**32 - 1. Raises ValueError for anything else."""

    def acquire(self) -> None:
        """Takes a place. Raises `fairlead.limits.Refused` where none is free; nobody waits here."""

    def release(self) -> None:
        """Gives a place back. Raises ValueError where none is held."""

    @property
    def held(self) -> int:
        """Places that are held."""

    @property
    def remaining(self) -> int:
        """Places that are free."""

    @property
    def limit(self) -> int:
        """How many there are. Those that are held stay held when it changes."""

    @limit.setter
    def limit(self, limit: int, /) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Window:
    """So many units per day, week or month of UTC, or in total; weeks begin on Monday.

    `now_ms` is Unix time, without it `time.time_ns()`. A clock up to an hour behind the beginning of a window that it has already been in
    goes on counting in that window; one that is further back had been wrong, and what was used so far counts in the window that it shows.
    """

    def __new__(cls, limit: int, *, limit_reset: str | None, start_ms: int | None = None, used: int | None = None) -> Self:
        """`limit_reset` is "daily", "weekly", "monthly" or None for a total.

        `start_ms` and `used` are those of an earlier one to go on from. Raises ValueError for anything else. A limit of 0 admits nothing.
        """

    def take(self, n: int = 1, *, now_ms: int | None = None) -> None:
        """Takes `n` units. Raises `fairlead.limits.Refused` where they do not fit."""

    def charge(self, n: int, *, now_ms: int | None = None) -> None:
        """Counts `n` units that have been used already, whether they fit or not."""

    def refund(self, n: int, *, start_ms: int) -> None:
        """Gives back `n` units that were taken in the window that began at `start_ms`; what was taken in an earlier one is gone with it."""

    def used(self, *, now_ms: int | None = None) -> int:
        """Units used in this window."""

    def remaining(self, *, now_ms: int | None = None) -> int:
        """Units that are left in this window."""

    def reset_ms(self, *, now_ms: int | None = None) -> int | None:
        """When the next window begins, Unix milliseconds; None for a total."""

    @property
    def start_ms(self) -> int:
        """When the window began that was last counted in, Unix milliseconds: after `take`, what `refund` asks for."""

    @property
    def limit(self) -> int:
        """Units per window. What is used stays used when it changes."""

    @limit.setter
    def limit(self, limit: int, /) -> None: ...

def take_all(wanted: Iterable[tuple[Bucket, int]], *, now_ns: int | None = None) -> None:
    """Takes from several buckets or from none.

    Raises `fairlead.limits.Refused` with the `index` of the one that is refused the longest, and ValueError where a bucket stands twice.
    """

@final
class Engine:
    """The data plane of this process. It owns its threads; none of them ever runs Python."""

    def __new__(cls, options: bytes) -> Self:
        """Opens the journal. `options` is JSON. Raises ValueError when they are wrong, OSError when the journal cannot be used."""

    @property
    def address(self) -> str:
        """Where the traffic port listens; empty before `start`."""

    def load_snapshot(self, blob: bytes) -> int:
        """Puts a new configuration in force; returns its version. A wrong one raises ValueError and changes nothing."""

    def resume_spending(self, spending: bytes) -> None:
        """What everybody had spent, and taken of rates, before this start, as of the journal's cursors. JSON; a wrong one raises ValueError
        and changes nothing. Once, after the first `load_snapshot` and `apply_keys`, before `start`."""

    def content(self, account: int, id: str) -> bytes | None:
        """The content that was logged of a generation: a JSON object with `input`, `output`, `error` and `truncated`. Waits for one that
        is being written. None: there is none."""

    def free_requests(self, account: int) -> tuple[int, int] | None:
        """How many requests to free models an account has in a day, and how many of them it has made today. None: they are not limited."""

    def spending(self, kind: str, id: int) -> tuple[int, int, int, int, int]:
        """What an account, team, user or key has spent in the day, the week, the month and in total, and what its running calls hold back.
        Nano-dollars, as of now. Raises ValueError for another kind."""

    def audit(self) -> list[tuple[str, int, str, str]]:
        """Holds the books of everybody who pays against the other side of every entry, and counts what does not hold: kind, id, what is
        wrong in a word and in a sentence, of each."""

    def count_database_violations(self, more: int) -> None:
        """Counts so many who have spent something else by the books than by the database."""

    def apply_keys(self, delta: bytes) -> int:
        """Applies a delta of keys; returns the position reached. A wrong one raises ValueError and changes nothing."""

    def start(self) -> None:
        """Binds the traffic port and starts serving. Raises OSError with one clear line."""

    def fileno(self) -> int:
        """A descriptor that is readable while `poll` has news."""

    def poll(self) -> list[str]:
        """The news since the last call: "journal", "draining", "stopped"."""

    def position(self) -> list[_Cursor]:
        """The end of every journal chain now."""

    def applied(self, cursors: list[_Cursor]) -> None:
        """SQL has committed everything before these cursors: the journal may free what lies before."""

    def metrics(self) -> str:
        """Prometheus text."""

    def explain(self, question: bytes) -> bytes:
        """Why a request would go where it would go: JSON in (`rust/gateway/src/pipeline/explain.rs`), JSON out."""

    def health(self) -> bytes:
        """What is known of the endpoints that were used: JSON, an array of objects (`rust/router/src/health/report.rs`)."""

    def forget_health(self) -> None:
        """Forgets what is known of endpoints and provider keys."""

    def failure(self) -> str | None:
        """Why a thread of the data plane gave up, if one did."""

    def drain(self, grace_ms: int) -> None:
        """Begins a drain: running requests may take `grace_ms` more."""

    def stop(self) -> None:
        """Ends everything now, settles what was running and syncs the journal. May be called again; other calls then raise RuntimeError."""

@final
class Calls:
    """Calls of this process, made by a thread that never runs Python."""

    def __new__(cls, options: bytes) -> Self:
        """Starts the thread. `options` is JSON. Raises ValueError when they are wrong, OSError when the journal cannot be used."""

    def load_snapshot(self, blob: bytes) -> int:
        """Puts a new configuration in force; returns its version. A wrong one raises ValueError and changes nothing."""

    def begin(self, call: int, path: str, body: bytes, headers: list[tuple[str, str]]) -> bool:
        """Begins a call under the caller's own number; false where the thread is too far behind to take it."""

    def cancel(self, call: int) -> bool:
        """Ends a call that nobody waits for any more."""

    def fileno(self) -> int:
        """A descriptor that is readable while `take` has news."""

    def take(self) -> tuple[bool, list[tuple[int, int, Any, Any, bytes | None, int | None]]]:
        """Whether the journal has grown, and the news of calls, oldest first: the caller's number, and the status with the body and the
        receipt of one that is over (status 0: cancelled or lost); or `BEGAN` with the feed and the generation id; or `READY`. Then, once
        and where that was asked for, why it went where it went, as JSON; and of a failure, when to come again in milliseconds."""

    def position(self) -> list[_Cursor]:
        """The end of every journal chain now. Raises RuntimeError where there is no journal."""

    def applied(self, cursors: list[_Cursor]) -> None:
        """SQL has committed everything before these cursors. Raises RuntimeError where there is no journal."""

    def stop(self, grace_ms: int) -> None:
        """Lets what is running come to its end within `grace_ms`, then ends it. News can be taken meanwhile and afterwards."""

    def close(self) -> None:
        """Ends everything now and closes the journal. May be called again; other calls then raise RuntimeError."""

@final
class Feed:
    """The events of a stream."""

    def take(self) -> bytes | None:
        """All events that are there, as one JSON array; none: there will be news when there are some."""

@final
class JournalBatch:
    """Settlements as rows, with the position behind them."""

    @property
    def generations(self) -> list[tuple[Any, ...]]:
        """Rows in the order of `GENERATION_COLUMNS`."""

    @property
    def attempts(self) -> list[tuple[Any, ...]]:
        """Rows in the order of `ATTEMPT_COLUMNS`."""

    @property
    def shadows(self) -> list[tuple[Any, ...]]:
        """What came of shadows, in the order of `GENERATION_COLUMNS`; their attempts are among the others."""

    @property
    def losses(self) -> list[tuple[Any, ...]]:
        """Rows in the order of `LOSS_COLUMNS`."""

    @property
    def cursors(self) -> list[_Cursor]:
        """Where reading goes on, to be stored in the same transaction."""

    @property
    def caught_up(self) -> bool:
        """Whether the end of every chain was reached."""

    @property
    def problems(self) -> list[str]:
        """What could not be read, as texts for the log."""

@final
class JournalReader:
    """Follows the journal from cursors; needs no engine."""

    def __new__(cls, directory: str | PathLike[str], cursors: list[_Cursor]) -> Self:
        """Opens the folder. Raises OSError when it cannot be read."""

    def read(self, max_records: int) -> JournalBatch:
        """Up to `max_records` settlements. Raises OSError when the folder cannot be read."""

    def running(self) -> list[tuple[str, int, tuple[int, int, int, int], str, str, int, int]]:
        """Calls in progress as of what was read, in no order: id, start (Unix ms), ids of account, team, user and key, model, provider of
        the first attempt, nano-dollars held for it, estimated tokens of its prompt.
        """

@final
class Replay:
    """The logged decisions of a folder, made again by a configuration; needs no engine."""

    def __new__(cls, snapshot: bytes, directory: str | PathLike[str], *, since_ms: int, until_ms: int, most: int) -> Self:
        """Over requests that began from `since_ms` on and before `until_ms`, the oldest `most` of them.

        Raises ValueError when the snapshot is wrong, OSError when the folder cannot be read.
        """

    def read(self, most: int) -> list[str]:
        """Makes up to so many more decisions again; their generations. None: there are no more."""

    def settle(self, happened: bytes, wants_each: bool) -> bytes:
        """Says what came of the decisions that were read last: a JSON object by generation, without those that have not ended.

        Returns each of them as a JSON array if that is wanted. Raises ValueError when it is no such JSON.
        """

    def summary(self) -> bytes:
        """The sums so far: JSON."""

@final
class RollupFold:
    """Adds generations up by window and dimension. What it returns are rows, by the numbers that places and names have in the database."""

    def __new__(cls, app_of: Callable[[str, str], str], zone: list[tuple[int, int]]) -> Self:
        """`app_of(referer, title)` says what an application is known by; `zone` is from which moment on (Unix milliseconds) the reporting
        zone is how many milliseconds ahead of UTC, ascending, empty for UTC."""

    def take(self, rows: list[tuple[Any, ...]], attempts: list[tuple[Any, ...]]) -> None:
        """Generations that are not stored yet, in the order of `GENERATION_COLUMNS`, and at least their attempts, each one's in order."""

    def take_shadows(self, rows: list[tuple[Any, ...]], attempts: list[tuple[Any, ...]]) -> None:
        """What came of shadows, in the order of `GENERATION_COLUMNS`, and their attempts."""

    def newest_ms(self) -> int | None:
        """The last minute in which something was settled; None before anything was taken."""

    def places(self) -> list[tuple[str, str, int]]:
        """Model, provider and endpoint of the places that were seen."""

    def names(self) -> list[tuple[int, str, str]]:
        """Dimension, name and part of the applications, arms, presets and shadows that were seen."""

    def rollups(self, places: list[int], names: list[int]) -> list[tuple[int, ...]]:
        """Resolution, account, dimension, start, value and sums."""

    def pairs(self, places: list[int], names: list[int]) -> list[tuple[int, ...]]:
        """Resolution, account, dimension, start, value, place and sums."""

    def durations(self, places: list[int], names: list[int]) -> list[tuple[int, int, int, int, int, bytes, bytes]]:
        """Resolution, account, dimension, start, value, and the histograms of the time to the first content and of the whole."""

    def errors(self, places: list[int], names: list[int]) -> list[tuple[int, int, int, int, str, int]]:
        """Resolution, account, start, place, class and count."""

def add_histograms(stored: list[bytes]) -> bytes:
    """Adds stored histograms up. Raises ValueError for bytes that are none."""

def quantiles_ms(stored: list[bytes], shares: list[float]) -> tuple[int, list[float | None]]:
    """How many durations stored histograms have in all, and their quantiles at shares (0 to 1) in milliseconds; None where there are none.
    Raises ValueError for bytes that are no histogram."""

@final
class Simulator:
    """A provider that speaks every dialect, runs in this process and keeps its own ledger."""

    def __new__(cls, address: str = "127.0.0.1:0", threads: int = 1, seed: int = 1) -> Self:
        """Starts it. Raises ValueError for an address that is none, OSError for one that cannot be listened on."""

    @property
    def address(self) -> str:
        """Where it listens."""

    def ledger(self) -> str:
        """Its ledger as JSON: what it billed, request by request."""

    def stop(self) -> None:
        """Stops it. May be called again."""
