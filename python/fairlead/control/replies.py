"""Replies: JSON, the headers that every reply has, and errors in OpenRouter's shape."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response

HEADERS = {
    # What comes from here is data; no browser may guess otherwise, keep it or show it in a frame.
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
_encoder = msgspec.json.Encoder()


class Refusal(Exception):
    """An error that the caller is told. `error_type` is OpenRouter's word for it."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message

    def reply(self, extra: Mapping[str, str] | None = None) -> Response:
        """As HTTP, with extra headers."""
        error = {"code": self.status, "message": self.message, "metadata": {"error_type": self.error_type}}
        headers = {"www-authenticate": "Bearer"} if self.status == 401 else {}
        return reply({"error": error}, self.status, headers | dict(extra or {}))


def reply(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON reply."""
    return Response(_encoder.encode(content), status, HEADERS | (headers or {}), "application/json")


def text_reply(content: str, media_type: str = "text/plain; charset=utf-8") -> Response:
    """A plain reply."""
    return Response(content, 200, HEADERS, media_type)


def unauthenticated(message: str = "no valid credential") -> Refusal:
    """401: nobody we know."""
    return Refusal(401, "authentication", message)


def forbidden(message: str) -> Refusal:
    """403: known, but not for this."""
    return Refusal(403, "permission_denied", message)


def not_found(message: str) -> Refusal:
    """404."""
    return Refusal(404, "not_found", message)


def invalid(message: str) -> Refusal:
    """400: the request is wrong and says how."""
    return Refusal(400, "invalid_request", message)


def rfc3339(unix_ms: int | None) -> str | None:
    """Unix milliseconds as `2026-11-20T08:15:30.123Z`; None stays None."""
    if unix_ms is None:
        return None
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
