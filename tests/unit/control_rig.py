"""A journal in memory and rows to put into it: what the tests of the control plane use in place of the native module."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fairlead.control.db.queries import ATTEMPT_COLUMNS, GENERATION_COLUMNS, Cursor

NOW_MS = 1_763_712_000_000 + 30_000_000  # Friday 2025-11-21, 16:20 UTC
DAY_MS = 86_400_000


def generation(number: int = 1, **changes: Any) -> tuple[Any, ...]:
    """A row in the order of the columns; `changes` replace defaults by name."""
    row: dict[str, Any] = dict.fromkeys(GENERATION_COLUMNS, 0)
    texts = (
        "error",
        "referer",
        "title",
        "user_agent",
        "end_user",
        "session_id",
        "upstream_dialect",
        "split",
        "arm",
        "preset",
        "preset_version",
        "response_cache_source_id",
    )
    row |= dict.fromkeys(texts, "")
    row |= {
        "api_type": "completions",
        "id": f"gen-{number:08x}-0000-7000-8000-000000000000",
        "started_at_ms": NOW_MS - 1500,
        "settled_at_ms": NOW_MS,
        "account_id": 1,
        "key_id": 1,
        "dialect": "openai_chat",
        "manner": "native",
        "streamed": True,
        "outcome": "completed",
        "flags": 64,
        "status": 200,
        "requested_model": "acme/fast",
        "model": "acme/fast",
        "provider": "lab",
        "upstream_id": f"chatcmpl-{number}",
        "finish_reason": "stop",
        "native_finish_reason": "end_turn",
        "prompt_tokens": 100,
        "cache_read_tokens": 20,
        "cache_write_tokens": 3,
        "cache_write_1h_tokens": 4,
        "completion_tokens": 50,
        "reasoning_tokens": 10,
        "reserved_nanousd": 5_000_000,
        "charged_nanousd": 1_000_000_001,
        "upstream_cost_nanousd": 1_000_000_002,
        "sent_us": 1_000,
        "head_us": 200_000,
        "content_us": 250_400,
        "total_us": 1_500_600,
        "own_us": 90,
    }
    assert not changes.keys() - row.keys()
    return tuple((row | changes)[name] for name in GENERATION_COLUMNS)


def attempt(number: int = 1, n: int = 1, **changes: Any) -> tuple[Any, ...]:
    """An attempt of `generation(number)`."""
    row: dict[str, Any] = {
        "generation_id": f"gen-{number:08x}-0000-7000-8000-000000000000",
        "n": n,
        "provider": "lab",
        "endpoint_id": 7,
        "upstream_model": "gpt-x",
        "upstream_id": f"chatcmpl-{number}",
        "status": 200,
        "error": "",
        "latency_us": 1_499_600,
        "upstream_cost_nanousd": 1_000_000_002,
        "flags": 0,
        "service_tier": "default",
    }
    assert not changes.keys() - row.keys()
    return tuple((row | changes)[name] for name in ATTEMPT_COLUMNS)


def loss(number: int = 1, n: int = 0, path: str = "tools[0].strict", severity: str = "dropped") -> tuple[Any, ...]:
    """A loss of `generation(number)`, in the order of the columns."""
    return (f"gen-{number:08x}-0000-7000-8000-000000000000", n, path, severity, "the target has no place for it")


@dataclass
class FakeBatch:
    """Rows and where they end."""

    generations: list[tuple[Any, ...]] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    cursors: list[Cursor] = field(default_factory=list)
    caught_up: bool = True
    problems: list[str] = field(default_factory=list)
    losses: list[tuple[Any, ...]] = field(default_factory=list)
    shadows: list[tuple[Any, ...]] = field(default_factory=list)


class FakeJournal:
    """One chain whose records are (generation, attempts); a record's offset is its index + 1. Also the engine that writes it."""

    def __init__(self) -> None:
        self.records: list[tuple[tuple[Any, ...], list[tuple[Any, ...]]]] = []
        self.losses: list[tuple[Any, ...]] = []
        self.freed: list[Cursor] = []
        self.deltas: list[bytes] = []
        self.snapshots: list[bytes] = []
        self.applied_seq = 0
        self.known_health = b"[]"
        self.questions: list[bytes] = []
        self.explanation = b"{}"
        self.opened = 0
        self.resumed: list[bytes] = []
        self.counted: dict[tuple[str, int], tuple[int, int, int, int, int]] = {}
        self.free: dict[int, tuple[int, int]] = {}
        self.broken: list[tuple[str, int, str, str]] = []
        self.violations = 0
        self.contents: dict[tuple[int, str], bytes] = {}

    def settle(self, generations: Iterable[tuple[Any, ...]]) -> None:
        """Appends generations without attempts."""
        self.records += [(row, []) for row in generations]

    def open_reader(self, cursors: list[Cursor]) -> "FakeReader":
        self.opened += 1
        return FakeReader(self, max((cursor[4] for cursor in cursors), default=0))

    def position(self) -> list[Cursor]:
        return [(0, 1, 0, 1, len(self.records))]

    def applied(self, cursors: list[Cursor]) -> None:
        self.freed = cursors

    def apply_keys(self, delta: bytes) -> int:
        self.deltas.append(delta)
        self.applied_seq += 1
        return 2**62

    def resume_spending(self, spending: bytes) -> None:
        self.resumed.append(spending)

    def spending(self, kind: str, id: int) -> tuple[int, int, int, int, int] | None:
        return self.counted.get((kind, id))

    def audit(self) -> list[tuple[str, int, str, str]]:
        return self.broken

    def count_database_violations(self, more: int) -> None:
        self.violations += more

    def content(self, account: int, id: str) -> bytes | None:
        return self.contents.get((account, id))

    def free_requests(self, account: int) -> tuple[int, int] | None:
        return self.free.get(account)

    def load_snapshot(self, blob: bytes) -> int:
        self.snapshots.append(blob)
        return len(self.snapshots)

    def metrics(self) -> str:
        return "fairlead_up 1\n"

    def explain(self, question: bytes) -> bytes:
        self.questions.append(question)
        return self.explanation

    def health(self) -> bytes:
        return self.known_health

    def forget_health(self) -> None:
        self.known_health = b"[]"


class FakeReader:
    """Reads a `FakeJournal` from an offset."""

    def __init__(self, journal: FakeJournal, offset: int) -> None:
        self._journal = journal
        self._offset = offset

    def read(self, max_records: int) -> FakeBatch:
        records = self._journal.records[self._offset : self._offset + max_records]
        self._offset += len(records)
        return FakeBatch(
            generations=[row for row, _ in records],
            attempts=[row for _, rows in records for row in rows],
            cursors=[(0, 1, 0, 1, self._offset)],
            caught_up=self._offset == len(self._journal.records),
            losses=[row for row in self._journal.losses if row[0] in {generation[0] for generation, _ in records}],
        )
