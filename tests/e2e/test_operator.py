"""The operator's API on a running gateway, as a page uses it: log-in, changes, what happens now, and a restart under an open stream."""

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, Gateway, Provider, Reply, configuration, send, split, until


class Page:
    """A page of the console: a browser's headers and cookies, by hand."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.cookies: dict[str, str] = {}
        self.csrf = ""

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """A request; cookies that come are kept."""
        said = {"origin": f"http://{self.gateway.admin}", "content-type": "application/json", "sec-fetch-site": "same-origin"}
        said |= {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        said |= {"x-fairlead-csrf": self.csrf} if self.csrf else {}
        data = None if body is None else json.dumps(body).encode()
        reply = send(self.gateway.admin, method, path, data, {**said, **(headers or {})})
        for line in reply.headers.get_all("set-cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return reply

    def log_in(self, **body: str) -> None:
        """Logs in."""
        reply = self.ask("POST", "/admin/session", body)
        assert reply.status == 200, reply.body
        self.csrf = reply.json()["data"]["csrf"]

    @contextlib.contextmanager
    def events(self, query: str = "", last: str = "") -> Iterator[Iterator[tuple[str, Any, str]]]:
        """Name, data and id of each event."""
        host, port = split(self.gateway.admin)
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=20)) as connection:
            cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            connection.request("GET", f"/admin/events{query}", None, {"cookie": cookie} | ({"last-event-id": last} if last else {}))
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield _events(response)


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any, str]]:
    fields: dict[str, str] = {}
    with contextlib.suppress(ConnectionError, http.client.IncompleteRead):
        while line := response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                yield fields["event"], json.loads(fields["data"]), fields.get("id", "")
                fields = {}


def chat(gateway: Gateway, model: str = "lab/echo") -> str:
    """A call; its generation."""
    reply = gateway.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    assert reply.status == 200, reply.body
    return reply.generation


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    with Gateway(configuration(provider.address)) as running:
        yield running


@pytest.fixture
def page(gateway: Gateway) -> Page:
    found = Page(gateway)
    found.log_in(token=ADMIN_TOKEN)
    return found


def test_the_link_of_the_start_logs_in_once(gateway: Gateway) -> None:
    url = gateway.ready["login"]
    assert url.startswith(f"http://{gateway.admin}/login#code=")
    code = url.partition("#code=")[2]
    Page(gateway).log_in(code=code)
    assert Page(gateway).ask("POST", "/admin/session", {"code": code}).status == 401


def test_a_user_logs_in_and_what_it_does_is_in_the_log(gateway: Gateway, page: Page) -> None:
    assert page.ask("POST", "/admin/users", {"name": "ann"}).status == 201
    password = {"role": "member", "password": "a long password"}
    assert page.ask("PUT", "/admin/users/ann/login", password).status == 200
    ann = Page(gateway)
    ann.log_in(name="ann", password="a long password")
    made = ann.ask("POST", "/admin/keys", {"name": "anns", "limit_usd": "1"})
    assert made.status == 201
    path = f"/admin/keys/{made.json()['data']['hash']}"
    # It works for the very next request, and its limit is the one that was given.
    body = {"model": "lab/echo", "messages": [{"role": "user", "content": "Hello"}]}
    assert gateway.post("/v1/chat/completions", body, key=made.json()["key"]).status == 200
    assert ann.ask("PATCH", path, {"disabled": True}, {"if-match": made.headers["etag"]}).status == 200
    assert gateway.post("/v1/chat/completions", body, key=made.json()["key"]).status == 401
    assert ann.ask("PATCH", path, {"disabled": False}, {"if-match": made.headers["etag"]}).status == 412
    assert ann.ask("GET", "/admin/audit").status == 403
    log = page.ask("GET", "/admin/audit?actor=ann").json()["data"]
    assert [entry["action"] for entry in log] == ["key.change", "key.create", "session.open"]
    assert log[0]["address"] == "127.0.0.1" and (log[0]["before"], log[0]["after"]) == ({"disabled": False}, {"disabled": True})


def test_a_request_is_seen_as_it_happens_found_and_added_up(gateway: Gateway, page: Page) -> None:
    with page.events("?topics=requests,now") as events:
        assert next(events)[0] == "hello"
        # The first look only notes where the table ends.
        assert next(events)[0] == "now"
        id = chat(gateway)
        rows = next(data for name, data, _ in events if name == "requests")["rows"]
        assert rows[-1]["id"] == id
    shown = page.ask("GET", f"/admin/requests/{id}").json()
    assert shown["cost"]["exact"] is True and shown["cost"]["charged_usd"] == shown["data"]["charged_usd"] != "0"
    assert shown["timings"]["total_ms"] >= shown["timings"]["sent_ms"] > 0
    found = page.ask("GET", f"/admin/requests?model=lab/echo&key={shown['data']['key_id']}").json()["data"]
    assert found[0]["id"] == id
    usage = page.ask("GET", "/admin/usage/series?metrics=requests,cost&group=model&compare=previous").json()
    assert usage["totals"]["requests"] == sum(line["totals"]["requests"] for line in usage["series"]) > 0


def test_a_restart_under_an_open_stream_loses_nothing(gateway: Gateway, page: Page) -> None:
    with page.events("?topics=requests,now") as events:
        _, hello, _ = next(events)
        next(events)
        first = chat(gateway)
        until_row = next((data, id) for name, data, id in events if name == "requests")
        assert until_row[0]["rows"][-1]["id"] == first
        last = until_row[1]
    # The connection broke; what happened meanwhile comes first.
    second = chat(gateway)
    until(lambda: page.ask("GET", "/admin/requests?limit=1").json()["data"][0]["id"] == second, "the row")
    with page.events("?topics=requests", last) as events:
        assert next(events)[1] == {**hello, "resumed": True, "topics": ["requests"]}
        assert next(events)[1]["rows"][-1]["id"] == second
    # The process is another one: the page is told, asks again with the same log-in, and finds the rest in the list.
    with page.events("?topics=requests") as events:
        next(events)
        admin = gateway.admin
        assert gateway.stop() == 0
        assert next(events, None) is None
    gateway._arguments = ["--admin-addr", admin]
    gateway.start()
    assert gateway.admin == admin
    third = chat(gateway)
    with page.events("?topics=requests", last) as events:
        _, again, _ = next(events)
        assert again["resumed"] is False and again["epoch"] != hello["epoch"]
    missed = page.ask("GET", f"/admin/requests?after={first}").json()["data"]
    assert [row["id"] for row in missed] == [third, second]


def test_streams_do_not_hold_up_the_end(provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as own:
        page = Page(own)
        page.log_in(token=ADMIN_TOKEN)
        with page.events() as events:
            next(events)
            assert own.stop() == 0
        assert "did not end" not in own.stderr()


def test_the_traffic_port_knows_no_cookie(gateway: Gateway, page: Page) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    for path in ("/admin/keys", "/v1/models", "/api/v1/keys"):
        reply = send(gateway.address, "GET", path, None, {"cookie": cookie})
        assert reply.status in (401, 404), path


TWO_PLACES = """
[providers.spare]
dialect = "openai_chat"
base_url = "http://{address}/v1"
keys = ["spare-credential-5e4d"]
[models."two/places"]
[[models."two/places".endpoints]]
provider = "lab"
upstream_model = "sim/echo"
[[models."two/places".endpoints]]
provider = "spare"
upstream_model = "sim/echo"
"""


def test_an_endpoint_is_set_aside_and_let_in_again(provider: Provider) -> None:
    with Gateway(configuration(provider.address, tables=TWO_PLACES.format(address=provider.address))) as own:
        page = Page(own)
        page.log_in(token=ADMIN_TOKEN)

        def served() -> set[str]:
            return {own.generation(chat(own, "two/places"))["provider"] for _ in range(12)}

        endpoints = {each["provider"]: each["id"] for each in page.ask("GET", "/admin/models/two/places").json()["data"]["endpoints"]}
        path = f"/admin/endpoints/{endpoints['lab']}"
        assert page.ask("POST", f"{path}/drain", {"minutes": 30, "note": "they are moving"}).status == 200
        assert served() == {"spare"}
        # The last one stays; others of the provider are not concerned; a reload and a restart change nothing.
        last = page.ask("POST", f"/admin/endpoints/{endpoints['spare']}/drain", {"minutes": 5})
        assert last.status == 409 and "last endpoint" in last.json()["error"]["message"]
        chat(own, "lab/echo")
        assert page.ask("POST", "/admin/reload", {}).status == 200
        assert served() == {"spare"}
        own.stop()
        own.start()
        assert served() == {"spare"}
        page = Page(own)
        page.log_in(token=ADMIN_TOKEN)
        [line] = [line for line in page.ask("GET", "/admin/providers").json()["data"] if line["slug"] == "lab"]
        assert [(each["model"], each["note"], each["by"]) for each in line["drained"]] == [("two/places", "they are moving", "admin token")]
        assert page.ask("POST", f"{path}/enable", {}).status == 200
        assert "lab" in served()
        for body in ({"minutes": 0}, {"minutes": 10**6}, {}):
            assert page.ask("POST", f"{path}/drain", body).status == 400
        assert page.ask("POST", "/admin/endpoints/99999/drain", {"minutes": 1}).status == 404
        said = [entry["action"] for entry in page.ask("GET", "/admin/audit?target_kind=endpoint").json()["data"]]
        assert said == ["endpoint.enable", "endpoint.drain"]


def test_calls_in_progress_are_seen_until_they_end(provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as own:
        check_progress(own, provider)


def check_progress(gateway: Gateway, provider: Provider) -> None:
    page = Page(gateway)
    page.log_in(token=ADMIN_TOKEN)

    def running(who: Page) -> list[dict[str, Any]]:
        found = who.ask("GET", "/admin/requests/running").json()
        assert found["total"] == len(found["data"])
        return list(found["data"])

    assert running(page) == []
    own = page.ask("POST", "/admin/keys", {"name": "slow one"}).json()
    body = {"model": "lab/echo", "stream": True, "messages": [{"role": "user", "content": "Hi"}], "sim": {"delay_ms": 60_000}}
    host, port = split(gateway.address)
    with contextlib.closing(http.client.HTTPConnection(host, port)) as connection:
        headers = {"authorization": f"Bearer {own['key']}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
        until(lambda: provider.open_requests() == 1, "it is with the provider")
        [row] = running(page)
        assert (row["model"], row["provider"], row["key"]["name"], row["key_id"]) == ("lab/echo", "lab", "slow one", own["data"]["id"])
        assert float(row["reserved_usd"]) > 0 and row["running_ms"] >= 0 and row["prompt_tokens_estimate"] > 0
        assert page.ask("GET", f"/admin/requests/{row['id']}").status == 404, "it has no row yet"
        # Who does not see its requests does not see that it runs.
        assert page.ask("POST", "/admin/users", {"name": "viv"}).status == 201
        assert page.ask("PUT", "/admin/users/viv/login", {"role": "viewer", "password": "a long password"}).status == 200
        viv = Page(gateway)
        viv.log_in(name="viv", password="a long password")
        assert running(viv) == []
    until(lambda: running(page) == [], "its client has left")
    assert page.ask("GET", f"/admin/requests/{row['id']}").json()["data"]["outcome"] == "cancelled"
