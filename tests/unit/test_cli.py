"""The command line: dispatch, check, models, sim."""

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fairlead import cli
from fairlead.cli import COMMANDS, generation, main, sim


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No configuration and no provider's key in sight."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "FAIRLEAD_CONFIG",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "OPENROUTER_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GROQ_API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module(name: str) -> None:
    module = importlib.import_module(f"fairlead.cli.{name}")
    assert (name, COMMANDS[name]) == (module.NAME, module.HELP)
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    module.configure(parser)
    assert callable(module.run)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nope"],
        ["check", "--nope"],
        ["sim", "--threads", "0"],
        ["sim", "--seed", "x"],
        ["sim", "--address", "here"],
        ["models", "a", "b"],
        ["usage", "--to", "2026-13-01"],
    ],
)
def test_misuse_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: fairlead" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["key", "shadow"])
def test_arms_are_rows_of_their_own(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--by", "split", "--by", other]) == 2
    assert "--by split has rows of its own and cannot be combined" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["usage"], ["ledger", "export"]])
def test_days_in_the_wrong_order(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    """Refused before anything is looked for or written."""
    assert main([*command, "--from", "2026-02-02", "--to", "2026-02-01"]) == 2
    told = capsys.readouterr()
    assert "--to is before --from" in told.err and told.out == ""


@pytest.mark.parametrize("option", [["--from", "2026-01-01"], ["--to", "2026-01-01"], ["--by", "key"]])
def test_sums_and_a_generation_at_once_are_misuse(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--generation", "gen-1", *option]) == 2
    assert "--generation is about one call" in capsys.readouterr().err
    assert main(["usage", "--json", "--generation", "gen-1", *option]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False


ROW = {
    "id": "gen-1", "started_at": "2026-11-20T10:00:00.000Z", "settled_at": "2026-11-20T10:00:01.000Z", "outcome": "completed",
    "status": 200, "error": "", "requested_model": "claude\x1b[2J", "model": "acme/fast", "provider": "lab",
    "dialect": "anthropic_messages", "upstream_dialect": "", "finish_reason": "stop", "prompt_tokens": 10, "cache_read_tokens": 0,
    "cache_write_tokens": 0, "cache_write_1h_tokens": 0, "completion_tokens": 4, "reasoning_tokens": 0, "charged_usd": "0.000018",
    "upstream_cost_usd": "0.000018", "preset": "", "preset_version": "", "split": "", "arm": "", "attempts": [],
    "translation_losses": [], "translation_losses_more": 0,
}  # fmt: skip
FIELDS = """id                 gen-1
started_at         2026-11-20T10:00:00.000Z
settled_at         2026-11-20T10:00:01.000Z
outcome            completed
status             200
requested_model    claude\N{REPLACEMENT CHARACTER}[2J
model              acme/fast
provider           lab
dialect            anthropic_messages
finish_reason      stop
prompt_tokens      10
completion_tokens  4
charged_usd        0.000018
upstream_cost_usd  0.000018
"""
ATTEMPT = {
    "provider": "lab", "upstream_model": "x", "service_tier": "flex", "status": 0, "error": "connect", "latency_us": 1_600,
    "upstream_cost_usd": "0", "flags": [],
}  # fmt: skip
TRIED = "PROVIDER  MODEL  TIER  STATUS  ERROR    MS  UPSTREAM $\nlab       x      flex  -       connect   2           0\n"
SPLIT = "split              acme/assistant\narm                acme/fast:nitro\n"
SHADOWED = """PROVIDER  MODEL  TIER  STATUS  ERROR            MS  UPSTREAM $
lab       x      flex  -       connect           2           0
lab       x      flex  -       shadow: connect   2           0
"""
LOST = "LOST     WHERE            WHY\ndropped  tools[0].strict  no place\n"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, FIELDS),
        ({"attempts": [ATTEMPT]}, f"{FIELDS}\n{TRIED}"),
        (
            {"translation_losses": [{"path": "tools[0].strict", "severity": "dropped", "reason": "no place"}]},
            f"{FIELDS}\n{LOST}",
        ),
        (
            {"split": "acme/assistant", "arm": "acme/fast:nitro", "attempts": [ATTEMPT, ATTEMPT | {"flags": ["estimated", "shadow"]}]},
            f"{FIELDS.replace('model              ', SPLIT + 'model              ')}\n{SHADOWED}",
        ),
        (
            {"preset": "resilient", "preset_version": "0123456789ab"},
            FIELDS.replace(
                "model              acme", "preset             resilient\npreset_version     0123456789ab\nmodel              acme"
            ),
        ),
        ({"translation_losses_more": 2}, f"{FIELDS}\nand 2 more losses\n"),
        ({"upstream_dialect": "openai_chat"}, FIELDS.replace("finish_reason ", "upstream_dialect   openai_chat\nfinish_reason ")),
    ],
)
def test_a_generation_as_text(changes: dict[str, object], expected: str) -> None:
    assert generation.text({**ROW, **changes}) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["keys", "list", "--json"], (True, "list")),
        (["keys", "--json", "list"], (True, "list")),
        (["keys", "create", "--json", "ci"], (True, "create")),
        (["keys", "create", "--", "--json"], (False, "create")),
        (["keys", "list"], (False, "list")),
    ],
)
def test_json_may_stand_anywhere(words: list[str], expected: tuple[bool, str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.Namespace] = []

    def run(arguments: argparse.Namespace) -> int:
        seen.append(arguments)
        return 0

    monkeypatch.setattr("fairlead.cli.keys.run", run)
    assert main(words) == 0
    assert (seen[0].json, seen[0].action) == expected


@pytest.mark.parametrize(
    ("words", "option", "expected"),
    [
        (["serve", "--data-addr", "x"], "--data-addr", "\"127.0.0.1:8080\", got 'x'"),
        (["serve", "--data-addr", "127.0.0.1:99999"], "--data-addr", "\"127.0.0.1:8080\", got '127.0.0.1:99999'"),
        (["serve", "--admin-addr", ":8081"], "--admin-addr", "\"127.0.0.1:8080\", got ':8081'"),
        (["usage", "--from", "yesterday"], "--from", "2026-11-20, got 'yesterday'"),
        (["keys", "create", "ci", "--expires-at", "2027-01-01"], "--expires-at", "2027-01-01T00:00:00Z, got '2027-01-01'"),
        (["keys", "create", "ci", "--expires-at", "2027-01-01T00:00:00"], "--expires-at", "00:00Z, got '2027-01-01T00:00:00'"),
    ],
)
def test_a_wrong_word_is_misuse_and_says_what_is_expected(
    words: list[str], option: str, expected: str, capsys: pytest.CaptureFixture[str], nowhere: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option}: expected " in last and last.endswith(expected), last
    assert not [*nowhere.iterdir()]


@pytest.mark.parametrize("words", [["keys", "list"], ["keys", "disable", "ci"], ["keys", "delete", "ci"], ["usage"]])
def test_commands_about_an_installation_make_none(words: list[str], capsys: pytest.CaptureFixture[str], nowhere: Path) -> None:
    for folder in (nowhere / "missing", nowhere):
        assert main([*words, "--data-dir", str(folder)]) == 1
        assert f"there is no data folder at {folder}; " in capsys.readouterr().err
    assert not [*nowhere.iterdir()]


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["--version"], ["check", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    assert "--config F" in text


def test_help_imports_little() -> None:
    code = """import sys, fairlead.cli
try:
    fairlead.cli.main(["--help"])
except SystemExit:
    print("msgspec" in sys.modules, "fairlead.config" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_check_without_a_configuration(capsys: pytest.CaptureFixture[str], nowhere: Path) -> None:
    assert main(["check"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "configuration  none found: defaults\n"
        "traffic        127.0.0.1:8080\n"
        "admin          127.0.0.1:8081\n"
        f"data           {nowhere}/.local/share/fairlead\n"
        "providers      1 on\n"
        "  sim                no credential needed; "
        "speaks openai_chat, openai_responses, anthropic_messages, gemini_generate, bedrock_converse\n"
        "models         19\n"
        "keys           0 in the configuration\n"
    )
    assert err == ""


def test_check_says_what_would_run(capsys: pytest.CaptureFixture[str], nowhere: Path) -> None:
    text = (
        "[providers.openai]\nkeys = ['k', 'l']\n[providers.ollama]\n[keys.ci]\nsecret = '0123456789012345678901'\nmodels = ['openai/*']\n"
    )
    (nowhere / "fairlead.toml").write_text(text)
    assert main(["check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["config"] == f"{nowhere}/fairlead.toml"
    assert [(provider["slug"], provider["keys"]) for provider in found["providers"]] == [("openai", 2), ("ollama", 0)]
    assert found["keys"] == [{"name": "ci", "models": ["openai/*"], "management": False, "strict_translation": False}]
    assert "openai/gpt-5-mini" in found["models"]
    assert [warning["path"] for warning in found["warnings"]] == ["providers.ollama"]
    assert "0123456789" not in json.dumps(found)
    assert main(["check"]) == 0
    out, err = capsys.readouterr()
    assert "  openai             2 keys from the configuration; speaks openai_responses, openai_chat\n" in out
    assert "  ollama             no credential is sent; speaks openai_chat, " in out
    assert "  ci                 openai/*\n" in out
    assert err == f"{nowhere}/fairlead.toml:3: providers.ollama: warning: is on, but no model is served by it\n"


@pytest.mark.parametrize("command", ["check", "models"])
def test_a_bad_configuration_is_2(command: str, capsys: pytest.CaptureFixture[str], nowhere: Path) -> None:
    (nowhere / "bad.toml").write_text("[server]\nadmn = 1\n\nwatch = 2\n")
    assert main([command, "--config", "bad.toml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        'bad.toml:2: server.admn: unknown key "admn"; did you mean "admin"?\nbad.toml:4: server.watch: expected true or false, got 2\n'
    )
    assert main([command, "--config", "bad.toml", "--json"]) == 2
    assert [error["line"] for error in json.loads(capsys.readouterr().out)["errors"]] == [2, 4]
    assert main([command, "--config", "nope.toml"]) == 2
    assert capsys.readouterr().err == "nope.toml: cannot be read: No such file or directory\n"


def test_models(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["models", "GPT-NEW"]) == 0
    assert capsys.readouterr().out == (
        "MODEL        PROVIDER  PROMPT $/M  COMPLETION $/M  CACHE READ $/M  CONTEXT  DIALECTS                      NOTES\n"
        "sim/gpt-new  sim                1               2             0.1   128000  openai_responses openai_chat\n"
    )
    assert main(["models", "claud3"]) == 1
    assert capsys.readouterr().err == "no model matches\n"
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert main(["models", "claude-haiku-5-5", "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["data"]
    assert model["id"] == "anthropic/claude-haiku-5.5"
    assert model["endpoints"][0]["pricing"]["prompt"] == "0.0000001"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], True),
        (["--provider", "openai"], True),
        (["--provider", "groq"], False),
        (["--input", "image", "--parameter", "tools", "--context", "1000000"], True),
        (["--input", "video"], False),
        (["--parameter", "temperature"], False),
        (["--context", "1050001"], False),
    ],
)
def test_models_are_narrowed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], expected: bool) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert main(["models", "openai/gpt-5.5", "--json", *words]) == (0 if expected else 1)
    listed = {model["id"] for model in json.loads(capsys.readouterr().out)["data"]}
    assert ("openai/gpt-5.5" in listed) == expected


def test_what_belongs_to_a_sync_is_refused_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--dry-run"]) == 2
    assert "go with: fairlead models sync" in capsys.readouterr().err
    assert main(["models", "--dry-run", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert main(["models", "sync"]) == 2
    assert "give --from" in capsys.readouterr().err


def test_a_sync_takes_http_and_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["models", "sync", "--from", "ftp://feeds.test/models.json", "--data-dir", str(tmp_path)]) == 1
    assert '"ftp" is no scheme that is taken: give http://, https:// or the path of a file. Nothing was changed.' in capsys.readouterr().err


class FakeSimulator:
    """Binds nothing; fails for the address `busy:1`."""

    stopped = 0

    def __init__(self, address: str, threads: int, seed: int) -> None:
        if address == "busy:1":
            raise OSError("the simulator cannot listen on busy:1: Address already in use")
        self.address = address.replace(":0", ":4321")
        self.threads, self.seed = threads, seed

    def stop(self) -> None:
        FakeSimulator.stopped += 1


def test_sim(capsys: pytest.CaptureFixture[str]) -> None:
    def arguments(address: str, as_json: bool) -> argparse.Namespace:
        return argparse.Namespace(address=address, threads=1, seed=1, json=as_json)

    waits: list[int] = []
    assert sim.serve(arguments("127.0.0.1:0", False), FakeSimulator, lambda: waits.append(1)) == 0
    text = capsys.readouterr().out
    assert "OpenAI base URL     http://127.0.0.1:4321/v1\n" in text
    for name in ("Anthropic", "Gemini", "Bedrock"):
        assert f"{name} base URL".ljust(20) + "http://127.0.0.1:4321\n" in text
    assert "models: sim/agent sim/claude sim/claude-new sim/deepseek " in text.replace("\n", " ")
    assert "curl -N http://127.0.0.1:4321/v1/chat/completions" in text
    assert sim.serve(arguments("127.0.0.1:0", True), FakeSimulator, lambda: waits.append(1)) == 0
    assert json.loads(capsys.readouterr().out)["openai_base_url"] == "http://127.0.0.1:4321/v1"
    assert (FakeSimulator.stopped, len(waits)) == (2, 2)
    assert sim.serve(arguments("busy:1", False), FakeSimulator, lambda: waits.append(1)) == 1
    assert capsys.readouterr().err == "fairlead sim: the simulator cannot listen on busy:1: Address already in use\n"
    assert len(waits) == 2


@pytest.mark.parametrize("words", [["models", "--json"], ["models", "sim/gpt-new"], ["check"], ["check", "--help"], ["--version"]], ids=str)
def test_a_reader_that_leaves_is_no_failure(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is to say: what fits into the buffer is only written at the end."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    code = f"import sys, fairlead.cli as c; sys.exit(c.main({words}))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_commands_are_listed_once() -> None:
    files = {path.stem for path in Path(cli.__file__).parent.glob("*.py")} - {"__init__", "configured"}
    assert {*COMMANDS} <= files
