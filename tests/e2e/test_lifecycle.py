"""From the first start on: what is printed, what is refused, what is left on disk."""

import contextlib
import json
import re
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.house import (
    ADMIN_TOKEN,
    KEY,
    STOP_SECONDS,
    Gateway,
    Provider,
    clean_environment,
    configuration,
    free_port,
    run,
    send,
    split,
    sse_data,
    until,
)


class Spoken(Gateway):
    """A gateway that speaks to people: no `--json`, and what it prints goes to a file."""

    def command(self) -> list[str]:
        """Without `--json`."""
        return [word for word in super().command() if word != "--json"]

    def launch(self) -> None:
        """Starts it without waiting."""
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=self._environment, cwd=self.folder
            )

    def await_ready(self) -> "Spoken":
        """Waits for the last line of what it says at the start."""
        until(lambda: re.search(r"^ready in [0-9.]+ s\n", self.stdout(), re.MULTILINE), "ready")
        facts = {word: re.search(rf"^  {word} +(\S+)", self.stdout(), re.MULTILINE) for word in ("traffic", "admin")}
        self.ready = {name: found[1] for name, found in zip(("data", "admin"), facts.values(), strict=True) if found}
        return self

    def stdout(self) -> str:
        """What it printed at its latest start."""
        return (self.folder / "stdout").read_text()


@pytest.fixture
def nothing() -> Iterator[Spoken]:
    """A gateway without configuration in an empty folder, not started."""
    gateway = Spoken(None)
    yield gateway
    gateway.close()


def test_zero_configuration(nothing: Spoken) -> None:
    said = nothing.start().stdout()
    key, token = re.search(r"sk-fl-v1-[0-9a-f]{64}", said), re.search(r"^ +admin token +(\S+)$", said, re.MULTILINE)
    assert key and token, said
    line = re.search(r"^ +curl [^\n]*\\\n[^\n]*$", said, re.MULTILINE)
    assert line, said
    pasted = subprocess.run(["sh", "-c", line[0]], capture_output=True, timeout=STOP_SECONDS, check=True).stdout
    *chunks, last = sse_data(pasted)
    assert last == "[DONE]"
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]) == "Hello"

    assert nothing.get("/v1/models", key=key[0]).status == 200
    assert nothing.operate("GET", "/admin/status", token=token[1]).status == 200
    assert nothing.operate("GET", "/admin/status", token=key[0]).status == 401
    assert {stat.S_IMODE((nothing.data_dir / name).stat().st_mode) for name in ("secret.key", "fairlead.db", "lock")} == {0o600}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (nothing.data_dir, nothing.data_dir / "journal")} == {0o700}
    assert nothing.stop() == 0

    # Shown once; and the log never has them.
    said_again = nothing.start().stdout()
    for secret in (key[0], token[1], key[0][9:], token[1].rpartition("-")[2]):
        assert secret not in said_again + nothing.stderr()
    assert nothing.get("/v1/models", key=key[0]).status == 200
    assert nothing.operate("GET", "/admin/status", token=token[1]).status == 200
    assert nothing.stop() == 0


def test_a_provider_whose_variable_is_set_takes_the_simulators_place(nothing: Spoken) -> None:
    nothing._environment["OPENAI_API_KEY"] = "sk-not-to-be-shown"
    said = nothing.start().stdout()
    assert "simulator" not in said
    assert "sk-not-to-be-shown" not in said + nothing.stderr()
    key = re.search(r"sk-fl-v1-[0-9a-f]{64}", said)
    assert key
    ids = [model["id"] for model in nothing.get("/api/v1/models", key=key[0]).json()["data"]]
    assert ids and all(id.startswith("openai/") for id in ids)


@pytest.fixture
def running(provider: Provider) -> Iterator[Gateway]:
    """A gateway that another one gets in the way of."""
    with Gateway(configuration(provider.address)) as gateway:
        yield gateway


def serve(gateway: Gateway, data: str, admin: str, data_dir: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A further start with these places; it must end by itself."""
    return run(
        ["serve", "--config", str(gateway.config), "--data-addr", data, "--admin-addr", admin, "--data-dir", str(data_dir), *words],
        gateway.folder,
    )


def check_refused(done: "subprocess.CompletedProcess[str]", *parts: str, exit_code: int = 1) -> None:
    """One line on stderr with all of these in it, nothing else."""
    assert done.returncode == exit_code, done
    assert done.stdout == ""
    line, end, rest = done.stderr.partition("\n")
    assert end and not rest, done.stderr
    assert line.startswith("fairlead: ") and all(part in line for part in parts), line


def test_places_that_are_taken(running: Gateway) -> None:
    given: set[int] = set()

    def free() -> str:
        # A port that was free a moment ago may be offered again.
        while (port := free_port()) in given:
            pass
        given.add(port)
        return f"127.0.0.1:{port}"

    other = running.folder / "other"
    check_refused(serve(running, free(), free(), running.data_dir), str(running.data_dir), "in use", str(running.process.pid))
    check_refused(serve(running, running.address, free(), other), running.address, "taken", "--data-addr")
    check_refused(serve(running, free(), running.admin, other), running.admin, "taken", "--admin-addr")
    # A listener that would share its port is one too.
    with socket.socket() as sharing:
        sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sharing.bind(("127.0.0.1", free_port()))
        sharing.listen()
        shared = f"127.0.0.1:{sharing.getsockname()[1]}"
        check_refused(serve(running, shared, free(), other), shared, "taken")
        check_refused(serve(running, free(), shared, other), shared, "taken")
    assert running.get("/v1/models").status == 200
    assert not other.exists()


@pytest.mark.parametrize(
    ("text", "line", "path", "hint"),
    [
        ('[server]\ndta = "127.0.0.1:1"\n', 2, "server.dta", '"data"'),
        ('[servr]\ndata = "127.0.0.1:1"\n', 1, "servr", '"server"'),
        (
            '[providers.lab]\nbase_url = "http://127.0.0.1:1"\nkeys = []\ndialect = "openai_chta"\n',
            4,
            "providers.lab.dialect",
            '"openai_chat"',
        ),
        (
            '[models."a/b"]\n[[models."a/b".endpoints]]\nprovider = "opnai"\nupstream_model = "m"\n',
            3,
            'models."a/b".endpoints[0].provider',
            '"openai"',
        ),
        ("[server]\ndata = 8080\n", 2, "server.data", ""),
        ("[timeouts]\nidle_ms = 0\n", 2, "timeouts.idle_ms", ""),
        ('[keys.ci]\nsecret = "env:NOT_SET_ANYWHERE"\n', 2, "keys.ci.secret", "NOT_SET_ANYWHERE"),
        ("[server\n", 1, "", ""),
        ("[splits.x]\narms = []\n", 2, "splits.x.arms", "must not be empty"),
        ("[free_tier]\nrequests_per_minute = 0\n", 2, "free_tier.requests_per_minute", "1"),
        ('[storage]\nurl = "postgresql://x"\n', 2, "storage.url", "not in this version"),
    ],
)
def test_mistakes_in_the_configuration(tmp_path: Path, text: str, line: int, path: str, hint: str) -> None:
    config = tmp_path / "fairlead.toml"
    config.write_text(text)
    for command in ("serve", "check"):
        done = run([command, "--config", str(config)], tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), done
        found = [said for said in done.stderr.splitlines() if said.startswith(f"{config}:{line}: {path}") and hint in said]
        assert found, done.stderr
    assert not (tmp_path / ".local").exists()


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    config = tmp_path / "fairlead.toml"
    config.write_text('[server]\ndta = 1\nadmn = 2\n[limits]\nbody_byte = 3\n[keys.a]\nsecret = "env:NOPE"\n')
    done = run(["check", "--json", "--config", str(config)], tmp_path)
    assert done.returncode == 2
    places = [(mistake["line"], mistake["path"]) for mistake in json.loads(done.stdout)["errors"]]
    assert places == [(2, "server.dta"), (3, "server.admn"), (5, "limits.body_byte"), (7, "keys.a.secret")]


def test_data_of_a_newer_version_is_refused(running: Gateway) -> None:
    running.post("/v1/chat/completions", {"model": "lab/echo", "messages": [{"role": "user", "content": "hi"}]})
    assert running.stop() == 0
    database, places = running.data_dir / "fairlead.db", (f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", running.data_dir)
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'of_the_future', 'x', 0)")
    check_refused(serve(running, *places), "database", "9999", "newer version")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = 9999")

    segment = max((running.data_dir / "journal").glob("*.segment"))
    content = segment.read_bytes()
    segment.write_bytes(content[:8] + (99).to_bytes(4, "little") + content[12:])
    check_refused(serve(running, *places), "newer", str(segment.parent))
    segment.write_bytes(content)
    running.start()
    assert len(running.generations()) == 1


def test_another_secret_is_refused(running: Gateway) -> None:
    assert running.stop() == 0
    secret = running.data_dir / "secret.key"
    kept = secret.read_text()
    secret.write_text("ab" * 32 + "\n")
    places = (f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", running.data_dir)
    check_refused(serve(running, *places), "secret")
    secret.chmod(0o644)
    check_refused(serve(running, *places), "chmod 600", str(secret))
    secret.write_text(kept)
    secret.chmod(0o600)
    assert running.start().get("/v1/models").status == 200


def test_references_in_the_configuration(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    text = configuration(provider.address).replace(f'"{KEY}"', f'"file:{tmp_path / "key"}"').replace(f'"{ADMIN_TOKEN}"', '"env:TOKEN"')
    with Gateway(text, environment={"TOKEN": ADMIN_TOKEN}) as gateway:
        assert gateway.get("/v1/models").status == 200
        assert gateway.operate("GET", "/admin/status").status == 200


def test_the_configuration_is_found_where_it_may_lie(provider: Provider, tmp_path: Path) -> None:
    environment = clean_environment(tmp_path)
    for place, more in (
        ("elsewhere.toml", {"FAIRLEAD_CONFIG": "elsewhere.toml"}),
        ("fairlead.toml", {}),
        (".config/fairlead/fairlead.toml", {}),
    ):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(configuration(provider.address))
        found = json.loads(run(["check", "--json"], tmp_path, environment | more).stdout)["config"]
        assert (tmp_path / found).resolve() == path.resolve()
        path.unlink()


def test_the_traffic_port_is_bound_last(running: Gateway) -> None:
    """Whoever can connect is served: there is no moment at which the port is open and the rest is not there."""
    assert running.stop() == 0
    data = f"127.0.0.1:{free_port()}"
    running._arguments = ["--data-addr", data]
    running.launch()

    def connected() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(split(data)).close()
            return True
        return False

    until(connected, "the traffic port is open")
    assert send(data, "GET", "/readyz").status == 200
    assert send(data, "GET", "/v1/models", None, {"authorization": f"Bearer {KEY}"}).status == 200
    running.await_ready()
