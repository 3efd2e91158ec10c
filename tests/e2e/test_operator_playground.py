"""Runs of the playground on a running gateway: lanes beside each other, errors, stopping one, and who pays."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fairlead.control import secret

from e2e.house import ADMIN_TOKEN, Gateway, Provider, configuration, split, until
from e2e.test_operator import Page, _events

PROMPT = {"messages": [{"role": "user", "content": "Count to three"}]}


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    with Gateway(configuration(provider.address)) as running:
        yield running


@pytest.fixture
def page(gateway: Gateway) -> Page:
    found = Page(gateway)
    found.log_in(token=ADMIN_TOKEN)
    return found


@contextlib.contextmanager
def run(page: Page, *models: str, **body: Any) -> Iterator[Iterator[tuple[str, Any, str]]]:
    """The events of a run."""
    host, port = split(page.gateway.admin)
    headers = {
        "origin": f"http://{page.gateway.admin}", "content-type": "application/json", "x-fairlead-csrf": page.csrf,
        "cookie": "; ".join(f"{name}={value}" for name, value in page.cookies.items()),
    }  # fmt: skip
    lanes = [{"model": model, "body": {**PROMPT, **body}} for model in models]
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=30)) as connection:
        connection.request("POST", "/admin/playground/runs", json.dumps({"lanes": lanes}), headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        yield _events(response)


def test_lanes_run_beside_each_other_and_figures_are_those_of_the_ledger(gateway: Gateway, page: Page) -> None:
    with run(page, "lab/echo", "lab/fast", "lab/nothing") as events:
        name, begun, _ = next(events)
        assert name == "run" and begun["lanes"] == 3 and begun["key"]["name"] == "playground"
        seen = list(events)
    ends = {data["lane"]: (name, data) for name, data, _ in seen if name in ("done", "error", "stopped")}
    assert [ends[lane][0] for lane in range(3)] == ["done", "done", "error"]
    assert ends[2][1]["status"] == 404 and "lab/nothing" in ends[2][1]["error"]["message"]
    for lane in (0, 1):
        settled = ends[lane][1]["settled"]
        row = gateway.generation(settled["id"])
        assert settled["outcome"] == "completed" and row["title"] == "Playground"
        assert settled["charged_usd"] == f"{row['charged_nanousd'] / 10**9:.9f}".rstrip("0")
        frames = [data["data"] for name, data, _ in seen if name == "frame" and data["lane"] == lane]
        assert frames[-1] == "[DONE]" and all(json.loads(frame)["object"] == "chat.completion.chunk" for frame in frames[:-1])
    # One key pays for all runs; it is small, and in the list like any other.
    [key] = [key for key in page.ask("GET", "/admin/keys").json()["data"] if key["name"] == "playground"]
    assert (key["limit_usd"], key["limit_reset"], key["hash"]) == ("5", "daily", begun["key"]["hash"])
    with run(page, "lab/echo") as events:
        assert next(events)[1]["key"] == begun["key"]
        list(events)
    # One that was deleted is followed by another; a disabled one pays nothing.
    assert page.ask("DELETE", f"/admin/keys/{key['hash']}", None, {"if-match": "*"}).status == 200
    with run(page, "lab/echo") as events:
        another = next(events)[1]["key"]["hash"]
        assert another != key["hash"] and list(events)[-1][0] == "done"
    assert page.ask("PATCH", f"/admin/keys/{another}", {"disabled": True}, {"if-match": "*"}).status == 200
    with run(page, "lab/echo") as events:
        assert list(events)[-1][1]["status"] == 401
    assert page.ask("PATCH", f"/admin/keys/{another}", {"disabled": False}, {"if-match": "*"}).status == 200


def test_a_lane_is_stopped_alone_and_a_page_that_leaves_stops_all(gateway: Gateway, page: Page, provider: Provider) -> None:
    with run(page, "lab/fast", "lab/fast", sim={"tokens": 20_000, "pace_ms": 50}) as events:
        _, begun, _ = next(events)
        path = f"/admin/playground/runs/{begun['id']}"
        for name, data, _ in events:
            if name == "frame" and data["lane"] == 0:
                break
        ann = Page(gateway)
        assert page.ask("POST", "/admin/users", {"name": "ann"}).status == 201
        assert page.ask("PUT", "/admin/users/ann/login", {"role": "member", "password": "a long password"}).status == 200
        ann.log_in(name="ann", password="a long password")
        assert ann.ask("DELETE", path).status == 404
        assert page.ask("DELETE", f"{path}?lane=0", None).json()["data"] == {"lanes": [0]}
        stopped = next(data for name, data, _ in events if name == "stopped")
        assert stopped["lane"] == 0 and gateway.generation(stopped["generation"])["outcome"] == "cancelled"
        assert any(name == "frame" and data["lane"] == 1 for name, data, _ in events)
    until(lambda: gateway.gauge("requests_open") == 0, "the other lane ends with its page")
    assert page.ask("DELETE", path).status == 404
    with run(ann, "lab/echo") as events:
        assert next(events)[1]["key"]["name"] == "playground (ann)"
        assert list(events)[-1][0] == "done"


def test_a_run_ends_with_its_log_in_and_is_settled(gateway: Gateway) -> None:
    """Within the 15 seconds after which a log-in is looked at again."""
    page = Page(gateway)
    page.log_in(token=ADMIN_TOKEN)
    with run(page, "lab/fast", sim={"tokens": 20_000, "pace_ms": 50}) as events:
        assert next(events)[0] == "run"
        head = next(events)[1]
        assert page.ask("DELETE", "/admin/session").status == 200
        *_, (name, data, _) = events
        assert (name, data) == ("end", {"reason": "logged_out"})
    until(lambda: gateway.gauge("requests_open") == 0, "the call upstream ends")
    row = gateway.generation(head["generation"])
    assert row["outcome"] == "cancelled" and row["charged_nanousd"] > 0


def test_what_is_no_run(page: Page) -> None:
    for body in ({}, {"lanes": []}, {"lanes": [{"model": "x", "body": {}}] * 7}, {"lanes": [{"model": "x"}]}):
        assert page.ask("POST", "/admin/playground/runs", body).status == 400
    assert page.ask("DELETE", "/admin/playground/runs/none", None).status == 404


def test_the_first_steps(provider: Provider) -> None:
    with Gateway(None) as bare:
        page = Page(bare)
        page.log_in(code=bare.ready["login"].partition("#code=")[2])
        setup = page.ask("GET", "/admin/setup").json()["data"]
        assert {step["name"]: step["done"] for step in setup["steps"]} == {"provider": True, "key": True, "request": False, "budget": False}
        assert setup["simulator"] and setup["model"] == "sim/echo" and setup["data_url"] == bare.url and not setup["dismissed"]
        with run(page, "sim/echo") as events:
            assert list(events)[-1][0] == "done"
        setup = page.ask("GET", "/admin/setup").json()["data"]
        assert setup["done"] and setup["first_request"]
        assert page.ask("PUT", "/admin/setup", {"dismissed": True}).json()["data"]["dismissed"]


def test_what_stands_for_a_key_is_of_the_server_secret_and_of_a_minute(gateway: Gateway) -> None:
    """The control plane acts as a key by its id; nobody else can, and a key that may not be used may not be used so."""
    kept = bytes.fromhex((gateway.data_dir / "secret.key").read_text().strip())
    made = gateway.operate("POST", "/admin/keys", {"name": "acted as"}).json()["data"]
    now = int(time.time())

    def status(text: str) -> int:
        return gateway.post("/v1/chat/completions", {"model": "lab/echo", **PROMPT}, key=text).status

    good = secret.acting(kept, made["id"], now + 60)
    assert status(good) == 200 and gateway.generations(f"key_id = {made['id']}")
    for forged in (
        secret.acting(kept, made["id"], now - 1),
        secret.acting(kept, 10**9, now + 60),
        secret.acting(bytes(32), made["id"], now + 60),
        good.replace(f"fl-as-{made['id']}-", "fl-as-1-"),
        good.replace(f"-{now + 60}-", f"-{now + 6000}-"),
        good[:-1],
        good.removeprefix("fl-as-"),
        "fl-as-",
        f"fl-as-{made['id']}-{now + 60}-",
        f"fl-as--{now + 60}-{'0' * 64}",
    ):
        assert status(forged) == 401, forged
    assert gateway.operate("PATCH", f"/admin/keys/{made['hash']}", {"disabled": True}).status == 200
    assert status(good) == 401
