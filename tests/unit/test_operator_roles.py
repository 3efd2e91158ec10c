"""Who may do what at the admin port: every route for every role, and whose things are seen."""

import re
from pathlib import Path

import msgspec
import pytest
from fairlead.control import states
from fairlead.control.access import Principal
from fairlead.control.db import queries, scopes
from fairlead.control.directory import NewKey, NewScope
from fairlead.control.operator import drains, playground
from operator_rig import BEARER, ROLES, Port, routes, tell

ANYONE, VIEWER, MEMBER, ADMIN, OWNER = "anyone", *ROLES

# The least role that each route lets in, said a second time: what is new or changes must change here, too.
MATRIX: dict[str, set[str]] = {
    ANYONE: {"GET /healthz", "GET /admin/login", "POST /admin/login/oidc", "POST /admin/session", "POST /webhooks/stripe"},
    VIEWER: {
        "GET /admin/openapi.json", "GET /admin/session", "DELETE /admin/session", "POST /admin/session/password",
        "GET /admin/sessions",
        "DELETE /admin/sessions/{id}", "GET /admin/health", "GET /admin/requests", "GET /admin/requests/{id}",
        "GET /admin/requests/running",
        "GET /admin/usage/series",
        "GET /admin/models", "GET /admin/models/{name:path}",
        "POST /admin/estimate", "GET /admin/providers", "GET /admin/presets", "GET /admin/splits", "GET /admin/budgets",
        "GET /admin/presets/{name}", "GET /admin/splits/{name:path}",
        "GET /admin/usage/latency", "GET /admin/events", "GET /admin/usage/errors",
        "GET /admin/keys", "GET /admin/keys/{selector}", "GET /admin/accounts", "GET /admin/accounts/{selector}", "GET /admin/teams",
        "GET /admin/teams/{selector}", "GET /admin/users", "GET /admin/users/{selector}",
    },
    MEMBER: {
        "POST /admin/playground/runs", "DELETE /admin/playground/runs/{id}",
        "POST /admin/explain", "GET /admin/requests/{id}/explain",
        "POST /admin/keys", "PATCH /admin/keys/{selector}", "DELETE /admin/keys/{selector}",
        "POST /admin/keys/{selector}/rotate"},
    ADMIN: {
        "GET /metrics",
        "POST /admin/providers/{id}/probe", "POST /admin/endpoints/{id}/drain", "POST /admin/endpoints/{id}/enable",
        "GET /admin/setup", "PUT /admin/setup", "GET /admin/alerts", "PUT /admin/alerts/silence", "POST /admin/alerts/test",
        "GET /admin/config", "POST /admin/config/validate",
        "POST /admin/config/diff", "GET /admin/config/history", "GET /admin/config/history/{id}",
        "GET /admin/status", "GET /admin/usage", "POST /admin/reload", "DELETE /admin/health",
        "GET /admin/requests/{id}/content", "GET /admin/credits", "POST /admin/credits",
        "POST /admin/credits/{id}/refund", "GET /admin/ledger", "GET /admin/audit",
        "GET /admin/users/{selector}/login", "PUT /admin/users/{selector}/login", "DELETE /admin/users/{selector}/login",
        *(f"POST /admin/{kind}" for kind in ("presets", "splits")),
        *(f"{method} /admin/{kind}" for kind in ("presets/{name}", "splits/{name:path}") for method in ("PATCH", "DELETE")),
        *(f"GET /admin/{kind}/versions" for kind in ("presets/{name}", "splits/{name:path}")),
        *(f"POST /admin/{kind}/activate" for kind in ("presets/{name}", "splits/{name:path}")),
        *(f"{method} /admin/{kind}" for kind in ("accounts", "teams", "users") for method in ("POST",)),
        *(f"{method} /admin/{kind}/{{selector}}" for kind in ("accounts", "teams", "users") for method in ("PATCH", "DELETE")),
    },
    OWNER: {"PUT /admin/config"},
}  # fmt: skip


def test_every_route_is_in_the_matrix_once() -> None:
    listed = [route for found in MATRIX.values() for route in found]
    assert sorted(listed) == sorted(f"{method} {path}" for method, path in routes())


# Open the answer for as long as somebody listens.
ENDLESS = {"GET /admin/events"}


def test_each_role_may_what_the_matrix_says(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        browsers = {role: await port.as_role(role) for role in ROLES}
        least = {route: role for role, found in MATRIX.items() for route in found}
        order = [ANYONE, *ROLES]
        for method, path in routes():
            route, concrete = f"{method} {path}", re.sub(r"\{.*?\}", "none", path)
            if least[route] == ANYONE or route in ENDLESS or route == "DELETE /admin/session":
                continue
            assert (await port.browser().send(method, concrete)).status_code == 401, route
            for role, browser in browsers.items():
                allowed = order.index(role) >= order.index(least[route])
                body = None if method == "GET" else {}
                status = (await browser.send(method, concrete, body)).status_code
                assert (status == 403) == (not allowed) and status != 401, (route, role, status)
        for role, browser in browsers.items():
            assert (await browser.send("DELETE", "/admin/session")).status_code == 200, role

    tell(tmp_path, story)


def test_keys_of_gateways_and_stated_principals_are_nobody_here(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        headers = {"x-fairlead-principal": "operator"}
        for method, path in routes():
            if f"{method} {path}" in MATRIX[ANYONE] or f"{method} {path}" in ENDLESS:
                continue
            concrete = re.sub(r"\{.*?\}", "none", path)
            for said in (headers, {"authorization": "Bearer sk-fl-v1-" + "0" * 64}, {"authorization": "Basic Zm9v"}):
                response = await port.browser().client.request(method, concrete, headers=said)
                assert response.status_code == 401, (method, path, said)

    tell(tmp_path, story)


def test_whose_things_are_seen(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        for scope in (NewScope("account", "other"), NewScope("team", "red"), NewScope("team", "blue"), NewScope("team", "red", "other")):
            port.directory.create_scope(scope)
        ann = await port.as_role("member", "red")
        bob = await port.as_role("viewer", "red")
        alone = await port.as_role("member")
        for key in (
            NewKey(name="of-red", team="red"),
            NewKey(name="of-blue", team="blue"),
            NewKey(name="far", account="other", team="red"),
        ):
            port.directory.create(key)

        async def names(browser, path: str) -> list[str]:  # type: ignore[no-untyped-def]
            return sorted(item["name"] for item in (await browser.send("GET", path)).json()["data"])

        assert await names(ann, "/admin/keys") == await names(bob, "/admin/keys") == ["of-red"]
        assert await names(alone, "/admin/keys") == []
        assert await names(ann, "/admin/teams") == ["red"] and await names(ann, "/admin/accounts") == ["default"]
        assert await names(bob, "/admin/users") == ["member-red", "viewer-red"] and await names(alone, "/admin/users") == ["member"]
        for path in ("/admin/keys/of-blue", "/admin/keys/far", "/admin/keys/first", "/admin/teams/blue", "/admin/accounts/other"):
            assert (await ann.send("GET", path)).status_code == 404, path
        # What is not seen is told from what is not there by nothing: neither by names nor by a count.
        for name in ("far", "of-blue"):
            for _ in range(2):
                port.directory.create(NewKey(name=name, account="other"))
        for kind, hidden, absent in (
            ("keys", "far", "none"), ("keys", "of-blue", "none"), ("keys", "1", "99"), ("teams", "2", "99"), ("teams", "3", "99"),
            ("accounts", "2", "99"), ("users", "3", "99"), ("teams/red?account=", "other", "none"), ("teams/red?account=", "2", "99"),
        ):  # fmt: skip
            path = f"/admin/{kind}" if kind.endswith("=") else f"/admin/{kind}/"
            said = [(await ann.send("GET", path + name)) for name in (hidden, absent)]
            assert said[0].status_code == said[1].status_code, path + hidden
            assert said[0].text.replace(hidden, "…") == said[1].text.replace(absent, "…"), path + hidden
        assert (await ann.send("GET", "/admin/teams/red")).json()["data"]["account"] == "default"
        # What a member makes is its own, whatever it says; it changes no other.
        made = await ann.send("POST", "/admin/keys", {"name": "mine", "limit_usd": "1"})
        assert made.status_code == 201 and (made.json()["data"]["user"], made.json()["data"]["team"]) == ("member-red", "red")
        number = (await ann.send("GET", "/admin/session")).json()["data"]["user_id"]
        port.user(str(number), "viewer")
        second = (await ann.send("POST", "/admin/keys", {"name": "second"})).json()["data"]
        assert second["user"] == "member-red", "not of who has its number as a name"
        for body in ({"account": "other"}, {"team": "blue"}, {"user": "viewer-red"}, {"management": True}):
            assert (await ann.send("POST", "/admin/keys", {"name": "x", **body})).status_code == 403, body
        assert (await ann.send("PATCH", "/admin/keys/of-red", {"disabled": True}, if_match="*")).status_code == 403
        assert (await ann.send("DELETE", "/admin/keys/of-red", if_match="*")).status_code == 403
        assert (await ann.send("PATCH", "/admin/keys/of-blue", {"disabled": True}, if_match="*")).status_code == 404
        assert (await ann.send("PATCH", "/admin/keys/mine", {"user": "viewer-red"}, if_match="*")).status_code == 403
        assert (await ann.send("PATCH", "/admin/keys/mine", {"disabled": False}, if_match="*")).status_code == 200
        assert (await ann.send("PATCH", "/admin/keys/mine", {"disabled": True}, if_match="*")).status_code == 200
        again = await ann.send("PATCH", "/admin/keys/mine", {"disabled": False}, if_match="*")
        assert again.status_code == 403 and "an admin enables it again" in again.text
        assert (await ann.send("PATCH", "/admin/keys/mine", {"name": "mine"}, if_match="*")).status_code == 200
        admin = await port.as_role("admin")
        assert (await admin.send("PATCH", "/admin/keys/mine", {"disabled": False}, if_match="*")).status_code == 200
        assert await names(bob, "/admin/keys") == ["mine", "of-red", "second"]
        assert (await bob.send("POST", "/admin/keys", {"name": "x"})).status_code == 403

    tell(tmp_path, story)


def test_runs_are_paid_by_who_runs_them_and_the_present_team(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        for team in ("red", "blue"):
            port.directory.create_scope(NewScope("team", team))
        ann = port.user("ann", "member", "red")
        port.user(str(ann), "member", "blue")

        def paying() -> tuple[str, str, str]:
            user = port.database.read_now(lambda c: scopes.scope(c, "user", ann))
            assert user
            who = Principal("user", account=user.account_id, role="member", user=ann, team=user.team_id, name=user.name)
            key, _ = playground.own_key(port.desk, who)
            assert key == port.database.read_now(lambda c: queries.key(c, key.id))
            return key.name, key.user, key.team

        assert paying() == ("playground (ann)", "ann", "red")
        assert (await port.script.patch("/admin/users/ann", json={"team": "blue"})).status_code == 200
        assert paying() == ("playground (ann)", "ann", "blue")
        told = msgspec.json.decode(port.journal.deltas[-1])
        assert told["upsert"][0]["team"] == 2, "the data plane knows it, too"
        assert (await port.script.patch("/admin/users/ann", json={"team": ""})).status_code == 200
        assert paying() == ("playground (ann)", "ann", "")

    tell(tmp_path, story)


def test_an_edit_of_what_has_changed_is_told_what(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        one, other = await port.as_role("admin"), await port.as_role("owner")
        made = await one.send("POST", "/admin/keys", {"name": "ci", "limit_usd": "5", "rpm": 60})
        path = f"/admin/keys/{made.json()['data']['hash']}"
        seen = made.headers["etag"]
        assert (await one.send("GET", path)).headers["etag"] == seen == made.json()["data"]["etag"]
        assert (await one.send("PATCH", path, {"rpm": 70})).status_code == 428
        changed = await other.send("PATCH", path, {"rpm": None, "models": ["acme/*"]}, if_match=seen)
        assert changed.status_code == 200 and changed.headers["etag"] != seen
        late = await one.send("PATCH", path, {"rpm": 70}, if_match=seen)
        assert late.status_code == 412
        error = late.json()["error"]
        assert error["changed"] == ["models", "rpm"] and error["current"]["rpm"] is None and error["current"]["models"] == ["acme/*"]
        assert (await one.send("DELETE", path, if_match=seen)).status_code == 412
        assert (await one.send("PATCH", path, {"rpm": 70}, if_match="nonsense")).status_code == 400
        # Figures that move by themselves are no edit; a script need not say what it saw, and may.
        assert (await port.script.patch(path, content=b'{"rpm":70}')).status_code == 200
        assert (await port.script.patch(path, content=b'{"rpm":71}', headers={"if-match": seen})).status_code == 412
        assert (await one.send("DELETE", path, if_match="*")).status_code == 200
        for kind in ("teams", "users", "accounts"):
            made = await one.send("POST", f"/admin/{kind}", {"name": "x"})
            assert (await other.send("PATCH", f"/admin/{kind}/x", {"limit_usd": "3"}, if_match=made.headers["etag"])).status_code == 200
            late = await one.send("PATCH", f"/admin/{kind}/x", {"name": "y"}, if_match=made.headers["etag"])
            assert late.status_code == 412 and late.json()["error"]["changed"] == ["limit_usd"]
            assert (await one.send("DELETE", f"/admin/{kind}/x", if_match=made.headers["etag"])).status_code == 412

    tell(tmp_path, story)


def test_a_tag_of_another_shape_means_that_all_has_changed() -> None:
    state = {"a": 1, "b": [2]}
    assert states.tag(state) == states.tag({"b": [2], "a": 1}) != states.tag({"a": 1, "b": [3]})
    states.check_match(states.tag(state), state)
    for given in ('""', '"abcd"', '"' + "A" * 80 + '"', 'W/"AAAA"'):
        with pytest.raises(Exception, match="a, b") as refused:
            states.check_match(given, state)
        assert refused.value.status == 412  # type: ignore[attr-defined]


# --- the audit log ----------------------------------------------------------------------------------------------------


def test_every_change_is_in_the_log(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        owner = await port.as_role("owner")
        before = len(port.audit())
        made = await owner.send("POST", "/admin/keys", {"name": "ci", "limit_usd": "5"})
        secret = made.json()["key"]
        await owner.send("PATCH", "/admin/keys/ci", {"limit_usd": None, "disabled": True}, if_match="*")
        await owner.send("PATCH", "/admin/keys/ci", {"disabled": True}, if_match="*")
        await owner.send("DELETE", "/admin/keys/ci", if_match="*")
        await port.script.post("/admin/teams", content=b'{"name":"infra","rpm":5}')
        await port.socket.patch("/admin/teams/infra", content=b'{"name":"ops"}', headers={"x-fairlead-principal": "operator"})
        await port.socket.delete("/admin/teams/ops", headers={"x-fairlead-principal": "operator"})
        await owner.send("POST", "/admin/credits", {"account": "default", "usd": "5", "note": "gift"})
        await owner.send("POST", "/admin/credits/1/refund", {})
        await owner.send("DELETE", "/admin/health")
        manager = {"x-fairlead-principal": "key=1;account=1;management=1"}
        await port.socket.post("/api/v1/keys", content=b'{"name":"by-key"}', headers=manager)
        # What is refused is no change.
        await owner.send("POST", "/admin/teams", {"name": ""})
        log = port.audit()[before:]
        said = [(row["actor_kind"], row["actor"], row["action"], row["target"]) for row in log]
        assert said == [
            ("user", "owner", "key.create", "ci"),
            ("user", "owner", "key.change", "ci"),
            ("user", "owner", "key.delete", "ci"),
            ("token", "admin token", "team.create", "infra"),
            ("command", "command line", "team.change", "ops"),
            ("command", "command line", "team.delete", "ops"),
            ("user", "owner", "credit.topup", "default"),
            ("user", "owner", "credit.refund", "default"),
            ("user", "owner", "health.forget", ""),
            ("key", "key 1", "key.create", "by-key"),
        ]
        assert log[0]["before"] is None and log[0]["after"]["limit_usd"] == "5" and log[0]["address"] == "127.0.0.1"
        assert (log[1]["before"], log[1]["after"]) == ({"disabled": False, "limit_usd": "5"}, {"disabled": True, "limit_usd": None})
        assert log[2]["after"] is None and log[2]["before"]["name"] == "ci"
        assert (log[4]["before"], log[4]["after"]) == ({"name": "infra"}, {"name": "ops"})
        assert secret not in str(log)

    tell(tmp_path, story)


def test_the_log_only_grows(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
            with pytest.raises(Exception, match="audit log"):
                port.database.write_now(lambda connection, statement=statement: connection.execute(statement))

    tell(tmp_path, story)


def test_the_log_is_read_in_pages_and_by_what_it_is_about(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        owner = await port.as_role("owner")
        for name in ("a", "b", "=1+1"):
            port.now_ms += 1000
            await owner.send("POST", "/admin/teams", {"name": name})
        await owner.send("PATCH", "/admin/teams/a", {"rpm": 5}, if_match="*")

        async def asked(query: str) -> list[tuple[str, str]]:
            response = await port.script.get(f"/admin/audit?{query}")
            assert response.status_code == 200, response.text
            return [(item["action"], item["target"]) for item in response.json()["data"]]

        assert await asked("limit=2") == [("team.change", "a"), ("team.create", "=1+1")]
        page = (await port.script.get("/admin/audit?limit=2")).json()
        assert await asked(f"limit=2&before={page['next']}") == [("team.create", "b"), ("team.create", "a")]
        assert await asked("action=team.change") == [("team.change", "a")]
        assert await asked("target_kind=team&target_id=1") == [("team.change", "a"), ("team.create", "a")]
        assert await asked("actor=owner&action=session.open") == [("session.open", "owner")]
        assert await asked("actor_kind=token") == []
        moment = (await port.script.get("/admin/audit?action=team.create")).json()["data"][1]["at"]
        assert await asked(f"action=team.create&to={moment}") == [("team.create", "a")]
        assert await asked(f"action=team.create&from={moment}") == [("team.create", "=1+1"), ("team.create", "b")]
        table = await port.script.get("/admin/audit?action=team.create&limit=1", headers={**BEARER, "accept": "text/csv"})
        assert table.headers["content-type"] == "text/csv; charset=utf-8"
        head, row = table.text.splitlines()
        assert head.startswith("at,id,actor_kind") and ",'=1+1," in row
        for query in ("limit=0", "limit=x", "before=0", "actr=x", "from=2026-01-01", "limit=1&limit=2", "actor="):
            assert (await port.script.get(f"/admin/audit?{query}")).status_code == 400, query

    tell(tmp_path, story)


def test_a_name_means_what_one_sees(tmp_path: Path) -> None:
    """Whether another's key is called so, or has this number, changes nothing for who does not see it."""

    async def story(port: Port) -> None:
        member = await port.as_role("member")
        hidden, _ = port.directory.create(NewKey(name="hidden", models=["acme/cheap"]))
        body = {"model": "acme/fast", "messages": []}

        async def asked(key: str) -> tuple[int, str]:
            response = await member.send("POST", "/admin/explain", {"body": body, "key": key})
            return response.status_code, response.json().get("error", {}).get("message", "").replace(key, "KEY")

        for theirs, nobodys in (("hidden", "hiddem"), (str(hidden.id), "999"), (hidden.public_hash, "0" * len(hidden.public_hash))):
            assert await asked(theirs) == await asked(nobodys) == (400, "key: there is no key 'KEY'")
        # One that is called like another's number is the own one.
        own = (await member.send("POST", "/admin/keys", {"name": str(hidden.id)})).json()["data"]
        assert await asked(own["name"]) == (200, "") and own["id"] != hidden.id

    tell(tmp_path, story)


def test_who_sees_less_is_not_told_who_runs_it(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        port.desk.facts["data_url"] = "http://127.0.0.1:9"
        port.desk.sign_ins = lambda: [{"provider": "lab", "account": "robot@lab.example", "signed_in": True}]
        endpoint = port.desk.offer.models[0].endpoints[0].id
        drained = drains.Drained(endpoint=endpoint, until_ms=port.now_ms + 1, by="boss", note="slow")
        port.database.write_now(lambda connection: drains.store(connection, [drained]))
        for role, by, accounts, address in (
            ("viewer", None, 0, None), ("member", None, 0, "http://127.0.0.1:9"), ("admin", "boss", 1, "http://127.0.0.1:9"),
        ):  # fmt: skip
            browser = await port.as_role(role)
            [provider] = (await browser.send("GET", "/admin/providers")).json()["data"]
            assert [(one["by"], one["note"]) for one in provider["drained"]] == [(by, "slow")], role
            assert len(provider["sign_ins"]) == accounts, role
            # Members call models, and need to know where.
            assert (await browser.send("GET", "/admin/session")).json()["data"]["data_url"] == address, role

    tell(tmp_path, story)


def test_nobody_deletes_who_is_above(tmp_path: Path) -> None:
    """With the user its role would be gone."""

    async def story(port: Port) -> None:
        admin, owner = await port.as_role("admin"), await port.as_role("owner")
        port.user("boss", "owner")
        refused = await admin.send("DELETE", "/admin/users/boss", if_match="*")
        assert refused.status_code == 403 and "owner" in refused.json()["error"]["message"]
        assert port.role_of("boss") == "owner"
        for name, role in (("equal", "admin"), ("less", "viewer")):
            port.user(name, role)
            assert (await admin.send("DELETE", f"/admin/users/{name}", if_match="*")).status_code == 200, name
        assert (await owner.send("DELETE", "/admin/users/boss", if_match="*")).status_code == 200

    tell(tmp_path, story)
