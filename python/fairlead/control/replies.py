"""Replies: JSON, the headers that every reply has, and errors: OpenRouter's shape, and on `/v1` that of the caller's dialect."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
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
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class Shape(Enum):
    """Whose errors a caller reads."""

    OPENROUTER = "openrouter"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


# Status → OpenAI's type and code, Anthropic's type, as the data plane has them (`rust/ir/src/error.rs`, `rust/formats/src/*/error.rs`).
_WORDS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "invalid_request_error"),
    401: ("invalid_request_error", "invalid_api_key", "authentication_error"),
    403: ("invalid_request_error", "permission_denied", "permission_error"),
    404: ("invalid_request_error", "not_found", "not_found_error"),
    405: ("invalid_request_error", "invalid_request", "invalid_request_error"),
    413: ("invalid_request_error", "payload_too_large", "request_too_large"),
    500: ("server_error", "server", "api_error"),
    503: ("server_error", "server", "overloaded_error"),
}
_GEMINI_WORDS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip
_OF_STATUS = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "5"}}
# Others are the operator's alone and have OpenRouter's shape.
_OTHER_WORDS = _WORDS[400]


def shape_of(path: str, headers: Mapping[str, str]) -> Shape:
    """The shape of errors on a path: on `/v1` Anthropic's where its client is known by path or header, else OpenAI's; on `/v1beta`
    Google's."""
    if path.startswith("/v1beta/"):
        return Shape.GEMINI
    if not path.startswith("/v1/"):
        return Shape.OPENROUTER
    return Shape.ANTHROPIC if path.startswith("/v1/messages") or "anthropic-version" in headers else Shape.OPENAI


class Refusal(Exception):
    """An error that the caller is told. `error_type` is OpenRouter's word for it, `details` are further members of the error, which only
    OpenRouter's shape has room for."""

    def __init__(self, status: int, error_type: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.details = details

    def reply(self, shape: Shape = Shape.OPENROUTER, extra: Mapping[str, str] | None = None) -> Response:
        """As HTTP, with extra headers."""
        headers = dict(_OF_STATUS.get(self.status, {}))
        if (seconds := self.details.get("retry_after")) is not None:
            headers["retry-after"] = str(seconds)
        return reply(self._body(shape), self.status, headers | dict(extra or {}))

    def _body(self, shape: Shape) -> dict[str, Any]:
        openai_type, openai_code, anthropic_type = _WORDS.get(self.status, _OTHER_WORDS)
        if shape is Shape.OPENAI:
            return {"error": {"message": self.message, "type": openai_type, "param": None, "code": openai_code}}
        if shape is Shape.ANTHROPIC:
            return {"type": "error", "error": {"type": anthropic_type, "message": self.message}}
        if shape is Shape.GEMINI:
            return {"error": {"code": self.status, "message": self.message, "status": _GEMINI_WORDS.get(self.status, "INTERNAL")}}
        return {"error": {"code": self.status, "message": self.message, **self.details, "metadata": {"error_type": self.error_type}}}


def reply(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON reply."""
    return Response(_encoder.encode(content), status, HEADERS | (headers or {}), "application/json")


def text_reply(content: str, media_type: str = "text/plain; charset=utf-8") -> Response:
    """A plain reply."""
    return Response(content, 200, HEADERS, media_type)


def csv_reply(rows: Iterable[Sequence[Any]], name: str) -> Response:
    """Rows for a spreadsheet. What one would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([_cell(value) for value in row] for row in rows)
    headers = HEADERS | {"content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(text.getvalue(), 200, headers, "text/csv; charset=utf-8")


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) and _NUMBER.fullmatch(value) is None:
        return f"'{value}"
    return value


def unauthenticated(message: str = "no valid credential") -> Refusal:
    """401: nobody we know."""
    return Refusal(401, "authentication", message)


def forbidden(message: str) -> Refusal:
    """403: known, but not for this."""
    return Refusal(403, "permission_denied", message)


def not_found(message: str) -> Refusal:
    """404."""
    return Refusal(404, "not_found", message)


def invalid(message: str, **details: Any) -> Refusal:
    """400: the request is wrong and says how."""
    return Refusal(400, "invalid_request", message, **details)


def store_fails(error: Exception) -> Refusal:
    """503: the database does not answer."""
    return Refusal(503, "server", f"the store does not answer ({error}); try again in a moment")


def rfc3339(unix_ms: int | None) -> str | None:
    """Unix milliseconds as `2026-11-20T08:15:30.123Z`; None stays None."""
    if unix_ms is None:
        return None
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
