"""A running gateway with a simulator behind it, and a client that lets tests say and see exact bytes.

`Provider` is the simulator in this process: it records what reached it and keeps the ledger that judges ours. `Gateway` is
`fairlead serve` as a process of its own in a folder of its own. Both end with their `with` block and leave nothing behind.
"""

import contextlib
import http.client
import json
import os
import random
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from fairlead import _native

FAIRLEAD = str(Path(sys.executable).parent / "fairlead")
START_SECONDS = 60.0
STOP_SECONDS = 60.0
REPLY_SECONDS = 60.0

KEY = "sk-fl-v1-" + "e2e0" * 16
OTHER_KEY = "sk-fl-v1-" + "07e2" * 16
MANAGEMENT_KEY = "sk-fl-v1-" + "3a9e" * 16
ADMIN_TOKEN = "admin-token-of-the-end-to-end-tests"
PROVIDER_SECRET = "lab-credential-9f8e7d6c5b4a"
# Dollars per million tokens, and the same in nano-dollars per token.
PRICES = {"prompt": "3", "completion": "15", "cache_read": "0.3", "cache_write": "3.75"}
PROMPT_NANOUSD, COMPLETION_NANOUSD, CACHE_READ_NANOUSD, CACHE_WRITE_NANOUSD = 3_000, 15_000, 300, 3_750
MODELS = ("echo", "fast", "slow", "flaky", "reason", "tools")
"""The simulator's models; the gateway offers each as `lab/…`."""


class Reply(NamedTuple):
    """A whole HTTP reply."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def generation(self) -> str:
        """The generation's id, which every inference reply names."""
        id = self.headers["x-generation-id"]
        assert id, f"no generation id: {self.status} {self.body[:500]!r}"
        return id


def send(
    address: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = REPLY_SECONDS,
) -> Reply:
    """One request on a connection of its own, the reply read to its end."""
    host, port = split(address)
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=timeout)) as connection:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())


def say(address: str, request: bytes, timeout: float = REPLY_SECONDS) -> bytes:
    """Sends exactly these bytes and returns everything that comes back until the other side closes."""
    with socket.create_connection(split(address), timeout=timeout) as connection:
        connection.sendall(request)
        return read_to_end(connection)


def read_to_end(connection: socket.socket) -> bytes:
    """What comes until the other side closes; a reset ends it too."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            received += piece
    return bytes(received)


def split(address: str) -> tuple[str, int]:
    """Host and port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def until(look: Callable[[], Any], what: str, seconds: float = REPLY_SECONDS) -> Any:
    """Looks again and again until it sees something true, and returns that."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.005)
    return seen


_GIVEN: deque[int] = deque(maxlen=100)


def free_port() -> int:
    """A port of the loopback that nobody listens on at this moment, outside the range that the near ends of connections are taken from."""
    for _ in range(1000):
        port = random.SystemRandom().randrange(18_000, 32_000)
        # Who asks for two at a time wants two.
        if port in _GIVEN:
            continue
        _GIVEN.append(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


class Provider:
    """The simulator, in this process."""

    def __init__(self, seed: int = 1) -> None:
        self._simulator = _native.Simulator("127.0.0.1:0", 1, seed)
        self.address: str = self._simulator.address
        self._control("POST", "record", b'{"on":true}')

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._simulator.stop()

    def requests(self, last: int | None = None) -> list[dict[str, Any]]:
        """The raw requests that came in, oldest first: `head`, `headers` (pairs), `body` (or `body_base64`)."""
        found: list[dict[str, Any]] = self._control("GET", "requests" + (f"?last={last}" if last else ""))["requests"]
        return found

    def last_request(self) -> dict[str, Any]:
        """The latest of them."""
        return self.requests(1)[0]

    def forget_requests(self) -> None:
        """Empties the list of raw requests."""
        self._control("DELETE", "requests")

    def ledger(self, after: int = 0) -> dict[str, Any]:
        """`records` that ended after sequence number `after`, and `totals`."""
        found: dict[str, Any] = self._control("GET", f"ledger?after={after}")
        return found

    def mark(self) -> int:
        """A place in the ledger, for `since`."""
        totals = self._control("GET", "ledger?limit=0")["totals"]
        return int(totals["requests"])

    def since(self, mark: int, expected: int | None = None) -> list[dict[str, Any]]:
        """The records behind a mark. With `expected`, waits until there are that many: a reply that was left ends a moment later."""
        until = time.monotonic() + REPLY_SECONDS
        while True:
            records: list[dict[str, Any]] = self.ledger(mark)["records"]
            if expected is None or len(records) >= expected or time.monotonic() > until:
                assert expected is None or len(records) == expected, records
                return records
            time.sleep(0.01)

    def open_requests(self) -> int:
        """Requests in the works."""
        return int(self._control("GET", "ledger?limit=0")["totals"]["open"])

    def _control(self, method: str, path: str, body: bytes | None = None) -> Any:
        return send(self.address, method, f"/sim/{path}", body).json()


class ProviderProcess(Provider):
    """The simulator as a process of its own, so that its ledger outlives whatever happens to a gateway."""

    def __init__(self, seed: int = 1) -> None:
        self._process = subprocess.Popen(
            [FAIRLEAD, "sim", "--address", "127.0.0.1:0", "--seed", str(seed), "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.address = json.loads(self._process.stdout.readline())["address"]

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def cost_nanousd(record: Mapping[str, Any], prices: Mapping[str, str]) -> int:
    """What a completed record of the simulator's ledger costs at dollars per million tokens: summed exactly, rounded up once."""
    cached, written = record["cached_tokens"], record["cache_write_tokens"]
    counted = {
        "prompt": record["prompt_tokens"] - cached - written,
        "cache_read": cached,
        "cache_write": written,
        "completion": record["completion_tokens"],
    }
    # A dollar per million tokens is 1,000 nano-dollars per token.
    total = sum((Decimal(prices[name]) * 1000 * tokens for name, tokens in counted.items()), Decimal(0))
    return int(total.to_integral_value(ROUND_CEILING))


def billed_nanousd(record: Mapping[str, Any], policy: str = "cancel_stops") -> int:
    """What a record of the simulator's ledger costs at `PRICES`."""
    if record["status"] != 200:
        return 0
    billed = record["billed"][policy]
    cached, written = record["cached_tokens"], record["cache_write_tokens"]
    plain = billed["prompt_tokens"] - cached - written
    return int(
        plain * PROMPT_NANOUSD
        + cached * CACHE_READ_NANOUSD
        + written * CACHE_WRITE_NANOUSD
        + billed["completion_tokens"] * COMPLETION_NANOUSD
    )


def configuration(
    provider: str | None,
    *,
    server: str = "",
    tables: str = "",
    provider_lines: str = "",
    prices: Mapping[str, str] = PRICES,
    scheme: str = "http",
    cancel_stops_billing: bool = True,
) -> str:
    """A `fairlead.toml` with the provider `lab` at `provider` (host and port), its models, two keys and a management key.

    `server` goes into `[server]`, `provider_lines` into `[providers.lab]`, `tables` stands at the end.
    """
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n{server}\n']
    parts.append(f'[keys.e2e]\nsecret = "{KEY}"\n[keys.other]\nsecret = "{OTHER_KEY}"\nmodels = ["lab/echo"]\n')
    parts.append(f'[keys.manager]\nsecret = "{MANAGEMENT_KEY}"\nmanagement = true\n')
    if provider is not None:
        parts.append(
            f'[providers.lab]\nname = "Lab"\ndialects = ["openai_chat", "anthropic_messages"]\nkeys = ["{PROVIDER_SECRET}"]\n'
            f'base_urls = {{ openai_chat = "{scheme}://{provider}/v1", anthropic_messages = "{scheme}://{provider}" }}\n'
            f"cancel_stops_billing = {str(cancel_stops_billing).lower()}\n{provider_lines}\n"
        )
        listed = ", ".join(f'{name} = "{usd}"' for name, usd in prices.items())
        for model in MODELS:
            parts.append(
                f'[models."lab/{model}"]\ncontext_length = 100000\n[[models."lab/{model}".endpoints]]\nprovider = "lab"\n'
                f'upstream_model = "sim/{model}"\nusd_per_million = {{ {listed} }}\n'
            )
    return "\n".join(parts) + "\n" + tables


class Gateway:
    """`fairlead serve` as a process. `config` is the text of its `fairlead.toml`; None: none, in a folder without one."""

    def __init__(
        self, config: str | None, *, folder: Path | None = None, environment: Mapping[str, str] | None = None, arguments: Iterable[str] = ()
    ) -> None:
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="fairlead-e2e-"))
        self.data_dir = self.folder / "data"
        self.config = self.folder / "fairlead.toml" if config is not None else None
        if self.config is not None and config is not None:
            self.config.write_text(config)
        self._environment = clean_environment(self.folder, environment)
        self._arguments = list(arguments)
        self.ready: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Gateway":
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def command(self) -> list[str]:
        """What is run."""
        config = ["--config", str(self.config)] if self.config else []
        ports = ["--data-addr", f"127.0.0.1:{free_port()}", "--admin-addr", f"127.0.0.1:{free_port()}"]
        return [FAIRLEAD, "serve", "--json", *config, *ports, "--data-dir", str(self.data_dir), *self._arguments]

    def start(self) -> "Gateway":
        """Starts it, also again in the same folder, and returns when it is ready."""
        self.launch()
        return self.await_ready()

    def launch(self) -> None:
        """Starts it without waiting."""
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        with (self.folder / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=self._environment, cwd=self.folder
            )

    def await_ready(self) -> "Gateway":
        """Waits for the line that says so."""
        assert self.process is not None and self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        line = self.process.stdout.readline() if readable else b""
        assert line, f"the gateway did not start: exit {self.process.poll()}\n{self.stderr()}"
        self.ready = json.loads(line)
        return self

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Asks it to end and returns its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the gateway did not stop\n{self.stderr()}") from None
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()
        return self.process.returncode

    def kill(self) -> None:
        """Ends it the hard way."""
        assert self.process is not None
        self.process.kill()
        self.stop()

    def close(self) -> None:
        """Ends it whatever state it is in, and removes its folder if it made it."""
        if self.process is not None:
            self.kill()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def stderr(self) -> str:
        """Everything it wrote there, over all its starts."""
        path = self.folder / "stderr"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def address(self) -> str:
        """Host and port of the traffic."""
        return str(self.ready["data"]).partition("://")[2]

    @property
    def admin(self) -> str:
        """Host and port of the operator API."""
        return str(self.ready["admin"]).partition("://")[2]

    @property
    def url(self) -> str:
        """`http://host:port` of the traffic."""
        return str(self.ready["data"])

    # --- traffic ------------------------------------------------------------------------------------------------------

    def post(self, path: str, body: Any, *, key: str | None = KEY, headers: Mapping[str, str] | None = None) -> Reply:
        """A body (bytes as they are, anything else as JSON) to a path, with a key."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return send(self.address, "POST", path, data, {"content-type": "application/json", **authorization(key), **(headers or {})})

    def get(self, path: str, *, key: str | None = KEY, headers: Mapping[str, str] | None = None) -> Reply:
        """A GET with a key."""
        return send(self.address, "GET", path, None, {**authorization(key), **(headers or {})})

    def operate(self, method: str, path: str, body: Any = None, *, token: str = ADMIN_TOKEN) -> Reply:
        """A request of the operator on the admin port."""
        data = None if body is None else json.dumps(body).encode()
        return send(self.admin, method, path, data, {"content-type": "application/json", **authorization(token)})

    def forget_health(self) -> None:
        """As if no provider had ever failed."""
        assert self.operate("DELETE", "/admin/health").status == 200

    def gauge(self, name: str) -> int:
        """A gauge of the metrics, by its name without `fairlead_`."""
        lines = self.operate("GET", "/metrics").body.decode().splitlines()
        return int(next(line for line in lines if line.startswith(f"fairlead_{name} ")).split()[1])

    def run(self, *words: str, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Another `fairlead` command for this installation, to its end."""
        config = ["--config", str(self.config)] if self.config else []
        return run([*words, *config, "--data-dir", str(self.data_dir)], self.folder, environment)

    @contextlib.contextmanager
    def stream(self, path: str, body: Any, *, key: str | None = KEY) -> Iterator[http.client.HTTPResponse]:
        """A request whose reply is read piece by piece; leaving the block early leaves the call early."""
        host, port = split(self.address)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=REPLY_SECONDS)) as connection:
            connection.request("POST", path, data, {"content-type": "application/json", **authorization(key)})
            with contextlib.closing(connection.getresponse()) as response:
                yield response

    # --- what was recorded --------------------------------------------------------------------------------------------

    def generations(self, where: str = "1", parameters: Iterable[Any] = ()) -> list[dict[str, Any]]:
        """Rows of the database as of now (the position of the journal at this call), oldest first."""
        assert self.get("/api/v1/key").status == 200
        return self.select(f"SELECT * FROM generations WHERE {where} ORDER BY started_at_ms, id", parameters)

    def generation(self, id: str) -> dict[str, Any]:
        """The one row of a generation, with its `attempts`."""
        until = time.monotonic() + REPLY_SECONDS
        while not (rows := self.generations("id = ?", [id])):
            # A caller who left is settled when its leaving is noticed, a moment later.
            assert time.monotonic() < until, f"{id} was never settled"
            time.sleep(0.01)
        assert len(rows) == 1
        return {**rows[0], "attempts": self.select("SELECT * FROM attempts WHERE generation_id = ? ORDER BY n", [id])}

    def select(self, sql: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]:
        """A question to the database as it is."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data_dir / 'fairlead.db'}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, list(parameters))]


def run(words: Iterable[str], folder: Path, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """A `fairlead` command in a folder, to its end."""
    return subprocess.run(
        [FAIRLEAD, *words],
        cwd=folder,
        env=clean_environment(folder, environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=REPLY_SECONDS,
        check=False,
    )


def authorization(key: str | None) -> dict[str, str]:
    """The header a key travels in; none for None."""
    return {} if key is None else {"authorization": f"Bearer {key}"}


def clean_environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without keys, configuration or folders of whoever runs the tests."""
    kept = {
        name: value for name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV") if (value := os.environ.get(name))
    }
    # The sockets' folder too, so that it goes with the rest.
    sockets = home / "sockets"
    sockets.mkdir(exist_ok=True)
    return {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(sockets), **(more or {})}


def sse_data(stream: bytes) -> list[Any]:
    """The data of a stream's events in order: JSON where it is JSON, else the text (`[DONE]`). Written apart from the product's decoder."""
    found: list[Any] = []
    for block in stream.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if lines:
            text = "\n".join(lines)
            try:
                found.append(json.loads(text))
            except ValueError:
                found.append(text)
    return found
