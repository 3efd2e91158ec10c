"""`fairlead sim`: the simulator on a port, for rehearsing outages and for tests of clients."""

import argparse
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from fairlead.catalog import shipped
from fairlead.cli import FAILED, FINE
from fairlead.cli.arguments import address
from fairlead.config.credentials import SIMULATOR

NAME = "sim"
HELP = "run the simulator on a port"


class Simulator(Protocol):
    """What is needed of `fairlead._native.Simulator`."""

    @property
    def address(self) -> str:
        """Host and port as bound."""
        ...

    def stop(self) -> None:
        """Stops it."""
        ...


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds address, threads and seed."""
    parser.add_argument(
        "--address",
        type=address,
        default="127.0.0.1:9000",
        metavar="A",
        help="address and port; port 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument("--threads", type=_threads, default=1, metavar="N", help="threads that serve (default: %(default)s)")
    parser.add_argument("--seed", type=_seed, default=1, metavar="N", help="what looks random is decided by this (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """0 after SIGINT or SIGTERM; 1 when the address cannot be used."""
    from fairlead import _native

    return serve(arguments, _native.Simulator, _wait)


def serve(arguments: argparse.Namespace, start: Callable[[str, int, int], Simulator], wait: Callable[[], None]) -> int:
    """Starts a simulator, says where it is, waits, stops it."""
    try:
        simulator = start(arguments.address, arguments.threads, arguments.seed)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"fairlead sim: {error}\n")
        return FAILED
    try:
        sys.stdout.write(_announce(simulator.address, arguments.json))
        sys.stdout.flush()
        wait()
    finally:
        simulator.stop()
    return FINE


def _announce(address: str, as_json: bool) -> str:
    root = f"http://{address}"
    if as_json:
        where = {
            "address": address,
            "openai_base_url": f"{root}/v1",
            "anthropic_base_url": root,
            "gemini_base_url": root,
            "bedrock_base_url": root,
        }
        return msgspec.json.encode(where).decode() + "\n"
    lines: Iterable[str] = (
        f"OpenAI base URL     {root}/v1",
        f"Anthropic base URL  {root}",
        f"Gemini base URL     {root}",
        f"Bedrock base URL    {root}",
        "speaks chat completions, Responses, legacy completions, embeddings, Messages, Gemini and Converse",
        'any key will do; requests to Bedrock may be signed instead, with any access key and the secret "simulator"',
        *textwrap.wrap("models: " + " ".join(_models()), 100, break_on_hyphens=False),
        "",
        f"curl -N {root}/v1/chat/completions -H 'authorization: Bearer any' -H 'content-type: application/json' \\",
        """  -d '{"model":"sim/echo","stream":true,"messages":[{"role":"user","content":"Hello, simulator"}]}'""",
    )
    return "\n".join(lines) + "\n"


def _models() -> Iterable[str]:
    """Those of the catalogue; its manual has the rest."""
    return sorted(id for id, file in shipped().models.items() if any(endpoint.provider == SIMULATOR for endpoint in file.endpoint))


def _wait() -> None:
    """Returns at SIGINT or SIGTERM."""
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    signal.sigwait(stops)


def _threads(text: str) -> int:
    return _number(text, 1, 1024)


def _seed(text: str) -> int:
    return _number(text, 0, 2**64 - 1)


def _number(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"expected a number from {least} to {most}, got {text!r}")
    return int(text)
