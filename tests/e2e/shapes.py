"""The shapes of errors: one per dialect, and OpenRouter's on its own routes."""

from typing import Any

from e2e.house import Reply

OPENAI_TYPES = {"invalid_request_error", "rate_limit_error", "server_error", "insufficient_quota"}


def check_error_body(reply: Reply, prefix: str = "", dialect: str = "openai_chat", *, own_type: bool = False) -> None:
    """A reply is an error in the shape of its route: `prefix` is "" or "/api". `own_type`: a provider's type may stand on /v1."""
    assert reply.headers["content-type"] == "application/json"
    check_error(reply.json(), reply.status, prefix, dialect, own_type=own_type)


def check_error(body: dict[str, Any], number: int, prefix: str, dialect: str, *, own_type: bool = False) -> None:
    """The same for a body, or for what stands in a stream's last event; `number` is the status it would have had."""
    error = body["error"]
    assert isinstance(error["message"], str) and error["message"]
    if dialect == "anthropic_messages":
        assert body["type"] == "error"
        assert error["type"].endswith("_error") or error["type"] == "request_too_large"
        assert ("error_type" in error) == bool(prefix)
    elif dialect == "gemini_generate":
        assert (error["code"], error["status"]) == (number, error["status"].upper())
        assert error["details"][0]["domain"] == "fairlead"
    elif prefix:
        assert error["code"] == number
        assert error["metadata"]["error_type"]
        # In a stream there may be none of the provider's own words.
        assert error["metadata"].get("raw") == error["metadata"].get("provider_error")
    else:
        assert error["type"] and (own_type or error["type"] in OPENAI_TYPES)
        assert {"param", "code"} <= error.keys()
