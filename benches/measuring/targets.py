"""What is measured: the simulator itself, the floor, Fairlead, and peers that are installed."""

from __future__ import annotations

import http.client
import importlib.util
import json
import shlex
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .figures import UPSTREAM_DIALECTS
from .processes import Managed

KEY = "sk-bench"
"""The key that the load generator shows to every gateway."""
ADMIN_TOKEN = "bench-admin-token"
MODEL = "bench/model"
UPSTREAM_MODEL = "sim/echo"
CHAT_PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Launch:
    """How to start a gateway and how to talk to it."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Sequence[str] = ()
    model: str = MODEL
    path: str = CHAT_PATH
    ready_path: str | None = None
    """A path whose 200 says that it serves; absent: a chat request's 200."""
    exact_frames: bool = True
    """Whether it must keep the provider's cut of the text into frames."""


@dataclass(frozen=True)
class Target:
    """One column of the table. Without `launch` the simulator itself is the target."""

    name: str
    launch: Callable[[int, str, Path], Launch] | None
    data_plane: Callable[[str], bool] = lambda _name: True
    """Which threads, by name, carry traffic."""
    api_path: str | None = None
    """A second path whose frames are spliced, if it has one."""
    is_peer: bool = False
    is_watched: bool = False
    """Whether a browser has its console's Overview open, live."""
    translates: bool = False
    """Whether its model `bench/<dialect>` is at a provider that speaks only that."""


class Running:
    """A started target."""

    def __init__(self, target: Target, launch: Launch, address: str, process: Managed | None, start_s: float) -> None:
        self.target = target
        self.launch = launch
        self.address = address
        self.process = process
        self.start_s = start_s

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()


def start(target: Target, upstream: str, cores: set[int], folder: Path) -> Running:
    """Starts a target and waits until it serves. Raises RuntimeError with the end of its log if it does not."""
    if target.launch is None:
        return Running(target, Launch((), model=UPSTREAM_MODEL), upstream, None, 0.0)
    folder.mkdir(parents=True)
    port = free_port()
    launch = target.launch(port, upstream, folder)
    log = folder / "log"
    began = time.monotonic()
    process = Managed(launch.command, cores, environment=launch.environment, log=log)
    address = f"127.0.0.1:{port}"
    deadline = began + 90
    while not _serves(address, launch):
        if not process.is_alive() or time.monotonic() > deadline:
            process.stop()
            raise RuntimeError(f"{target.name} does not serve:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.002)
    return Running(target, launch, address, process, time.monotonic() - began)


def start_simulator(rig: Path, cores: set[int], folder: Path) -> Running:
    """Starts the provider behind all targets."""
    target = Target("simulator", lambda port, _upstream, _folder: _simulator(rig, port))
    return start(target, "", cores, folder)


def _simulator(rig: Path, port: int) -> Launch:
    command = [str(rig), "sim", "--address", f"127.0.0.1:{port}", "--threads", "1"]
    return Launch(command, model=UPSTREAM_MODEL)


def direct() -> Target:
    return Target("direct", None)


def floor(rig: Path, variant: str) -> Target:
    def launch(port: int, upstream: str, _folder: Path) -> Launch:
        addresses = ["--listen", f"127.0.0.1:{port}", "--upstream", upstream]
        models = ["--model-from", MODEL, "--model-to", UPSTREAM_MODEL]
        return Launch([str(rig), "floor", *addresses, "--key", KEY, *models, "--variant", variant])

    return Target(f"floor-{variant}", launch)


def fairlead(command: str, *, is_watched: bool = False) -> Target:
    def launch(port: int, upstream: str, folder: Path) -> Launch:
        config = folder / "fairlead.toml"
        config.write_text(fairlead_config(port, free_port(), upstream, folder / "data"))
        words = [*shlex.split(command), "serve", "--config", str(config)]
        return Launch(words, ready_path="/readyz")

    return Target(
        "fairlead-watched" if is_watched else "fairlead",
        launch,
        lambda name: name.startswith("fl-"),
        api_path="/api/v1/chat/completions",
        translates=True,
        is_watched=is_watched,
    )


def fairlead_config(port: int, admin_port: int, upstream: str, data_dir: Path) -> str:
    """A key, priced models, the journal and the metrics: everything that the floor does not have."""
    translated = "".join(_translated_model(dialect, upstream) for dialect in UPSTREAM_DIALECTS)
    return f"""\
[server]
data = "127.0.0.1:{port}"
admin = "127.0.0.1:{admin_port}"
data_dir = {json.dumps(str(data_dir))}
admin_token = "{ADMIN_TOKEN}"

[providers.lab]
dialects = ["openai_chat", "anthropic_messages"]
base_url = "http://{upstream}/v1"
keys = ["upstream-secret"]

[models."{MODEL}"]
context_length = 1000000

[[models."{MODEL}".endpoints]]
provider = "lab"
upstream_model = "{UPSTREAM_MODEL}"
usd_per_million = {{ prompt = "3", completion = "15" }}

{translated}
[keys.bench]
secret = "{KEY}"
"""


def translated_model(dialect: str) -> str:
    """The model whose provider speaks only `dialect`."""
    return f"bench/{dialect}"


def _translated_model(dialect: str, upstream: str) -> str:
    version = "/v1" if dialect.startswith("openai") else ""
    return f"""
[providers.lab-{dialect.replace("_", "-")}]
dialect = "{dialect}"
base_url = "http://{upstream}{version}"
keys = ["upstream-secret"]

[models."{translated_model(dialect)}"]
context_length = 1000000
max_completion_tokens = 100000

[[models."{translated_model(dialect)}".endpoints]]
provider = "lab-{dialect.replace("_", "-")}"
upstream_model = "{UPSTREAM_MODEL}"
usd_per_million = {{ prompt = "3", completion = "15" }}
"""


def peers(folder: Path, installed_under: Path) -> list[tuple[str, Target | None]]:
    """All adapters in `folder` by name; the target is absent where the peer is not installed."""
    found: list[tuple[str, Target | None]] = []
    for file in sorted(folder.glob("*.py")):
        adapter = load_adapter(file)
        home = installed_under / file.stem
        found.append((file.stem, _peer(file.stem, adapter, home) if adapter.is_installed(home) else None))
    return found


def _peer(name: str, adapter: object, home: Path) -> Target:
    launch = adapter.launch  # type: ignore[attr-defined]
    return Target(name, lambda port, upstream, run: launch(home, port, upstream, run), is_peer=True)


def load_adapter(file: Path):  # type: ignore[no-untyped-def]
    """A peer's module: `install(home)`, `is_installed(home)`, `launch(home, port, upstream, run) -> Launch`."""
    spec = importlib.util.spec_from_file_location(f"peers.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{file} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serves(address: str, launch: Launch) -> bool:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        if launch.ready_path is not None:
            connection.request("GET", launch.ready_path)
        else:
            headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
            headers |= dict(header.split(": ", 1) for header in launch.headers)
            body = {"model": launch.model, "messages": [{"role": "user", "content": "ready"}]}
            connection.request("POST", launch.path, json.dumps(body), headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
