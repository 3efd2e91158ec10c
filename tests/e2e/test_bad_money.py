"""What makes no sense where money is concerned, through the real front door: refused with a reason, and nothing changes. Objects of others
are not there."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, MANAGEMENT_KEY, Gateway, Provider, Reply, configuration, run, send
from e2e.wire import PATHS, Wire, body_of, is_terminal

STRANGER = "sk-fl-v1-" + "57a1" * 16
STRANGERS_MANAGER = "sk-fl-v1-" + "57a2" * 16
TABLES = f"""
[keys.stranger]
secret = "{STRANGER}"
account = "strangers"
[keys.strangers_manager]
secret = "{STRANGERS_MANAGER}"
account = "strangers"
management = true
"""


@pytest.fixture(scope="module")
def house(provider: Provider) -> Iterator[Gateway]:
    """Two accounts."""
    with Gateway(configuration(provider.address, tables=TABLES)) as running:
        yield running


def said(reply: Reply, status: int) -> str:
    """What a refusal says; its status stands in it too."""
    assert reply.status == status, reply.body
    error = reply.json()["error"]
    assert error["code"] == status and error["metadata"]["error_type"]
    return str(error["message"])


def raw(gateway: Gateway, method: str, path: str, body: str, key: str | None = None) -> Reply:
    """A body exactly as it is written: to the operator's port, or with a key to the traffic port."""
    address, token = (gateway.admin, ADMIN_TOKEN) if key is None else (gateway.address, key)
    return send(address, method, path, body.encode(), {"authorization": f"Bearer {token}", "content-type": "application/json"})


AMOUNTS = [
    ("abc", "not a decimal"), ("", "not a decimal"), ("1,5", "not a decimal"), ("0x10", "not a decimal"), ("1e", "not a decimal"),
    ("NaN", "not a decimal"), ("Infinity", "not a decimal"), ("-1", "negative"), ("-0.000000001", "negative"),
    ("0.0000000001", "more than 9 decimals"), ("1e30", "not a decimal"), ("9" * 400, "not a decimal"), ("\u0661", "not a decimal"),
]  # fmt: skip


@pytest.mark.parametrize(("amount", "reason"), AMOUNTS)
def test_amounts(house: Gateway, amount: str, reason: str) -> None:
    """Of limits, budgets and credit: never a silent zero, never a limit that is none."""
    before = snapshot(house)
    text = json.dumps(amount)
    for method, path, body in [
        ("POST", "/admin/keys", f'{{"name":"x","limit_usd":{text}}}'),
        ("POST", "/admin/keys", f'{{"name":"x","budgets":[{{"limit_usd":{text},"reset":"daily"}}]}}'),
        ("POST", "/admin/teams", f'{{"name":"x","limit_usd":{text}}}'),
        ("PATCH", "/admin/accounts/strangers", f'{{"limit_usd":{text}}}'),
        ("POST", "/admin/credits", f'{{"account":"default","usd":{text}}}'),
    ]:
        message = said(raw(house, method, path, body), 400)
        assert "usd" in message and (reason in message or "/credits" in path), (path, message)
    # OpenRouter's own routes take numbers.
    assert "limit" in said(raw(house, "POST", "/api/v1/keys", f'{{"name":"x","limit":{text}}}', MANAGEMENT_KEY), 400)
    assert snapshot(house) == before


@pytest.mark.parametrize("number", ["-1", "-1e-9", "0.0000000001", "1e30", "true", "[5]"])
def test_numbers_of_openrouters_routes(house: Gateway, number: str) -> None:
    before = snapshot(house)
    assert "limit" in said(raw(house, "POST", "/api/v1/keys", f'{{"name":"x","limit":{number}}}', MANAGEMENT_KEY), 400)
    assert snapshot(house) == before


@pytest.mark.parametrize(
    ("method", "path", "body", "names"),
    [
        ("POST", "/admin/keys", {"name": "x", "limit_usd": "1", "limit_reset": "hourly"}, "limit_reset"),
        ("POST", "/admin/keys", {"name": "x", "limit_usd": "1", "limit_reset": "Daily"}, "limit_reset"),
        ("POST", "/admin/keys", {"name": "x", "limit_usd": "1", "limit_reset": ""}, "limit_reset"),
        ("POST", "/admin/keys", {"name": "x", "limit_reset": "daily"}, "limit_reset"),
        ("POST", "/admin/keys", {"name": "x", "budgets": [{"limit_usd": "1", "reset": "fortnightly"}]}, "reset"),
        ("POST", "/admin/keys", {"name": "x", "rpm": -1}, "rpm"),
        ("POST", "/admin/keys", {"name": "x", "rpm": 0}, "rpm"),
        ("POST", "/admin/keys", {"name": "x", "tpm": 1.5}, "tpm"),
        ("POST", "/admin/keys", {"name": "x", "max_concurrency": "8"}, "max_concurrency"),
        ("POST", "/admin/keys", {"name": "x", "content": "yes"}, "content"),
        ("POST", "/admin/keys", {"name": "x", "team": "nobody"}, "team"),
        ("POST", "/admin/keys", {"name": "x", "account": "nobody"}, "account"),
        ("POST", "/admin/users", {"name": "x", "account": "nobody"}, "account"),
        ("POST", "/admin/credits", {"account": "nobody", "usd": "1"}, "account"),
        ("POST", "/admin/credits", {"account": "default", "usd": 1}, "usd"),
    ],
)  # fmt: skip
def test_intervals_rates_and_owners(house: Gateway, method: str, path: str, body: Any, names: str) -> None:
    before = snapshot(house)
    reply = house.operate(method, path, body)
    assert reply.status in (400, 404) and names in said(reply, reply.status)
    assert snapshot(house) == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/activity?date=yesterday", None),
        ("GET", "/api/v1/activity?date=2025-02-30", None),
        ("POST", "/api/v1/analytics/query", {"metrics": ["request_count"], "granularity": "fortnight"}),
        ("POST", "/api/v1/analytics/query", {"metrics": ["no_such_metric"]}),
        ("POST", "/api/v1/analytics/query", {"metrics": ["request_count"], "limit": -1}),
    ],
)
def test_questions_that_make_no_sense(house: Gateway, method: str, path: str, body: Any) -> None:
    reply = send(
        house.address, method, path, None if body is None else json.dumps(body).encode(), {"authorization": f"Bearer {MANAGEMENT_KEY}"}
    )
    assert said(reply, 400)


def test_objects_of_somebody_else_are_not_there(house: Gateway) -> None:
    """Neither to be read nor to be changed, and no word tells that they exist."""
    reply = house.post("/v1/chat/completions", body_of())
    upstream = house.get(f"/api/v1/generation?id={reply.generation}").json()["data"]["upstream_id"]
    for id in (reply.generation, upstream):
        for path in ("generation", "generation/content"):
            theirs = said(house.get(f"/api/v1/{path}?id={id}", key=STRANGER), 404)
            nobodys = said(house.get(f"/api/v1/{path}?id=gen-00000000-0000-7000-8000-000000000000", key=STRANGER), 404)
            assert theirs.replace(id[:60], "X") == nobodys.replace("gen-00000000-0000-7000-8000-000000000000", "X")
    made = raw(house, "POST", "/api/v1/keys", '{"name":"mine"}', MANAGEMENT_KEY).json()
    path = f"/api/v1/keys/{made['data']['hash']}"
    for method, body in (("GET", ""), ("PATCH", '{"disabled":true}'), ("DELETE", "")):
        said(raw(house, method, path, body, STRANGERS_MANAGER), 404)
    assert house.post("/v1/chat/completions", body_of(), key=made["key"]).status == 200
    shown = send(house.address, "GET", "/api/v1/activity", None, {"authorization": f"Bearer {STRANGERS_MANAGER}"})
    assert shown.status == 200 and shown.json()["data"] == []
    # A key of theirs in a body of the operator's, of a team that is another account's.
    assert house.operate("POST", "/admin/teams", {"name": "theirs", "account": "strangers"}).status == 201
    assert "team" in said(house.operate("POST", "/admin/keys", {"name": "x", "team": "theirs"}), 400)


def test_a_key_that_is_deleted_while_it_is_used(house: Gateway, provider: Provider) -> None:
    """What runs goes on and is paid for; nothing begins any more, also not on a connection that knows the key; what it did stays."""
    made = house.operate("POST", "/admin/keys", {"name": "short-lived", "limit_usd": "1"}).json()
    mark = provider.mark()
    with Wire(house.address) as wire:
        wire.post(PATHS["openai_chat"], body_of(stream=True, sim={"tokens": 20, "pace_ms": 20}), key=made["key"])
        answer = wire.head()
        events = wire.events(answer)
        next(events)
        assert house.operate("DELETE", f"/admin/keys/{made['data']['id']}").status == 200
        assert is_terminal("openai_chat", list(events)[-1])
        wire.post(PATHS["openai_chat"], body_of(), key=made["key"])
        assert wire.answer().status == 401
    [record] = provider.since(mark, 1)
    id = answer.header("x-generation-id")
    assert id is not None
    row = house.generation(id)
    assert row["outcome"] == "completed" and row["charged_nanousd"] > 0 and row["key_id"] == made["data"]["id"]
    assert record["outcome"] == "complete"
    # Its account still knows what it cost; the key itself is gone, and so is its way to ask.
    assert house.get(f"/api/v1/generation?id={id}").status == 200
    assert house.get(f"/api/v1/generation?id={id}", key=made["key"]).status == 401
    for method, body in (("GET", None), ("PATCH", {"disabled": False}), ("DELETE", None)):
        said(house.operate(method, f"/admin/keys/{made['data']['id']}", body), 404)
    assert house.run("ledger", "verify").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ["keys", "create", "x", "--limit-usd", "five"],
        ["keys", "create", "x", "--limit-usd", "-5"],
        ["keys", "create", "x", "--limit-usd", "5", "--limit-reset", "hourly"],
        ["keys", "create", "x", "--rpm", "-1"],
        ["keys", "create", "x", "--budget", "5/hourly"],
        ["keys", "create", "x", "--content", "perhaps"],
        ["credits", "add", "default", "1e400"],
        ["credits", "add", "default", "0.0000000001"],
    ],
)
def test_the_command_line(house: Gateway, words: list[str]) -> None:
    before = snapshot(house)
    done = house.run(*words)
    assert done.returncode in (1, 2) and done.stderr.strip(), done
    assert snapshot(house) == before


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ('limit_usd = "five"', "keys.x.limit_usd"),
        ('limit_usd = "-1"', "keys.x.limit_usd"),
        ('limit_usd = "1"\nlimit_reset = "hourly"', "keys.x.limit_reset"),
        ('limit_reset = "daily"', "keys.x.limit_reset"),
        ("rpm = -1", "keys.x.rpm"),
        ('content = "yes"', "keys.x.content"),
        ("[logging]\ncontent_ttl_seconds = 1", "logging.content_ttl_seconds"),
        ("[logging]\ncontent_bytes = -1", "logging.content_bytes"),
    ],
)
def test_the_configuration(house: Gateway, lines: str, place: str) -> None:
    assert house.config is not None
    text = house.config.read_text()
    try:
        house.config.write_text(f'{text}\n[keys.x]\nsecret = "sk-fl-v1-{"3b5a" * 16}"\n{lines}\n')
        checked = run(["check", "--config", str(house.config)], house.folder)
        assert checked.returncode == 2 and place in checked.stderr + checked.stdout, checked
        # What runs stays in force.
        assert house.operate("POST", "/admin/reload").status == 422
        assert house.post("/v1/chat/completions", body_of(), key=KEY).status == 200
    finally:
        house.config.write_text(text)


def snapshot(house: Gateway) -> Any:
    """Everybody and their limits, and the credit that there is."""
    return [house.operate("GET", path).json()["data"] for path in ("/admin/accounts", "/admin/teams", "/admin/users", "/admin/credits")] + [
        [
            {name: key[name] for name in ("id", "name", "limit_usd", "budgets", "rpm", "content")}
            for key in house.operate("GET", "/admin/keys").json()["data"]
        ]
    ]
