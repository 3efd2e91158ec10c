"""`fairlead generation ID`: one generation as text: what it was, what was tried, what was lost between two dialects; with `--content` what
was asked and said, where that is logged."""

import argparse
import json
import sys
from typing import Any

from fairlead.cli import FINE
from fairlead.cli.output import print_json
from fairlead.cli.reach import Installation, add_options, path_of
from fairlead.cli.reach import run as run_reached
from fairlead.cli.table import table

NAME = "generation"
HELP = "show one call: what it cost, what was tried, what was lost, and its content where that is logged"

_FIELDS = (
    "id", "started_at", "settled_at", "outcome", "status", "error", "requested_model", "preset", "preset_version", "split", "arm", "model",
    "provider", "dialect", "upstream_dialect",
    "finish_reason", "prompt_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "completion_tokens", "reasoning_tokens", "charged_usd", "upstream_cost_usd",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the id."""
    add_options(parser)
    parser.add_argument("id", metavar="ID", help="the generation's id, such as the X-Generation-Id of a reply")
    parser.add_argument("--content", action="store_true", help="its prompt and reply instead, where logging of content is on")


def run(arguments: argparse.Namespace) -> int:
    """0: shown; 1: there is none, or no content of it."""
    return run_reached(arguments, lambda installation: show(installation, arguments.id, arguments.json, arguments.content))


def show(installation: Installation, id: str, as_json: bool, content: bool = False) -> int:
    """Writes a generation, or its content, and returns the exit code."""
    reply = installation.request("GET", path_of("admin", "requests", id, *(["content"] if content else [])))
    if as_json:
        print_json(reply)
    else:
        sys.stdout.write(content_text(reply["data"]) if content else text(reply["data"]))
    return FINE


def content_text(content: dict[str, Any]) -> str:
    """What was asked and said, each under its name. None of it can steer the terminal."""
    asked, said = content["input"], content["output"]
    parts = [(message.get("role", "message"), _words(message.get("content", message))) for message in asked.get("messages", [])]
    if "prompt" in asked:
        parts.append(("prompt", asked["prompt"]))
    parts += [(name, said[name]) for name in ("reasoning", "completion") if said[name] is not None]
    parts += [(f"calls {call['name']}", call["arguments"]) for call in said.get("tool_calls", [])]
    if content["error"] is not None:
        parts.append((f"error {content['error']['status']}", content["error"]["message"]))
    if content["truncated"]:
        parts.append(("truncated", ", ".join(content["truncated"])))
    return "".join(f"--- {plain(name)}\n{_harmless(words)}\n" for name, words in parts)


def _words(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _harmless(text: str) -> str:
    return "\n".join(map(plain, text.split("\n")))


def text(row: dict[str, Any]) -> str:
    """A row of `GET /admin/requests`, without the fields that hold nothing."""
    shown = [name for name in _FIELDS if row[name] not in ("", 0)]
    width = max(map(len, shown))
    parts = ["".join(f"{name.ljust(width)}  {plain(row[name])}\n" for name in shown)]
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
        plain(attempt["provider"]),
        plain(attempt["upstream_model"]),
        attempt["service_tier"] or "-",
        status,
        ": ".join(word for word in ("shadow" if "shadow" in attempt["flags"] else "", attempt["error"]) if word),
        milliseconds,
        attempt["upstream_cost_usd"],
    )


def _loss(loss: dict[str, Any]) -> tuple[str, ...]:
    return loss["severity"], plain(loss["path"]), plain(loss["reason"])


def plain(value: Any) -> str:
    """Callers chose some of these texts; none may steer the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))
