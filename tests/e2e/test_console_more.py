"""More of the console before a real gateway: the volume over the list of requests, past decisions, prices since when, uptime and probes,
and who pays for a run of the playground."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec
import pytest
from playwright.sync_api import Browser, expect

from e2e.browser import NARROW, WIDE, Console, console
from e2e.house import Gateway, Provider, configuration
from e2e.test_operator import Page

expect.set_options(timeout=20_000)
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PROMPT = {"messages": [{"role": "user", "content": "Hi"}]}
OLD, NEW = "7.5", "3"


def synced(provider: str) -> bytes:
    """A model of the catalogue whose price changed, as `fairlead models sync` leaves it."""
    today = datetime.now(UTC).date()

    def block(day: date, prompt: str) -> dict[str, Any]:
        prices = {"prompt": prompt, "completion": "15"}
        return {"from": str(day), "source": "https://lab.example/prices", "checked": str(today), "usd_per_million": prices}

    endpoint = {
        "provider": provider, "upstream_model": "gpt-dated",
        "price": [block(today - timedelta(days=200), OLD), block(today - timedelta(days=20), NEW)],
    }  # fmt: skip
    facts = {"id": "acme/dated", "name": "Dated", "context_tokens": 8000}
    return msgspec.json.encode({"kind": "model", "file": {"model": facts, "endpoint": [endpoint]}}) + b"\n"


@pytest.fixture(scope="module")
def busy(provider: Provider) -> Iterator[Gateway]:
    with Gateway(configuration(provider.address)) as running:
        for number in range(24):
            model = ("lab/echo", "lab/fast", "lab/flaky")[number % 3]
            running.post("/v1/chat/completions", {"model": model, "stream": number % 2 == 0, **PROMPT})
        yield running


def test_everybody_can_use_it(browser: Browser, busy: Gateway) -> None:
    id = busy.generations()[-1]["id"]
    with console(browser, busy) as window:
        found = []
        for path in ("/requests", "/requests?failed=true&session=none", f"/requests/{id}?tab=explain", "/models/lab/echo", "/providers"):
            window.go(path)
            if path == "/providers":
                window.page.get_by_role("button", name="Probe", exact=True).first.click()
                expect(window.page.get_by_text("It answers")).to_be_visible()
            found += window.for_everybody(path)
        assert not found, "\n".join(found)


def test_the_volume_over_the_list_is_that_of_the_rows(browser: Browser, busy: Gateway) -> None:
    rows = busy.generations()
    failed = [row for row in rows if row["outcome"] == "failed"]
    with console(browser, busy) as window:
        page = window.open("/requests?from=-1h")
        volume = page.get_by_role("region", name="Volume")
        expect(volume).to_contain_text(f"{len(rows)} requests in this range, drawn per minute of UTC")
        volume.get_by_text("As a table").click()
        cells = volume.get_by_role("row").locator("td:nth-child(2), td:nth-child(3)").all_inner_texts()
        assert sum(map(int, cells)) == len(rows)
        page.get_by_role("combobox", name="Outcome").select_option("failed")
        expect(volume).to_contain_text(f"{len(failed)} failed requests in this range")
        window.open("/requests?from=-1h&model=lab/echo")
        expect(volume).to_contain_text(f"{sum(row['model'] == 'lab/echo' for row in rows)} requests")
        window.open("/requests?from=-1h&session=nobodys&model=lab/echo")
        expect(volume).to_contain_text("They know nothing of session: this is without.")
        # A range that is dragged over is the range of the list.
        window.open("/requests?from=-1h")
        box = volume.locator("canvas").bounding_box()
        assert box
        page.mouse.move(box["x"] + 200, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + 400, box["y"] + 30, steps=5)
        page.mouse.up()
        expect(page).to_have_url(re.compile(r"from=20.*to=20"))


def test_running_calls_stand_above_the_rows_and_join_them(browser: Browser, busy: Gateway) -> None:
    body = {"model": "lab/echo", "stream": True, "sim": {"tokens": 400, "pace_ms": 20}, **PROMPT}
    with console(browser, busy) as window:
        page = window.open("/requests?live=on")
        strip = page.get_by_role("region", name="Calls in progress")
        expect(strip).to_have_count(0)
        with busy.stream("/v1/chat/completions", body) as reply:
            assert reply.read1()
            expect(strip).to_contain_text("1 running")
            expect(strip).to_contain_text("lab/echo at lab")
            assert not window.axe()
        expect(strip).to_have_count(0)
        expect(page.locator(f"a[href*='{busy.generations()[-1]['id']}']").first).to_be_visible()


def test_the_live_list_is_what_the_filters_of_the_gateway_say(browser: Browser, provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as gateway, console(browser, gateway) as window:

        def call(**headers: str) -> str:
            return str(gateway.post("/v1/chat/completions", {"model": "lab/echo", **PROMPT}, headers=headers).generation)

        # An app is the host of its referer in small letters, and not whatever has that text in it.
        page = window.open("/requests?live=on&app=house.example")
        expect(page.get_by_role("status").get_by_text("live")).to_be_visible()
        rows = page.locator("tbody tr[aria-rowindex]")
        for referer in ("https://other.example/house.example", "https://sub.house.example/"):
            call(**{"http-referer": referer})
        own = call(**{"http-referer": "https://House.Example/chat", "x-title": "Chat"})
        expect(rows).to_have_count(1)
        expect(rows.get_by_role("link")).to_have_attribute("href", re.compile(f"/requests/{own}"))
        # Held while somebody reads; what is known already is not counted as new.
        rows.hover()
        later = call(**{"http-referer": "https://house.example/"})
        # With the keyboard: as soon as the mouse is beside the rows, the new one comes by itself and the button goes.
        page.get_by_role("button", name="1 new row").press("Enter")
        expect(rows).to_have_count(2)
        expect(rows.first.get_by_role("link")).to_have_attribute("href", re.compile(f"/requests/{later}"))
        # Another range is another list: nothing of the tail is left in it.
        page.get_by_role("button", name="The time before").click()
        expect(page.get_by_text("No request in this range fits these filters.")).to_be_visible()


def test_the_range_is_said_in_one_zone(browser: Browser, busy: Gateway) -> None:
    """Both the time and the day of whoever looks."""
    first = datetime.now(UTC).replace(hour=5, minute=0, second=0, microsecond=0) - timedelta(days=1)
    with console(browser, busy, timezone_id="America/Los_Angeles") as window:
        query = urlencode({"model": "lab/echo", "from": first.isoformat(), "to": (first + timedelta(hours=2)).isoformat()})
        page = window.open(f"/?{query}")
        there = first.astimezone(ZoneInfo("America/Los_Angeles"))
        assert there.day != first.day
        expect(page.get_by_text(f"{there.day} {there:%b} {there.year}, {there:%H:%M}:00 to")).to_be_visible()


def test_requests_of_an_arm_are_found(browser: Browser, provider: Provider) -> None:
    """Names of splits and models have slashes, and every filter that a link brings is shown."""
    arms = 'arms = [{ model = "lab/echo", weight = 1 }]'
    tables = f'[splits."acme/own"]\n{arms}\n[teams.red]\n'
    with Gateway(configuration(provider.address, tables=tables)) as gateway, console(browser, gateway) as window:
        for model in ("acme/own", "lab/echo", "acme/own"):
            gateway.post("/v1/chat/completions", {"model": model, **PROMPT})
        page = window.open("/?group=arm&from=-1h")
        page.get_by_role("button", name="Requests of acme/own/lab/echo").click()
        expect(page).to_have_url(re.compile("arm=acme"))
        rows = page.locator("tbody tr[aria-rowindex]")
        expect(rows).to_have_count(2)
        expect(page.get_by_role("region", name="Volume")).to_contain_text("2 requests in this range")
        page.get_by_role("button", name="Remove the filter Arm acme/own/lab/echo").click()
        expect(rows).to_have_count(3)
        page = window.open("/routing?tab=splits&name=acme/own")
        page.get_by_role("region", name="Arms").get_by_role("link", name="2").click()
        expect(rows).to_have_count(2)
        team = gateway.operate("GET", "/admin/teams/red").json()["data"]["id"]
        page = window.open(f"/requests?team={team}")
        page.get_by_role("button", name="Remove the filter Team red").click()
        expect(rows).to_have_count(3)


def test_filters_of_the_overview_are_called_by_name(browser: Browser, provider: Provider) -> None:
    """In the URL they are ids; what the viewer does not see keeps its own."""
    tables = "[teams.red]\n[teams.blue]\n"
    with Gateway(configuration(provider.address, tables=tables)) as gateway:
        user = gateway.operate("POST", "/admin/users", {"name": "ada", "team": "red"}).json()["data"]["id"]
        key = gateway.operate("POST", "/admin/keys", {"name": "of ada", "user": "ada"}).json()
        gateway.post("/v1/chat/completions", {"model": "lab/echo", **PROMPT}, key=key["key"])
        red, blue = (gateway.operate("GET", f"/admin/teams/{name}").json()["data"]["id"] for name in ("red", "blue"))
        login = {"role": "viewer", "password": "correct horse battery"}
        assert gateway.operate("PUT", "/admin/users/ada/login", login).status == 200
        ids = {"team": (red, "red"), "user": (user, "ada"), "key": (key["data"]["id"], "of ada"), "model": ("lab/echo", "lab/echo")}
        with console(browser, gateway) as window:
            page = window.page
            for kind, (id, name) in ids.items():
                window.open(f"/?{urlencode({kind: id})}")
                chip = page.get_by_role("button", name=f"Remove the filter {kind.title()} {name}", exact=True)
                expect(chip).to_have_text(f"{kind.title()}: {name} ✕")
                found = window.axe()
                assert not found, "\n".join(found)
                chip.click()
                expect(page).to_have_url(re.compile(rf"^(?!.*{kind}=)"))
            # What is picked on the page is in the URL by its id, too.
            page.get_by_role("button", name="Users", exact=True).click()
            page.get_by_role("region", name="Users by spend").get_by_role("button", name="ada", exact=True).click()
            expect(page.get_by_role("button", name="Remove the filter User ada")).to_be_visible()
            expect(page).to_have_url(re.compile(rf"[?&]user=(%22)?{user}\b"))
        window = Console(browser, gateway)
        page = window.log_in("ada", "correct horse battery").open(f"/?{urlencode({'team': blue, 'user': user})}")
        expect(page.get_by_role("button", name="Remove the filter User ada")).to_be_visible()
        expect(page.get_by_role("button", name=f"Remove the filter Team {blue}")).to_be_visible()
        assert "blue" not in page.content()
        window.close()


def test_the_tab_that_is_chosen_is_in_sight(browser: Browser, busy: Gateway) -> None:
    """Where there is no room for all of them."""
    id = busy.post("/v1/chat/completions", {"model": "lab/echo", **PROMPT}).generation
    busy.generation(id)
    in_sight = """(tab) => {
      const [one, list] = [tab, tab.parentElement].map((element) => element.getBoundingClientRect());
      return tab.parentElement.scrollWidth > list.width && one.left >= list.left - 1 && one.right <= list.right + 1;
    }"""
    with console(browser, busy) as window:
        for viewport in (WIDE, NARROW):
            window.page.set_viewport_size({"width": viewport["width"], "height": viewport["height"]})
            for tab in ("", "?tab=cost", "?tab=raw"):
                page = window.open(f"/requests/{id}{tab}")
                assert page.locator("[role=tab][aria-selected=true]").evaluate(in_sight), (viewport, tab)


def test_what_was_decided_then_and_would_be_now(browser: Browser, busy: Gateway) -> None:
    id = busy.post("/v1/chat/completions", {"model": "lab/echo", **PROMPT}).generation
    told = None
    # Decisions are written down within a tenth of a second.
    for _ in range(100):
        told = busy.operate("GET", f"/admin/requests/{id}/explain").json()["data"]
        if told["then"]:
            break
    assert told and told["then"]["first"]["model"] == "lab/echo" and told["then"]["same"] and told["then"]["now"] == told["then"]["first"]
    assert [one["provider"] for one in told["now"]["candidates"]] == ["lab"]
    said = busy.run("explain", id)
    assert said.returncode == 0 and "then: lab/echo -> lab/echo at lab" in said.stdout and "(the same order)" in said.stdout
    assert busy.run("explain", "gen-00000000-0000-7000-8000-000000000000").returncode == 2
    assert busy.run("explain", id, "--seed", "1").returncode == 2
    with console(browser, busy) as window:
        page = window.open(f"/requests/{id}?tab=explain")
        expect(page.get_by_text("First choice then")).to_be_visible()
        expect(page.get_by_text("the same order to its last endpoint")).to_be_visible()
        expect(page.get_by_role("heading", name="In this order (1)")).to_be_visible()
        with page.expect_response(re.compile(r"/explain$")) as asked:
            page.get_by_role("button", name="Explain again now").click()
        assert asked.value.status == 200


def test_prices_since_when(browser: Browser, provider: Provider) -> None:
    gateway = Gateway(configuration(provider.address) + '[providers.openai]\nkeys = ["x"]\n')
    gateway.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (gateway.data_dir / "catalogue.jsonl").write_bytes(synced("openai"))
    with gateway:
        steps = gateway.operate("GET", "/admin/models/acme/dated").json()["prices"][0]["steps"]
        assert [(step["prices"]["prompt"], step["in_force"]) for step in steps] == [(OLD, False), (NEW, True)]
        with console(browser, gateway) as window:
            page = window.open("/models/acme/dated")
            history = page.get_by_role("region", name="Price history", exact=True)
            expect(history.get_by_role("img", name=re.compile("Dollars per million tokens in"))).to_be_visible()
            d = history.locator("path").get_attribute("d")
            assert d and re.fullmatch(r"M[\d. ]+H[\d.]+V[\d.]+H[\d.]+", d)
            history.get_by_text("As a table").click()
            expect(history.get_by_role("row", name=re.compile(f"OpenAI.*in force.*{NEW}"))).to_be_visible()
            expect(history.get_by_role("row", name=re.compile(rf"OpenAI.*{re.escape(OLD)}"))).to_be_visible()
            assert window.for_everybody("prices") == []


def test_a_provider_is_probed_and_its_day_is_shown(browser: Browser, busy: Gateway) -> None:
    before = len(busy.generations())
    with console(browser, busy) as window:
        page = window.open("/providers")
        row = page.get_by_role("row", name="lab/flaky")
        expect(row.get_by_role("img", name=re.compile(r"flaky: .* of .* requests ended well in the last day"))).to_be_visible()
        page.get_by_role("button", name="Probe lab/echo").click()
        expect(page.get_by_text("It answers")).to_be_visible()
        probes = busy.generations("title = 'Probe'")
        assert len(busy.generations()) == before + 1
        cost = Decimal(probes[-1]["charged_nanousd"]) / 10**9
        assert probes[-1]["model"] == "lab/echo" and cost > 0
        expect(page.get_by_title(f"exactly ${cost.normalize():f}")).to_be_visible()
        page.get_by_role("link", name="The request").click()
        expect(page.get_by_role("heading", name=probes[-1]["id"])).to_be_visible()
        window.open("/audit?action=provider.probe")
        expect(page.get_by_role("row", name=re.compile("provider.probe.*lab.echo")).first).to_be_visible()
    # What fails says how: the simulator refuses this one always.
    told = busy.operate("POST", "/admin/providers/lab/probe", {"endpoint": 10**6})
    assert told.status == 404


def test_a_probe_of_what_fails_says_so(provider: Provider) -> None:
    gone = configuration(provider.address) + (
        '[providers.gone]\nname = "Gone"\ndialects = ["openai_chat"]\nkeys = ["x"]\nbase_urls = { openai_chat = "http://127.0.0.1:9/v1" }\n'
        '[models."gone/echo"]\n[[models."gone/echo".endpoints]]\nprovider = "gone"\nupstream_model = "sim/echo"\n'
        'usd_per_million = { prompt = "1", completion = "2" }\n'
    )
    with Gateway(gone) as gateway:
        told = gateway.operate("POST", "/admin/providers/gone/probe", {}).json()["data"]
        assert not told["ok"] and told["status"] in (502, 503) and told["error"] and told["charged_usd"] == "0", told
        assert gateway.operate("GET", "/admin/audit?action=provider.probe").json()["data"][0]["after"]["status"] == told["status"]


def test_a_run_is_paid_by_the_key_that_was_chosen(browser: Browser, busy: Gateway) -> None:
    made = busy.operate("POST", "/admin/keys", {"name": "for lunch", "limit_usd": "1"}).json()["data"]
    with console(browser, busy) as window:
        page = window.open("/playground?models=lab/echo")
        page.get_by_label("Paid by").select_option(label="for lunch")
        expect(page).to_have_url(re.compile(rf"key={made['id']}"))
        page.get_by_label("Prompt").fill("Who pays?")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        expect(page.get_by_role("region", name="Text of lab/echo")).to_contain_text("Who pays?")
    rows = busy.generations(f"key_id = {made['id']}")
    assert len(rows) == 1 and rows[0]["charged_nanousd"] > 0
    page = Page(busy)
    assert busy.operate("GET", "/admin/audit?action=key.use").json()["data"][0]["target"] == "for lunch"
    assert page.gateway is busy
