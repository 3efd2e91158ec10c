"""Logged decisions, made again: the same configuration decides the same, another one says what would differ and what that would cost.

Two simulators: one fails as it is told, which makes health differ from what it is at the start; the other one behaves.
"""

import json
import random
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple

import pytest

from e2e.house import ADMIN_TOKEN, FAIRLEAD, KEY, OTHER_KEY, Gateway, clean_environment, run, until
from e2e.judge import Judge

PRICES = {"dear": ("20", "60"), "cheap": ("1", "2"), "odd": ("3", "5.5")}
ENDPOINTS = {"acme/both": ("dear", "cheap"), "acme/cross": ("dear", "odd"), "acme/solo": ("dear",)}
REQUESTS = 320
# While the dear provider is well: later it hardly ever is, and without these a replay without it may well cost the same.
DEARLY = 6
# With one that fails, five that nobody may serve and five that only one can.
DECISIONS = REQUESTS + DEARLY + 11


def configuration(steady: str, shaky: str, without: str = "") -> str:
    """Three providers, of which one may be left out, with presets and a split."""
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\nworkers = 2\n[keys.e2e]\nsecret = "{KEY}"\n']
    parts.append(f'[keys.other]\nsecret = "{OTHER_KEY}"\nmodels = ["acme/b*", "acme/c*"]\n')
    for slug, address in (("dear", shaky), ("cheap", steady), ("odd", steady)):
        if slug != without:
            dialect, base = ("anthropic_messages", "") if slug == "odd" else ("openai_chat", "/v1")
            parts.append(f'[providers.{slug}]\ndialect = "{dialect}"\nbase_url = "http://{address}{base}"\nkeys = ["acme.1", "acme.2"]\n')
    for model, slugs in ENDPOINTS.items():
        kept = [slug for slug in slugs if slug != without]
        if kept:
            parts.append(f'[models."{model}"]\ncontext_length = 100000\n')
        for slug in kept:
            prompt, completion = PRICES[slug]
            parts.append(
                f'[[models."{model}".endpoints]]\nprovider = "{slug}"\nupstream_model = "sim/fast"\n'
                f'usd_per_million = {{ prompt = "{prompt}", completion = "{completion}", cache_read = "0.3" }}\n'
            )
    order = ", ".join(f'"{slug}"' for slug in ("dear", "cheap") if slug != without)
    parts.append(f'[presets.firm]\nmodel = "acme/both"\nprovider = {{ order = [{order}] }}\n')
    parts.append('[presets.thrifty]\nmodels = ["acme/cross", "acme/both"]\nprovider = { sort = { by = "price", partition = "none" } }\n')
    parts.append(
        '[presets.sayer]\nmodels = ["acme/both", "acme/cross"]\nmax_tokens = 700\nservice_tier = "priority"\nsystem_prompt = "Be brief."\n'
    )
    parts.append('provider = { require_parameters = true }\n[[presets.sayer.tools]]\ntype = "function"\nfunction = { name = "see" }\n')
    parts.append('[splits."acme/house"]\narms = [{ model = "acme/both", weight = 1 }, { model = "acme/cross", weight = 1 }]\n')
    return "\n".join(parts)


class Asked(NamedTuple):
    """A request that was made."""

    path: str
    body: dict[str, Any]
    key: str


def requests(seed: int) -> Iterator[Asked]:
    """Requests of every kind in every dialect."""
    draw = random.Random(seed)
    models = ["acme/both", "acme/cross", "acme/both:floor", "acme/both:nitro", "@preset/firm", "@preset/thrifty", "acme/house"]
    models += ["openrouter/auto", "acme/cross@preset/firm", "@preset/sayer", "openrouter/auto@preset/sayer"]
    wishes: list[dict[str, Any]] = [{}, {}, {}, {"sort": "price"}, {"sort": "latency"}, {"sort": "throughput"}, {"ignore": ["odd"]}]
    wishes += [{"order": ["cheap"]}, {"order": ["dear"]}, {"allow_fallbacks": False}, {"order": ["cheap", "odd"], "allow_fallbacks": False}]
    wishes += [{"preferred_max_latency": 0.001}, {"max_price": {"prompt": "10"}}]
    for number in range(REQUESTS):
        model, wish, dialect = draw.choice(models), draw.choice(wishes), draw.randrange(6)
        stream, words = draw.random() < 0.3, "Say something " * draw.choice([1, 40])
        more: dict[str, Any] = {"provider": wish} if wish else {}
        if stream and dialect < 4:
            more["stream"] = True
        if draw.random() < 0.2:
            tier = draw.choice(["low", "high", "max"])
            more["plugins"] = [{"id": "auto-router", "cost_tier": tier, "excluded_models": draw.choice([[], ["*/both"]])}]
        if draw.random() < 0.3:
            more["session_id"] = f"session-{number % 7}"
        key = OTHER_KEY if draw.random() < 0.3 else KEY
        messages = [{"role": "user", "content": words}]
        if dialect == 0:
            tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
            more |= {"tools": tools} if draw.random() < 0.5 else {"models": ["acme/cross", "acme/both"]}
            yield Asked("/api/v1/chat/completions", {"model": model, "messages": messages, **more}, key)
        elif dialect == 1:
            yield Asked("/v1/chat/completions", {"model": model, "messages": messages, "max_tokens": 60, **more}, key)
        elif dialect == 2:
            yield Asked("/v1/messages", {"model": model, "max_tokens": 200, "messages": messages, **more}, key)
        elif dialect == 3:
            yield Asked("/v1/responses", {"model": model, "input": words, **more}, key)
        elif dialect == 4:
            more.pop("session_id", None)
            contents = [{"role": "user", "parts": [{"text": words}]}]
            yield Asked(f"/v1beta/models/acme/both:{'streamG' if stream else 'g'}enerateContent", {"contents": contents, **more}, key)
        else:
            more.pop("session_id", None)
            yield Asked("/v1/completions", {"model": "acme/cross", "prompt": words, **more}, KEY)


class Past(NamedTuple):
    """A gateway that has had its requests."""

    gateway: Gateway
    steady: str
    shaky: str

    def replay(self, *words: str, config: str | None = None) -> tuple[int, Any]:
        """The command's exit status and what it said, as JSON."""
        if config is None:
            done = self.gateway.run("replay", "--json", *words)
        else:
            path = self.gateway.folder / "other.toml"
            path.write_text(config)
            done = run(["replay", "--json", "--config", str(path), "--data-dir", str(self.gateway.data_dir), *words], self.gateway.folder)
        assert done.stderr == "", done.stderr
        return done.returncode, json.loads(done.stdout)

    def each(self, config: str) -> list[dict[str, Any]]:
        """The decisions one by one, and the sums behind them."""
        path = self.gateway.folder / "other.toml"
        path.write_text(config)
        words = ["replay", "--json", "--each", "--config", str(path), "--data-dir", str(self.gateway.data_dir)]
        return [json.loads(line) for line in run(words, self.gateway.folder).stdout.splitlines()]


@pytest.fixture(scope="module")
def past() -> Iterator[Past]:
    with Judge(seed=5) as steady, Judge(seed=6) as shaky, Gateway(configuration(steady.address, shaky.address)) as gateway:
        statuses = set()
        # Nobody else is asked after this: there is no reply to go by.
        shaky.script({"fault": {"kind": "status", "status": 400}})
        body: dict[str, Any] = {"model": "@preset/firm", "messages": [{"role": "user", "content": "Hello"}]}
        assert gateway.post("/v1/chat/completions", body).status == 400
        for _ in range(DEARLY):
            assert gateway.post("/v1/chat/completions", {**body, "provider": {"order": ["dear"]}}).status == 200
        for number, asked in enumerate(requests(seed=11)):
            if number % 40 == 20:
                # Enough of them to open the breaker.
                shaky.script(*[{"fault": {"kind": "status", "status": status}} for status in (503, 429, 500, 503, 503, 503, 503)])
            statuses.add(gateway.post(asked.path, asked.body, key=asked.key).status)
        shaky.forget_scripts()
        # Some that nobody may serve, some that only the dear one can, and what is no decision.
        for _ in range(5):
            body["model"] = "acme/both"
            assert gateway.post("/v1/chat/completions", {**body, "provider": {"max_price": {"prompt": "0.1"}}}).status == 404
            gateway.post("/v1/chat/completions", {**body, "model": "acme/solo"})
            assert gateway.post("/v1/messages/count_tokens", body).status == 200
            assert gateway.post("/v1/chat/completions", {**body, "model": "acme/none"}).status == 404
        assert 200 in statuses and statuses <= {200, 404, 429, 502, 503}, statuses
        until(lambda: gateway.gauge("decisions_logged_total") == DECISIONS, "the decisions are logged")
        assert gateway.gauge("decisions_dropped_total") == 0 and gateway.gauge("decisions_bytes") > 10_000
        yield Past(gateway, steady.address, shaky.address)


def test_the_same_configuration_decides_the_same(past: Past) -> None:
    settled = past.gateway.generations()
    failed = [row for row in past.gateway.select("SELECT * FROM attempts") if row["error"]]
    assert len(failed) > 10 and {row["provider"] for row in settled} == {"dear", "cheap", "odd"}
    status, summary = past.replay("--check")
    assert (status, summary["decisions"], summary["same"], summary["same_first"]) == (0, DECISIONS, DECISIONS, DECISIONS)
    assert summary["changed"] == summary["impossible"] == [] and set(summary["unreadable"].values()) == {0}
    charged = sum(row["charged_nanousd"] for row in settled)
    ends = summary["cost"] | {"decisions": len(settled)}
    assert summary["cost"] == ends and (ends["then_nanousd"], ends["now_nanousd"]) == (charged, charged) and charged > 0
    assert summary["first_ms"] <= min(row["started_at_ms"] for row in settled) and summary["last_ms"] >= settled[-1]["started_at_ms"]


def test_a_window_and_a_limit(past: Past) -> None:
    rows = past.gateway.generations()
    assert past.replay("--limit", "7")[1]["decisions"] == 7
    assert past.replay("--since", "1h", "--until", "0s")[1]["decisions"] == DECISIONS
    middle = rows[len(rows) // 2]["started_at_ms"]
    moment = datetime.fromtimestamp(middle / 1000, UTC).isoformat()
    late, early = past.replay("--since", moment)[1]["decisions"], past.replay("--until", moment)[1]["decisions"]
    assert late + early == DECISIONS and 0 < early < late + early
    assert past.replay("--since", "7d", "--until", "6d")[1]["decisions"] == 0
    assert past.replay("--since", "7d", "--until", "6d", "--check")[0] == 1


def test_without_the_dear_provider(past: Past) -> None:
    other = configuration(past.steady, past.shaky, without="dear")
    *each, summary = past.each(other)
    rows = {row["id"]: row for row in past.gateway.generations()}
    assert len(each) == summary["decisions"] == DECISIONS
    priced, sums = 0, [0, 0]
    for told in each:
        if told["now"] is None:
            asked_for_it = "there is no provider" in told["reason"] or told["name"] == "acme/solo" or told["then"] is None
            # Or it named or shut out the others.
            assert asked_for_it or told["reason"] == "allowed_providers", told
            continue
        assert told["now"]["provider"] != "dear"
        if told["now_nanousd"] is None:
            assert told["expected_usd"] > 0 and (told["id"] not in rows or rows[told["id"]]["outcome"] == "failed"), told
            continue
        row, (prompt, completion) = rows[told["id"]], PRICES[told["now"]["provider"]]
        total = (
            Decimal(prompt) * 1000 * (row["prompt_tokens"] + row["cache_write_tokens"])
            + Decimal(completion) * 1000 * row["completion_tokens"]
        )
        total += Decimal("0.3") * 1000 * row["cache_read_tokens"]
        assert told["now_nanousd"] == int(total.to_integral_value(ROUND_CEILING)), told
        assert told["then_nanousd"] == row["charged_nanousd"]
        priced += 1
        sums = [sums[0] + told["then_nanousd"], sums[1] + told["now_nanousd"]]
    cost = summary["cost"]
    assert [cost["decisions"], cost["then_nanousd"], cost["now_nanousd"]] == [priced, *sums] and sums[0] > sums[1] and priced > 200
    changed = {(row["then"]["provider"], row["now"]["provider"]) for row in summary["changed"]}
    assert changed == {("dear", "cheap"), ("dear", "odd")} or changed > {("dear", "cheap"), ("dear", "odd")}, changed
    assert sum(row["decisions"] for row in summary["changed"]) == sum(
        told["then"] is not None and told["now"] is not None and told["then"]["endpoint"] != told["now"]["endpoint"] for told in each
    )
    [solo] = [row for row in summary["impossible"] if row["model"] == "acme/solo"]
    assert solo["decisions"] == 5 and "acme/solo" in solo["reason"]
    [dear, *_] = [row for row in summary["impossible"] if "provider" in row["reason"]]
    assert dear["reason"] == 'there is no provider "dear"' and dear["then_nanousd"] > 0
    assert past.replay("--check", config=other)[0] == 1


def test_a_preset_that_changes_is_heard(past: Past) -> None:
    """Names are looked up again, so that what a name stands for may differ."""
    other = configuration(past.steady, past.shaky).replace('order = ["dear", "cheap"]', 'order = ["cheap"]')
    *each, summary = past.each(other)
    moved = [told for told in each if told["then"] and told["now"] and told["then"]["endpoint"] != told["now"]["endpoint"]]
    assert moved and {told["name"] for told in moved} <= {"@preset/firm", "acme/cross@preset/firm"}
    assert {(told["then"]["provider"], told["now"]["provider"]) for told in moved} >= {("dear", "cheap")}
    # It is listed alone, and some want nobody beside those that are listed.
    assert {row["model"] for row in summary["impossible"]} <= {"acme/cross@preset/firm"}
    assert summary["same"] < summary["decisions"]


def test_dearer_prices_of_the_same_endpoints(past: Past) -> None:
    """What is reported by the provider or insured stays; all else costs twice as much."""
    other = configuration(past.steady, past.shaky)
    for prompt, completion in PRICES.values():
        twice = f'prompt = "{Decimal(prompt) * 2}", completion = "{Decimal(completion) * 2}", cache_read = "0.6"'
        other = other.replace(f'prompt = "{prompt}", completion = "{completion}", cache_read = "0.3"', twice)
    *each, _ = past.each(other)
    same = [told for told in each if told["same"] and told["then_nanousd"]]
    assert len(same) > 100 and all(told["now_nanousd"] == 2 * told["then_nanousd"] for told in same)


def test_text_is_for_people(past: Past) -> None:
    done = past.gateway.run("replay")
    assert done.returncode == 0 and f"{DECISIONS} decisions" in done.stdout and "100 %" in done.stdout, done.stdout + done.stderr
    path = past.gateway.folder / "other.toml"
    path.write_text(configuration(past.steady, past.shaky, without="dear"))
    done = run(["replay", "--each", "--config", str(path), "--data-dir", str(past.gateway.data_dir)], past.gateway.folder)
    for words in ("acme/both at dear", "NO LONGER POSSIBLE", "THEN $", "acme/solo", "at the usage that there was", "-> expected"):
        assert words in done.stdout, words


def test_nothing_of_a_prompt_or_a_key_is_logged(past: Past) -> None:
    log = b"".join(path.read_bytes() for path in sorted((past.gateway.data_dir / "decisions").iterdir()))
    assert b"acme/both" in log
    for secret in (b"Say something", b"session-", KEY.encode(), OTHER_KEY.encode(), b"acme.1", b"look"):
        assert secret not in log, secret
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (past.gateway.data_dir / "decisions").iterdir())


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--since", "2999-01-01"], 2, "in the future"),
        (["--since", "soon"], 2, "how long ago"),
        (["--since", "1h", "--until", "2h"], 2, "--until is not after --since"),
        (["--limit", "0"], 2, "above 0"),
        (["--since", "999999d", "--until", "999998d"], 2, "--until is not after"),
        (["--config", "nothing.toml"], 2, "nothing.toml"),
        (["--config", "broken.toml"], 2, "broken.toml"),
        (["--data-dir", "elsewhere"], 1, "no decisions are logged at"),
    ],
)
def test_what_is_wrong_is_said(past: Past, words: list[str], status: int, said: str) -> None:
    folder = past.gateway.folder
    (folder / "broken.toml").write_text('[providers.x]\nbase_url = "http://h/v1"\nunknown = 1\n')
    done = run(["replay", *([] if "--config" in words else ["--config", str(past.gateway.config)]), *words], folder)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--each"], ["--json", "--each"], []], ids=str)
def test_a_reader_that_leaves_is_no_failure(past: Past, words: list[str]) -> None:
    command = [FAIRLEAD, "replay", "--config", str(past.gateway.config), "--data-dir", str(past.gateway.data_dir), *words]
    environment = clean_environment(past.gateway.folder)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_it_can_be_switched_off_and_a_dead_server_has_left_its_log(past: Past) -> None:
    gateway = past.gateway
    before = gateway.gauge("decisions_logged_total")
    assert gateway.config is not None
    config = gateway.config.read_text()
    gateway.config.write_text(f"{config}\n[logging]\ndecisions = false\n")
    assert gateway.operate("POST", "/admin/reload").status == 200
    body = {"model": "acme/both", "messages": [{"role": "user", "content": "Hello"}]}
    assert gateway.post("/v1/chat/completions", body).status == 200
    gateway.config.write_text(config)
    assert gateway.operate("POST", "/admin/reload").status == 200
    assert gateway.post("/v1/chat/completions", body).status == 200
    until(lambda: gateway.gauge("decisions_logged_total") == before + 1, "what is logged again")
    last = gateway.generations()[-1]
    gateway.kill()
    status, summary = past.replay("--check")
    assert (status, summary["decisions"]) == (0, DECISIONS + 1)
    assert summary["last_ms"] == last["started_at_ms"] and summary["cost"]["then_nanousd"] == summary["cost"]["now_nanousd"]
    # A torn tail costs what was torn.
    log = max((gateway.data_dir / "decisions").iterdir())
    log.write_bytes(log.read_bytes()[:-5])
    status, summary = past.replay("--check")
    assert status == 0 and 0 < summary["decisions"] < DECISIONS + 1
