"""The commands, beside a running process and without one."""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.house import FAIRLEAD, STOP_SECONDS, Gateway, Provider, ProviderProcess, configuration, run, send
from e2e.wire import body_of


@pytest.fixture(scope="module", params=["running", "at rest"])
def installation(request: pytest.FixtureRequest, provider: Provider) -> Iterator[Gateway]:
    """An installation that has served three calls, running or not."""
    with Gateway(configuration(provider.address)) as gateway:
        for _ in range(3):
            assert gateway.post("/v1/chat/completions", body_of()).status == 200
        if request.param == "at rest":
            assert gateway.stop() == 0
        yield gateway


def said(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command that went well printed."""
    assert done.returncode == 0, done
    return done.stdout


def told(done: "subprocess.CompletedProcess[str]") -> Any:
    """The same as JSON."""
    return json.loads(said(done))


def test_keys(installation: Gateway) -> None:
    made = installation.run("keys", "create", "ci", "--models", "lab/*")
    assert re.fullmatch(r"sk-fl-v1-[0-9a-f]{64}\n", said(made))
    assert "ci" in made.stderr
    assert made.stdout.strip() not in made.stderr

    def state(name: str) -> dict[str, Any]:
        found = [key for key in told(installation.run("keys", "list", "--json"))["data"] if key["name"] == name]
        assert len(found) <= 1
        return found[0] if found else {}

    assert (state("ci")["models"], state("ci")["disabled"]) == (["lab/*"], False)
    said(installation.run("keys", "disable", "ci"))
    assert state("ci")["disabled"]
    said(installation.run("keys", "enable", state("ci")["hash"]))
    assert not state("ci")["disabled"]
    listing = said(installation.run("keys", "list"))
    assert re.search(r"^ *\d+ +ci +sk-fl-v1-", listing, re.MULTILINE)
    assert "from the file" in listing
    told(installation.run("keys", "delete", str(state("ci")["id"]), "--json"))
    assert not state("ci")

    created = told(installation.run("keys", "create", "boss", "--management", "--expires-at", "2100-01-01T00:00:00Z", "--json"))
    assert re.fullmatch(r"sk-fl-v1-[0-9a-f]{64}", created["key"])
    assert (created["data"]["management"], created["data"]["expires_at"]) == (True, "2100-01-01T00:00:00.000Z")


@pytest.mark.parametrize(
    ("words", "exit_code", "text"),
    [
        (["keys"], 2, "ACTION"),
        (["keys", "create"], 2, "NAME"),
        (["keys", "explode"], 2, "explode"),
        (["keys", "disable", "nobody"], 1, "nobody"),
        (["keys", "disable", "e2e"], 1, "[keys.e2e]"),
        (["keys", "create", "x", "--expires-at", "soon"], 2, "--expires-at"),
        (["usage", "--from", "yesterday"], 2, "yesterday"),
        (["usage", "--by", "colour"], 2, "colour"),
        (["doctor", "--loud"], 2, "--loud"),
    ],
)
def test_mistakes(installation: Gateway, words: list[str], exit_code: int, text: str) -> None:
    done = installation.run(*words)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    if exit_code == 1:
        as_json = installation.run(*words, "--json")
        assert as_json.returncode == 1
        refusal = json.loads(as_json.stdout)
        assert not refusal["ok"] and text in refusal["error"]


def test_explain(installation: Gateway) -> None:
    """A model, or a list of them alone."""
    for words, models in (
        (["lab/echo"], ["lab/echo"]),
        (["--models", "lab/fast,lab/echo"], ["lab/fast", "lab/echo"]),
        (["lab/echo", "--models", "lab/fast"], ["lab/echo", "lab/fast"]),
    ):
        candidates = told(installation.run("explain", "--json", *words))["candidates"]
        assert [candidate["model"] for candidate in candidates] == models
    for dialect in ("openai_chat", "openai_responses", "openai_completions", "anthropic_messages", "gemini_generate"):
        candidates = told(installation.run("explain", "--json", "lab/echo", "--dialect", dialect))["candidates"]
        assert [candidate["model"] for candidate in candidates] == ["lab/echo"], dialect
    done = installation.run("explain", "lab/echo", "--provider", "{")
    assert done.returncode == 2 and "--provider: Input data was truncated" in done.stderr
    for words in ([], ["--models", "lab/echo", "--dialect", "gemini_generate"]):
        done = installation.run("explain", *words)
        assert (done.returncode, done.stdout) == (2, "") and "name a" in done.stderr and "Traceback" not in done.stderr
        assert not json.loads(installation.run("explain", "--json", *words).stdout)["ok"]


def test_usage(installation: Gateway) -> None:
    # Asking brings the database up to the journal.
    found = told(installation.run("usage", "--json"))
    charged = sum(row["charged_nanousd"] for row in installation.select("SELECT * FROM generations"))
    (row,) = found["data"]
    assert (row["key_name"], row["model"], row["requests"]) == ("e2e", "lab/echo", 3)
    assert found["total"]["charged_usd"] == row["charged_usd"] == f"{charged / 10**9:.9f}".rstrip("0")
    text = said(installation.run("usage", "--by", "provider"))
    assert re.search(rf"^lab +3 +0 .* {re.escape(row['charged_usd'])} +{re.escape(row['upstream_cost_usd'])} +[-\d]", text, re.MULTILINE)
    assert told(installation.run("usage", "--json", "--to", "2001-01-01"))["total"]["requests"] == 0


def test_one_generation(installation: Gateway) -> None:
    stored = installation.select("SELECT * FROM generations")[0]
    row = told(installation.run("usage", "--json", "--generation", stored["id"]))["data"]
    assert (row["id"], row["model"], len(row["attempts"]), row["translation_losses"]) == (stored["id"], "lab/echo", 1, [])
    text = said(installation.run("usage", "--generation", stored["id"]))
    assert re.search(rf"^charged_usd +{re.escape(row['charged_usd'])}$", text, re.MULTILINE)
    refused = installation.run("usage", "--generation", "gen-unknown")
    assert (refused.returncode, "gen-unknown" in refused.stderr) == (1, True)


def test_models_and_check(installation: Gateway) -> None:
    models = told(run(["models", "--json", "--config", str(installation.config)], installation.folder))
    ids = {model["id"] for model in (models["data"] if isinstance(models, dict) else models)}
    assert ids == {f"lab/{name}" for name in ("echo", "fast", "slow", "flaky", "reason", "tools")}
    assert "lab/echo" in said(run(["models", "--config", str(installation.config)], installation.folder))
    checked = told(run(["check", "--json", "--config", str(installation.config)], installation.folder))
    assert checked["ok"] and set(checked["models"]) == ids
    assert "e2e" in said(run(["check", "--config", str(installation.config)], installation.folder))


def test_doctor(installation: Gateway) -> None:
    found = told(installation.run("doctor", "--json"))
    assert found["ok"], found
    by_subject = {finding["subject"]: finding for finding in found["findings"] if finding["subject"] != "port"}
    assert {"version", "config", "provider", "folder", "lock", "secret", "database", "journal", "clock"} <= set(by_subject)
    running = installation.process is not None and installation.process.poll() is None
    assert by_subject["lock"]["text"].startswith("process ") == running
    assert "database" in said(installation.run("doctor"))


def test_doctor_finds_what_is_wrong(installation: Gateway) -> None:
    secret = installation.data_dir / "secret.key"
    secret.chmod(0o640)
    try:
        done = installation.run("doctor", "--json")
        found = [finding for finding in json.loads(done.stdout)["findings"] if finding["level"] == "fail"]
        # At rest the database cannot be examined without it either.
        assert (done.returncode, found[0]["subject"]) == (1, "secret")
        assert {finding["subject"] for finding in found} <= {"secret", "database"}
        assert "chmod 600" in found[0]["text"]
    finally:
        secret.chmod(0o600)


def test_a_change_holds_for_the_very_next_request(gateway: Gateway, counts: Callable[[int, int], int]) -> None:
    def status(key: str) -> int:
        return gateway.post("/v1/chat/completions", body_of(), key=key).status

    for number in range(counts(10, 200)):
        made = gateway.operate("POST", "/admin/keys", {"name": f"fleeting {number}"})
        key, hash = made.json()["key"], made.json()["data"]["hash"]
        assert status(key) == 200
        gateway.operate("PATCH", f"/admin/keys/{hash}", {"disabled": True})
        assert status(key) == 401
        gateway.operate("PATCH", f"/admin/keys/{hash}", {"disabled": False, "models": ["lab/fast"]})
        assert status(key) == 403
        gateway.operate("PATCH", f"/admin/keys/{hash}", {"models": []})
        assert status(key) == 200
        assert gateway.operate("DELETE", f"/admin/keys/{hash}").status == 200
        assert status(key) == 401
    # The same through the command, which finds the running process by itself.
    key = said(gateway.run("keys", "create", "from the command")).strip()
    assert status(key) == 200
    said(gateway.run("keys", "disable", "from the command"))
    assert status(key) == 401
    said(gateway.run("keys", "enable", "from the command"))
    assert status(key) == 200
    said(gateway.run("keys", "delete", "from the command"))
    assert status(key) == 401


def test_a_key_made_at_rest_holds_when_it_runs(provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as gateway:
        assert gateway.stop() == 0
        key = said(gateway.run("keys", "create", "early")).strip()
        gateway.start()
        assert gateway.post("/v1/chat/completions", body_of(), key=key).status == 200


def test_sim() -> None:
    with ProviderProcess() as provider:
        assert send(provider.address, "GET", "/sim/healthz").json() == {"status": "ok"}
        with tempfile.TemporaryDirectory() as folder:
            taken = run(["sim", "--address", provider.address], Path(folder))
        assert (taken.returncode, taken.stdout) == (1, "")
        assert (taken.stderr.count(provider.address), taken.stderr.count("\n")) == (1, 1)
        provider._process.terminate()
        assert provider._process.wait(STOP_SECONDS) == 0


def test_a_reader_that_leaves_early_is_no_failure(installation: Gateway) -> None:
    command = f"{FAIRLEAD} models --config {installation.config} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_the_admin_port_takes_nothing_but_the_token(gateway: Gateway) -> None:
    for token in ("", "wrong", gateway.operate("POST", "/admin/keys", {"name": "manager", "management": True}).json()["key"]):
        for method, path in (
            ("GET", "/admin/keys"),
            ("POST", "/admin/keys"),
            ("POST", "/admin/reload"),
            ("GET", "/metrics"),
            ("GET", "/admin/no"),
        ):
            assert gateway.operate(method, path, {} if method == "POST" else None, token=token).status == 401
