"""The whole process, started as the command, around a native module without traffic; and commands beside it."""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from control_rig import attempt, generation
from fairlead.control import place, secret
from fairlead.control.hosting import Host, tcp_host, unix_host

FAKE = Path(__file__).with_name("fake_native.py")
START_SECONDS = 30


class Folder:
    """A data folder, a configuration and an environment of their own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.data = base / "data"
        self.run = base / "run"
        self.run.mkdir(mode=0o700)
        self.config = base / "fairlead.toml"
        self.config.write_text("")

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """A command line and its environment."""
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.base),
            "XDG_RUNTIME_DIR": str(self.run),
            "FAIRLEAD_CONFIG": str(self.config),
        }
        environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        return [sys.executable, str(FAKE), arguments[0], "--data-dir", str(self.data), *arguments[1:]], environ

    def fairlead(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        words, environ = self.command(*arguments)
        return subprocess.run(words, env=environ, cwd=self.base, capture_output=True, text=True, timeout=START_SECONDS, check=False)

    def said(self, kind: str) -> list[Any]:
        """What the engine was told, of one kind."""
        lines = [json.loads(line) for line in (self.data / "journal/said").read_text().splitlines()]
        return [what for said, what in lines if said == kind]

    def settle(self, *numbers: int) -> None:
        """Writes generations into the journal."""
        with (self.data / "journal/lines").open("a") as file:
            file.writelines(json.dumps([generation(number), [attempt(number)]]) + "\n" for number in numbers)


class Running:
    """A process that has said that it is ready."""

    def __init__(self, process: "subprocess.Popen[str]", facts: dict[str, Any]) -> None:
        self.process = process
        self.facts = facts
        self.stderr: list[str] = []
        self._heard = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self.stderr.append(line)
                self._heard.notify_all()

    def hears(self, text: str) -> None:
        """Returns when a line with this text was written to stderr."""
        with self._heard:
            assert self._heard.wait_for(lambda: any(text in line for line in self.stderr), START_SECONDS), self.stderr

    def ask(self, method: str, path: str, token: str, body: Any = None) -> tuple[int, Any]:
        """A request to the admin port."""
        connection = http.client.HTTPConnection(self.facts["admin"].removeprefix("http://"), timeout=START_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(START_SECONDS)
        self._listener.join(START_SECONDS)
        return code


@contextmanager
def serving(folder: Folder) -> Iterator[Running]:
    words, environ = folder.command("serve", "--json", "--data-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0")
    process = subprocess.Popen(words, env=environ, cwd=folder.base, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        running = Running(process, json.loads(line))
        yield running
        if process.poll() is None:
            assert running.stop() == 0, running.stderr
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_first_start_makes_a_key_and_says_it_once(folder: Folder) -> None:
    with serving(folder) as running:
        key, token = running.facts["key"], running.facts["admin_token"]
        assert re.fullmatch("sk-fl-v1-[0-9a-f]{64}", key)
        status, listed = running.ask("GET", "/admin/keys", token)
        assert (status, [shown["name"] for shown in listed["data"]]) == (200, ["first"])
        assert running.ask("GET", "/admin/keys", "x")[0] == 401
        assert [path.name for path in sorted(folder.data.iterdir()) if "fairlead.db-" not in path.name] == [
            "fairlead.db",
            "journal",
            "lock",
            "secret.key",
        ]
        for path in (folder.data, folder.data / "secret.key", folder.data / "fairlead.db", place_of_sockets(folder)):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    options = folder.said("options")[0]
    assert (options["cursors"], len(options["secret"])) == ([], 64)
    assert folder.said("snapshot")[0]["admin_token_hash"] == secret.stored_hash(bytes.fromhex(options["secret"]), token)
    told = folder.said("keys")
    assert (told[0]["replace"], told[0]["epoch"], [row["id"] for row in told[1]["upsert"]]) == (True, 1, [1])
    with serving(folder) as running:
        assert (running.facts["key"], running.facts["admin_token"]) == (None, None)
        assert running.ask("GET", "/admin/keys", token)[0] == 200
    told = folder.said("keys")[-1]
    assert (told["replace"], told["epoch"], [row["id"] for row in told["upsert"]]) == (True, 2, [1])


def test_the_banner_has_a_line_to_paste(folder: Folder) -> None:
    words, environ = folder.command("serve", "--data-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0")
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ready in"):
                break
        process.terminate()
        assert process.wait(START_SECONDS) == 0
    text = "".join(lines)
    found = re.search(
        r"curl -N (http://127\.0\.0\.1:\d+)/v1/chat/completions -H 'Authorization: Bearer (sk-fl-v1-\w+)' \\\n(.*)-d '(.*)'", text
    )
    assert found, text
    assert json.loads(found[4])["model"] == "sim/echo"
    assert text.count(found[2]) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_drains_the_journal_to_its_end(folder: Folder, number: signal.Signals) -> None:
    with serving(folder) as running:
        folder.settle(1, 2, 3)
        assert running.stop(number) == 0
        assert running.stderr[-1] == "fairlead: stopped\n"
    assert folder.said("applied")[-1] == [[0, 1, 0, 1, (folder.data / "journal/lines").stat().st_size]]
    assert folder.said("stop")
    usage = json.loads(folder.fairlead("usage", "--json").stdout)
    assert (usage["total"]["requests"], usage["total"]["charged_usd"]) == (3, "3.000000003")
    assert sorted(path.name for path in folder.data.iterdir()) == ["fairlead.db", "journal", "lock", "secret.key"]
    assert not list(folder.run.iterdir())


def place_of_sockets(folder: Folder) -> Path:
    return next(folder.run.iterdir())


def test_a_data_plane_that_gave_up_is_a_failure(folder: Folder) -> None:
    with serving(folder) as running:
        folder.settle(1)
        (folder.data / "journal/failure").write_text("a worker panicked")
        assert running.stop() == 1
        assert "fairlead: the data plane gave up: a worker panicked\n" in running.stderr
    assert json.loads(folder.fairlead("usage", "--json").stdout)["total"]["requests"] == 1


def test_a_second_process_on_the_folder_is_told_who_is_there(folder: Folder) -> None:
    with serving(folder) as running:
        second = folder.fairlead("serve", "--data-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0")
        assert second.returncode == 1
        assert second.stderr == f"fairlead: the data folder {folder.data} is in use by process {running.process.pid}\n"


@pytest.mark.parametrize("option", ["--admin-addr", "--data-addr"])
def test_a_busy_port_is_one_line(folder: Folder, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addresses = {"--admin-addr": "127.0.0.1:0", "--data-addr": "127.0.0.1:0"}
        addresses[option] = f"127.0.0.1:{taken.getsockname()[1]}"
        failed = folder.fairlead("serve", *(word for pair in addresses.items() for word in pair))
    assert failed.returncode == 1
    assert re.fullmatch(rf"fairlead: .*taken.*{option} .*\n", failed.stderr), failed.stderr
    assert not folder.data.exists()
    with serving(folder) as running:
        assert running.facts["key"], "a key that was never shown would be lost"


def test_a_wrong_configuration_changes_nothing(folder: Folder) -> None:
    folder.config.write_text("[server]\nadmim = 5\n")
    failed = folder.fairlead("serve")
    assert failed.returncode == 2
    assert f"{folder.config}:2: server.admim" in failed.stderr
    assert not folder.data.exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: (data / "secret.key").write_text("0" * 64), "the server secret is not the one"),
        (lambda data: (data / "secret.key").chmod(0o644), "can be read by others; run: chmod 600"),
        (lambda data: (data / "secret.key").write_text(""), "holds no secret"),
        (lambda data: (data / "fairlead.db").write_bytes(b"x" * 4096), "file is not a database"),
    ],
)
def test_a_spoilt_data_folder_is_one_line(folder: Folder, spoil: Any, message: str) -> None:
    with serving(folder):
        pass
    spoil(folder.data)
    for arguments in (["serve"], ["keys", "list"]):
        failed = folder.fairlead(*arguments)
        assert failed.returncode == 1
        assert message in failed.stderr
        assert failed.stderr.count("\n") == 1


KEY_IN_FILE = '[keys.ci]\nsecret = "ci-key-ci-key-ci-key-ci-key-0123"\nmodels = ["acme/*"]\n'


def test_a_reload_takes_what_is_good_and_refuses_the_rest(folder: Folder) -> None:
    with serving(folder) as running:
        token = running.facts["admin_token"]
        folder.config.write_text(KEY_IN_FILE)
        running.process.send_signal(signal.SIGHUP)
        running.hears("configuration 2 in force")
        told = folder.said("keys")[-1]
        assert [(row["id"], row["models"]) for row in told["upsert"]] == [(2, ["acme/*"])]
        folder.config.write_text(KEY_IN_FILE + "[server]\nworker = 1\n")
        status, refused = running.ask("POST", "/admin/reload", token)
        assert status == 422
        assert f"the running configuration stays in force: {folder.config}:5: server.worker" in refused["error"]["message"]
        running.process.send_signal(signal.SIGHUP)
        running.hears("stays in force")
        assert folder.said("keys")[-1] == told
        folder.config.write_text('[server]\nadmin_token = "another-token"\ndrain_ms = 5\n')
        status, reloaded = running.ask("POST", "/admin/reload", token)
        assert (status, reloaded["data"]["message"].partition("; ")[2]) == (200, "at the next start: server.drain_ms")
        assert folder.said("keys")[-1]["delete"] == [2]
        assert running.ask("GET", "/admin/keys", token)[0] == 401
        assert running.ask("GET", "/admin/keys", "another-token")[0] == 200
        server_secret = bytes.fromhex(folder.said("options")[0]["secret"])
        assert folder.said("snapshot")[-1]["admin_token_hash"] == secret.stored_hash(server_secret, "another-token")
        assert [snapshot["version"] for snapshot in folder.said("snapshot")] == [1, 2, 5]
        folder.config.write_text(KEY_IN_FILE)
        assert running.ask("POST", "/admin/reload", "another-token")[0] == 200
        assert [row["id"] for row in folder.said("keys")[-1]["upsert"]] == [2], "a key that comes back has its old id"


def test_a_key_made_at_run_time_does_not_become_the_files(folder: Folder) -> None:
    def file_with(key: str) -> str:
        return f'[keys.ci]\nsecret = "{key}"\nmodels = ["acme/*"]\n'

    with serving(folder) as running:
        key, token = running.facts["key"], running.facts["admin_token"]
        told = len(folder.said("keys"))
        folder.config.write_text(file_with(key))
        status, refused = running.ask("POST", "/admin/reload", token)
        what_to_do = "give another, or first: fairlead keys delete 1"
        mistake = f'{folder.config}:2: keys.ci.secret: is that of the key "first", made at run time; {what_to_do}'
        assert (status, mistake in refused["error"]["message"], len(folder.said("keys"))) == (422, True, told)
        assert key not in refused["error"]["message"]
    failed = folder.fairlead("serve")
    assert (failed.returncode, failed.stderr) == (2, mistake + "\n")
    # As it says: deleted first, it is the file's from then on, with its usage.
    assert folder.fairlead("keys", "delete", "1").returncode == 0
    with serving(folder) as running:
        assert [(row["id"], row["models"]) for row in folder.said("keys")[-1]["upsert"]] == [(1, ["acme/*"])]


def test_what_waits_for_a_start_is_told_by_what_runs(folder: Folder) -> None:
    with serving(folder) as running:
        token = running.facts["admin_token"]
        for text, later in [
            ("drain_ms = 5", "server.drain_ms"),
            ("drain_ms = 5\nworkers = 1", "server.workers, server.drain_ms"),
            ("workers = 1", "server.workers"),
            ("", ""),
        ]:
            folder.config.write_text(f"[server]\n{text}\n")
            message = running.ask("POST", "/admin/reload", token)[1]["data"]["message"]
            assert message.partition("; at the next start: ")[2] == later


def test_a_hang_up_while_it_starts_is_a_reload(folder: Folder) -> None:
    with serving(folder):
        pass
    (folder.data / "journal/hang_up").touch()
    with serving(folder) as running:
        running.hears("configuration 2 in force")


def test_a_watched_file_is_reloaded_when_it_is_saved(folder: Folder) -> None:
    folder.config.write_text("[server]\nwatch = true\n")
    with serving(folder) as running:
        folder.config.write_text("[server]\nwatch = true\n" + KEY_IN_FILE)
        running.hears("configuration 2 in force")


@pytest.mark.parametrize("alive", [True, False])
def test_keys_from_the_command_line(folder: Folder, alive: bool) -> None:
    def story() -> None:
        made = folder.fairlead("keys", "create", "ci", "--models", "acme/*")
        assert re.fullmatch("sk-fl-v1-[0-9a-f]{64}\n", made.stdout), made.stderr
        assert folder.fairlead("keys", "disable", "ci").returncode == 0
        listed = folder.fairlead("keys", "list")
        assert re.search(
            r"^ *\d+  ci +sk-fl-v1-\w{3}\.\.\.\w{3}  default  disabled  acme/\* +0  none +never$", listed.stdout, re.MULTILINE
        ), listed.stdout
        assert folder.fairlead("keys", "enable", "ci").stdout.endswith("(ci) is enabled\n")
        missing = folder.fairlead("keys", "disable", "nobody")
        assert (missing.returncode, missing.stderr) == (1, "fairlead keys: there is no key 'nobody'\n")
        assert folder.fairlead("keys", "delete", "ci").returncode == 0
        found = json.loads(folder.fairlead("keys", "list", "--json").stdout)
        assert "ci" not in [key["name"] for key in found["data"]]
        assert folder.fairlead("keys", "paint", "ci").returncode == 2

    if alive:
        with serving(folder):
            story()
            assert [len(told["upsert"]) for told in folder.said("keys")] == [0, 1, 1, 1, 1, 0]
    else:
        story()


def test_usage_is_as_of_now(folder: Folder) -> None:
    with serving(folder):
        folder.settle(1, 2)
        shown = folder.fairlead("usage", "--by", "model").stdout.splitlines()
    assert re.split(r"\s{2,}", shown[1])[:10] == ["acme/fast", "2", "0", "0", "200", "40", "14", "100", "2.000000002", "2.000000004"]
    assert shown[-1].startswith("total")


def test_the_doctor_finds_nothing_and_then_something(folder: Folder) -> None:
    def levels(result: "subprocess.CompletedProcess[str]") -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for finding in json.loads(result.stdout)["findings"]:
            found.setdefault(finding["subject"], set()).add(finding["level"])
        return found

    before = folder.fairlead("doctor", "--json")
    assert before.returncode == 0, before.stdout
    assert not (folder.data / "fairlead.db").exists()
    with serving(folder):
        alive = levels(folder.fairlead("doctor", "--json"))
        assert (alive["database"], alive["journal"], alive["clock"]) == ({"ok"}, {"ok"}, {"ok"})
        assert alive["port"] == {"fail"}, "this engine takes connections and answers nothing"
    after = folder.fairlead("doctor", "--json")
    assert {"lock", "secret", "database", "journal", "clock", "folder", "sockets", "version"} <= levels(after).keys()
    folder.config.write_text("[server]\nadmim = 5\n")
    assert levels(folder.fairlead("doctor", "--json")) == {"config": {"fail"}}
    folder.config.write_text("")
    (folder.data / "secret.key").unlink()
    missing = folder.fairlead("doctor", "--json")
    assert missing.returncode == 1
    assert levels(missing)["secret"] == {"fail"}
    assert not (folder.data / "secret.key").exists()


def test_the_run_folder_is_refused_when_another_could_have_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(path: Path, message: str | None) -> None:
        if message is None:
            place.make_run_dir(path)
        else:
            with pytest.raises(place.PlaceError, match=message):
                place.make_run_dir(path)

    open_to_all, link, file = tmp_path / "open", tmp_path / "link", tmp_path / "file"
    check(tmp_path / "new", None)
    check(tmp_path / "new", None)
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    link.symlink_to(tmp_path / "new")
    file.touch()
    check(open_to_all, "open to other users")
    check(link, "not a folder")
    check(file, "not a folder")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    check(tmp_path / "new", "belongs to another user")


def test_the_run_folders_path_is_short_enough_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    for base, expected in [(str(tmp_path), str(tmp_path)), (str(deep), "/tmp"), ("relative", "/tmp"), ("", "/tmp")]:
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)
        assert str(place.run_dir(tmp_path / "data").parent) == expected


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/endless":
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"hello"})


def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    async def answers(host: Host) -> bool:
        reader, writer = (
            await asyncio.open_unix_connection(host._place) if isinstance(host._place, str) else await asyncio.open_connection(*host._place)
        )
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        text = await reader.read()
        writer.close()
        return text.endswith((b"hello\r\n0\r\n\r\n", b"hello"))

    async def main() -> None:
        hosts = [unix_host(hello, tmp_path / "s"), tcp_host(hello, *place.free_address("127.0.0.1:0", place.Port.ADMIN))]
        for host in hosts:
            await host.start()
            assert await answers(host)
            assert host._server is not None
            host._server.wrks[0]._task.cancel()
            async with asyncio.timeout(START_SECONDS):
                while host.starts < 2 or not host._accepts():  # noqa: ASYNC110 - it has no event to wait for
                    await asyncio.sleep(0.001)
            for _ in range(20):
                assert await answers(host)
            await host.stop()
            assert not host._accepts()

    asyncio.run(main())


def test_an_endless_reply_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        host = unix_host(hello, tmp_path / "s")
        await host.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.read(10)
        await asyncio.wait_for(host.stop(timeout_seconds=0.1), 10)
        assert not (tmp_path / "s").exists()
        writer.close()

    asyncio.run(main())
