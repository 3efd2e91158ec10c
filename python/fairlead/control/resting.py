"""Stand-ins for a data plane that does not run, for commands that work on the data folder alone."""

from collections.abc import Callable
from typing import Any

from fairlead.control.db.queries import Cursor


class RestingEngine:
    """Takes everything and has nothing to say but what lies in the data folder: the content that was logged."""

    def __init__(self, read_content: Callable[[int, str], bytes | None] = lambda account, id: None) -> None:
        self._read_content = read_content

    def apply_keys(self, delta: bytes) -> int:
        """Nobody needs to know."""
        return 2**62

    def resume_spending(self, spending: bytes) -> None:
        """Nobody needs to know."""

    def spending(self, kind: str, id: int) -> tuple[int, int, int, int, int] | None:
        """Nobody counts: the database has it all."""
        return None

    def free_requests(self, account: int) -> tuple[int, int] | None:
        """Nobody counts."""
        return None

    def audit(self) -> list[tuple[str, int, str, str]]:
        """There are no books in memory."""
        return []

    def count_database_violations(self, more: int) -> None:
        """Nobody counts."""

    def content(self, account: int, id: str) -> bytes | None:
        """As the files have it."""
        return self._read_content(account, id)

    def load_snapshot(self, blob: bytes) -> int:
        """Nobody needs to know."""
        return 0

    def position(self) -> list[Cursor]:
        """Nothing grows."""
        return []

    def applied(self, cursors: list[Cursor]) -> None:
        """Segments are freed at the next start."""

    def metrics(self) -> str:
        """Nothing happens."""
        return ""

    def explain(self, question: bytes) -> bytes:
        """Nothing is decided here."""
        return b'{"error":{"status":503,"message":"no process runs on this data folder","param":null}}'

    def health(self) -> bytes:
        """Nothing is known."""
        return b"[]"

    def forget_health(self) -> None:
        """There is nothing to forget."""


class NothingToRead:
    """The reader of a journal that does not exist yet; also its only batch."""

    generations: tuple[Any, ...] = ()
    attempts: tuple[Any, ...] = ()
    losses: tuple[Any, ...] = ()
    shadows: tuple[Any, ...] = ()
    caught_up = True

    def __init__(self) -> None:
        self.cursors: list[Cursor] = []
        self.problems: list[str] = []

    def read(self, max_records: int) -> "NothingToRead":
        """Nothing."""
        return self
