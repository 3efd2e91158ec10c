"""What the control plane needs of the data plane, as protocols. The native module fulfils them; so do the fakes of the tests."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fairlead.control.db.queries import Cursor


class Journal(Protocol):
    """What the drain needs of whoever writes the journal."""

    def position(self) -> list[Cursor]:
        """Where every chain of the journal ends now."""
        ...

    def applied(self, cursors: list[Cursor]) -> None:
        """Tells how far the database has got, so that segments can be freed."""
        ...


class Engine(Journal, Protocol):
    """The running data plane."""

    def apply_keys(self, delta: bytes) -> int:
        """Applies a delta of keys and limits and returns the sequence number now in force."""
        ...

    def resume_spending(self, spending: bytes) -> None:
        """Takes what was charged and taken of rates before this start, as the database has it; once, after the first configuration and
        keys, before there is traffic."""
        ...

    def free_requests(self, account: int) -> tuple[int, int] | None:
        """How many requests to free models an account has in a day, and how many of them it has made today; None where they are not
        limited or nobody counts."""
        ...

    def spending(self, kind: str, id: int) -> tuple[int, int, int, int, int] | None:
        """What an account, a team, a user or a key was charged today, this week, this month and in all, and what is reserved, in
        nano-dollars, as of the call; None where nobody counts."""
        ...

    def audit(self) -> list[tuple[str, int, str, str]]:
        """Whose books do not hold: kind, id, what is wrong in a word and in a sentence. It counts them."""
        ...

    def count_database_violations(self, more: int) -> None:
        """Counts so many whose books are not what the database says."""
        ...

    def content(self, account: int, id: str) -> bytes | None:
        """The content that was logged of a generation: a JSON object with `input`, `output`, `error` and `truncated`. Waits for one that
        is being written. None: there is none."""
        ...

    def load_snapshot(self, blob: bytes) -> int:
        """Puts a configuration in force and returns its version; ValueError leaves the old one."""
        ...

    def metrics(self) -> str:
        """Prometheus text."""
        ...

    def explain(self, question: bytes) -> bytes:
        """Why a request would go where it would go: JSON in, JSON out."""
        ...

    def health(self) -> bytes:
        """What is known of the endpoints that were used: JSON, an array of objects."""
        ...

    def forget_health(self) -> None:
        """Forgets it, with what is known of provider keys."""
        ...


class Batch(Protocol):
    """Some records of the journal as rows."""

    @property
    def generations(self) -> Sequence[tuple[Any, ...]]:
        """Rows in the order of `GENERATION_COLUMNS`."""
        ...

    @property
    def attempts(self) -> Sequence[tuple[Any, ...]]:
        """Rows in the order of `ATTEMPT_COLUMNS`."""
        ...

    @property
    def shadows(self) -> Sequence[tuple[Any, ...]]:
        """What came of shadows, in the order of `GENERATION_COLUMNS`; their attempts are among the others."""
        ...

    @property
    def losses(self) -> Sequence[tuple[Any, ...]]:
        """Rows in the order of `LOSS_COLUMNS`."""
        ...

    @property
    def cursors(self) -> list[Cursor]:
        """Where reading stopped."""
        ...

    @property
    def caught_up(self) -> bool:
        """Whether nothing was left to read."""
        ...

    @property
    def problems(self) -> list[str]:
        """What could not be read, in words."""
        ...


class Reader(Protocol):
    """Follows the journal."""

    def read(self, max_records: int) -> Batch:
        """Up to that many records after the last ones read."""
        ...

    def running(self) -> list[tuple[str, int, tuple[int, int, int, int], str, str, int, int]]:
        """Calls in progress as of those, in no order: id, start (Unix ms), ids of account, team, user and key, model, provider of the
        first attempt, nano-dollars held for it, estimated tokens of its prompt.
        """
        ...


OpenReader = Callable[[list[Cursor]], Reader]
"""Opens a reader that begins after these cursors."""
