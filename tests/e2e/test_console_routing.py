"""The pages Configuration and Routing in a real browser, before a real gateway."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from e2e.browser import console
from e2e.house import PROVIDER_SECRET, Gateway, Provider, configuration

IN_FORCE = re.compile(r"configuration \d+ in force")
HOSTILE = "<img src=x onerror=alert(1)> \u202egnp.exe"
TABLES = (
    f"# {HOSTILE.encode('ascii', 'replace').decode()}\n"
    '[presets.own]\nmodel = "lab/fast"\nsystem_prompt = "<script>alert(1)</script>"\n'
    '[splits."acme/own"]\narms = [{ model = "lab/echo", weight = 90 }, { model = "lab/fast", weight = 10 }]\n'
)

expect.set_options(timeout=20_000)
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def built(provider: Provider) -> Gateway:
    return Gateway(configuration(provider.address, tables=TABLES))


@pytest.fixture
def gateway(provider: Provider) -> Iterator[Gateway]:
    with built(provider) as running:
        yield running


@pytest.fixture(scope="module")
def busy(provider: Provider) -> Iterator[Gateway]:
    """With something on every page: names of both kinds, versions, arms with enough and with too few requests, a file that was replaced."""
    with built(provider) as running:
        make(running, "presets", "x", {"model": "lab/echo", "system_prompt": HOSTILE})
        assert running.operate("PATCH", "/admin/presets/x", {"definition": {"model": "lab/fast"}, "note": "<b>faster</b>"}).status == 200
        make(running, "splits", "acme/new", {"arms": [{"model": "lab/echo", "weight": 1}, {"model": "lab/fast", "weight": 0}]})
        for _ in range(101):
            assert call(running, "acme/new") == 200
        shown = running.operate("GET", "/admin/config").json()["data"]
        text = shown["text"] + "\n[timeouts]\nconnect_ms = 4000\n"
        assert running.operate("PUT", "/admin/config", {"text": text}).status == 200
        yield running


def make(gateway: Gateway, kind: str, name: str, definition: Any) -> None:
    reply = gateway.operate("POST", f"/admin/{kind}", {"name": name, "definition": definition})
    assert reply.status == 201, reply.body


def call(gateway: Gateway, model: str) -> int:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    return gateway.post("/v1/chat/completions", body).status


def paths(gateway: Gateway) -> list[str]:
    kept = gateway.operate("GET", "/admin/config/history").json()["data"][0]["id"]
    return [
        "/config", "/config?tab=values", "/config?tab=values&q=no+such", "/config?tab=history", f"/config?tab=history&kept={kept}",
        "/routing", "/routing?tab=splits", "/routing?name=own", "/routing?name=x", "/routing?tab=splits&name=acme/new",
        "/routing?tab=splits&name=acme/own", "/routing?name=no-such",
    ]  # fmt: skip


def test_both_pages_can_be_used_by_everybody(browser: Browser, busy: Gateway) -> None:
    with console(browser, busy) as window:
        found = []

        def look(what: str) -> None:
            found.extend(window.for_everybody(what))

        for path in paths(busy):
            window.go(path)
            look(path)
        page = window.open("/config")
        edit(page, "\nconect_ms = 5\n")
        page.get_by_role("button", name="Validate").click()
        expect(page.get_by_role("list", name="What is wrong")).to_be_visible()
        look("mistakes")
        edit(page, "\n[limits]\nin_flight = 5\n")
        page.get_by_role("button", name="Diff").click()
        page.get_by_role("region", name="Lines that would change").or_(page.get_by_role("list", name="What is wrong")).first.wait_for()
        look("diff")
        page = window.open("/routing?name=x")
        page.get_by_role("button", name="Compare version 1").click()
        page.get_by_role("button", name="Where would it go?").click()
        expect(page.get_by_role("heading", name=re.compile("In this order"))).to_be_visible()
        look("versions and dry run")
        page.get_by_role("button", name="Change").click()
        look("form of a preset")
        page.get_by_role("button", name="Cancel").click()
        page = window.open("/routing?tab=splits")
        page.get_by_role("button", name="Create split").click()
        look("form of a split")
        assert not found, "\n".join(found)


def edit(page: Page, more: str) -> str:
    """Types behind what the page had when it was opened; the whole text."""
    area = page.get_by_label("Text of the configuration file")
    if page.get_by_role("button", name="Back to the file").is_visible():
        page.get_by_role("button", name="Back to the file").click()
    text = area.input_value() + more
    area.fill(text)
    return text


def test_a_mistake_that_is_typed_shows_its_line_and_applies_nothing(browser: Browser, gateway: Gateway) -> None:
    assert gateway.config is not None
    before, version = gateway.config.read_bytes(), gateway.gauge("snapshot_version")
    with console(browser, gateway) as window:
        page = window.open("/config")
        area = page.get_by_label("Text of the configuration file")
        assert "«kept " in area.input_value() and PROVIDER_SECRET not in page.content()
        expect(page.get_by_role("button", name="Apply")).to_be_disabled()
        text = edit(page, '\n[timeouts]\nconect_ms = 5\n[keys.new]\nsecret = "' + "x1" * 20 + '"\nrpm = -1\n')
        line = text.split("\n").index("conect_ms = 5") + 1
        for name in ("Validate", "Diff", "Apply"):
            page.get_by_role("button", name=name, exact=True).click()
            problems = page.get_by_role("list", name="What is wrong").get_by_role("listitem")
            expect(problems).to_have_count(2)
            expect(problems.first).to_contain_text(f"line {line}, column 1")
            expect(problems.first).to_contain_text("Write connect_ms.")
            expect(problems.last).to_contain_text("keys.new.rpm")
            expect(page.locator("[data-wrong=true]")).to_have_text([str(line), str(line + 3)])
            window.settle()
        assert gateway.config.read_bytes() == before and gateway.gauge("snapshot_version") == version
        problems.first.get_by_role("button").click()
        expect(area).to_be_focused()
        chosen = area.evaluate("(area) => area.value.slice(area.selectionStart, area.selectionEnd)")
        assert chosen == "conect_ms = 5"
        edit(page, "\na = = 1\n")
        page.get_by_role("button", name="Validate").click()
        expect(problems.first).to_contain_text(f"line {text.split(chr(10)).index('[timeouts]') + 1}")
        page.get_by_role("button", name="Back to the file").click()
        page.get_by_role("button", name="Validate").click()
        expect(page.get_by_text("Nothing is wrong with it.")).to_be_visible()


def test_a_change_is_compared_applied_kept_and_put_back(browser: Browser, gateway: Gateway) -> None:
    assert gateway.config is not None
    before = gateway.config.read_text()
    with console(browser, gateway) as window:
        page = window.open("/config")
        edit(page, '\n[presets.quick]\nmodels = ["lab/fast"]\n[timeouts]\nconnect_ms = 4000\n')
        page.get_by_role("button", name="Diff").click()
        changed = page.get_by_role("region", name="Values that would change")
        expect(changed.get_by_role("row", name="timeouts.connect_ms")).to_contain_text("3000")
        expect(changed.get_by_role("row", name="timeouts.connect_ms")).to_contain_text("4000")
        expect(page.get_by_role("region", name="Lines that would change")).to_contain_text("+connect_ms = 4000")
        assert gateway.config.read_text() == before
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_role("status").filter(has_text=IN_FORCE)).to_be_visible()
        written = gateway.config.read_text()
        assert "connect_ms = 4000" in written and PROVIDER_SECRET in written and "«kept" not in written
        assert call(gateway, "@preset/quick") == 200
        page.get_by_role("tab", name="In force").click()
        page.get_by_label("Search settings").fill("connect_ms")
        line = written.split("\n").index("connect_ms = 4000") + 1
        expect(page.get_by_role("row", name="timeouts.connect_ms")).to_contain_text(f"fairlead.toml:{line}")
        expect(page).to_have_url(re.compile(r"tab=values&q=connect_ms|q=connect_ms&tab=values"))
        page.get_by_role("tab", name="History").click()
        page.get_by_role("button", name="View").click()
        expect(page.get_by_role("region", name="What changed since")).to_contain_text("+connect_ms = 4000")
        page.get_by_role("button", name="Put into the editor").click()
        area = page.get_by_label("Text of the configuration file")
        expect(area).not_to_have_value(re.compile("connect_ms = 4000"))
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_role("status").filter(has_text=IN_FORCE)).to_be_visible()
        # With its secrets.
        assert gateway.config.read_text() == before
        assert call(gateway, "@preset/quick") == 404


def test_what_is_not_applied_is_kept_and_asked_about(browser: Browser, gateway: Gateway) -> None:
    with console(browser, gateway) as window:
        page = window.open("/config")
        asked: list[str] = []
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
        typed = "\n[timeouts]\nconnect_ms = 4000\n# not-in-any-store\n"
        text = edit(page, typed)
        page.get_by_role("button", name="Validate").click()
        page.get_by_role("link", name="Overview").first.click()
        expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
        page.get_by_role("link", name="Configuration").first.click()
        expect(page.get_by_label("Text of the configuration file")).to_have_value(text)
        expect(page.get_by_text("Not applied yet")).to_be_visible()
        # In memory alone: a secret may have been typed.
        kept = page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, history.state])")
        assert "not-in-any-store" not in kept
        page.close(run_before_unload=True)
        page.wait_for_timeout(200)
        assert asked == ["beforeunload"] and not page.is_closed()
        page.get_by_role("button", name="Back to the file").click()
        expect(page.get_by_text("Not applied yet")).to_have_count(0)


def test_a_form_that_is_open_while_others_change_the_same_overwrites_nothing(browser: Browser, gateway: Gateway) -> None:
    make(gateway, "presets", "shared", {"model": "lab/fast"})
    with console(browser, gateway) as window:
        page = window.open("/routing?name=shared")
        page.get_by_role("button", name="Change").click()
        page.get_by_label("Models", exact=True).fill("lab/slow")
        assert gateway.operate("PATCH", "/admin/presets/shared", {"definition": {"model": "lab/echo"}}).status == 200
        # The page behind the form asks again every fifteen seconds.
        expect(page.get_by_role("region", name="Definition", include_hidden=True)).to_contain_text("lab/echo")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text("Somebody else changed this preset")
        page.get_by_role("button", name="Save mine over it").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert gateway.operate("GET", "/admin/presets/shared").json()["data"]["definition"] == {"model": "lab/slow"}


def test_two_editors_are_told_and_nothing_is_overwritten(browser: Browser, gateway: Gateway) -> None:
    assert gateway.config is not None
    with console(browser, gateway) as window:
        page = window.open("/config")
        edit(page, "\n[timeouts]\nconnect_ms = 4000\n")
        theirs = gateway.config.read_text().replace(PROVIDER_SECRET, PROVIDER_SECRET + "-and-longer") + "\n# theirs\n"
        gateway.config.write_text(theirs)
        page.get_by_role("button", name="Apply").click()
        alert = page.get_by_role("alert").filter(has_text="was changed since you began")
        expect(alert).to_be_visible()
        expect(alert.get_by_role("region", name="What was changed meanwhile")).to_contain_text("+# theirs")
        assert gateway.config.read_text() == theirs and PROVIDER_SECRET not in page.content()
        alert.get_by_role("button", name="Go on with my text").click()
        expect(alert).to_have_count(0)
        # The secret that my text means is no longer in the file: it is not taken for another.
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_role("alert")).to_contain_text("stands for no secret of the file")
        assert gateway.config.read_text() == theirs
        page.get_by_role("button", name="Back to the file").click()
        edit(page, "\n[timeouts]\nconnect_ms = 4000\n")
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_role("status").filter(has_text=IN_FORCE)).to_be_visible()
        assert gateway.config.read_text() == theirs + "\n[timeouts]\nconnect_ms = 4000\n"


def test_a_failed_reload_stays_to_be_seen(browser: Browser, gateway: Gateway) -> None:
    assert gateway.config is not None
    good = gateway.config.read_text()
    with console(browser, gateway) as window:
        page = window.open("/config")
        gateway.config.write_text(good + "\n[timeouts]\nconect_ms = 5\n")
        page.get_by_role("button", name="Reload").click()
        banner = page.get_by_role("alert").filter(has_text="The last reload changed nothing")
        expect(banner).to_contain_text("conect_ms")
        page.reload()
        window.settle()
        expect(banner).to_contain_text("conect_ms")
        gateway.config.write_text(good)
        page.get_by_role("button", name="Reload").click()
        expect(page.get_by_role("status").filter(has_text=IN_FORCE)).to_be_visible()
        expect(banner).to_have_count(0)


def test_a_preset_is_made_used_changed_and_rolled_back(browser: Browser, gateway: Gateway) -> None:
    def served() -> str:
        body = {"model": "@preset/quick", "messages": [{"role": "user", "content": "Hello"}]}
        return str(gateway.post("/v1/chat/completions", body).headers["x-fairlead-model"])

    with console(browser, gateway) as window:
        page = window.open("/routing")
        expect(page.get_by_role("row", name="@preset/own")).to_contain_text("fairlead.toml")
        page.get_by_role("button", name="Create preset").click()
        page.get_by_label("Name", exact=True).fill("quick")
        page.get_by_label("Models", exact=True).fill("lab/fats")
        page.get_by_label("Everything else", exact=True).fill('{"temperature": 3')
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("This is not JSON")
        page.get_by_label("Everything else", exact=True).fill('{"temperature": 3}')
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("presets.quick.temperature")
        page.get_by_label("Everything else", exact=True).fill('{"temperature": 0.5}')
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("Write lab/fast.")
        assert gateway.operate("GET", "/admin/presets/quick").status == 404
        page.get_by_label("Models", exact=True).fill("lab/fast\n")
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_role("heading", name="quick", level=1)).to_be_visible()
        expect(page).to_have_url(re.compile("name=quick"))
        assert served() == "lab/fast"
        page.get_by_role("button", name="Where would it go?").click()
        expect(page.get_by_role("heading", name="In this order (1)")).to_be_visible()
        page.get_by_role("button", name="Change").click()
        page.get_by_label("Models", exact=True).fill("lab/echo\nlab/fast")
        page.get_by_label("Note", exact=True).fill("echo first")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("region", name="Versions").get_by_role("row", name="echo first")).to_contain_text("in force")
        assert served() == "lab/echo"
        page.get_by_role("button", name="Compare version 1").click()
        expect(page.get_by_role("region", name="From version 1")).to_contain_text('-  "model": "lab/fast"')
        # Somebody else rolls back in between.
        page.get_by_role("button", name="Change").click()
        page.get_by_label("Models", exact=True).fill("lab/slow")
        assert gateway.operate("POST", "/admin/presets/quick/activate", {"number": 1}).status == 200
        page.get_by_role("button", name="Save").click()
        alert = page.get_by_role("alert").filter(has_text="Somebody else changed this preset")
        changed = alert.get_by_role("region", name="What was changed meanwhile")
        expect(changed).to_contain_text('+  "model": "lab/fast"')
        expect(changed).to_contain_text('-    "lab/echo",')
        assert served() == "lab/fast"
        alert.get_by_role("button", name="Begin again").click()
        expect(alert).to_have_count(0)
        expect(page.get_by_label("Models", exact=True)).to_have_value("lab/fast")
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Activate version 2").click()
        expect(page.get_by_role("button", name="Activate version 1")).to_be_visible()
        assert served() == "lab/echo"
        # It can be asked in the playground.
        window.open("/playground")
        page.get_by_label("Add a model").select_option("@preset/quick")
        page.get_by_label("Prompt").fill("one two three")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("region", name="Text of @preset/quick")).to_contain_text("one two three")
        window.open("/routing?name=quick")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete it").click()
        expect(page.get_by_role("heading", name="Routing", level=1)).to_be_visible()
        assert gateway.operate("GET", "/admin/presets/quick").status == 404


def test_a_split_is_made_and_says_when_there_is_too_little_to_say(browser: Browser, busy: Gateway) -> None:
    with console(browser, busy) as window:
        page = window.open("/routing?tab=splits&name=acme/new")
        arms = page.get_by_role("region", name="Arms")
        expect(arms.get_by_role("row", name="lab/echo")).to_contain_text(re.compile(r"0\.0 % \S \d\.\d %"))
        expect(arms.get_by_role("row", name="lab/fast")).to_contain_text("not enough data: 100 more requests")
        window.open("/routing?tab=splits")
        page.get_by_role("button", name="Create split").click()
        page.get_by_label("Name", exact=True).fill("acme/third")
        page.get_by_label("Model 1").fill("lab/echo")
        page.get_by_label("Model 2").fill("lab/fast")
        page.get_by_label("Weight").first.fill("30")
        expect(page.get_by_text("75.0 %")).to_be_visible()
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_role("heading", name="acme/third", level=1)).to_be_visible()
        assert call(busy, "acme/third") == 200
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete it").click()
        expect(page.get_by_role("heading", name="Routing", level=1)).to_be_visible()
