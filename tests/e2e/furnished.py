"""A gateway in which every page of the console has something on it, with somebody of each role; and the list of those pages."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from e2e.house import Gateway, Provider, configuration, send

PASSWORD = "correct horse battery"
ROLES = ("viewer", "member", "admin", "owner")
TEAM = "blue"
CHAT = "/v1/chat/completions"
TABLES = """
[presets.own]
model = "lab/fast"
[splits."acme/own"]
arms = [{ model = "lab/echo", weight = 90 }, { model = "lab/fast", weight = 10 }]
[teams.kept]
limit_usd = "3"
limit_reset = "weekly"
[credits]
enforce = true
[logging]
content = true
[alerts]
webhook_url = "http://127.0.0.1:9/alerts"
webhook_secret = "ssssssssssssssssssss"
[models."lab/two"]
endpoints = [
  { provider = "lab", upstream_model = "sim/echo", usd_per_million = { prompt = "1", completion = "2" } },
  { provider = "lab", upstream_model = "sim/fast", usd_per_million = { prompt = "1", completion = "2" } },
]
"""

PAGES: dict[str, str] = {
    "/": "GET /admin/usage/series",
    "/?group=key&chart=lines": "GET /admin/usage/series",
    "/?group=model&chart=share": "GET /admin/usage/series",
    "/models": "GET /admin/models",
    "/models/lab/two": "GET /admin/models/{name:path}",
    "/models/compare?ids=lab/echo,lab/fast": "GET /admin/models",
    "/playground?models=lab/echo": "POST /admin/playground/runs",
    "/requests": "GET /admin/requests",
    "/requests/{request}": "GET /admin/requests/{id}",
    "/requests/{request}?tab=attempts": "GET /admin/requests/{id}",
    "/requests/{request}?tab=cost": "GET /admin/requests/{id}",
    "/requests/{request}?tab=explain": "GET /admin/requests/{id}/explain",
    "/requests/{request}?tab=content": "GET /admin/requests/{id}/content",
    "/keys": "GET /admin/keys",
    "/keys/{key}": "GET /admin/keys/{selector}",
    "/keys/{disabled}": "GET /admin/keys/{selector}",
    "/keys/{others}": "GET /admin/keys/{selector}",
    "/budgets?keys=all": "GET /admin/budgets",
    "/budgets?tab=credits": "GET /admin/credits",
    "/budgets?tab=alerts": "GET /admin/alerts",
    "/routing": "GET /admin/presets",
    "/routing?tab=splits": "GET /admin/splits",
    "/routing?name=x": "GET /admin/presets/{name}",
    "/routing?name=own": "GET /admin/presets/{name}",
    "/routing?tab=splits&name=acme/new": "GET /admin/splits/{name:path}",
    "/providers": "GET /admin/providers",
    "/config": "GET /admin/config",
    "/config?tab=values": "GET /admin/config",
    "/config?tab=history&kept={kept}": "GET /admin/config/history/{id}",
    "/audit": "GET /admin/audit",
    "/users": "GET /admin/users/{selector}/login",
    "/users?user={viewer}": "GET /admin/users/{selector}/login",
    "/account": "GET /admin/sessions",
    "/start": "GET /admin/setup",
}
"""Every page with something on it, and the route that it is nothing without. What stands in braces is in `Furnished.things`."""


class Furnished(Gateway):
    """The gateway, and the ids of what is in it."""

    things: dict[str, str]

    def place(self, path: str) -> str:
        """A path of `PAGES` with its ids."""
        return path.format_map(self.things)

    def make(self, path: str, **body: Any) -> Any:
        """Makes something at the operator's API."""
        reply = self.operate("POST", path, body)
        assert reply.status == 201, reply.body
        return reply.json()["data"]

    def log_in(self, name: str) -> None:
        """A log-in of a user that is in no browser."""
        body = json.dumps({"name": name, "password": PASSWORD}).encode()
        headers = {"content-type": "application/json", "origin": f"http://{self.admin}"}
        assert send(self.admin, "POST", "/admin/session", body, headers).status == 200


@contextlib.contextmanager
def furnished(provider: Provider) -> Iterator[Furnished]:
    """With names of the file's and made ones, versions, keys of each state, credit, traffic that ended well and ill, a file that was
    replaced, an endpoint that is set aside, and for each role a user of the team, with a log-in elsewhere."""
    with Furnished(configuration(provider.address, tables=TABLES)) as gateway:
        gateway.make("/admin/credits", account="default", usd="100", note="start")
        gateway.make("/admin/teams", name=TEAM, limit_usd="2", limit_reset="daily")
        things = {}
        for role in ROLES:
            made = gateway.make("/admin/users", name=role, team=TEAM, budgets=[{"limit_usd": "1", "reset": "weekly", "soft": True}])
            login = {"role": role, "password": PASSWORD}
            assert gateway.operate("PUT", f"/admin/users/{role}/login", login).status == 200
            gateway.log_in(role)
            things[role] = str(made["id"])
        for name, body in {
            "key": {"user": "member", "limit_usd": "0.5", "limit_reset": "monthly"},
            "disabled": {"user": "member"},
            # Used up by the first call.
            "others": {"team": TEAM, "budgets": [{"limit_usd": "0.00001", "reset": "daily", "soft": True}]},
        }.items():
            things[name] = gateway.make("/admin/keys", name=f"{name} of the team", **body)["hash"]
        assert gateway.operate("PATCH", f"/admin/keys/{things['disabled']}", {"disabled": True}).status == 200
        gateway.make("/admin/presets", name="x", definition={"model": "lab/echo"})
        assert gateway.operate("PATCH", "/admin/presets/x", {"definition": {"model": "lab/fast"}, "note": "faster"}).status == 200
        arms = [{"model": "lab/echo", "weight": 1}, {"model": "lab/fast", "weight": 1}]
        gateway.make("/admin/splits", name="acme/new", definition={"arms": arms})
        arms[0]["weight"] = 2
        assert gateway.operate("PATCH", "/admin/splits/acme/new", {"definition": {"arms": arms}}).status == 200
        text = gateway.operate("GET", "/admin/config").json()["data"]["text"] + "\n[timeouts]\nconnect_ms = 4000\n"
        assert gateway.operate("PUT", "/admin/config", {"text": text}).status == 200
        things["kept"] = gateway.operate("GET", "/admin/config/history").json()["data"][0]["id"]
        for number in range(24):
            model = ("lab/two", "lab/echo", "lab/flaky", "acme/new")[number % 4]
            body = {"model": model, "stream": number % 2 == 0, "user": "somebody", "messages": [{"role": "user", "content": "Hi"}]}
            gateway.post(CHAT, body, headers={"x-title": "An app"})
        of_team = gateway.operate("POST", f"/admin/keys/{things['others']}/rotate", {"overlap_seconds": 0}).json()["key"]
        reply = gateway.post(CHAT, {"model": "lab/two", "messages": [{"role": "user", "content": "Hi"}]}, key=of_team)
        assert reply.status == 200, reply.body
        things["request"] = reply.generation
        gateway.generation(reply.generation)
        [lab] = gateway.operate("GET", "/admin/providers").json()["data"]
        used = next(one for one in lab["endpoints"] if one["model"] == "lab/two")
        assert gateway.operate("POST", f"/admin/endpoints/{used['id']}/drain", {"minutes": 600, "note": "it is slow"}).status == 200
        gateway.things = things
        yield gateway
