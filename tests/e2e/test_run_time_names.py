"""Presets and splits that are made while the gateway runs: used by the very next request, versioned, kept; and never half."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, Gateway, Provider, Reply, authorization, configuration, send
from e2e.test_operator import Page

PRESET = '[presets.own]\nmodel = "lab/fast"\nsystem_prompt = "Be short."\n'
SPLIT = '[splits."acme/own"]\narms = [{ model = "lab/echo", weight = 1 }]\n'


@pytest.fixture
def gateway(provider: Provider) -> Iterator[Gateway]:
    with Gateway(configuration(provider.address, tables=PRESET + SPLIT)) as running:
        yield running


@pytest.fixture
def page(gateway: Gateway) -> Page:
    found = Page(gateway)
    found.log_in(token=ADMIN_TOKEN)
    return found


def made(gateway: Gateway, kind: str, name: str, definition: Any, note: str = "") -> dict[str, Any]:
    reply = gateway.operate("POST", f"/admin/{kind}", {"name": name, "definition": definition, "note": note})
    assert reply.status == 201, reply.body
    data: dict[str, Any] = reply.json()["data"]
    assert reply.headers["etag"] == data["etag"]
    return data


def ask(gateway: Gateway, model: str, **fields: Any) -> Reply:
    return gateway.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields})


def answered_by(gateway: Gateway, model: str, **fields: Any) -> str:
    reply = ask(gateway, model, **fields)
    assert reply.status == 200, reply.body
    return str(reply.headers["x-fairlead-model"])


def sent(provider: Provider) -> Any:
    return json.loads(provider.last_request()["body"])


def test_a_preset_holds_for_the_next_request_and_a_roll_back_for_the_one_after(gateway: Gateway, provider: Provider, page: Page) -> None:
    assert ask(gateway, "@preset/x").status == 404
    first = made(gateway, "presets", "x", {"model": "lab/echo", "temperature": 0.25, "route": None}, "to begin with")
    assert (first["number"], first["source"], first["in_force"], first["problems"]) == (1, "made", True, [])
    assert first["definition"] == {"model": "lab/echo", "temperature": 0.25} and first["by"] == "admin token"
    reply = ask(gateway, "@preset/x")
    assert reply.headers["x-fairlead-model"] == "lab/echo" and sent(provider)["temperature"] == 0.25
    record = gateway.generation(reply.generation)
    assert (record["preset"], record["preset_version"]) == ("x", first["version"])
    # A second version, by somebody on a page, who says of which state it is a change.
    change = {"definition": {"models": ["lab/fast"]}, "note": "faster"}
    assert page.ask("PATCH", "/admin/presets/x", change).status == 428
    second = page.ask("PATCH", "/admin/presets/x", change, {"if-match": first["etag"]})
    assert second.status == 200 and second.json()["data"]["number"] == 2
    assert answered_by(gateway, "@preset/x") == "lab/fast" and "temperature" not in sent(provider)
    late = page.ask("PATCH", "/admin/presets/x", {"definition": {}}, {"if-match": first["etag"]})
    assert late.status == 412
    error = late.json()["error"]
    assert error["changed"] == ["definition", "number"] and error["current"]["definition"] == {"models": ["lab/fast"]}
    # The same again is no change.
    assert gateway.operate("PATCH", "/admin/presets/x", change).json()["data"]["number"] == 2
    page_of = gateway.operate("GET", "/admin/presets/x/versions?limit=1").json()
    assert [each["number"] for each in page_of["data"]] == [2] and page_of["next"] == 2
    [older] = gateway.operate("GET", "/admin/presets/x/versions?limit=1&before=2").json()["data"]
    assert (older["number"], older["note"], older["by"], older["in_force"]) == (1, "to begin with", "admin token", False)
    assert older["version"] == first["version"] and older["definition"] == first["definition"]
    # Rolled back: the next request is as the first was.
    etag = second.headers["etag"]
    assert page.ask("POST", "/admin/presets/x/activate", {"number": 9}, {"if-match": etag}).status == 404
    assert page.ask("POST", "/admin/presets/x/activate", {"number": 1}, {"if-match": first["etag"]}).status == 412
    back = page.ask("POST", "/admin/presets/x/activate", {"number": 1}, {"if-match": etag})
    assert back.status == 200 and back.json()["data"]["number"] == 1 and back.json()["data"]["version"] == first["version"]
    assert answered_by(gateway, "@preset/x") == "lab/echo" and sent(provider)["temperature"] == 0.25
    # Kept over a reload and a restart.
    assert gateway.operate("POST", "/admin/reload").status == 200
    assert answered_by(gateway, "@preset/x") == "lab/echo"
    gateway.stop()
    gateway.start()
    assert answered_by(gateway, "@preset/x") == "lab/echo" and answered_by(gateway, "@preset/own") == "lab/fast"
    third = gateway.operate("PATCH", "/admin/presets/x", {"definition": {"model": "lab/slow"}}).json()["data"]
    assert third["number"] == 3
    assert gateway.operate("DELETE", "/admin/presets/x").json()["data"] == {"id": "x", "deleted": True}
    assert ask(gateway, "@preset/x").status == 404 and gateway.operate("GET", "/admin/presets/x").status == 404
    assert made(gateway, "presets", "x", {"model": "lab/echo"})["number"] == 4
    actions = [entry["action"] for entry in gateway.operate("GET", "/admin/audit?target_kind=preset").json()["data"]]
    assert actions == ["preset.create", "preset.delete", "preset.change", "preset.activate", "preset.change", "preset.create"]
    rolled = gateway.operate("GET", "/admin/audit?action=preset.activate").json()["data"][0]
    assert (rolled["before"]["number"], rolled["after"]["number"]) == (2, 1)


def test_a_split_is_made_used_and_summed(gateway: Gateway) -> None:
    split = made(gateway, "splits", "acme/new", {"arms": [{"model": "lab/echo", "weight": 3}, {"model": "lab/fast", "weight": 1}]})
    assert [arm["share"] for arm in split["arms"]] == [0.75, 0.25]
    found = [answered_by(gateway, "acme/new", user=f"user-{number}") for number in range(40)]
    assert {*found} == {"lab/echo", "lab/fast"} and found.count("lab/echo") > 20
    arms = gateway.operate("GET", "/admin/splits/acme/new").json()["data"]["arms"]
    assert {arm["model"]: arm["requests"] for arm in arms} == {model: found.count(model) for model in {*found}}
    assert not any(arm["enough"] for arm in arms) and all(Decimal(arm["cost_per_request_usd"]) > 0 for arm in arms)
    path = "/admin/splits/acme/new"
    only = gateway.operate("PATCH", path, {"definition": {"arms": [{"model": "lab/slow", "weight": 5}]}}).json()["data"]
    assert {arm["model"]: arm["weight"] for arm in only["arms"]} == {"lab/slow": 5, "lab/echo": None, "lab/fast": None}
    assert answered_by(gateway, "acme/new", user="user-0") == "lab/slow"
    assert gateway.operate("POST", f"{path}/activate", {"number": 1}).status == 200
    assert answered_by(gateway, "acme/new", user="user-0") == found[0]
    assert [each["number"] for each in gateway.operate("GET", f"{path}/versions").json()["data"]] == [2, 1]
    listed = {each["name"]: each["source"] for each in gateway.operate("GET", "/admin/splits").json()["data"]}
    assert listed == {"acme/new": "made", "acme/own": "file"}
    for name in ("a/versions", "a/activate"):
        refused = gateway.operate("POST", "/admin/splits", {"name": name, "definition": {"arms": [{"model": "lab/echo", "weight": 1}]}})
        assert refused.status == 400 and refused.json()["error"]["path"] == "name"


def nested(deep: int) -> Any:
    value: Any = 1
    for _ in range(deep):
        value = [value]
    return value


WRONG: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("presets", {"name": "y", "definition": {"model": "lab/ecko"}}, 422, "presets.y.model", "lab/echo"),
    ("presets", {"name": "y", "definition": {"models": ["lab/echo", "lab/echo"]}}, 422, "presets.y.models[1]", None),
    ("presets", {"name": "y", "definition": {"provider": {"onyl": ["lab"]}}}, 422, "presets.y.provider.onyl", "only"),
    ("presets", {"name": "y", "definition": {"temperature": 9}}, 422, "presets.y.temperature", None),
    ("presets", {"name": "y", "definition": {"messages": []}}, 422, "presets.y.messages", None),
    ("presets", {"name": "y", "definition": {}}, 422, "presets.y", None),
    ("presets", {"name": "y", "definition": {"route": None}}, 422, "presets.y", None),
    ("presets", {"name": "a b", "definition": {"model": "lab/echo"}}, 422, 'presets."a b"', None),
    ("presets", {"name": "", "definition": {"model": "lab/echo"}}, 422, 'presets.""', None),
    ("presets", {"name": "own", "definition": {"model": "lab/echo"}}, 409, "name", None),
    ("presets", {"name": "x", "definition": {"model": "lab/echo"}}, 409, "name", None),
    ("presets", {"name": "y", "definition": {"system_prompt": "x" * 300_000}}, 400, "definition", None),
    ("presets", {"name": "y", "definition": {"model": "lab/echo"}, "note": "x\n"}, 400, "", None),
    ("presets", {"name": "y", "definition": {"x": nested(65)}}, 400, "definition", None),
    ("presets", {"name": "y", "definition": []}, 400, "", None),
    ("presets", {"name": "y"}, 400, "", None),
    ("presets", {"name": "y", "definition": {"model": "lab/echo"}, "version": 3}, 400, "", None),
    ("splits", {"name": "lab/echo", "definition": {"arms": [{"model": "lab/fast", "weight": 1}]}}, 422, 'splits."lab/echo"', None),
    ("splits", {"name": "a/b", "definition": {"arms": [{"model": "lab/echo", "weight": 0}]}}, 422, 'splits."a/b".arms', None),
    ("splits", {"name": "a/b", "definition": {"arms": [{"model": "acme/own", "weight": 1}]}}, 422, 'splits."a/b".arms[0].model', None),
    ("splits", {"name": "acme/own", "definition": {"arms": [{"model": "lab/echo", "weight": 1}]}}, 409, "name", None),
]


def test_what_is_wrong_is_told_and_nothing_is_applied(gateway: Gateway) -> None:
    made(gateway, "presets", "x", {"model": "lab/echo"})
    before = gateway.operate("GET", "/admin/presets").json(), gateway.operate("GET", "/admin/splits").json()
    entries = len(gateway.operate("GET", "/admin/audit").json()["data"])
    for kind, body, status, path, fix in WRONG:
        refused = gateway.operate("POST", f"/admin/{kind}", body)
        error = refused.json()["error"]
        assert refused.status == status, (body, error)
        assert (error.get("path") or "") == path and error.get("fix") == fix, (body, error)
        assert status != 422 or error["problems"][0]["path"] == path
        if kind == "presets" and status == 422 and path.startswith("presets.y"):
            changed = gateway.operate("PATCH", "/admin/presets/x", {"definition": body["definition"]})
            assert changed.status == 422 and changed.json()["error"]["path"] == path.replace("presets.y", "presets.x")
    for method, path in (("PATCH", "/admin/presets/own"), ("DELETE", "/admin/presets/own"), ("DELETE", "/admin/splits/acme/own")):
        refused = gateway.operate(method, path, {"definition": {"model": "lab/echo"}})
        assert refused.status == 409 and "fairlead.toml" in refused.json()["error"]["message"]
    for method, path in (("PATCH", "/admin/presets/no"), ("DELETE", "/admin/splits/no/such"), ("GET", "/admin/presets/no/versions")):
        assert gateway.operate(method, path, {"definition": {"model": "lab/echo"}}).status == 404
    assert gateway.operate("PATCH", "/admin/presets/x", {"note": "x"}).status == 400
    deep = b'{"name":"y","definition":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    assert send(gateway.admin, "POST", "/admin/presets", deep, authorization(ADMIN_TOKEN)).status == 400
    assert (gateway.operate("GET", "/admin/presets").json(), gateway.operate("GET", "/admin/splits").json()) == before
    assert len(gateway.operate("GET", "/admin/audit").json()["data"]) == entries
    assert answered_by(gateway, "@preset/x") == "lab/echo"
    own = gateway.operate("GET", "/admin/presets/own").json()["data"]
    assert own["source"] == "file" and own["definition"] == {"model": "lab/fast", "system_prompt": "Be short."} and own["etag"] is None


def test_a_file_that_takes_a_name_is_refused_and_the_old_one_stays(gateway: Gateway, page: Page) -> None:
    assert gateway.config is not None
    made(gateway, "presets", "x", {"model": "lab/echo"})
    text = gateway.config.read_text()
    colliding = text + '[presets.x]\nmodel = "lab/slow"\n[presets.z]\nmodel = "lab/slow"\n'
    judged = page.ask("POST", "/admin/config/validate", {"text": colliding}).json()["data"]
    [problem] = judged["problems"]
    assert not judged["ok"] and problem["path"] == "presets.x" and problem["line"] == text.count("\n") + 1
    gateway.config.write_text(colliding)
    refused = gateway.operate("POST", "/admin/reload")
    assert refused.status == 422 and "DELETE /admin/presets/x" in refused.json()["error"]["message"]
    assert answered_by(gateway, "@preset/x") == "lab/echo" and ask(gateway, "@preset/z").status == 404
    failure = page.ask("GET", "/admin/config").json()["data"]["failure"]
    assert "presets.x" in failure["message"] and failure["at"]
    # What is made meanwhile goes by what is in force, not by what stands in the file.
    made(gateway, "presets", "z", {"model": "lab/fast"})
    assert answered_by(gateway, "@preset/z") == "lab/fast"
    # A reload that would take away what a preset in force needs is refused, too.
    without = re.sub(r'\[models\."lab/fast"\].*?usd_per_million[^\n]*\n', "", text, flags=re.DOTALL)
    without = without.replace('[presets.own]\nmodel = "lab/fast"', '[presets.own]\nmodel = "lab/echo"')
    assert '"lab/fast"' not in without
    gateway.config.write_text(without)
    refused = gateway.operate("POST", "/admin/reload")
    assert refused.status == 422 and "made at run time: presets.z.model" in refused.json()["error"]["message"]
    assert answered_by(gateway, "@preset/z") == "lab/fast"
    # A start serves the rest, and says what is left out.
    gateway.stop()
    gateway.start()
    assert ask(gateway, "@preset/z").status == 404 and answered_by(gateway, "@preset/x") == "lab/echo"
    shown = gateway.operate("GET", "/admin/presets/z").json()["data"]
    assert not shown["in_force"] and shown["problems"][0]["path"] == "presets.z.model" and shown["version"] is None
    assert "presets.z.model" in gateway.stderr()
    doubtful = gateway.operate("GET", "/admin/config").json()["data"]["warnings"]
    assert [each["path"] for each in doubtful if each["severity"] == "warning"][-1] == "presets.z.model"
    assert gateway.operate("POST", "/admin/reload").status == 200
    assert gateway.operate("PATCH", "/admin/presets/z", {"definition": {"model": "lab/echo"}}).json()["data"]["in_force"]
    assert answered_by(gateway, "@preset/z") == "lab/echo"
    assert gateway.operate("DELETE", "/admin/presets/x").status == 200
    gateway.config.write_text(without + '[presets.x]\nmodel = "lab/slow"\n')
    assert gateway.operate("POST", "/admin/reload").status == 200
    assert answered_by(gateway, "@preset/x") == "lab/slow"
    assert page_failure(gateway) is None


def page_failure(gateway: Gateway) -> Any:
    return gateway.operate("GET", "/admin/config").json()["data"]["failure"]


def test_values_say_where_they_come_from(gateway: Gateway) -> None:
    made(gateway, "presets", "x", {"models": ["lab/echo", "lab/fast"]})
    values = {each["path"]: each for each in gateway.operate("GET", "/admin/config").json()["data"]["values"]}
    assert (values["presets.x.models[1]"]["source"], values["presets.x.models[1]"]["value"]) == ("database", "lab/fast")
    assert (values["presets.own.model"]["source"], values["presets.own.model"]["line"] is not None) == ("file", True)
    assert values["server.data"]["source"] == values["server.data_dir"]["source"] == "command"
    assert values["server.drain_ms"]["source"] == "default"


def test_decisions_of_names_made_at_run_time_are_replayed(gateway: Gateway) -> None:
    made(gateway, "presets", "x", {"model": "lab/echo"})
    made(gateway, "splits", "acme/new", {"arms": [{"model": "lab/echo", "weight": 1}, {"model": "lab/fast", "weight": 1}]})
    for number in range(6):
        answered_by(gateway, "@preset/x")
        answered_by(gateway, "acme/new", user=f"user-{number}")
    gateway.stop()
    replayed = gateway.run("replay", "--check")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def test_who_may(gateway: Gateway) -> None:
    made(gateway, "presets", "x", {"model": "lab/echo"})
    gateway.operate("POST", "/admin/users", {"name": "mia"})
    gateway.operate("PUT", "/admin/users/mia/login", {"role": "member", "password": "correct horse battery"})
    mia = Page(gateway)
    mia.log_in(name="mia", password="correct horse battery")
    [own, x] = mia.ask("GET", "/admin/presets").json()["data"]
    assert (own["name"], x["name"], x["by"]) == ("own", "x", None)
    for method, path in (
        ("POST", ""), ("PATCH", "/x"), ("DELETE", "/x"), ("POST", "/x/activate"), ("GET", "/x/versions"),
    ):  # fmt: skip
        assert mia.ask(method, f"/admin/presets{path}", {"definition": {}}, {"if-match": "*"}).status == 403
