"""One generation as text: what it was, what was tried, what was lost between two dialects."""

from typing import Any

from fairlead.cli.table import table

_FIELDS = (
    "id", "started_at", "settled_at", "outcome", "status", "error", "requested_model", "preset", "preset_version", "split", "arm", "model",
    "provider", "dialect", "upstream_dialect",
    "finish_reason", "prompt_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "completion_tokens", "reasoning_tokens", "charged_usd", "upstream_cost_usd",
)  # fmt: skip


def text(row: dict[str, Any]) -> str:
    """A row of `GET /admin/requests`, without the fields that hold nothing."""
    shown = [name for name in _FIELDS if row[name] not in ("", 0)]
    width = max(map(len, shown))
    parts = ["".join(f"{name.ljust(width)}  {_plain(row[name])}\n" for name in shown)]
    if row["attempts"]:
        parts.append(
            table(
                ("PROVIDER", "MODEL", "TIER", "STATUS", "ERROR", "MS", "UPSTREAM $"),
                list(map(_attempt, row["attempts"])),
                frozenset({5, 6}),
            )
        )
    if row["translation_losses"]:
        parts.append(table(("LOST", "WHERE", "WHY"), list(map(_loss, row["translation_losses"]))))
    if row["translation_losses_more"]:
        parts.append(f"and {row['translation_losses_more']} more losses\n")
    return "\n".join(parts)


def _attempt(attempt: dict[str, Any]) -> tuple[str, ...]:
    milliseconds = str((attempt["latency_us"] + 500) // 1000)
    status = str(attempt["status"] or "-")
    return (
        _plain(attempt["provider"]),
        _plain(attempt["upstream_model"]),
        attempt["service_tier"] or "-",
        status,
        ": ".join(word for word in ("shadow" if "shadow" in attempt["flags"] else "", attempt["error"]) if word),
        milliseconds,
        attempt["upstream_cost_usd"],
    )


def _loss(loss: dict[str, Any]) -> tuple[str, ...]:
    return loss["severity"], _plain(loss["path"]), _plain(loss["reason"])


def _plain(value: Any) -> str:
    """Callers chose some of these texts; none may steer the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))
