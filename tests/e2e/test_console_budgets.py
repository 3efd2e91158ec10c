"""The page Budgets in a real browser, before a real gateway: who may spend what, credit, alerts."""

import http.server
import re
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from e2e.browser import Console, console
from e2e.house import Gateway, Provider, configuration, until

CHAT = "/v1/chat/completions"
BODY = {"model": "lab/echo", "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]}
PASSWORD = "a long password"
KEPT = "sk-fl-v1-" + "b0d9" * 16
FILE = f'[teams.kept]\nlimit_usd = "3"\nlimit_reset = "weekly"\n[keys.kept]\nsecret = "{KEPT}"\nteam = "kept"\n'

expect.set_options(timeout=20_000)
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Hook(http.server.BaseHTTPRequestHandler):
    """Takes alerts."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def hook() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/alerts"
        server.shutdown()


@pytest.fixture(scope="module")
def house(provider: Provider, hook: str) -> Iterator[Gateway]:
    """Prepaid credit, a team of the file, and somebody of each role."""
    tables = f'{FILE}[credits]\nenforce = true\n[alerts]\nwebhook_url = "{hook}"\nwebhook_secret = "{"s" * 20}"\n'
    with Gateway(configuration(provider.address, tables=tables)) as running:
        made(running, "/admin/credits", account="default", usd="100", note="start")
        made(running, "/admin/teams", name="blue", limit_usd="2", limit_reset="daily")
        for role in ("member", "viewer"):
            made(running, "/admin/users", name=role, team="blue", budgets=[{"limit_usd": "1", "reset": "weekly", "soft": True}])
            login = {"role": role, "password": PASSWORD}
            assert running.operate("PUT", f"/admin/users/{role}/login", login).status == 200
        made(running, "/admin/keys", name="of a member", user="member", team="blue", limit_usd="0.5", limit_reset="monthly")
        assert running.post(CHAT, BODY).status == 200
        yield running


def made(gateway: Gateway, path: str, **body: Any) -> Any:
    reply = gateway.operate("POST", path, body)
    assert reply.status == 201, reply.body
    return reply.json()


def shown(gateway: Gateway, path: str) -> Any:
    return gateway.operate("GET", path).json()["data"]


def standing(gateway: Gateway) -> dict[str, Decimal]:
    found = gateway.operate("GET", "/admin/credits?limit=1").json()["accounts"][0]
    return {name: Decimal(amount) for name, amount in found.items() if name != "account"}


def row(page: Page, name: str) -> Any:
    return page.locator("tbody tr", has=page.locator("td:first-child bdi").get_by_text(name, exact=True))


def test_a_team_is_made_its_budget_fires_and_the_page_shows_it(browser: Browser, house: Gateway) -> None:
    with console(browser, house) as window:
        page = window.open("/budgets")
        page.get_by_role("button", name="Create team").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Create").click()
        expect(dialog.get_by_text("A name is needed.")).to_be_visible()
        dialog.get_by_label("Name", exact=True).fill("reds")
        dialog.get_by_label("Limited", exact=True).check()
        dialog.get_by_label("Limit ($)").fill("0.002")
        dialog.get_by_role("button", name="Add a further budget").click()
        dialog.get_by_label("Budget 1 ($)").fill("0.5")
        dialog.get_by_label("When budget 1 is used up").select_option("soft")
        dialog.get_by_role("button", name="Create", exact=True).click()
        expect(dialog).to_have_count(0)
        expect(row(page, "reds")).to_contain_text("soft: only told")
        team = shown(house, "/admin/teams/reds")
        assert (team["limit_usd"], team["limit_reset"], team["rpm"]) == ("0.002", "daily", None)
        assert [(each["limit_usd"], each["reset"], each["soft"]) for each in team["budgets"]] == [("0.5", "monthly", True)]

        secret = made(house, "/admin/keys", name="of the reds", team="reds")["key"]
        answers = []
        while not answers or answers[-1].status == 200:
            answers.append(house.post(CHAT, BODY, key=secret))
        assert answers[-1].status == 402 and len(answers) > 1 and "this team has" in answers[-1].json()["error"]["message"]
        spent = Decimal(sum(one["charged_nanousd"] for one in house.generations("team_id = ?", [team["id"]]))) / 10**9
        window.open("/budgets?keys=all")
        expect(row(page, "reds").locator(f"[title='exactly ${spent.normalize():f}']").first).to_be_visible()
        expect(row(page, "reds")).to_contain_text(re.compile("00:00 UTC"))
        expect(row(page, "of the reds")).to_contain_text("team reds, a day")
        expect(row(page, "of the reds")).to_contain_text("No limit")

        window.open("/")
        risk = page.get_by_role("region", name="Budgets at risk")
        risk.get_by_role("link", name="reds").click()
        expect(page).to_have_url(re.compile(r"/budgets\?q=reds$"))
        expect(row(page, "reds")).to_be_visible()
        expect(row(page, "blue")).to_have_count(0)


def test_no_limit_is_chosen_and_stays(browser: Browser, house: Gateway) -> None:
    made(house, "/admin/teams", name="cleared", limit_usd="7", limit_reset="weekly", rpm=60, max_concurrency=5)
    with console(browser, house) as window:
        page = window.open("/budgets")
        page.get_by_role("button", name="Change the team cleared").click()
        expect(page.get_by_role("button", name="Review")).to_be_disabled()
        # An empty field is no answer.
        page.get_by_label("Requests per minute", exact=True).fill("")
        page.get_by_role("button", name="Review").click()
        expect(page.get_by_text("or No limit.")).to_be_visible()
        page.get_by_label("No limit of requests per minute").check()
        page.get_by_label("No limit", exact=True).check()
        page.get_by_role("button", name="Review").click()
        expect(page.get_by_role("dialog")).to_contain_text("$7 → No limit")
        expect(page.get_by_role("dialog")).to_contain_text("60 → No limit")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.reload()
        window.settle()
        expect(row(page, "cleared")).to_contain_text("/ No limit")
        team = shown(house, "/admin/teams/cleared")
        assert (team["limit_usd"], team["limit_reset"], team["rpm"], team["max_concurrency"]) == (None, None, None, 5)


def test_two_who_change_a_team_are_told(browser: Browser, house: Gateway) -> None:
    made(house, "/admin/teams", name="two editors", limit_usd="1", limit_reset="daily")
    with console(browser, house) as window:
        page = window.open("/budgets")
        page.get_by_role("button", name="Change the team two editors").click()
        page.get_by_label("Limit ($)").fill("9")
        page.get_by_role("button", name="Review").click()
        assert house.operate("PATCH", "/admin/teams/two%20editors", {"limit_usd": "4", "rpm": 7}).status == 200
        page.get_by_role("button", name="Save").click()
        told = page.get_by_role("alert")
        expect(told).to_contain_text("Somebody else changed this team")
        expect(told).to_contain_text("$4")
        expect(told.locator("dt", has_text="Requests per minute")).to_be_visible()
        assert shown(house, "/admin/teams/two%20editors")["limit_usd"] == "4"
        page.get_by_role("button", name="Begin again").click()
        expect(page.get_by_label("Limit ($)")).to_have_value("4")
        page.get_by_label("Limit ($)").fill("0")
        page.get_by_role("button", name="Review").click()
        expect(page.get_by_text("Calls are refused at once")).to_be_visible()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        team = shown(house, "/admin/teams/two%20editors")
        assert (team["limit_usd"], team["rpm"]) == ("0", 7)


def test_who_is_made_is_renamed_and_deleted(browser: Browser, house: Gateway) -> None:
    with console(browser, house) as window:
        page = window.open("/budgets")
        for kind, name in (("account", "acme"), ("team", "acmes"), ("user", "eve")):
            page.get_by_role("button", name=f"Create {kind}").click()
            page.get_by_label("Name", exact=True).fill(name)
            if kind != "account":
                page.get_by_label("Account", exact=True).select_option("acme")
            if kind == "user":
                page.get_by_label("Team", exact=True).select_option("acmes")
            page.get_by_role("button", name="Create", exact=True).click()
            expect(row(page, name)).to_be_visible()
        assert [(one["account"], one["team"]) for one in shown(house, "/admin/users") if one["name"] == "eve"] == [("acme", "acmes")]

        def remove(kind: str, name: str) -> None:
            page.get_by_role("button", name=f"Delete the {kind} {name}").click()
            expect(page.get_by_role("button", name="Delete for good")).to_be_disabled()
            page.get_by_label(re.compile("Its name")).fill(name)
            page.get_by_role("button", name="Delete for good").click()

        remove("team", "acmes")
        expect(page.get_by_role("alert")).to_contain_text("still has")
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Change the user eve").click()
        page.get_by_label("Name", exact=True).fill("Eve / 2")
        page.get_by_label("Team", exact=True).select_option("")
        page.get_by_role("button", name="Review").click()
        expect(page.get_by_role("dialog")).to_contain_text("acmes → none")
        page.get_by_role("button", name="Save").click()
        for kind, name in (("user", "Eve / 2"), ("team", "acmes"), ("account", "acme")):
            remove(kind, name)
            expect(row(page, name)).to_have_count(0)
        expect(page.get_by_role("button", name="Delete the account default")).to_be_disabled()
        # What the file owns has no buttons.
        expect(row(page, "kept").first).to_contain_text("fairlead.toml owns it")
        expect(row(page, "kept").get_by_role("button")).to_have_count(0)


def test_a_top_up_grows_the_balance_by_exactly_its_amount(browser: Browser, provider: Provider) -> None:
    with Gateway(configuration(provider.address, tables="[credits]\nenforce = true\n")) as gateway:
        assert gateway.post(CHAT, BODY).status == 402
        with console(browser, gateway) as window:
            page = window.open("/budgets?tab=credits")
            expect(page.get_by_text("No credit was given yet.")).to_be_visible()
            page.get_by_role("button", name="Top up default").click()
            page.get_by_label("Amount ($)").fill("1e3")
            page.get_by_role("button", name="Review").click()
            expect(page.get_by_text("Dollars are expected")).to_be_visible()
            page.get_by_label("Amount ($)").fill("1.234567891")
            page.get_by_label("Note").fill("invoice 7")
            page.get_by_role("button", name="Review").click()
            expect(page.get_by_test_id("then")).to_have_text("$1.234567891")
            assert standing(gateway)["credits_usd"] == 0

            # The first reply is lost on the way: sent again, it is entered once.
            lost: list[str] = []

            def lose(route: Route) -> None:
                if lost:
                    route.continue_()
                    return
                lost.append(route.request.url)
                route.fetch()
                route.abort()

            page.route("**/admin/credits", lose)
            page.get_by_role("button", name="Enter it").click()
            expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("does not answer")
            assert standing(gateway)["credits_usd"] == Decimal("1.234567891")
            page.get_by_role("button", name="Enter it").click()
            expect(page.get_by_role("dialog")).to_have_count(0)
            expect(page.get_by_text("Entered as topup #1: $1.234567891 for default.")).to_be_visible()
            assert standing(gateway)["balance_usd"] == Decimal("1.234567891")

            assert gateway.post(CHAT, BODY).status == 200
            before = standing(gateway)
            assert before["balance_usd"] == before["credits_usd"] - before["usage_usd"] < Decimal("1.234567891")
            window.open("/budgets?tab=credits")
            balance = page.get_by_role("region", name="Credit of default")
            for name, amount in (
                ("Funded", "credits_usd"),
                ("Posted", "usage_usd"),
                ("Reserved", "reserved_usd"),
                ("Balance", "balance_usd"),
            ):
                fact = balance.locator("dt", has_text=name).locator("xpath=following-sibling::dd[1]")
                expect(fact).to_contain_text(f"${before[amount].normalize():f}")

            page.get_by_role("button", name="Refund entry 1").click()
            expect(page.get_by_label("Amount ($)")).to_have_value("1.234567891")
            page.get_by_label("Amount ($)").fill("0.234567891")
            page.get_by_role("button", name="Review").click()
            then = before["balance_usd"] - Decimal("0.234567891")
            expect(page.get_by_test_id("then")).to_have_text(f"${then.normalize():f}")
            page.get_by_role("button", name="Enter it").click()
            expect(page.get_by_text("Entered as refund #2")).to_be_visible()
            page.get_by_role("button", name="Adjust default").click()
            page.get_by_label("Amount ($)").fill("-0.5")
            page.get_by_role("button", name="Review").click()
            page.get_by_role("button", name="Enter it").click()
            expect(page.get_by_text("Entered as adjustment #3")).to_be_visible()
            after = standing(gateway)
            assert before["balance_usd"] - after["balance_usd"] == Decimal("0.734567891")
            entry = page.locator("tbody tr", has_text="invoice 7")
            expect(entry).to_contain_text("admin token")
            expect(entry).to_contain_text("topup #1")

            for number in range(60):
                made(gateway, "/admin/credits", account="default", usd="0.01", note=f"many {number}")
            made(gateway, "/admin/accounts", name="acme")
            window.open("/budgets?tab=credits")
            expect(page.locator("tbody tr")).to_have_count(50)
            page.get_by_role("button", name="Older").click()
            expect(page.locator("tbody tr")).to_have_count(63)
            expect(page.get_by_role("button", name="Older")).to_have_count(0)
            page.get_by_role("combobox", name="Account").select_option("acme")
            expect(page).to_have_url(re.compile("tab=credits&account=acme"))
            expect(page.get_by_text("No credit was given yet.")).to_be_visible()


def test_alerts_are_shown_silenced_and_tested(browser: Browser, house: Gateway) -> None:
    secret = made(house, "/admin/keys", name="loud", limit_usd="0.00001", budgets=[])["key"]
    house.operate("PATCH", "/admin/keys/loud", {"limit_usd": "1"})
    assert house.post(CHAT, BODY, key=secret).status == 200
    house.operate("PATCH", "/admin/keys/loud", {"limit_usd": "0.000001"})
    with console(browser, house) as window:
        page = window.open("/budgets?tab=alerts")
        expect(page.get_by_role("region", name="Rules in force")).to_contain_text("told at 50 %, 80 %, 100 % of each")
        expect(page.get_by_role("region", name="Rules in force")).to_contain_text("webhook: 127.0.0.1")
        page.get_by_role("button", name="Send a test").click()
        expect(page.get_by_text("webhook: delivered")).to_be_visible()
        page.get_by_label("Silence for").select_option("480")
        page.get_by_role("button", name="Silence", exact=True).click()
        expect(page.get_by_test_id("silence")).to_contain_text("silenced until")
        page.reload()
        window.settle()
        expect(page.get_by_test_id("silence")).to_contain_text("silenced until")
        page.get_by_role("button", name="End the silence").click()
        expect(page.get_by_test_id("silence")).to_have_text("on")
        until(lambda: [one for one in shown(house, "/admin/alerts") if "'loud'" in one["text"]], "an alert of the key")
        window.open("/budgets?tab=alerts")
        expect(page.get_by_role("row", name=re.compile("the key 'loud' has spent"))).to_be_visible()


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_another_team_is_nobodys_business(browser: Browser, house: Gateway, role: str) -> None:
    window = Console(browser, house).log_in(role, PASSWORD)
    page = window.open("/")
    expect(page.get_by_role("region", name="Budgets at risk")).to_be_visible()
    page.get_by_role("link", name="Budgets", exact=True).click()
    window.settle()
    expect(row(page, "blue")).to_contain_text("$2")
    expect(row(page, role)).to_contain_text("soft: only told")
    expect(row(page, "of a member")).to_contain_text("its own, a month")
    expect(row(page, "kept")).to_have_count(0)
    window.check()
    window.close()


def test_the_page_can_be_used_by_everybody(browser: Browser, house: Gateway) -> None:
    """axe finds nothing on any part or form, and nothing is wider than the window."""
    with console(browser, house, timezone_id="Asia/Kathmandu") as window:
        page, found = window.page, []

        def look(where: str) -> None:
            found.extend(window.for_everybody(where))

        for path in ("/budgets?keys=all", "/budgets?q=nobody", "/budgets?tab=credits", "/budgets?tab=alerts", "/"):
            window.open(path)
            look(path)
        window.open("/budgets")
        expect(row(page, "blue")).to_contain_text(re.compile(r"00:00 UTC \(.*05:45 Asia/Kat"))
        page.get_by_role("button", name="Change the team blue").click()
        page.get_by_role("button", name="Add a further budget").click()
        page.get_by_label("Budget 1 ($)").fill("x")
        page.get_by_role("button", name="Review").click()
        expect(page.get_by_text("Dollars are expected")).to_be_visible()
        look("a change with a mistake")
        page.get_by_label("Budget 1 ($)").fill("9")
        page.get_by_role("button", name="Review").click()
        expect(page.get_by_text("This changes")).to_be_visible()
        look("a change before it is made")
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Delete the team blue").click()
        look("a deletion")
        window.open("/budgets?tab=credits")
        page.get_by_role("button", name="Top up default").click()
        page.get_by_label("Amount ($)").fill("5")
        page.get_by_role("button", name="Review").click()
        expect(page.get_by_test_id("then")).to_be_visible()
        look("a top-up before it is made")
        assert not found, "\n".join(found)
