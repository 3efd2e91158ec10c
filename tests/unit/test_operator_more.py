"""More of the admin port: prices since when, uptime by half hours, probes, past decisions, shared answers, whose key pays."""

import asyncio
import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from control_rig import DAY_MS, NOW_MS, attempt, generation
from fairlead.catalog import Catalogue
from fairlead.catalog.schema import CatalogueEndpoint, DatedPrice, ModelFacts, ModelFile, UsdPerMillion
from fairlead.control import secret
from fairlead.control.directory import NewKey, NewScope
from fairlead.control.operator import figures, playground, prices, probe, recall, uptime
from fairlead.control.operator.shared import Answers
from fairlead.control.replies import Refusal
from operator_rig import PASSWORD, SECRET, Port, tell
from starlette.responses import Response

HALF_HOUR_MS = 1_800_000


# --- prices -----------------------------------------------------------------------------------------------------------


def dated(day: str, prompt: str) -> DatedPrice:
    at = date.fromisoformat(day)
    return DatedPrice(from_=at, source="https://lab.example", checked=at, usd_per_million=UsdPerMillion(prompt=prompt, completion="15"))


def test_prices_since_when(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        first = port.desk.offer.models[0]
        endpoint = first.endpoints[0]
        listed = CatalogueEndpoint(
            provider=endpoint.provider,
            upstream_model=endpoint.upstream_model,
            region=endpoint.region,
            # In no order, one of them in the future, and two of one day, of which the later one counts.
            price=[dated("2025-06-01", "4"), dated("2024-01-01", "9"), dated("2099-01-01", "1"), dated("2024-01-01", "8")],
        )
        file = ModelFile(model=ModelFacts(id=first.id, name="x", context_tokens=1), endpoint=[listed])
        port.desk.catalogue = lambda: Catalogue(models={first.id: file})
        from_catalogue = msgspec.structs.replace(endpoint, price_source="https://lab.example (2025-06-01)")
        model = msgspec.structs.replace(first, endpoints=(from_catalogue,))
        [told] = prices.history(model, port.desk.catalogue(), NOW_MS)
        assert [(step["from"], step["in_force"], step["prices"]["prompt"]) for step in told["steps"]] == [
            ("2024-01-01", False, "8"),
            ("2025-06-01", True, "3"),
            ("2099-01-01", False, "1"),
        ], "what is in force is what is charged"
        # What the file says has no date, and the route has both members.
        own = msgspec.structs.replace(first, endpoints=(msgspec.structs.replace(endpoint, price_source="configuration"),))
        [told] = prices.history(own, port.desk.catalogue(), NOW_MS)
        assert [(step["from"], step["in_force"]) for step in told["steps"]] == [(None, True)]
        shown = (await port.script.get("/admin/models/acme/fast")).json()
        assert shown["data"]["id"] == "acme/fast" and [one["provider"] for one in shown["prices"]] == ["lab"]

    tell(tmp_path, story)


# --- providers --------------------------------------------------------------------------------------------------------


def test_half_hours_of_a_day(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        first = uptime.begins(NOW_MS)
        assert first % HALF_HOUR_MS == 0 and first + 47 * HALF_HOUR_MS <= NOW_MS < first + 48 * HALF_HOUR_MS
        own = {"endpoint_id": 7}
        for number, (settled, outcome) in enumerate(
            [(first, "completed"), (first + HALF_HOUR_MS - 1, "failed"), (NOW_MS, "completed"), (first - 1, "failed")]
        ):
            error = "timeout" if outcome == "failed" else ""
            port.journal.records.append(
                (generation(number, settled_at_ms=settled, outcome=outcome, error=error), [attempt(number, error=error, **own)])
            )
        [provider] = (await port.script.get("/admin/providers")).json()["data"]
        [endpoint] = provider["endpoints"]
        assert endpoint["health"] is None and endpoint["id"] == 7
        strip = endpoint["strip"]
        assert (strip["requests"][0], strip["failed"][0]) == (2, 1) and (strip["requests"][47], strip["failed"][47]) == (1, 0)
        assert sum(strip["requests"]) == 3 and len(strip["failed"]) == 48 and strip["step_ms"] == HALF_HOUR_MS
        # Of accounts that one does not see, nothing.
        port.journal.records.append((generation(9, account_id=9), [attempt(9, endpoint_id=7)]))
        bob = await port.as_role("viewer")
        [endpoint] = (await bob.send("GET", "/admin/providers")).json()["data"][0]["endpoints"]
        assert sum(endpoint["strip"]["requests"]) == 3
        [endpoint] = (await port.script.get("/admin/providers")).json()["data"][0]["endpoints"]
        assert sum(endpoint["strip"]["requests"]) == 3, "that account does not exist"

    tell(tmp_path, story)


def test_a_probe_that_cannot_be_sent(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        async def asked(slug: str, **body: Any) -> tuple[int, str]:
            response = await port.script.post(f"/admin/providers/{slug}/probe", content=json.dumps(body).encode())
            return response.status_code, response.json()["error"]["message"]

        assert (await asked("nobody"))[0] == 404
        assert (await asked("lab"))[0] == 503, "no traffic port yet"
        port.desk.facts["data_url"] = "http://127.0.0.1:1"
        status, says = await asked("lab", endpoint=99)
        assert status == 404 and "99" in says
        assert (await asked("lab", endpoint=0))[0] == 400 and (await asked("lab", colour="red"))[0] == 400
        port.desk.probing.add("lab")
        assert (await asked("lab"))[0] == 429
        port.desk.probing.clear()
        before = len(port.audit())
        told = (await port.script.post("/admin/providers/lab/probe", content=b"{}")).json()["data"]
        assert (told["ok"], told["status"], told["charged_usd"], told["generation"]) == (False, 502, "0", None) and told["error"]
        # The free one: its words cost least.
        assert told["model"] == "acme/cheap:free"
        entries = [(row["action"], row["target"]) for row in port.audit()[before:]]
        assert ("provider.probe", "lab") in entries and not port.desk.probing

    tell(tmp_path, story)


def test_only_models_that_talk_are_probed() -> None:
    def model(id: str, price: int, output: tuple[str, ...] = ("text",)) -> Any:
        endpoint = SimpleNamespace(id=price, provider="lab", price=SimpleNamespace(completion=price, prompt=1))
        return SimpleNamespace(id=id, output_modalities=output, endpoints=[endpoint])

    models = [model("a", 5), model("b", 2), model("c", 1, ("embeddings",))]
    assert probe._chosen(models, "lab", None, frozenset())[0].id == "b"
    assert probe._chosen(models, "lab", None, frozenset({2}))[0].id == "a"
    for id, aside in ((1, frozenset()), (2, frozenset({2})), (None, frozenset({5, 2}))):
        with pytest.raises(Refusal):
            probe._chosen(models, "lab", id, aside)


# --- past decisions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "member"),
    [("openai_chat", "messages"), ("anthropic_messages", "messages"), ("openai_responses", "input"), ("gemini_generate", "contents")],
)
def test_a_question_has_the_shape_of_the_request(dialect: str, member: str) -> None:
    from fairlead.control.db.queries import GENERATION_COLUMNS

    row = dict(zip(GENERATION_COLUMNS, generation(1, dialect=dialect, session_id="s", prompt_tokens=1000), strict=True))
    known, question = recall.asked(row)
    body = json.loads(bytes(question.body))
    assert member in body and question.dialect == dialect and question.key == "1" and known["prompt_tokens"] == 1027
    assert (question.model, question.stream) == (("acme/fast", True) if dialect == "gemini_generate" else (None, False))
    assert body.get("session_id") == (None if dialect == "gemini_generate" else "s")
    long = dict(zip(GENERATION_COLUMNS, generation(1, dialect=dialect, prompt_tokens=10**9, api_type="embeddings"), strict=True))
    known, question = recall.asked(long)
    assert known["dialect"] == question.dialect == "openai_embeddings" and len(bytes(question.body)) < 1 << 20
    assert json.loads(bytes(question.body)).keys() >= {"model", "input"}


def test_a_past_request_is_explained(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        port.journal.explanation = b'{"candidates":[],"removed":[],"prompt_tokens":3}'
        port.journal.records.append((generation(1), [attempt(1)]))
        path = f"/admin/requests/{generation(1)[0]}/explain"
        told = (await port.script.get(path)).json()["data"]
        assert told["now"]["prompt_tokens"] == 3 and told["then"] is None and told["asked"]["model"] == "acme/fast"
        assert json.loads(port.journal.questions[-1])["account"] == 1
        port.journal.explanation = b'{"error":{"status":404,"message":"there is no such model","param":null}}'
        told = (await port.script.get(path)).json()["data"]
        assert told["now"] is None and told["refused"] == "there is no such model"
        assert (await port.script.get("/admin/requests/gen-x/explain")).status_code == 404
        other = await port.as_role("member")
        assert (await other.send("GET", path)).status_code == 404, "another's request"

    tell(tmp_path, story)


# --- shared answers ---------------------------------------------------------------------------------------------------


def test_equal_questions_have_one_answer() -> None:
    async def main() -> None:
        now, made = [0.0], 0
        answers = Answers(lambda: now[0])
        gate = asyncio.Event()

        async def make() -> Response:
            nonlocal made
            made += 1
            number = made
            await gate.wait()
            return Response(str(number), headers={"x-a": "b"})

        waiting = [asyncio.create_task(answers.of("q", make)) for _ in range(5)]
        await asyncio.sleep(0)
        # Who leaves takes it from nobody else, not even who asked first.
        waiting[0].cancel()
        gate.set()
        found = await asyncio.gather(*waiting[1:])
        assert [bytes(one.body) for one in found] == [b"1"] * 4 and found[0] is not found[1] and found[0].headers["x-a"] == "b"
        now[0] = 0.999
        assert bytes((await answers.of("q", make)).body) == b"1" and bytes((await answers.of("other", make)).body) == b"2"
        now[0] = 1.0
        assert bytes((await answers.of("q", make)).body) == b"3"

        async def fail() -> Response:
            raise Refusal(422, "unprocessable", "no")

        for _ in range(2):
            with pytest.raises(Refusal):
                await answers.of("bad", fail)
        assert bytes((await answers.of("bad", make)).body) == b"4", "a failure is not kept"

    asyncio.run(main())


def test_pages_share_and_nobody_sees_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(port: Port) -> None:
        counted: list[str] = []
        charted = figures._charted

        def counting(*arguments: Any) -> Any:
            counted.append("x")
            return charted(*arguments)

        monkeypatch.setattr(figures, "_charted", counting)
        user = port.user("bob", "viewer")
        own, _ = port.directory.create(NewKey(name="own", user="bob"))
        port.journal.records += [
            (generation(1, key_id=own.id, user_id=user), [attempt(1)]),
            (generation(2, key_id=1), [attempt(2)]),
        ]
        one, other, bob = await port.as_role("admin"), await port.as_role("owner"), port.browser()
        await bob.log_in(name="bob", password=PASSWORD)
        port.desk.answers = Answers(lambda: 0.0)
        path = "/admin/usage/series?metrics=requests&group=key"
        seen = [(await page.send("GET", path)).json() for page in (one, other, one)]
        assert seen[0] == seen[1] == seen[2] and len(counted) == 1
        assert {line["label"] for line in seen[0]["series"]} == {"first", "own"}
        # The same question in another order is the same; of who sees less it is another.
        assert (await one.send("GET", "/admin/usage/series?group=key&metrics=requests")).json() == seen[0] and len(counted) == 1
        assert [line["label"] for line in (await bob.send("GET", path)).json()["series"]] == ["own"] and len(counted) == 2
        assert (await one.send("GET", path, accept="text/csv")).headers["content-type"].startswith("text/csv")
        # Programs are told how it is.
        await port.script.get(path)
        await port.script.get(path)
        assert len(counted) == 5

    tell(tmp_path, story)


# --- presets ----------------------------------------------------------------------------------------------------------


def test_figures_by_preset(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        for number, preset in enumerate(("a", "a", "b", "", "a,b")):
            port.journal.records.append((generation(number, preset=preset, settled_at_ms=NOW_MS - 1000), [attempt(number)]))
        shown = (await port.script.get("/admin/usage/series?metrics=requests&group=preset")).json()
        assert {line["label"]: line["totals"]["requests"] for line in shown["series"]} == {"a": 2, "b": 1, "a,b": 1}
        one = (await port.script.get("/admin/usage/series?metrics=requests&preset=a")).json()
        assert one["totals"] == {"requests": 2}
        assert (await port.script.get("/admin/usage/series?metrics=requests&preset=a&group=model")).status_code == 422
        assert (await port.script.get("/admin/usage/errors?preset=a")).status_code == 422
        week = f"from={date.fromtimestamp((NOW_MS - 3 * DAY_MS) / 1000)}T00:00:00Z"
        assert (await port.script.get(f"/admin/usage/series?metrics=requests&group=preset&{week}")).json()["totals"]["requests"] == 4

    tell(tmp_path, story)


# --- who pays ---------------------------------------------------------------------------------------------------------


def test_whose_key_pays_for_a_run(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        port.desk.facts["data_url"] = "http://127.0.0.1:1"
        port.directory.create_scope(NewScope("team", "red"))
        port.user("ann", "member", "red")
        team, _ = port.directory.create(NewKey(name="of the team", team="red"))
        mine, _ = port.directory.create(NewKey(name="mine", user="ann"))
        management, _ = port.directory.create(NewKey(name="boss", user="ann", management=True))
        ann = port.browser()
        await ann.log_in(name="ann", password=PASSWORD)

        async def run(page: Any, key: Any) -> Any:
            body = {"lanes": [{"model": "acme/fast", "body": {"messages": []}}], "key_id": key}
            return await page.send("POST", "/admin/playground/runs", body)

        first = 1
        assert (await run(ann, first)).status_code == 404, "it is not seen"
        assert (await run(ann, team.id)).status_code == 403, "it is seen, and another's"
        assert (await run(ann, management.id)).status_code == 400 and (await run(ann, 0)).status_code == 400
        before = len(port.audit())
        # Nobody listens at the traffic port of this test: the lane fails, and it was the key that was asked for.
        response = await run(ann, mine.id)
        assert response.status_code == 200 and '"name":"mine"' in response.text and "event: error" in response.text
        assert [(row["action"], row["target"]) for row in port.audit()[before:]] == [("key.use", "mine")]
        admin = await port.as_role("admin")
        assert '"name":"mine"' in (await run(admin, mine.id)).text
        port.directory.change(lambda c: playground.queries.key(c, mine.id), {"disabled": True})
        assert (await run(ann, mine.id)).status_code == 400

    tell(tmp_path, story)


def test_what_stands_for_a_key_is_signed() -> None:
    text = secret.acting(SECRET, 7, 100)
    said, _, signature = text.rpartition("-")
    assert said == "fl-as-7-100" and signature == secret.stored_hash(SECRET, "fairlead: act as key 7 until 100")
