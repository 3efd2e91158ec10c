"""Alerts: what raises them, that each is raised once, and how they are sent."""

import asyncio
import json
import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from control_rig import DAY_MS, NOW_MS, generation
from fairlead import config
from fairlead.catalog import shipped
from fairlead.config import Budget, Limits, Mistakes
from fairlead.config.alerts import AlertSettings
from fairlead.config.schema import Smtp
from fairlead.control import alerts
from fairlead.control.alerts import RETRY_SECONDS, deliver, raise_all, signature
from fairlead.control.db import alerts as stored
from fairlead.control.db.alerts import Delivery
from fairlead.control.directory import NewKey
from fairlead.control.upkeep import Upkeep
from test_control import House, tell
from test_credits import give
from test_owners import ask

DOLLAR = 10**9


async def raised(house: House, settings: AlertSettings, now_ms: int = NOW_MS, enforce: bool = True) -> list[str]:
    await house.desk.drainer.catch_up()
    return [alert.subject for alert in await raise_all(house.desk.database, settings, enforce, now_ms)]


def test_each_threshold_once_in_each_window(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        limits = Limits(limit_nanousd=10 * DOLLAR, limit_interval="day", budgets=(Budget("total", 100 * DOLLAR, soft=True),))
        house.desk.directory.create(NewKey(name="ci", limits=limits))
        settings = AlertSettings(thresholds=(50, 80, 100))
        today = NOW_MS // DAY_MS
        spends = [(49, []), (1, ["50"]), (1, []), (40, ["80"]), (20, ["100"]), (50, [])]
        for number, (tenths, thresholds) in enumerate(spends):
            house.journal.settle([generation(number, key_id=2, charged_nanousd=tenths * DOLLAR // 10)])
            assert await raised(house, settings) == [f"budget/key/2/day/0/{10 * DOLLAR}/{today}/{each}" for each in thresholds], number
        # The next day begins anew; the soft budget goes on.
        house.journal.settle([generation(90, key_id=2, charged_nanousd=40 * DOLLAR, settled_at_ms=NOW_MS + DAY_MS)])
        assert await raised(house, settings, NOW_MS + DAY_MS) == [
            f"budget/key/2/day/0/{10 * DOLLAR}/{today + 1}/100",
            f"budget/key/2/total/1/{100 * DOLLAR}/0/50",
        ]
        # Another limit is another matter.
        await ask(house, "PATCH", "/admin/keys/ci", {"limit_usd": "60"})
        assert await raised(house, settings, NOW_MS + DAY_MS) == [f"budget/key/2/day/0/{60 * DOLLAR}/{today + 1}/50"]

    tell(tmp_path, story)


def test_low_credit_once_between_two_topups(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        settings = AlertSettings(low_balance_nanousd=5 * DOLLAR)
        assert await raised(house, settings) == [], "who was given nothing has nothing that could run low"
        await give(house, "10")
        house.journal.settle([generation(1, charged_nanousd=4 * DOLLAR)])
        assert await raised(house, settings) == []
        house.journal.settle([generation(2, charged_nanousd=1 * DOLLAR)])
        assert await raised(house, settings, enforce=False) == []
        assert await raised(house, settings) == ["balance/1/1"]
        house.journal.settle([generation(3, charged_nanousd=1 * DOLLAR)])
        assert await raised(house, settings) == []
        await give(house, "5")
        assert await raised(house, settings) == []
        house.journal.settle([generation(4, charged_nanousd=5 * DOLLAR)])
        assert await raised(house, settings) == ["balance/1/2"]

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("past", "today", "is_unusual"),
    [(70, 49, False), (70, 50, True), (0, 50, False), (7, 4, False), (7, 5, True), (6, 5, True)],
)
def test_unusual_spend(tmp_path: Path, past: int, today: int, is_unusual: bool) -> None:
    """Five times the mean of seven days, and half a dollar at least. Amounts are tenths of dollars."""

    async def story(house: House) -> None:
        settings = AlertSettings(unusual_factor=5, unusual_nanousd=DOLLAR // 2)
        house.journal.settle([generation(1, charged_nanousd=past * DOLLAR // 10, settled_at_ms=NOW_MS - 7 * DAY_MS)])
        house.journal.settle([generation(2, charged_nanousd=10**15, settled_at_ms=NOW_MS - 8 * DAY_MS)])
        house.journal.settle([generation(3, charged_nanousd=today * DOLLAR // 10)])
        expected = [f"unusual/1/{NOW_MS // DAY_MS}"] if is_unusual else []
        assert await raised(house, settings) == expected
        assert await raised(house, settings) == []

    tell(tmp_path, story)


# --- sending --------------------------------------------------------------------------------------------------------------

SECRET = "a secret of 16 or more"


@contextmanager
def receiver(statuses: list[int]) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A web server that answers with these statuses; its URL, and signature and body of what came."""
    came: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.headers["fairlead-signature"], self.rfile.read(int(self.headers["content-length"]))))
            if statuses[len(came) - 1] == 0:
                self.wfile.write(b"no HTTP at all\r\n\r\n")
                return
            self.send_response(statuses[len(came) - 1])
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            came.append(("a redirect was followed", b""))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_webhook_is_signed_and_tried_again(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        with receiver([500, 302, 0, 200]) as (url, came):
            settings = AlertSettings(webhook_url=url, webhook_secret=SECRET)
            house.desk.directory.create(NewKey(name="ci", limits=Limits(limit_nanousd=DOLLAR)))
            house.journal.settle([generation(1, key_id=2, charged_nanousd=DOLLAR)])
            assert len(await raised(house, settings)) == 1
            now_ms = NOW_MS
            for wait in RETRY_SECONDS[:3]:
                await deliver(house.desk.database, settings, now_ms)
                await deliver(house.desk.database, settings, now_ms + wait * 1000 - 1)
                now_ms += wait * 1000
            assert len(came) == 3
            await deliver(house.desk.database, settings, now_ms)
            await deliver(house.desk.database, settings, now_ms + DAY_MS)
            assert len(came) == 4, "what was taken is not sent again"
        header, body = came[-1]
        assert header == signature(SECRET, body, now_ms // 1000)
        assert json.loads(body) == {
            "id": 1, "at": "2025-11-21T16:20:00.000Z", "kind": "budget", "scope": "key", "scope_id": 2, "name": "ci", "interval": "total",
            "text": "the key 'ci' has spent 1 $: 100 % or more of its budget of 1 $ in total", "soft": False, "threshold_percent": 100,
            "limit_usd": "1", "spent_usd": "1",
        }  # fmt: skip

    tell(tmp_path, story)


def test_what_nobody_takes_is_given_up(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            settings = AlertSettings(webhook_url=f"http://127.0.0.1:{nobody.getsockname()[1]}/", webhook_secret=SECRET)
            house.desk.directory.create(NewKey(name="ci", limits=Limits(limit_nanousd=DOLLAR)))
            house.journal.settle([generation(1, key_id=2, charged_nanousd=DOLLAR)])
            await raised(house, settings)
            now_ms = NOW_MS
            for wait in (*RETRY_SECONDS, 0):
                assert len(await house.desk.database.read(lambda connection, now_ms=now_ms: stored.due(connection, now_ms, 9))) == 1
                await deliver(house.desk.database, settings, now_ms)
                now_ms += wait * 1000
            assert await house.desk.database.read(lambda connection: stored.due(connection, now_ms + DAY_MS, 9)) == []

    tell(tmp_path, story)


def test_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []

    class Server:
        def __init__(self, host: str, port: int, **_: Any) -> None:
            said.append((host, port))

        def __enter__(self) -> "Server":
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing."""

        def starttls(self, context: Any) -> None:
            said.append("starttls")

        def login(self, user: str, password: str) -> None:
            said.append((user, password))

        def send_message(self, message: Any) -> None:
            said.append(message)

    monkeypatch.setattr(smtplib, "SMTP", Server)
    smtp = Smtp(host="mail.example", sender="fl@acme.example", to=["a@acme.example", "b@acme.example"], user="u", password="p")
    content = json.dumps({"kind": "budget", "text": "the key 'x\nBcc: y' has spent", "limit_usd": "1"})
    alerts.send(Delivery(1, "smtp", 0, NOW_MS, content), AlertSettings(smtp=smtp), NOW_MS)
    *spoken, message = said
    assert spoken == [("mail.example", 587), "starttls", ("u", "p")]
    assert message["Subject"] == "Fairlead: the key 'x Bcc: y' has spent"
    assert message["To"] == "a@acme.example, b@acme.example" and "limit_usd: 1" in message.get_content()


def test_upkeep_expires_credit_and_raises_alerts(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.desk.directory.sync_file([], enforce_credits=True)
        house.desk.credits.enforce = True
        house.desk.alerts = AlertSettings(low_balance_nanousd=DOLLAR)
        await give(house, "10", expires_at="2025-11-22T00:00:00Z")
        upkeep = Upkeep(house.desk)
        await upkeep.once()
        house.desk.now_ms = lambda: NOW_MS + DAY_MS
        for _ in range(2):
            await upkeep.once()
        assert [entry["kind"] for entry in (await ask(house, "GET", "/admin/credits"))["data"]] == ["expiry", "topup"]
        known = await house.desk.database.read(lambda connection: stored.known_subjects(connection, ["balance/1/1"]))
        assert known == {"balance/1/1"}

    tell(tmp_path, story)


def test_upkeep_outlives_its_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def story(house: House) -> None:
        monkeypatch.setattr("fairlead.control.upkeep.EVERY_SECONDS", 0)
        rounds = asyncio.Semaphore(0)

        async def broken(*_: Any) -> None:
            rounds.release()
            raise OSError("disk is full")

        monkeypatch.setattr(alerts, "raise_all", broken)
        task = asyncio.create_task(Upkeep(house.desk).run())
        for _ in range(3):
            await rounds.acquire()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [record.message for record in caplog.records if "disk is full" in record.message] == [
            "expiry of credit and alerts wait: OSError: disk is full"
        ]

    tell(tmp_path, story)


# --- configuration --------------------------------------------------------------------------------------------------------

MAIL = "host = 'mail.example', from = 'a@b.example', to = ['c@d.example']"


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("webhook_url = 'http://x/'", "alerts.webhook_url", "needs a webhook_secret, which alerts are signed with"),
        ("webhook_secret = 'a-secret-of-16-characters'", "alerts.webhook_secret", "there is no webhook_url that it could sign for"),
        ("webhook_url = 'http://x/'\nwebhook_secret = ''", "alerts.webhook_secret", "expected a secret of at least 16"),
        ("low_balance_usd = '-1'", "alerts.low_balance_usd", "is negative"),
        ("unusual_usd = 'x'", "alerts.unusual_usd", "is not a decimal number"),
        ("thresholds = [0]", "alerts.thresholds[0]", "expected an integer from 1 to 1000"),
        (f"smtp = {{ {MAIL}, user = 'u' }}", "alerts.smtp", "user and password belong together"),
        (f"smtp = {{ {MAIL}, user = 'u', password = 'p', tls = 'none' }}", "alerts.smtp.tls", "the password would be sent"),
        ("smtp = { host = 'mail.example', from = 'a', to = ['c@d.example'] }", "alerts.smtp.from", "expected a mail address"),
        (f"smtp = {{ {MAIL.replace('c@d', 'x,c@d')} }}", "alerts.smtp.to[0]", "expected a mail address"),
    ],
)
def test_mistakes(text: str, path: str, message: str) -> None:
    with pytest.raises(Mistakes) as caught:
        config.compile(config.read(f"[alerts]\n{text}", Path("/etc/fairlead.toml"), {}), shipped(), {})
    assert (path, True) in [(problem.path, problem.message.startswith(message)) for problem in caught.value.problems]
