"""What the pages about models, budgets, alerts, splits and configuration are told."""

import json
import re
import sqlite3
from collections.abc import Container
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from control_rig import DAY_MS, NOW_MS, attempt, generation
from fairlead import config
from fairlead.catalog import shipped
from fairlead.config import Budget, Limits
from fairlead.config.alerts import AlertSettings
from fairlead.config.schema import Credits
from fairlead.config.view import ArmView, Price, PriceOverride, Rates, SplitView
from fairlead.control import alerts
from fairlead.control.db import TookLong, connection
from fairlead.control.directory import NewKey, NewScope, select
from fairlead.control.offer import Offer
from fairlead.control.operator import arms, catalogue, configuration, drains, figures
from fairlead.control.replies import Refusal
from operator_rig import PASSWORD, Port, tell

QUANTILES = {"p50": 410.0, "p75": 500.0, "p90": 900.0, "p99": 2000.0}


def report(**changes: Any) -> bytes:
    known = {
        "endpoint": 7, "model": "acme/fast", "provider": "lab", "service_tier": None, "breaker": "open", "outage": True, "standing": "down",
        "uptime": [50.0, None, 99.5], "first_token_ms": QUANTILES, "tokens_per_second": None, "tool_calls": None, "keys": [0, 2],
    }  # fmt: skip
    return json.dumps([known | changes]).encode()


def test_models_with_prices_health_and_use(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        port.journal.known_health = report()
        first, *others = port.desk.offer.models
        limited = msgspec.structs.replace(first, rpm=60, max_concurrency=4)
        port.desk.offer = Offer((limited, *others), [*port.desk.offer.providers.values()])
        port.journal.records += [(generation(n, charged_nanousd=10**9), [attempt(n)]) for n in range(3)]
        page = (await port.script.get("/admin/models")).json()
        assert [line["id"] for line in page["data"]] == ["acme/fast", "acme/cheap:free"] and page["total"] == 2
        fast, cheap = page["data"]
        assert (fast["requests_7d"], fast["usd_7d"], cheap["requests_7d"]) == (3, "3", 0)
        assert (fast["rpm"], fast["tpm"], fast["max_concurrency"], cheap["rpm"]) == (60, None, 4, None)
        [endpoint] = fast["endpoints"]
        assert endpoint["prices"]["prompt"] == "3" and endpoint["prices"]["cache_read"] is None
        assert endpoint["health"]["breaker"] == "open" and endpoint["health"]["first_token_ms"]["p90"] == 900
        assert (endpoint["health"]["uptime_30m"], endpoint["health"]["keys_ready"], endpoint["health"]["keys"]) == (None, 0, 2)

        async def ids(query: str) -> list[str]:
            return [line["id"] for line in (await port.script.get(f"/admin/models?{query}")).json()["data"]]

        assert await ids("sort=price") == ["acme/cheap:free", "acme/fast"] and await ids("sort=name") == ["acme/cheap:free", "acme/fast"]
        assert await ids("q=QUICK") == ["acme/fast"] and await ids("parameters=tools,tool_choice") == ["acme/fast"]
        assert await ids("provider=nobody") == [] and await ids("input=audio") == [] and len(await ids("context=100000&input=image")) == 2
        for sort in ("context", "first_token", "throughput", "newest", "completion_price"):
            assert len(await ids(f"sort={sort}")) == 2
        assert (await port.script.get("/admin/models?sort=beauty")).status_code == 400
        assert (await port.script.get("/admin/models/fast")).json()["data"]["id"] == "acme/fast"
        assert (await port.script.get("/admin/models/acme/fast")).json()["data"]["id"] == "acme/fast"
        assert (await port.script.get("/admin/models/acme/none")).status_code == 404
        [provider] = (await port.script.get("/admin/providers")).json()["data"]
        assert (provider["slug"], provider["models"]) == ("lab", 2) and [each["id"] for each in provider["endpoints"]] == [7]

    tell(tmp_path, story)


def test_what_a_prompt_would_cost(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        async def ask(**body: Any) -> Any:
            return await port.script.post("/admin/estimate", content=json.dumps(body).encode())

        response = await ask(models=["acme/fast", "acme/cheap:free"], prompt_tokens=1200, completion_tokens=400)
        assert [(line["model"], line["usd"]) for line in response.json()["data"]] == [("acme/cheap:free", "0"), ("acme/fast", "0.0096")]
        assert (await ask(models=["fast"], text="x" * 400)).json()["data"][0]["prompt_tokens"] == 100
        for body in (
            {"models": []},
            {"models": ["x"], "prompt_tokens": 1},
            {"models": ["fast"]},
            {"models": ["fast"], "text": "x", "prompt_tokens": 1},
        ):
            assert (await ask(**body)).status_code == 400

    tell(tmp_path, story)


def test_prices_under_conditions() -> None:
    price = Price(
        1000, 2000, cache_read=100, request=5000,
        overrides=(
            PriceOverride(Rates(prompt=3000), prompt_tokens_above=200),
            PriceOverride(Rates(completion=500), hours=((0, 60),)),
            PriceOverride(Rates(prompt=10), service_tier="flex"),
        ),
    )  # fmt: skip

    def costs(tier: str | None, minute: int, prompt: int, cached: int, completion: int) -> int:
        # 1970-01-05 was a Monday; any week will do.
        return catalogue.cost_nanousd(price, tier, (4 + 7 * 2900) * DAY_MS + minute * 60_000, prompt, cached, completion)

    assert costs(None, 90, 100, 40, 10) == 60 + 4 + 20 + 5
    assert costs(None, 90, 200, 0, 0) == 205 and costs(None, 90, 201, 0, 0) == 608
    assert costs(None, 59, 0, 0, 10) == 10 and costs("flex", 90, 300, 0, 0) == 8


def test_budgets_nearest_to_their_limit_first(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        port.directory.create_scope(NewScope("team", "red", limits=Limits(limit_nanousd=100 * 10**9, limit_interval="month")))
        own = Limits(limit_nanousd=5 * 10**9, limit_interval="day", budgets=(Budget("week", 10**9, True),))
        key, _ = port.directory.create(NewKey(name="ci", team="red", limits=own))
        port.journal.records.append((generation(1, key_id=key.id, team_id=1, charged_nanousd=2 * 10**9), [attempt(1)]))
        port.journal.counted["key", key.id] = (2 * 10**9, 2 * 10**9, 2 * 10**9, 2 * 10**9, 5 * 10**8)
        lines = (await port.script.get("/admin/budgets")).json()["data"]
        assert [(line["kind"], line["interval"], line["soft"]) for line in lines] == [
            ("key", "day", False), ("team", "month", False), ("key", "week", True),
        ]  # fmt: skip
        day, month, week = lines
        assert (day["spent_usd"], day["reserved_usd"], day["remaining_usd"], day["used_share"]) == ("2", "0.5", "2.5", 0.4)
        assert (day["resets_at"], week["resets_at"]) == ("2025-11-22T00:00:00.000Z", "2025-11-24T00:00:00.000Z")
        assert month["resets_at"] == "2025-12-01T00:00:00.000Z" and week["used_share"] == 2.0
        port.directory.change(lambda connection: select(connection, str(key.id)), {"disabled": 1})
        lines = (await port.script.get("/admin/budgets")).json()["data"]
        assert {(line["kind"], line["disabled"]) for line in lines} == {("key", True), ("team", False)}
        port.user("bob", "viewer")
        bob = port.browser()
        await bob.log_in(name="bob", password=PASSWORD)
        assert (await bob.send("GET", "/admin/budgets")).json()["data"] == []

    tell(tmp_path, story)


def test_alerts_are_listed_tested_and_silenced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(port: Port) -> None:
        path = "/admin/alerts"
        assert (await port.script.post(f"{path}/test")).status_code == 409
        port.desk.alerts = AlertSettings(webhook_url="https://user:pass@hooks.acme.example/x", webhook_secret="s" * 16)
        port.directory.create(NewKey(name="ci", limits=Limits(limit_nanousd=10**9)))
        port.journal.records.append((generation(1, key_id=2, charged_nanousd=9 * 10**8), [attempt(1)]))
        await port.drainer.catch_up()
        raised = await alerts.raise_all(port.database, port.desk.alerts, False, NOW_MS)
        assert len(raised) == 1
        shown = (await port.script.get(path)).json()
        assert shown["rules"]["channels"] == [{"kind": "webhook", "to": "hooks.acme.example"}]
        [line] = shown["data"]
        assert line["kind"] == "budget" and line["facts"]["threshold_percent"] == 80
        assert line["deliveries"] == [{"channel": "webhook", "attempts": 0, "done_at": None}]
        # Silence: what is raised is listed, and sent nowhere.
        assert (await port.script.put(f"{path}/silence", content=b'{"minutes":60}')).status_code == 200
        assert (await port.script.get(path)).json()["rules"]["silenced_until"] == "2025-11-21T17:20:00.000Z"
        port.journal.records.append((generation(2, key_id=2, charged_nanousd=9 * 10**8), [attempt(2)]))
        await port.drainer.catch_up()
        await alerts.raise_all(port.database, port.desk.alerts, False, NOW_MS)
        assert (await port.script.get(f"{path}?limit=1")).json()["data"][0]["deliveries"] == []
        port.now_ms += 3_600_000
        assert (await port.script.get(path)).json()["rules"]["silenced_until"] is None
        sent: list[Any] = []

        def refuse(delivery: Any, *_: Any) -> None:
            sent.append(delivery)
            raise OSError("it answered 500")

        monkeypatch.setattr(alerts, "send", refuse)
        [tested] = (await port.script.post(f"{path}/test")).json()["data"]
        assert tested == {"channel": "webhook", "delivered": False, "error": "OSError: it answered 500"} and len(sent) == 1
        said = [entry["action"] for entry in port.audit() if entry["action"].startswith("alerts")]
        assert said == ["alerts.silence", "alerts.test"]

    tell(tmp_path, story)


def test_intervals() -> None:
    low, high = arms.interval(5, 100)
    assert (round(low, 4), round(high, 4)) == (0.0215, 0.1118)
    assert arms.interval(0, 10)[0] == 0 and arms.interval(10, 10)[1] > 0.999


# --- secrets of a file ------------------------------------------------------------------------------------------------

FILE = """# the old one was very-secret-token
[server]
admin_token = "very-secret-token"  # keep
[providers.lab]
dialect = "openai_chat"
base_url = "http://127.0.0.1:9/v1"
keys = ["lab-key-1", "env:OTHER", { secret = "lab-key-12" }]
headers = { x-team = "team-header" }
[keys.ci]
secret = "file:/x"
"""


MARKS_KEY = b"k" * 32


def marked(text: str) -> str:
    found = configuration.masked(text, MARKS_KEY)
    assert found is not None
    return found


def test_secrets_leave_the_file_as_marks_and_come_back() -> None:
    masked = marked(FILE)
    for secret in ("very-secret-token", "lab-key-1", "team-header"):
        assert secret not in masked
    [first, again] = re.findall("«kept [0-9a-f]{12}»", masked)[:2]
    assert first == again and "env:OTHER" in masked and "file:/x" in masked and "# keep" in masked
    assert configuration.unmasked(masked, MARKS_KEY, [FILE]) == FILE
    moved = masked.replace('dialect = "openai_chat"\n', "")
    assert configuration.unmasked(moved, MARKS_KEY, [FILE]) == FILE.replace('dialect = "openai_chat"\n', "")
    assert configuration.masked(FILE, b"other" * 8) != masked
    for sources in ([FILE], []):
        with pytest.raises(Refusal, match=r"line 2: «kept 0{12}»"):
            configuration.unmasked('[server]\nadmin_token = "«kept 000000000000»"', MARKS_KEY, sources)
    broken = masked.replace("[server]", "[server")
    assert configuration.unmasked(broken, MARKS_KEY, [FILE]) == broken, "no TOML: nothing is said about what stands there"


def test_a_mark_means_the_same_secret_in_every_file() -> None:
    """Whoever edits beside somebody, or puts an old text back, gets no other secret than the one that was hidden."""
    now = FILE.replace('"lab-key-1"', '"a-new-and-longer-lab-key"').replace("very-secret-token", "token-of-today")
    assert configuration.unmasked(marked(FILE), MARKS_KEY, [now, FILE]) == FILE
    edited = marked(FILE).replace("# keep", "# kept")
    assert configuration.unmasked(edited, MARKS_KEY, [now, FILE]) == FILE.replace("# keep", "# kept")
    with pytest.raises(Refusal, match="stands for no secret"):
        configuration.unmasked(marked(FILE), MARKS_KEY, [now])


def test_a_short_secret_is_hidden_where_it_is_one() -> None:
    text = '[providers.lab]\nkeys = ["k", "kk"]  # k\nheaders = { x-kind = "kept" }\n'
    masked = marked(text)
    assert "[providers.lab]\nkeys = [" in masked and masked.count("«kept ") == 3 and "# k\n" in masked
    assert configuration.unmasked(masked, MARKS_KEY, [text]) == text


@pytest.mark.parametrize(
    "text",
    [
        '[server]\nworkers = "KEPT"',
        '[server]\n"KEPT" = 1',
        '[server]\n"KEPT" = {}',
        '[server]\nadmin_token = "env:KEPT"',
        '[server]\nadmin_token = "xKEPT"',
        '[providers."KEPT"]\nkeys = ["KEPT"]',
        '[models.a]\nname = """\nKEPT"""',
    ],
)
def test_a_mark_stands_for_a_secret_alone(text: str) -> None:
    """What is said of other values, and what is shown of them, would tell it."""
    kept = re.findall("«kept [0-9a-f]{12}»", marked(FILE))[0]
    with pytest.raises(Refusal, match=r"line [12]: «kept …» stands for the whole of a secret"):
        configuration.unmasked(text.replace("KEPT", kept), MARKS_KEY, [FILE])


def test_what_happens_to_be_as_a_secret_stays_where_it_is() -> None:
    file = '[server]\nadmin_token = "assistant"\n[splits."an assistant"]\narms = [{ model = "lab/assistant" }]\n'
    masked = marked(file)
    assert "assistant" not in masked
    assert configuration.unmasked(masked + "[timeouts]\n", MARKS_KEY, [file]) == file + "[timeouts]\n"
    assert configuration.masked(file.replace('"an assistant"', "assistant"), MARKS_KEY) is None


def test_a_secret_that_cannot_be_found_as_it_is_written_hides_the_whole() -> None:
    assert configuration.masked('[server]\nadmin_token = "with\\u0041escape"\n', MARKS_KEY) is None
    assert configuration.masked("[server\n", MARKS_KEY) is None
    assert configuration.masked("[server]\n", MARKS_KEY) == "[server]\n"


def test_the_file_is_replaced_at_once_and_keeps_its_mode(tmp_path: Path) -> None:
    path, link = tmp_path / "real.toml", tmp_path / "fairlead.toml"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    configuration._replace(link, "new")
    assert link.is_symlink() and path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["fairlead.toml", "real.toml"]
    for number in range(configuration.MOST_KEPT + 5):
        configuration._keep(tmp_path, str(number), NOW_MS + number)
    kept = configuration._kept_files(tmp_path / configuration.HISTORY)
    assert len(kept) == configuration.MOST_KEPT and kept[0].read_text() == str(configuration.MOST_KEPT + 4)
    assert kept[0].stat().st_mode & 0o777 == 0o600 and kept[0].parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_could_not_be_put_in_force_is_gone_again(tmp_path: Path) -> None:
    path, text = tmp_path / "fairlead.toml", '[server]\nadmin_token = "0123456789abcdef"\n'
    path.write_text(text)

    class Configured:
        data_dir, failure = tmp_path, None

        def judge(self, text: str, known: Container[str] | None = None) -> tuple[config.Loaded, config.Compiled]:
            loaded = config.read(text, path, {}, known)
            return loaded, config.compile(loaded, shipped(), {}, today=date(2026, 11, 21))

        def __init__(self) -> None:
            self.loaded, self.compiled = self.judge(text)

    async def broken() -> str:
        raise sqlite3.OperationalError("disk I/O error")

    async def story(port: Port) -> None:
        port.desk.configured, port.desk.reload = Configured(), broken
        failed = await port.script.put("/admin/config", json={"text": text + "[timeouts]\nconnect_ms = 5\n"})
        assert failed.status_code == 503 and path.read_text() == text

    tell(tmp_path, story)


# --- questions that take long -----------------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"


def test_a_page_that_asks_for_too_much_is_ended_and_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.05)

    async def story(port: Port) -> None:
        with pytest.raises(TookLong):
            await port.database.look(lambda c: c.execute(ENDLESS).fetchall())
        # The connection is as good as before.
        assert await port.database.look(lambda c: c.execute("SELECT 1").fetchone()) == (1,)
        monkeypatch.setattr(figures, "_charted", lambda look, *_: look._connection.execute(ENDLESS).fetchall())
        refused = await port.script.get("/admin/usage/series")
        assert refused.status_code == 503 and "ask for less" in refused.json()["error"]["message"]

    tell(tmp_path, story)


def test_a_drain_ends_by_itself(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        published: list[int] = []

        async def republish() -> None:
            published.append(port.now_ms)

        port.desk.republish = republish
        other = drains.Drained(endpoint=99, until_ms=NOW_MS + 10 * 60_000, by="x", note="")
        done = drains.Drained(endpoint=7, until_ms=NOW_MS + 60_000, by="x", note="")
        await port.database.write(lambda c: drains.store(c, [other, done]))
        await drains.end(port.desk)
        assert published == []
        port.now_ms += 60_000
        await drains.end(port.desk)
        assert published == [port.now_ms] and await port.database.read(drains.stored) == [other]
        entry = port.audit()[-1]
        assert (entry["actor_kind"], entry["action"], entry["after"]) == ("process", "endpoint.enable", {"by": "time"})

    tell(tmp_path, story)


def test_credit_is_shown_with_what_there_was_after(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        for usd in ("5", "2.5"):
            await port.script.post("/admin/credits", content=json.dumps({"account": "default", "usd": usd}).encode())
        await port.script.post("/admin/credits/1/refund", content=b'{"usd":"1"}')
        port.journal.counted["account", 1] = (0, 0, 0, 0, 3 * 10**8)
        shown = (await port.script.get("/admin/credits?limit=2")).json()
        assert [(entry["id"], entry["credits_after_usd"], entry["left_usd"]) for entry in shown["data"]] == [
            (3, "6.5", "0"), (2, "7.5", "2.5"),
        ]  # fmt: skip
        assert (shown["next"], shown["enforced"], shown["data"][0]["actor"]) == (2, False, "admin token")
        assert [one["credit_left_usd"] for one in (await port.script.get("/admin/accounts")).json()["data"]] == [None]
        port.desk.credits = Credits(enforce=True)
        assert (await port.script.get("/admin/credits?limit=2")).json()["enforced"] is True
        assert [one["credit_left_usd"] for one in (await port.script.get("/admin/accounts")).json()["data"]] == ["6.2"]
        last = (await port.script.get(f"/admin/credits?limit=2&before={shown['next']}")).json()
        assert [(entry["id"], entry["left_usd"]) for entry in last["data"]] == [(1, "4")] and last["next"] is None
        assert shown["accounts"][0] == {
            "account": "default", "credits_usd": "6.5", "usage_usd": "0", "balance_usd": "6.5", "reserved_usd": "0.3",
        }  # fmt: skip

    tell(tmp_path, story)


def test_logged_content_is_for_admins_and_its_opening_is_audited(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        key = port.directory.create(NewKey(name="logged"))[0]
        kept, silent = (generation(number, key_id=key.id, account_id=1) for number in (1, 2))
        port.journal.records += [(kept, [attempt(1)]), (silent, [attempt(2)])]
        told = {"input": {"messages": []}, "output": {"completion": "Hi", "reasoning": None}, "error": None, "truncated": []}
        port.journal.contents[1, kept[0]] = json.dumps(told).encode()
        admin, member = await port.as_role("admin"), await port.as_role("member")
        assert (await member.send("GET", f"/admin/requests/{kept[0]}/content")).status_code == 403
        for id in (silent[0], "gen-none"):
            assert (await admin.send("GET", f"/admin/requests/{id}/content")).status_code == 404
        assert not [entry for entry in port.audit() if entry["action"] == "content.open"]
        assert (await admin.send("GET", f"/admin/requests/{kept[0]}/content")).json()["data"] == told
        [entry] = [entry for entry in port.audit() if entry["action"] == "content.open"]
        assert (entry["actor_kind"], entry["actor"], entry["target_id"]) == ("user", "admin", kept[0])

    tell(tmp_path, story)


def test_what_a_key_does_with_content_replies_and_end_users_is_an_edit(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        admin = await port.as_role("admin")
        seen = (await admin.send("GET", "/admin/keys/first")).headers["etag"]
        body = {"content": True, "response_cache": False, "end_user": {"rpm": 3}}
        changed = await admin.send("PATCH", "/admin/keys/first", body, if_match=seen)
        assert changed.status_code == 200, changed.text
        shown = changed.json()["data"]
        assert (shown["content"], shown["response_cache"], shown["end_user"]["rpm"]) == (True, False, 3)
        late = await admin.send("PATCH", "/admin/keys/first", {"rpm": 9}, if_match=seen)
        assert late.status_code == 412 and late.json()["error"]["changed"] == ["content", "end_user", "response_cache"]
        [entry] = [entry for entry in port.audit() if entry["action"] == "key.change"]
        assert entry["before"] == {"content": None, "response_cache": None, "end_user": None}
        assert entry["after"]["content"] is True and entry["after"]["end_user"]["rpm"] == 3

    tell(tmp_path, story)


def test_what_came_of_each_arm(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        for number in range(10):
            facts = {"split": "acme/assistant", "arm": "acme/fast" if number < 8 else "acme/old", "streamed": 1}
            times = {"content_us": 200_000, "total_us": 1_000_000, "charged_nanousd": 3 * 10**9}
            failed = {"outcome": "failed", "error": "timeout"} if number < 2 else {}
            other = {"account_id": 9} if number == 9 else {}
            port.journal.records.append((generation(number, **facts, **times, **failed, **other), [attempt(number)]))
        arms = [{"model": "acme/fast", "weight": 3}, {"model": "new", "weight": 1}]
        document = SimpleNamespace(tree={"splits": {"acme/assistant": {"arms": arms}}})
        view = SplitView("acme/assistant", tuple(ArmView(**arm) for arm in arms))  # type: ignore[arg-type]
        port.desk.configured = SimpleNamespace(  # type: ignore[assignment]
            compiled=SimpleNamespace(splits=(view,), presets=()), loaded=SimpleNamespace(document=document, references={})
        )
        port.directory.create_scope(NewScope("account", "other"))
        [shown] = (await port.script.get("/admin/splits")).json()["data"]
        fast, new, old = shown["arms"]
        assert (fast["share"], fast["requests"], fast["failed"], fast["cost_per_request_usd"]) == (0.75, 8, 2, "3")
        assert abs(fast["first_token_p50_ms"] - 200) <= 10 and abs(fast["total_p50_ms"] - 1000) <= 50
        assert fast["first_token_low_ms"] <= fast["first_token_p50_ms"] <= fast["first_token_high_ms"]
        assert (new["requests"], new["first_token_p50_ms"], new["failed_share"]) == (0, None, None)
        assert (old["weight"], old["requests"]) == (None, 1)

    tell(tmp_path, story)
