"""The configuration through the operator's API on a running gateway: judged, compared, written, put in force; and never half."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, PROVIDER_SECRET, Gateway, Provider, configuration
from e2e.test_operator import Page, chat


@pytest.fixture
def gateway(provider: Provider) -> Iterator[Gateway]:
    with Gateway(configuration(provider.address)) as running:
        yield running


@pytest.fixture
def page(gateway: Gateway) -> Page:
    found = Page(gateway)
    found.log_in(token=ADMIN_TOKEN)
    return found


def shown(page: Page) -> tuple[dict[str, Any], str]:
    reply = page.ask("GET", "/admin/config")
    assert reply.status == 200, reply.body
    return reply.json()["data"], reply.headers["etag"]


def test_what_is_in_force_and_where_from(gateway: Gateway, page: Page) -> None:
    data, etag = shown(page)
    assert data["path"] == str(gateway.config) and data["writable"] and not data["changed_since"] and etag
    for secret in (ADMIN_TOKEN, KEY, PROVIDER_SECRET):
        assert secret not in page.ask("GET", "/admin/config").body.decode()
    values = {value["path"]: value for value in data["values"]}
    assert (values["server.admin_token"]["source"], values["server.admin_token"]["value"]) == ("file", "«hidden»")
    assert values["timeouts.connect_ms"] == {
        "path": "timeouts.connect_ms", "value": 3000, "source": "default", "line": None, "reference": None,
    }  # fmt: skip
    assert values["keys.other.models[0]"]["value"] == "lab/echo" and values["keys.other.models[0]"]["line"]


def test_a_mistake_is_told_with_its_line_and_nothing_is_applied(gateway: Gateway, page: Page) -> None:
    data, etag = shown(page)
    assert gateway.config is not None
    before = gateway.config.read_bytes()
    version = gateway.gauge("snapshot_version")
    wrong = data["text"] + '\n[timeouts]\nconect_ms = 5\n[keys.new]\nsecret = "x' + "1" * 30 + '"\nrpm = -1\n'
    line = wrong.splitlines().index("conect_ms = 5") + 1
    for reply in (page.ask("POST", "/admin/config/validate", {"text": wrong}), page.ask("POST", "/admin/config/diff", {"text": wrong})):
        judged = reply.json()["data"]
        assert reply.status == 200 and not judged["ok"]
        found = {problem["path"]: problem for problem in judged["problems"]}
        assert found["timeouts.conect_ms"]["line"] == line and found["timeouts.conect_ms"]["fix"] == "connect_ms"
        assert found["keys.new.rpm"]["line"] == line + 3
    refused = page.ask("PUT", "/admin/config", {"text": wrong}, {"if-match": etag})
    assert refused.status == 422 and len(refused.json()["error"]["problems"]) == 2
    syntax = page.ask("POST", "/admin/config/validate", {"text": "a = = 1\n"}).json()["data"]["problems"]
    assert syntax[0]["line"] == 1 and syntax[0]["column"]
    assert gateway.config.read_bytes() == before and gateway.gauge("snapshot_version") == version
    assert page.ask("GET", "/admin/config/history").json()["data"] == []


def test_a_change_is_compared_written_in_force_and_kept(gateway: Gateway, page: Page) -> None:
    data, etag = shown(page)
    assert gateway.config is not None
    before = gateway.config.read_text()
    text = data["text"].replace('models = ["lab/echo"]', 'models = ["lab/*"]  # all of them')
    text += '\n[splits."acme/assistant"]\narms = [{ model = "lab/echo", weight = 90 }, { model = "lab/fast", weight = 10 }]\n'
    text += '[presets.quick]\nmodels = ["lab/fast"]\n'
    compared = page.ask("POST", "/admin/config/diff", {"text": text}).json()["data"]
    assert compared["ok"] and compared["keys"]["changed"] == ["other"] and compared["models"] == {"added": [], "removed": [], "changed": []}
    assert {"path": "keys.other.models[0]", "before": "lab/echo", "after": "lab/*"} in compared["values"]
    assert '+models = ["lab/*"]  # all of them' in compared["lines"] and PROVIDER_SECRET not in str(compared)
    assert gateway.config.read_text() == before
    written = page.ask("PUT", "/admin/config", {"text": text}, {"if-match": etag})
    assert written.status == 200 and "in force" in written.json()["data"]["message"]
    now = gateway.config.read_text()
    assert PROVIDER_SECRET in now and "# all of them" in now and "«kept" not in now
    chat(gateway)
    chat(gateway, "acme/assistant")
    split = page.ask("GET", "/admin/splits").json()["data"][0]
    assert [arm["share"] for arm in split["arms"]] == [0.9, 0.1] and sum(arm["requests"] for arm in split["arms"]) == 1
    assert not any(arm["enough"] for arm in split["arms"])
    assert [preset["name"] for preset in page.ask("GET", "/admin/presets").json()["data"]] == ["quick"]
    # Whoever looked at it before is told, and so is who did not look.
    stale = page.ask("PUT", "/admin/config", {"text": data["text"]}, {"if-match": etag})
    assert stale.status == 412 and stale.json()["error"]["changed"] == ["text"]
    assert page.ask("PUT", "/admin/config", {"text": data["text"]}).status == 428
    [kept] = page.ask("GET", "/admin/config/history").json()["data"]
    old = page.ask("GET", f"/admin/config/history/{kept['id']}").json()["data"]["text"]
    assert 'models = ["lab/echo"]' in old and PROVIDER_SECRET not in old
    assert page.ask("GET", "/admin/config/history/..%2fsecret").status == 404
    assert [entry["action"] for entry in page.ask("GET", "/admin/audit?target_kind=config").json()["data"]][:2] == [
        "config.write",
        "config.reload",
    ]


def test_what_cannot_be_written_says_so(gateway: Gateway, page: Page) -> None:
    if os.geteuid() != 0:
        assert gateway.config is not None
        gateway.config.chmod(0o400)
        data, etag = shown(page)
        assert not data["writable"] and "cannot be written" in data["why_not"]
        assert page.ask("PUT", "/admin/config", {"text": data["text"]}, {"if-match": etag}).status == 409
    with Gateway(None, environment={"FAIRLEAD_ADMIN": "x"}) as bare:
        own = Page(bare)
        own.log_in(token=bare.ready["admin_token"])
        data = own.ask("GET", "/admin/config").json()["data"]
        assert data["path"] is None and data["text"] is None and not data["writable"]
        assert own.ask("PUT", "/admin/config", {"text": ""}, {"if-match": "*"}).status == 409


def test_broken_files_of_the_history_stand_in_nobodys_way(gateway: Gateway, page: Page) -> None:
    data, etag = shown(page)
    text = data["text"]
    assert page.ask("PUT", "/admin/config", {"text": text + "\n# one"}, {"if-match": etag}).status == 200
    folder = gateway.data_dir / "config-history"
    [good] = page.ask("GET", "/admin/config/history").json()["data"]
    (folder / "9999999999991.toml").write_bytes(b"\xff\xfe[server]")
    (folder / "9999999999992.toml").write_bytes((folder / f"{good['id']}.toml").read_bytes()[:40])
    (folder / "9999999999993.toml").mkdir()
    (folder / "9999999999994.toml").symlink_to(folder / "nowhere")
    (folder / "9999999999995.toml").symlink_to("9999999999995.toml")
    listed = page.ask("GET", "/admin/config/history")
    assert [each["id"] for each in listed.json()["data"]] == ["9999999999992", "9999999999991", good["id"]], listed.body
    at = "/admin/config/history/"
    assert page.ask("GET", f"{at}{good['id']}").json()["data"]["text"] == text
    unreadable = page.ask("GET", f"{at}9999999999991")
    assert unreadable.status == 409 and "9999999999991.toml cannot be read, or is no text" in unreadable.json()["error"]["message"]
    assert page.ask("GET", f"{at}9999999999992").status == 409
    assert [page.ask("GET", f"{at}999999999999{number}").status for number in (3, 4, 5)] == [404] * 3
    # A mark is looked for in all of them before it is refused.
    unknown = page.ask("POST", "/admin/config/validate", {"text": '[keys.x]\nsecret = "«kept 000000000000»"'})
    assert unknown.status == 400 and "stands for no secret" in unknown.json()["error"]["message"]
    assert page.ask("PUT", "/admin/config", {"text": text + "\n# two"}, {"if-match": "*"}).status == 200


def test_a_failed_reload_is_heard(gateway: Gateway, page: Page) -> None:
    assert gateway.config is not None
    with page.events("?topics=config") as events:
        next(events)
        gateway.config.write_text(gateway.config.read_text() + "\n[timeouts]\nconect_ms = 5\n")
        assert gateway.process is not None
        gateway.process.send_signal(1)
        name, said, _ = next(events)
        assert name == "config" and said["failed"] and "conect_ms" in said["message"]
    assert page.ask("POST", "/admin/reload", {}).status == 422
    assert shown(page)[0]["changed_since"]


# Each in a place of the configuration where a reference or path may stand; of two things one is there and the other is not.
PLACES = (
    '[keys.probe]\nsecret = "{}"\n',
    '[keys.probe]\nsecret = "0123456789abcdef0123456789abcdef"\nmodels = ["{}"]\n',
    '[providers.lab2]\ndialects = ["openai_chat"]\nbase_url = "http://127.0.0.1:1"\nkeys = ["{}"]\n',
    '[providers.lab2]\ndialects = ["openai_chat"]\nbase_url = "{}"\nkeys = ["k"]\n',
    '[providers.lab2]\ndialects = ["openai_chat"]\nbase_url = "https://127.0.0.1:1"\nkeys = ["k"]\nca_file = "{}"\n',
    '[providers.google-vertex]\nregion = "global"\nkeys = ["{}"]\n',
    '[timeouts]\nconnect_ms = "{}"\n',
    '[oidc]\nissuer = "https://id.example"\nclient_id = "x"\nca_file = "{}"\n',
)


def test_who_may_not_write_it_does_not_find_out_what_there_is(provider: Provider, tmp_path: Path) -> None:
    """An admin who judges a text learns nothing about files and variables that the file does not name already."""
    kept = tmp_path / "kept-secret"
    kept.write_text("a-secret-that-the-file-names-already")
    for name, content in (("there-1", "text"), ("there-2", ""), ("there-3", '{"type": "service_account"}'), ("there-4", "\0" * (2 << 20))):
        (tmp_path / name).write_text(content)
    (tmp_path / "there-5").mkdir()
    os.mkfifo(tmp_path / "there-6")
    text = configuration(provider.address, tables=f'[keys.referred]\nsecret = "file:{kept}"\n')
    with Gateway(text, environment={"THERE_1": "set", "THERE_2": ""}) as gateway:
        owner, admin = Page(gateway), Page(gateway)
        owner.log_in(token=ADMIN_TOKEN)
        assert owner.ask("POST", "/admin/users", {"name": "ann"}).status == 201
        assert owner.ask("PUT", "/admin/users/ann/login", {"role": "admin", "password": "a long password"}).status == 200
        admin.log_in(name="ann", password="a long password")
        present = shown(admin)[0]["text"]

        def told(page: Page, route: str, more: str) -> str:
            reply = page.ask("POST", f"/admin/config/{route}", {"text": present + more})
            assert reply.status == 200, (more, reply.body)
            return reply.body.decode()

        ways = ("validate", "diff")
        for place in PLACES:
            for number in range(1, 7):
                at, nowhere = f"{tmp_path}/there-{number}", f"{tmp_path}/where-{number}"
                pairs = [(at, nowhere)] if "ca_file" in place else [(f"file:{at}", f"file:{nowhere}")]
                pairs += [(f"env:THERE_{number}", f"env:WHERE_{number}")] if number < 3 and "ca_file" not in place else []
                for there, missing in pairs:
                    for route in ways:
                        one, other = told(admin, route, place.format(there)), told(admin, route, place.format(missing))
                        assert one == other.replace("where-", "there-").replace("WHERE_", "THERE_"), (there, route)
                        assert "not looked up, as it is new" in one, one
        # Who may write it is told; and the rest of a text is judged for both.
        for page, said in ((owner, "No such file"), (admin, "not looked up")):
            judged = told(page, "validate", f'[keys.probe]\nsecret = "file:{tmp_path}/nowhere"\n[timeouts]\nconect_ms = 5\n')
            assert said in judged and 'did you mean \\"connect_ms\\"' in judged and '"ok":false' in judged
        # Of what was not looked up nothing else is wrong.
        vertex = told(admin, "validate", f'[providers.google-vertex]\nregion = "global"\nkeys = ["file:{tmp_path}/there-3"]\n')
        assert '"ok":true' in vertex and vertex.count("not looked up") == 1
        # What the file names already is looked up, wherever it stands in the text.
        judged = json.loads(told(admin, "validate", f'[keys.probe]\nsecret = "file:{kept}"\n'))["data"]
        assert not judged["ok"] and "not looked up" not in str(judged), "two keys have one secret"
        assert json.loads(told(admin, "validate", ""))["data"] == {"ok": True, "problems": []}
