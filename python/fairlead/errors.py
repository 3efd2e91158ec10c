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

import msgspec

if TYPE_CHECKING:
    from fairlead.config import Problem
    from fairlead.router import Explanation, Receipt

__all__ = ["Availability", "CallError", "ClosedError", "ConfigurationError", "Constraint", "ForkedError", "OpeningError", "RouterError"]


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


class Constraint(msgspec.Struct, frozen=True):
    """What of a request takes endpoints out."""

    field: str
    """The request's member that says so, such as `provider.max_price.prompt`."""
    detail: str
    """What would relax it."""


class Availability(msgspec.Struct, frozen=True):
    """Why nothing can serve a request, in OpenRouter's words."""

    code: str
    """`model_not_found`, `wrong_endpoint`, `no_endpoints`, `privacy_restricted`, `constraint_filtered`, `free_variant_ended` or
    `capacity_exhausted`."""
    retryable: bool
    """Whether the same request may be served later."""
    retry_after: int | None
    """When, in seconds, where that is known."""
    requested_models: list[str]
    """The models that were asked for, as the caller wrote them."""
    affected_providers: list[str]
    """Slugs of the providers whose endpoints are out."""
    excluded_by: list[str]
    """The filters that took them out."""
    fallback_models: list[str]
    """Models that might do instead."""
    constraint: Constraint | None
    """What took most of them out."""


class CallError(RouterError):
    """A call that failed.

    The text is the server's message. `docs/api.md` has the table of statuses and types.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        error_type: str,
        metadata: Mapping[str, Any] | None = None,
        receipt: "Receipt | None" = None,
        availability: Availability | None = None,
        retry_after_ms: int | None = None,
        explanation: "Explanation | None" = None,
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
        self.availability = availability
        """Why nothing can serve it, where that is what failed; `None` otherwise."""
        self.retry_after_ms = retry_after_ms
        """When to come again, in milliseconds: what the provider said, or how long a line of ours is, at most 300,000. `None` where nobody
        knows, or it would be in vain."""
        self.explanation = explanation
        """Why it went where it went, where the call was made with `explain=True` and came so far that there was a decision."""

    @property
    def provider(self) -> str | None:
        """The provider that failed, by its display name; `None` where none did."""
        name = self.metadata.get("provider_name")
        return name if isinstance(name, str) else None

    @property
    def previous_errors(self) -> list[dict[str, Any]]:
        """The failures of the attempts before the last: `provider`, `code`, `status`."""
        return list(self.metadata.get("previous_errors") or ())
