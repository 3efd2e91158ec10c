"""What a `fairlead.Router` raises.

RouterError
├── ConfigurationError   the configuration is wrong; the text is what `fairlead check` says
├── OpeningError         the data folder, its journal or its database cannot be used
├── ClosedError          it is not open, or is being closed
├── ForkedError          it belongs to the process that this one is a fork of
└── CallError            a call failed, with the status and the words that the server gives
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairlead.config import Problem
    from fairlead.router import Receipt

__all__ = ["CallError", "ClosedError", "ConfigurationError", "ForkedError", "OpeningError", "RouterError"]


class RouterError(Exception):
    """Any of them."""


class ConfigurationError(RouterError):
    """The configuration is wrong. The text has a line for everything that is: file, line, path, what to do."""

    def __init__(self, text: str, problems: "Sequence[Problem]") -> None:
        super().__init__(text)
        self.problems = tuple(problems)
        """The same, one by one."""


class OpeningError(RouterError):
    """What stands behind the Router cannot be used; one line that says why."""


class ClosedError(RouterError):
    """The Router is not open: it never was, is being closed, or the call was cut off by its closing."""


class ForkedError(RouterError):
    """The Router belongs to another process. Its thread and its connections are not in this one; open a Router here."""


class CallError(RouterError):
    """A call that failed.

    The text is the server's message. `docs/api.md` has the table of statuses and types.
    """

    def __init__(
        self, message: str, *, status: int, error_type: str, metadata: Mapping[str, Any] | None = None, receipt: "Receipt | None" = None
    ) -> None:
        super().__init__(message)
        self.message = message
        """What went wrong."""
        self.status = status
        """The HTTP status that the server would give, also where a stream fails after its beginning."""
        self.error_type = error_type
        """OpenRouter's word for the kind of error, such as `rate_limit_exceeded`."""
        self.metadata: Mapping[str, Any] = metadata or {}
        """All that is known: `provider_name`, `provider_code`, the provider's own text as `raw`, `param`, …"""
        self.receipt = receipt
        """What the call came to all the same; `None` where it was refused before anything could cost."""

    @property
    def provider(self) -> str | None:
        """The provider that failed, by its display name; `None` where none did."""
        name = self.metadata.get("provider_name")
        return name if isinstance(name, str) else None

    @property
    def previous_errors(self) -> list[dict[str, Any]]:
        """The failures of the attempts before the last: `provider`, `code`, `status`."""
        return list(self.metadata.get("previous_errors") or ())
