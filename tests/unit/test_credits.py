"""The credit ledger: given, adjusted, taken back, expired, paid for; and the pages of the books."""

import hashlib
import hmac
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from control_rig import DAY_MS, NOW_MS, generation
from fairlead.config.schema import Credits
from fairlead.control import credits
from fairlead.control.db import ledger
from fairlead.control.db.ledger import Entry
from fairlead.control.directory import NewScope
from hypothesis import given
from hypothesis import strategies as st
from test_control import MANAGER, House, tell
from test_owners import ask, told

DOLLAR = 10**9
WEBHOOK_SECRET = "whsec_0123456789abcdef"


async def give(house: House, usd: str = "10", **more: Any) -> Any:
    return (await ask(house, "POST", "/admin/credits", {"account": "default", "usd": usd, "note": "paid", **more}, 201))["data"]


async def balance(house: House) -> str:
    listed = await ask(house, "GET", "/admin/credits?account=default")
    return str(listed["accounts"][0]["balance_usd"])


def test_credit_is_given_adjusted_and_taken_back_by_entries_alone(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.desk.directory.sync_file([], enforce_credits=True)
        first = await give(house)
        assert (first["kind"], first["usd"], first["account"], first["note"]) == ("topup", "10", "default", "paid")
        assert told(house)["scopes"] == [{"kind": "account", "id": 1, "granted_nanousd": 10 * DOLLAR, "bought_nanousd": 10 * DOLLAR}]
        await give(house, "-0.000000001", kind="adjustment")
        assert told(house)["scopes"][0]["granted_nanousd"] == 10 * DOLLAR - 1
        house.journal.settle([generation(1, charged_nanousd=4 * DOLLAR)])
        response = await house.private.get("/api/v1/credits", headers=MANAGER)
        assert response.text == '{"data":{"total_credits":9.999999999,"total_usage":4}}'
        part = (await ask(house, "POST", "/admin/credits/1/refund", {"usd": "2.5", "note": "sorry"}, 201))["data"]
        assert (part["kind"], part["usd"], part["reverses"]) == ("refund", "-2.5", 1)
        assert (await ask(house, "POST", "/admin/credits/1/refund", {}, 201))["data"]["usd"] == "-7.5"
        # Below what was spent: that is how it is.
        assert await balance(house) == "-4.000000001"
        assert told(house)["scopes"][0]["granted_nanousd"] == -1
        listed = await ask(house, "GET", "/admin/credits?limit=2")
        assert [entry["id"] for entry in listed["data"]] == [4, 3]
        assert [entry["id"] for entry in (await ask(house, "GET", "/admin/credits?before=3"))["data"]] == [2, 1]

    tell(tmp_path, story)


def test_what_was_bought_is_told_at_once_and_at_every_start(tmp_path: Path) -> None:
    """Whether or not credit is needed: free models have more for who has bought some."""

    async def story(house: House) -> None:
        def bought() -> int:
            return int(told(house)["scopes"][0].get("bought_nanousd", 0))

        await give(house, "10")
        assert bought() == 10 * DOLLAR
        await give(house, "3", kind="adjustment")
        assert bought() == 10 * DOLLAR, "a gift is not bought"
        await ask(house, "POST", "/admin/credits/2/refund", {}, 201)
        assert bought() == 10 * DOLLAR, "nor is taking it back"
        await ask(house, "POST", "/admin/credits/1/refund", {"usd": "4"}, 201)
        assert bought() == 6 * DOLLAR, "what was paid back was not bought"
        await give(house, "5", expires_at="2026-11-30T00:00:00Z")
        expired = Entry(account_id=1, at_ms=NOW_MS, kind="expiry", amount_nanousd=-5 * DOLLAR, reverses_id=5)
        house.desk.directory.enter(lambda connection: [expired])
        assert bought() == 11 * DOLLAR, "what has expired was"
        house.desk.directory.create_scope(NewScope("account", "other"))
        house.desk.directory.publish_all()
        accounts = [scope for scope in told(house)["scopes"] if scope["kind"] == "account"]
        assert accounts == [{"kind": "account", "id": 1, "granted_nanousd": None, "bought_nanousd": 11 * DOLLAR}]

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("credits", {"account": "nobody", "usd": "5"}, 400, "account: there is no account 'nobody'"),
        ("credits", {"account": "default", "usd": "-5"}, 400, "usd: '-5' is negative"),
        ("credits", {"account": "default", "usd": "0"}, 400, "usd: 0 changes nothing"),
        ("credits", {"account": "default", "usd": "five"}, 400, "usd: 'five' is not a decimal number of US dollars"),
        ("credits", {"account": "default", "usd": 5}, 400, "body: Expected `str`, got `int` - at `$.usd`"),
        ("credits", {"account": "default", "usd": "1", "kind": "refund"}, 400, "kind: topup or adjustment is expected, got 'refund'"),
        ("credits", {"account": "default", "usd": "1", "expires_at": "2020-01-01T00:00:00Z"}, 400, "expires_at: this moment has passed"),
        ("credits", {"account": "default", "usd": "1", "note": "\x07"}, 400, "note: at most 500 printable characters"),
        (
            "credits",
            {"account": "default", "usd": "1", "external_id": "known"},
            409,
            "external_id or Idempotency-Key: the credit entry 1 has this name",
        ),
        ("credits/1/refund", {"usd": "10.000000001"}, 400, "usd: of the credit entry 1 between 0 and 10 can be taken back"),
        ("credits", {"account": "default", "usd": "1000000000"}, 400, "usd: the account would have more than 1000000000 dollars"),
        ("credits/1/refund", {"usd": "0"}, 400, "usd: of the credit entry 1 between 0 and 10"),
        ("credits/2/refund", {}, 400, "the credit entry 2 takes credit away itself (adjustment)"),
        ("credits/7/refund", {}, 404, "there is no credit entry 7"),
        ("credits/x/refund", {}, 404, "there is no credit entry 'x'"),
    ],
)
def test_mistakes_with_credit(tmp_path: Path, path: str, body: Any, status: int, message: str) -> None:
    async def story(house: House) -> None:
        await give(house, external_id="known")
        await give(house, "-1", kind="adjustment")
        before = len(house.journal.deltas)
        refused = await ask(house, "POST", f"/admin/{path}", body, status)
        assert refused["error"]["message"].startswith(message), refused
        assert len(house.journal.deltas) == before
        assert await balance(house) == "9"

    tell(tmp_path, story)


def test_the_same_name_is_the_same_entry(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        first = await give(house, external_id="invoice 7")
        again = await ask(house, "POST", "/admin/credits", {"account": "default", "usd": "10", "external_id": "invoice 7"}, 200)
        assert again["data"] == first
        back = {"usd": "4", "external_id": "credit note 1"}
        first_back = (await ask(house, "POST", "/admin/credits/1/refund", back, 201))["data"]
        assert (await ask(house, "POST", "/admin/credits/1/refund", back, 200))["data"] == first_back
        assert await balance(house) == "6"

    tell(tmp_path, story)


def test_the_tables_refuse_to_change_an_entry(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await give(house)
        for statement in ("UPDATE credit_entries SET amount_nanousd = 1", "DELETE FROM credit_entries"):

            def spoil(connection: sqlite3.Connection, statement: str = statement) -> None:
                connection.execute(statement)

            with pytest.raises(sqlite3.IntegrityError, match="add another one"):
                house.desk.database.write_now(spoil)
        assert await balance(house) == "10"

    tell(tmp_path, story)


# --- expiry ---------------------------------------------------------------------------------------------------------------


def test_what_is_left_expires_once(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.desk.directory.sync_file([], enforce_credits=True)
        await give(house, "10", expires_at="2025-12-01T00:00:00Z")
        await give(house, "5")
        house.journal.settle([generation(1, charged_nanousd=3 * DOLLAR)])
        assert await balance(house) == "12"
        assert await expire(house, NOW_MS) == []
        later = NOW_MS + 20 * DAY_MS
        [entry] = await expire(house, later)
        assert (entry.kind, entry.amount_nanousd, entry.reverses_id) == ("expiry", -7 * DOLLAR, 1)
        assert told(house)["scopes"][0]["granted_nanousd"] == 8 * DOLLAR
        assert await expire(house, later) == []
        assert await balance(house) == "5"

    tell(tmp_path, story)


async def expire(house: House, now_ms: int) -> list[Entry]:
    """As the upkeep does it."""
    held = await house.desk.database.read(lambda connection: credits.held(connection, house.desk.engine, now_ms))
    return credits.expire(house.desk.directory, held, now_ms)


def test_what_running_calls_hold_expires_behind_them(tmp_path: Path) -> None:
    """They were let in for it: taken back, it would be paid a second time from the next credit."""

    async def story(house: House) -> None:
        house.desk.directory.sync_file([], enforce_credits=True)
        await give(house, "10", expires_at="2025-12-01T00:00:00Z")
        later = NOW_MS + 20 * DAY_MS
        taken: list[tuple[str, int]] = []
        for held, used in ((4, 0), (4, 0), (3, 0), (0, 2), (0, 0)):
            house.journal.counted["account", 1] = (0, 0, 0, 0, held * DOLLAR)
            if used:
                house.journal.settle([generation(1, charged_nanousd=used * DOLLAR)])
                assert await balance(house) == "1"
            taken += [(entry.kind, entry.amount_nanousd // DOLLAR) for entry in await expire(house, later)]
        assert taken == [("adjustment", -6), ("adjustment", -1), ("expiry", -1)]
        assert await balance(house) == "0"

    tell(tmp_path, story)


LOTS = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 100), st.integers(1, 10) | st.none()), max_size=6)


@given(LOTS, st.integers(0, 400), st.integers(0, 11), st.integers(0, 400))
def test_expiry_takes_what_nobody_used(lots: list[tuple[int, int, int | None]], used: int, now: int, held: int) -> None:
    """Never more than is there, never a balance below zero that was not, and what lives on is whole. Nothing that is held."""
    entries = [
        (Entry(id=n + 1, account_id=1, at_ms=0, kind="topup", amount_nanousd=amount, expires_at_ms=expires), min(back, amount), False)
        for n, (amount, back, expires) in enumerate(lots)
    ]
    entries.sort(key=lambda lot: (lot[0].expires_at_ms is None, lot[0].expires_at_ms or 0, lot[0].id))
    balance = sum(entry.amount_nanousd - back for entry, back, _ in entries) - used
    first = credits.expiries(entries, used, held, now)
    assert balance + sum(entry.amount_nanousd for entry in first) >= min(balance, held)
    assert all(entry.amount_nanousd < 0 for entry in first if entry.kind == "adjustment")
    # When those calls have ended, and have cost nothing, it is as if they had not been.
    of = {entry.reverses_id: entry for entry in first}
    rest = credits.expiries(
        [
            (entry, back - (of[entry.id].amount_nanousd if entry.id in of else 0), entry.id in of and of[entry.id].kind == "expiry")
            for entry, back, _ in entries
        ],
        used,
        0,
        now,
    )
    found = credits.expiries(entries, used, 0, now)
    for entry in found:
        parts = [part.amount_nanousd for part in (*first, *rest) if part.reverses_id == entry.reverses_id]
        assert sum(parts) == entry.amount_nanousd
    due = [entry.id for entry, _, _ in entries if entry.expires_at_ms is not None and entry.expires_at_ms <= now]
    assert [entry.reverses_id for entry in found] == due
    net = {entry.id: entry.amount_nanousd - back for entry, back, _ in entries}
    expired = -sum(entry.amount_nanousd for entry in found)
    living = sum(amount for id, amount in net.items() if id not in due)
    assert sum(net.values()) - used - expired == min(sum(net.values()) - used, max(0, living - max(0, used - sum(net[id] for id in due))))
    for entry in found:
        assert entry.reverses_id is not None and 0 <= -entry.amount_nanousd <= net[entry.reverses_id]
    # A second look takes nothing more.
    spent_of = {entry.reverses_id: -entry.amount_nanousd for entry in found}
    again = [(entry, back + spent_of.get(entry.id, 0), entry.id in spent_of) for entry, back, _ in entries]
    assert credits.expiries(again, used, 0, now) == []


# --- payments -------------------------------------------------------------------------------------------------------------


def session(**changes: Any) -> dict[str, Any]:
    return {
        "id": "cs_1", "amount_total": 1234, "currency": "usd", "payment_status": "paid", "payment_intent": "pi_1",
        "client_reference_id": "acme", "metadata": {}, "livemode": True,
    } | changes  # fmt: skip


def event(id: str = "evt_1", type: str = "checkout.session.completed", **changes: Any) -> bytes:
    content = session(**changes) if type.startswith("checkout") else {"id": "ch_1", "currency": "usd", "payment_intent": "pi_1"} | changes
    return json.dumps({"id": id, "object": "event", "type": type, "data": {"object": content}}).encode()


def signed(body: bytes, secret: str = WEBHOOK_SECRET, at: int = NOW_MS // 1000) -> dict[str, str]:
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={at},v1={'0' * 64},v1={signature},v0=abc"}


async def post(house: House, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> str:
    response = await house.admin.post("/webhooks/stripe", content=body, headers=signed(body) if headers is None else headers)
    assert response.status_code == status, response.text
    content = response.json()
    return str(content["data"]["result"] if status == 200 else content["error"]["message"])


async def shop(house: House) -> None:
    house.desk.credits = Credits(enforce=True, webhook_secret=WEBHOOK_SECRET)
    house.desk.directory.sync_file([], enforce_credits=True)
    house.desk.directory.create_scope(NewScope("account", "acme"))


async def granted(house: House) -> int:
    return await house.desk.database.read(lambda connection: ledger.granted(connection, 2))


def test_a_payment_counts_once(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await shop(house)
        assert await post(house, event()) == "taken"
        assert told(house)["scopes"] == [{"kind": "account", "id": 2, "granted_nanousd": 12_340_000_000, "bought_nanousd": 12_340_000_000}]
        assert (await post(house, event())).startswith("known: this event")
        assert (await post(house, event("evt_2", "checkout.session.async_payment_succeeded"))).startswith("known: this payment")
        assert await granted(house) == 12_340_000_000
        # Paid back in parts; Stripe says how much it is in all.
        assert await post(house, event("evt_3", "charge.refunded", amount_refunded=200)) == "taken"
        assert await post(house, event("evt_4", "charge.refunded", amount_refunded=500)) == "taken"
        assert (await post(house, event("evt_3", "charge.refunded", amount_refunded=200))).startswith("known")
        assert await granted(house) == 7_340_000_000
        assert await post(house, event("evt_5", "charge.refunded", amount_refunded=1234)) == "taken"
        assert await granted(house) == 0

    tell(tmp_path, story)


def test_a_refund_may_be_heard_of_before_its_payment(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await shop(house)
        assert (await post(house, event("evt_9", "charge.refunded", amount_refunded=1000))).startswith("noted")
        assert (await post(house, event("evt_1"))).startswith("taken, and what was paid back")
        assert await granted(house) == 2_340_000_000
        assert told(house)["scopes"][0]["granted_nanousd"] == 2_340_000_000

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"client_reference_id": "nobody"}, 422, "event evt_1: there is no account 'nobody'"),
        ({"client_reference_id": None}, 200, "ignored: neither client_reference_id nor metadata.account"),
        ({"client_reference_id": None, "metadata": {"account": "acme"}}, 200, "taken"),
        ({"currency": "eur"}, 422, "event evt_1: the currency is 'eur'"),
        ({"payment_status": "unpaid"}, 200, "ignored: the payment is 'unpaid'"),
        ({"amount_total": 0}, 422, "event evt_1: amount_total is not an amount of cents"),
        ({"amount_total": -5}, 422, "event evt_1: amount_total is not an amount of cents"),
        ({"amount_total": 12.5}, 400, "body: data.object: Expected `int | null`, got `float`"),
        ({"payment_intent": None}, 200, "taken"),
        ({"type": "invoice.paid"}, 200, "ignored: events of this type"),
    ],
)
def test_payments_that_are_otherwise(tmp_path: Path, changes: dict[str, Any], status: int, message: str) -> None:
    async def story(house: House) -> None:
        await shop(house)
        assert (await post(house, event(**changes), status=status)).startswith(message)
        assert await granted(house) == (12_340_000_000 if message == "taken" else 0)
        if status != 200:
            # What could not be taken may come again.
            assert await post(house, event()) == "taken"

    tell(tmp_path, story)


def test_only_the_right_signature_is_believed(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        body = event()
        assert "webhook_secret is not set" in await post(house, body, status=404)
        await shop(house)
        now = NOW_MS // 1000
        right = signed(body)["stripe-signature"]
        for header, message in [
            (None, "the header is missing"),
            ("", "t=SECONDS,v1=HEX is expected"),
            (f"t={now}", "t=SECONDS,v1=HEX is expected"),
            (f"t={now},{right}", "t=SECONDS,v1=HEX is expected"),
            (right.replace("v1=", "v0="), "t=SECONDS,v1=HEX is expected"),
            (signed(body, "")["stripe-signature"], "it is not that of this body"),
            (signed(body, "another secret of theirs")["stripe-signature"], "it is not that of this body"),
            (signed(body + b" ")["stripe-signature"], "it is not that of this body"),
            (right.replace(f"t={now}", f"t={now + 1}"), "it is not that of this body"),
            (signed(body, at=now - 301)["stripe-signature"], "more than 300 seconds from our clock"),
            (signed(body, at=now + 301)["stripe-signature"], "more than 300 seconds from our clock"),
        ]:
            headers = {} if header is None else {"stripe-signature": header}
            assert message in await post(house, body, headers, 400), header
        assert await granted(house) == 0
        assert await post(house, body, signed(body, at=now - 300)) == "taken"

    tell(tmp_path, story)


# --- the books ------------------------------------------------------------------------------------------------------------


def test_the_books_have_every_movement(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for _ in range(3):
            await give(house)
        house.journal.settle([generation(number, charged_nanousd=number, settled_at_ms=NOW_MS + number * DAY_MS) for number in range(1, 6)])
        for of, types in (("credits", ["topup"] * 3), ("charges", ["charge"] * 5)):
            rows: list[Any] = []
            after = ""
            while True:
                page = await ask(house, "GET", f"/admin/ledger?of={of}&limit=2&after={after}")
                rows += page["data"]
                if (after := page["next"]) is None:
                    break
            assert [row["type"] for row in rows] == types
            assert len({row["id"] for row in rows}) == len(rows)
        assert (rows[0]["amount_usd"], rows[0]["key"], rows[0]["account"]) == ("-0.000000001", "first", "default")
        some = (await ask(house, "GET", "/admin/ledger?of=charges&from=2025-11-23&to=2025-11-24"))["data"]
        assert [row["amount_usd"] for row in some] == ["-0.000000002", "-0.000000003"]
        for query, message in (
            ("", "of: credits or charges"),
            ("?of=credits&after=x", "after: "),
            ("?of=charges&from=x", "from: a date"),
            ("?of=charges&from=2025-11-24&to=2025-11-23", "to: a day that is not before from"),
        ):
            assert (await ask(house, "GET", f"/admin/ledger{query}", status=400))["error"]["message"].startswith(message)

    tell(tmp_path, story)
