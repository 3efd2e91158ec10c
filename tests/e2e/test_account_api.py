"""Limits, credit and keys through the real front door: what the control plane says holds for the very next request."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, MANAGEMENT_KEY, OTHER_KEY, Gateway, Provider, billed_nanousd, configuration, send
from e2e.wire import body_of

WEBHOOK_SECRET = "whsec_of_the_end_to_end_tests"
DOLLAR = 10**9
TABLES = """
[teams.red]
budgets = [{ limit_usd = "1", reset = "daily" }]

[keys.reds]
secret = "sk-fl-v1-redsredsredsredsreds1"
team = "red"

[keys.reds-too]
secret = "sk-fl-v1-redsredsredsredsreds2"
team = "red"
"""
REDS = ("sk-fl-v1-redsredsredsredsreds1", "sk-fl-v1-redsredsredsredsreds2")


@pytest.fixture(scope="module")
def house(provider: Provider) -> Iterator[Gateway]:
    """A gateway whose limits tests may change."""
    with Gateway(configuration(provider.address, tables=TABLES)) as running:
        yield running


def ask(gateway: Gateway, method: str, path: str, body: Any = None, status: int = 200, key: str = MANAGEMENT_KEY) -> Any:
    """A call of OpenRouter's account API; the body decoded with exact numbers."""
    content = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    reply = send(gateway.address, method, f"/api/v1{path}", content, {"authorization": f"Bearer {key}"})
    assert reply.status == status, reply.body
    return json.loads(reply.body, parse_float=Decimal)


def call(gateway: Gateway, key: str, status: int = 200) -> None:
    reply = gateway.post("/v1/chat/completions", body_of(max_tokens=20), key=key)
    assert reply.status == status, reply.body


def test_a_key_with_a_limit(house: Gateway, provider: Provider) -> None:
    made = ask(house, "POST", "/keys", '{"name":"ci","limit":1.5,"limit_reset":"monthly"}', 201)
    key, path = made["key"], f"/keys/{made['data']['hash']}"
    mark = provider.mark()
    for _ in range(3):
        call(house, key)
    billed = sum(billed_nanousd(record) for record in provider.since(mark, 3))
    data = ask(house, "GET", "/key", key=key)["data"]
    assert Decimal(data["limit_remaining"]) == Decimal("1.5") - Decimal(billed).scaleb(-9)
    assert Decimal(data["usage_monthly"]) == Decimal(billed).scaleb(-9)
    assert data["effective_budget"]["scope"] == "key_limit"
    # A limit at what was spent: nothing more, at once, and again after a restart.
    ask(house, "PATCH", path, f'{{"limit":{Decimal(billed).scaleb(-9):f}}}')
    call(house, key, 402)
    assert house.stop() == 0
    house.start()
    call(house, key, 402)
    assert ask(house, "GET", path)["data"]["limit_remaining"] == 0
    ask(house, "PATCH", path, '{"limit":null}')
    call(house, key)
    ask(house, "PATCH", path, '{"disabled":true}')
    call(house, key, 401)
    ask(house, "DELETE", path)
    call(house, key, 401)
    ask(house, "GET", path, status=404)
    ask(house, "GET", "/keys", status=403, key=OTHER_KEY)


def test_a_team_shares_its_budget(house: Gateway) -> None:
    for key in REDS:
        call(house, key)
    shown = house.operate("GET", "/admin/teams/red").json()["data"]
    spent = Decimal(shown["budgets"][0]["spent_usd"])
    assert spent > 0
    budgets = ask(house, "GET", "/key", key=REDS[0])["data"]["budgets"]
    assert [(budget["scope"], budget["remaining_usd"]) for budget in budgets] == [("team", 1 - spent)]
    refused = house.operate("PATCH", "/admin/teams/red", {"rpm": 1})
    assert refused.status == 409 and "[teams.red]" in refused.json()["error"]["message"]
    # The file is where it is changed, and a reload puts it in force for both keys.
    text = house.config.read_text()
    house.config.write_text(text.replace('limit_usd = "1"', f'limit_usd = "{spent}"'))
    assert house.operate("POST", "/admin/reload").status == 200
    for key in REDS:
        call(house, key, 402)
    house.config.write_text(text)
    assert house.operate("POST", "/admin/reload").status == 200
    for key in REDS:
        call(house, key)


def test_rates_of_a_key(house: Gateway) -> None:
    made = house.operate("POST", "/admin/keys", {"name": "slow", "rpm": 2, "max_concurrency": 1_000_000, "tpm": 10_000_000_000}).json()
    for status in (200, 200, 429):
        call(house, made["key"], status)
    house.operate("PATCH", f"/admin/keys/{made['data']['id']}", {"rpm": None})
    call(house, made["key"])


def event(id: str, type: str, /, **content: Any) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"id": id, "type": type, "data": {"object": {"payment_intent": "pi_1", "currency": "usd"} | content}}).encode()
    at = int(time.time())
    signature = hmac.new(WEBHOOK_SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return body, {"stripe-signature": f"t={at},v1={signature}"}


def test_credit_is_spent_and_no_more(provider: Provider) -> None:
    tables = f'[credits]\nenforce = true\nwebhook_secret = "{WEBHOOK_SECRET}"\n'
    with Gateway(configuration(provider.address, tables=tables)) as gateway:
        call(gateway, KEY, 402)
        given = gateway.operate("POST", "/admin/credits", {"account": "default", "usd": "1", "note": "a gift"})
        assert given.status == 201
        mark = provider.mark()
        call(gateway, KEY)
        used = Decimal(billed_nanousd(provider.since(mark, 1)[0])).scaleb(-9)
        assert ask(gateway, "GET", "/credits")["data"] == {"total_credits": 1, "total_usage": used}
        assert gateway.operate("POST", "/admin/credits/1/refund", {}).status == 201
        call(gateway, KEY, 402)
        body, headers = event(
            "evt_1", "checkout.session.completed", id="cs", amount_total=500, payment_status="paid", client_reference_id="1"
        )
        for _ in range(2):
            assert send(gateway.admin, "POST", "/webhooks/stripe", body, headers).status == 200
        assert send(gateway.admin, "POST", "/webhooks/stripe", body + b" ", headers).status == 400
        call(gateway, KEY)
        assert ask(gateway, "GET", "/credits")["data"]["total_credits"] == 5
        # A kill changes nothing of it.
        gateway.kill()
        gateway.start()
        call(gateway, KEY)
        assert ask(gateway, "GET", "/credits")["data"] == {"total_credits": 5, "total_usage": used * 3}
        body, headers = event("evt_2", "charge.refunded", id="ch", amount_refunded=500)
        assert send(gateway.admin, "POST", "/webhooks/stripe", body, headers).status == 200
        call(gateway, KEY, 402)
        shown = gateway.run("credits", "show", "--json")
        assert json.loads(shown.stdout)["accounts"][0]["balance_usd"] == f"{-used * 3:f}".rstrip("0")
        exported = [json.loads(line) for line in gateway.run("ledger", "export", "--json").stdout.splitlines()]
        assert [row["type"] for row in exported] == ["topup", "refund", "topup", "refund", "charge", "charge", "charge"]
        assert sum(Decimal(row["amount_usd"]) for row in exported) == -used * 3
        assert send(gateway.admin, "GET", "/admin/credits", headers={"authorization": f"Bearer {ADMIN_TOKEN}x"}).status == 401
