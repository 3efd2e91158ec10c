"""`fairlead explain`: which endpoints would serve a request, in what order, and why not the others.

A running process answers with its health and its pins; without one, the configuration answers as if nothing had happened yet. Of a past
generation, by its id, the running process says what was decided then, where that is logged, and what would be decided now.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from fairlead.cli import FAILED, FINE, MISUSE
from fairlead.cli.configured import configured
from fairlead.cli.generation import plain
from fairlead.cli.output import failed, mistaken, print_json
from fairlead.cli.reach import Refused, Running, add_options, path_of, settings
from fairlead.cli.table import table
from fairlead.config import Mistakes
from fairlead.control import place, sample

NAME = "explain"
HELP = "say which endpoints would serve a request, in what order, and why not the others"

GENERATION = "gen-"
"""How ids of generations begin."""
_CANDIDATES = ("", "MODEL", "PROVIDER", "DIALECT", "EXPECTED $", "CHANCE", "HEALTH")
_REMOVED = ("MODEL", "PROVIDER", "OUT BY", "WOULD BE LET IN BY")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds what the request is."""
    add_options(parser)
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL|ID",
        help="a model by any name that requests may use, with variant or preset; or a generation's id",
    )
    parser.add_argument("--body", metavar="FILE", help="a whole request body; - for stdin")
    parser.add_argument(
        "--dialect", metavar="D", default="openai_chat", help="what the body is written in (default: openai_chat; also openai_embeddings)"
    )
    parser.add_argument("--provider", metavar="JSON", help='provider preferences, such as \'{"sort": "price"}\'')
    parser.add_argument("--models", metavar="A,B", help="fallback models; without MODEL the first of them is it")
    parser.add_argument("--key", metavar="KEY", help="as if this key asked: its id, hash, name or label (a running process only)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the draw: the same one gives the same order")


def run(arguments: argparse.Namespace) -> int:
    """0: something would serve it; 1: nothing would; 2: the question or the configuration is wrong."""
    is_past = arguments.model is not None and arguments.model.startswith(GENERATION)
    if is_past and any(getattr(arguments, name) is not None for name in ("body", "provider", "models", "key", "seed")):
        return failed(
            arguments, "a generation is explained as it was: --body, --provider, --models, --key and --seed are of others", MISUSE
        )
    try:
        if is_past:
            return _recalled(arguments)
        question = _question(arguments)
        answer = _ask(arguments, question)
    except Mistakes as mistakes:
        return mistaken(arguments, mistakes)
    except (Refused, ValueError, OSError, msgspec.DecodeError) as error:
        return failed(arguments, error, MISUSE)
    if arguments.json:
        print_json(answer)
    else:
        sys.stdout.write(text(answer))
    return FINE if answer["candidates"] else FAILED


def _recalled(arguments: argparse.Namespace) -> int:
    """0: something would serve it now; 1: nothing would."""
    _, data_dir = settings(arguments.config, arguments.data_dir)
    holder = place.holder(data_dir)
    if holder is None or not holder.control_socket:
        raise ValueError("explaining a generation needs a running process: fairlead serve")
    found = Running(Path(holder.control_socket)).request("GET", path_of("admin", "requests", arguments.model, "explain"))["data"]
    if arguments.json:
        print_json(found)
    else:
        sys.stdout.write(recalled_text(found))
    return FINE if found["now"] is not None and found["now"]["candidates"] else FAILED


def recalled_text(found: dict[str, Any]) -> str:
    """For people."""
    then, asked = found["then"], found["asked"]
    if then is None:
        parts = ["then: not in the log of decisions\n"]
    else:
        same = "the same order" if then["same"] else "another order"
        parts = [
            f"then: {plain(then['name'])} -> {_named(then['first'], 'nobody could be asked')}\n"
            f"by the configuration of now, with the health of then: {_named(then['now'], then['reason'] or 'nobody')} ({same})\n"
        ]
    manner = "streamed" if asked["streamed"] else "whole"
    shape = f"{plain(asked['model'])}, about {asked['prompt_tokens']} tokens, {asked['dialect']}, {manner}"
    parts.append(f"now, for a request of the same shape ({shape}):\n")
    parts.append(text(found["now"]) if found["now"] is not None else f"it cannot be asked any more: {plain(found['refused'])}\n")
    return "\n".join(parts)


def _named(where: dict[str, Any] | None, none: str) -> str:
    if where is None:
        return none
    endpoint = f"{where['model']} at {where['provider']}" if where["model"] else f"endpoint {where['endpoint']}"
    return plain(f"{endpoint}, {where['service_tier']}" if where["service_tier"] else endpoint)


def _question(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.body is not None:
        raw = sys.stdin.buffer.read() if arguments.body == "-" else Path(arguments.body).read_bytes()
        body = _decoded("--body", raw, dict[str, Any])
    else:
        body = sample.body(arguments.dialect, "Hello")
    if arguments.model is not None:
        body["model"] = arguments.model
    if arguments.models is not None:
        body["models"] = arguments.models.split(",")
    if "model" not in body and "models" not in body:
        raise ValueError("name a model, give --models, or a --body that names one")
    if arguments.provider is not None:
        body["provider"] = _decoded("--provider", arguments.provider.encode(), Any)
    question: dict[str, Any] = {"body": body, "dialect": arguments.dialect}
    if arguments.dialect == "gemini_generate":
        if "model" not in body:
            raise ValueError("name a MODEL: a request of Gemini has it in its path")
        question["model"] = body.pop("model")
    return question | ({"seed": arguments.seed} if arguments.seed is not None else {})


def _decoded(option: str, raw: bytes, type: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=type)
    except msgspec.DecodeError as error:
        raise ValueError(f"{option}: {error}") from None


def _ask(arguments: argparse.Namespace, question: dict[str, Any]) -> dict[str, Any]:
    _, data_dir = settings(arguments.config, arguments.data_dir)
    holder = place.holder(data_dir)
    if holder is not None and holder.control_socket:
        asked = question | ({"key": arguments.key} if arguments.key else {})
        answer: dict[str, Any] = Running(Path(holder.control_socket)).request("POST", "/admin/explain", asked)["data"]
        return answer
    if arguments.key:
        raise ValueError("--key needs a running process")
    from fairlead.runtime import native_module

    compiled, _ = configured(arguments.config)
    answer = msgspec.json.decode(native_module().explain(compiled.snapshot, msgspec.json.encode(question)))
    if "error" in answer:
        raise ValueError(answer["error"]["message"])
    return answer


def text(answer: dict[str, Any]) -> str:
    """For people."""
    parts = []
    if answer["candidates"]:
        rows = [_candidate(place, candidate) for place, candidate in enumerate(answer["candidates"], 1)]
        parts.append(table(_CANDIDATES, rows, frozenset({0, 4, 5})))
    else:
        parts.append(answer.get("refusal", "nothing would serve it") + "\n")
    if answer["removed"]:
        rows = [(out["model"], out["provider"], out["excluded_by"], out["relax"]) for out in answer["removed"]]
        parts.append(table(_REMOVED, rows, frozenset()))
    parts.append(f"prompt: about {answer['prompt_tokens']} tokens; seed {answer['seed']}\n")
    return "\n".join(parts)


def _candidate(place: int, candidate: dict[str, Any]) -> tuple[str, ...]:
    chance = candidate.get("chance")
    health = candidate["health"]
    notes = [health["breaker"]] if health["breaker"] != "closed" else []
    notes += [name for name in ("outage", "full") if health[name]]
    notes += [health["standing"]] if health["standing"] != "normal" else []
    notes += [name for name in ("pinned", "slow", "reluctant") if candidate[name]]
    if calls := health.get("tool_calls"):
        judged = calls["sound"] + calls["unsound"]
        notes += [f"tool calls {calls['sound'] / judged:.1%} of {judged}"]
    return (
        str(place),
        candidate["model"],
        candidate["provider"],
        candidate["dialect"],
        f"{candidate['expected_usd']:.6f}",
        "-" if chance is None else f"{chance:.1%}",
        ", ".join(notes) or "good",
    )
