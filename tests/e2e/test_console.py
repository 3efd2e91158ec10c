"""The console in a real browser, before a real gateway with traffic from the simulator.

Whatever a page does, it runs no text of anybody's, asks no other origin and breaks no rule of its own policy: `Console.check` holds that
after every test.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from e2e.browser import NOWHERE, Console, console
from e2e.house import ADMIN_TOKEN, KEY, Gateway, Provider, configuration, send

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    '"><iframe srcdoc="<script>alert(1)</script>">',
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "[x](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "<a href=javascript:alert(1)>x</a>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import '//evil.example/x.css';body{background:url(//evil.example/y)}</style>",
    "<base href=//evil.example/>",
    "<form action=//evil.example><input name=a></form>",
    "{{constructor.constructor('alert(1)')()}}${alert(1)}",
    "\u202egnp.exe\u202c \u200b\u200d \ufeff \u2066evil\u2069",
    "`-alert(1)-` </textarea><script>alert(1)</script> </title><script>alert(1)</script>",
    "<object data=//evil.example></object><embed src=//evil.example>",
]

expect.set_options(timeout=20_000)
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def busy(provider: Provider) -> Iterator[Gateway]:
    """A gateway with traffic of every kind, whose names and texts are the corpus."""
    tables = '[keys.small]\nsecret = "sk-fl-v1-' + "5a11" * 16 + '"\nlimit_usd = "0.001"\nlimit_reset = "daily"\n'
    with Gateway(configuration(provider.address, tables=tables)) as running:
        for number, payload in enumerate(PAYLOADS):
            body = {
                "model": ("lab/echo", "lab/reason")[number % 2],
                "stream": number % 3 != 0,
                "user": payload,
                "messages": [{"role": "user", "content": payload}],
            }
            title = payload.encode("ascii", "replace").decode()
            assert running.post("/v1/chat/completions", body, headers={"x-title": title}).status == 200
            made = running.operate("POST", "/admin/keys", {"name": payload})
            assert made.status in (201, 400), made.body
        for number in range(24):
            model = ("lab/fast", "lab/flaky", "lab/tools")[number % 3]
            running.post(
                "/v1/chat/completions", {"model": model, "stream": number % 2 == 0, "messages": [{"role": "user", "content": "Hi"}]}
            )
        yield running


def newest(gateway: Gateway) -> str:
    return str(gateway.generations()[-1]["id"])


def paths(gateway: Gateway) -> list[str]:
    """Every page, each with something on it."""
    key = gateway.operate("GET", "/admin/keys").json()["data"][0]["hash"]
    return [
        "/", "/?chart=lines&group=key", "/models", "/models/lab/echo", "/models/compare?ids=lab/echo,lab/fast",
        "/requests", f"/requests/{newest(gateway)}", f"/requests/{newest(gateway)}?tab=attempts", "/keys", f"/keys/{key}",
        "/budgets?keys=all", "/budgets?tab=credits", "/playground?models=lab/echo", "/start", "/providers", "/audit",
    ]  # fmt: skip


def test_every_page_can_be_used_by_everybody(browser: Browser, busy: Gateway) -> None:
    """axe finds nothing, and nothing is wider than the window."""
    with console(browser, busy) as window:
        found = []
        for path in (*paths(busy), NOWHERE):
            window.open(path) if path == NOWHERE else window.go(path)
            found += window.for_everybody(path)
        assert not found, "\n".join(found)


def test_no_text_of_anybodys_is_more_than_text(browser: Browser, busy: Gateway) -> None:
    with console(browser, busy) as window:
        for path in (*paths(busy), "/requests?from=-1h", "/?group=app", "/?group=key&chart=share"):
            window.go(path)
        [turned] = [row["id"] for row in busy.generations() if row["end_user"].startswith("\u202e")]
        # What would hide or turn the direction of text is written out.
        expect(window.open(f"/requests/{turned}").get_by_text("\\u202egnp.exe", exact=False).first).to_be_visible()
        record = window.open(f"/requests/{turned}?tab=raw").get_by_role("region", name="The record")
        expect(record).to_contain_text("\\u202egnp.exe")
        expect(record).not_to_contain_text("\u202e")
        ask(window.page, "/playground?models=lab/echo,lab/reason", "\n".join(PAYLOADS))
        expect(window.page.get_by_role("region", name="Text of lab/echo")).to_contain_text("<script>alert(1)</script>")
        assert window.page.locator("main script, main iframe, main img[src*=evil], main form[action*=evil]").count() == 0


def ask(page: Page, path: str, prompt: str) -> None:
    page.goto(path)
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_a_link_to_log_in_works_once(browser: Browser, provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as gateway:
        window = Console(browser, gateway)
        window.page.goto(gateway.ready["login"])
        expect(window.page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
        assert "code=" not in window.page.url
        other = Console(browser, gateway)
        other.page.goto(gateway.ready["login"])
        expect(other.page.get_by_role("alert")).to_contain_text("does not log in")
        assert "code=" not in other.page.url
        window.check()
        other.close()
        window.close()


def test_an_expired_log_in_comes_back_to_the_same_place(browser: Browser, busy: Gateway) -> None:
    with console(browser, busy) as window:
        page, path = window.page, f"/requests/{newest(busy)}?from=-1h&tab=cost"
        window.open(path)
        for session in busy.operate("GET", "/admin/sessions").json()["data"]:
            busy.operate("DELETE", f"/admin/sessions/{session['id']}")
        page.get_by_role("link", name="Overview").first.click()
        page.get_by_label("Admin token", exact=True).fill(ADMIN_TOKEN)
        expect(page).to_have_url(re.compile(r"/login\?next="))
        page.get_by_role("button", name="Log in", exact=True).click()
        expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
        window.context.clear_cookies()
        page.goto(path)
        page.get_by_label("Admin token", exact=True).fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Log in", exact=True).click()
        expect(page.get_by_role("tab", name="Cost")).to_have_attribute("aria-selected", "true")
        assert page.url.endswith(path)


def test_what_is_looked_at_is_in_the_url(browser: Browser, busy: Gateway) -> None:
    with console(browser, busy) as window:
        page = window.page
        window.open("/requests")
        for choose, value, expected in (
            ("Outcome", "failed", "failed=true"),
            ("Range", "-7d", "from=-7d"),
        ):
            page.get_by_role("combobox", name=choose).select_option(value)
            expect(page).to_have_url(re.compile(re.escape(expected)))
        assert "failed=true" in page.url and "from=-7d" in page.url
        # Rows of the question before stand there until the answer comes.
        failed = len(busy.generations("outcome = 'failed'"))
        assert failed > 0
        expect(page.locator("tbody tr[aria-rowindex]")).to_have_count(failed)
        page.reload()
        expect(page.locator("tbody tr[aria-rowindex]")).to_have_count(failed)
        page.go_back()
        expect(page).to_have_url(re.compile(r"requests\?failed=true$"))
        page.go_back()
        expect(page).to_have_url(re.compile(r"/requests$"))
        # The range goes along to other pages, the filter does not.
        page.go_forward()
        page.go_forward()
        page.get_by_role("link", name="Overview").first.click()
        expect(page).to_have_url(re.compile(r"/\?from=-7d$"))


def test_the_overview_says_what_the_ledger_says(browser: Browser, busy: Gateway) -> None:
    with console(browser, busy) as window:
        page = window.open("/")
        rows = busy.generations()
        spent = Decimal(sum(row["charged_nanousd"] for row in rows)) / 10**9
        tile = page.locator("dl div", has=page.get_by_text("Spend", exact=True))
        expect(tile.locator("dd").first).to_have_attribute("title", f"exactly ${spent.normalize():f}")
        expect(page.locator("dl div", has=page.get_by_text("Requests", exact=True)).locator("dd").first).to_have_text(str(len(rows)))
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV").click()
        lines = Path(download.value.path()).read_text().splitlines()
        cost = lines[0].split(",").index("cost")
        assert sum(Decimal(line.split(",")[cost]) for line in lines[1:]) == spent
        page.get_by_role("button", name="lab/echo", exact=True).first.click()
        expect(page).to_have_url(re.compile(r"model=lab(%2F|/)echo"))
        expect(page.locator("dl div", has=page.get_by_text("Requests", exact=True)).locator("dd").first).to_have_text(
            str(sum(row["model"] == "lab/echo" for row in rows))
        )


def test_a_key_is_made_used_seen_explained_and_deleted(browser: Browser, busy: Gateway) -> None:
    with console(browser, busy) as window:
        page = window.open("/keys")
        page.get_by_role("button", name="Create key").click()
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_text("A name is needed.")).to_be_visible()
        page.get_by_label("Name", exact=True).fill("made in a browser")
        page.get_by_label("Limit ($)").fill("2.5")
        page.get_by_role("button", name="Create", exact=True).click()
        secret = page.get_by_test_id("secret").inner_text().strip()
        assert secret.startswith("sk-fl-v1-")
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("secret")).to_be_visible()
        page.get_by_label("I stored it").check()
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        kept = page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, location.href, document.body.innerHTML])")
        assert secret not in kept
        assert secret[20:] not in busy.stderr()

        window.open("/requests?live=on")
        expect(page.get_by_role("status").get_by_text("live")).to_be_visible()
        answer = busy.post("/v1/chat/completions", {"model": "lab/echo", "messages": [{"role": "user", "content": "Hi"}]}, key=secret)
        row = page.locator("tbody tr[aria-rowindex]", has=page.get_by_text("made in a browser"))
        expect(row).to_be_visible()
        page.mouse.move(5, 5)
        row.get_by_role("link").click()
        expect(page.get_by_role("heading", name=answer.generation)).to_be_visible()
        page.get_by_role("tab", name="Cost").click()
        charged = Decimal(busy.generation(answer.generation)["charged_nanousd"]) / 10**9
        expect(page.locator("dl", has_text="Charged").locator("dd").first).to_have_text(f"${charged.normalize():f}")
        page.get_by_role("tab", name="Explain").click()
        expect(page.get_by_text("First choice then")).to_be_visible()
        page.get_by_role("button", name="Explain again now").click()
        expect(page.get_by_role("heading", name=re.compile("In this order"))).to_be_visible()

        window.open("/keys?q=made+in")
        page.get_by_role("link", name="made in a browser").click()
        page.get_by_role("button", name="Change").click()
        page.get_by_label("No limit", exact=True).check()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        # A cleared limit stays cleared.
        page.reload()
        window.settle()
        expect(page.get_by_text("No limit").first).to_be_visible()
        assert key_named(busy, "made in a browser")["limit_usd"] is None
        page.get_by_role("button", name="Disable").click()
        page.get_by_role("button", name="Enable").wait_for()
        assert busy.post("/v1/chat/completions", {"model": "lab/echo", "messages": []}, key=secret).status == 401
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("button", name="Delete for good")).to_be_disabled()
        page.get_by_label(re.compile("Its name")).fill("made in a browser")
        page.get_by_role("button", name="Delete for good").click()
        expect(page.get_by_role("heading", name="Keys", level=1)).to_be_visible()
        assert key_named(busy, "made in a browser") is None


def key_named(gateway: Gateway, name: str) -> Any:
    return next((key for key in gateway.operate("GET", "/admin/keys").json()["data"] if key["name"] == name), None)


def test_a_page_says_that_it_waits(browser: Browser, busy: Gateway) -> None:
    """What stands there meanwhile is the answer to the question before."""
    with console(browser, busy) as window:
        page, held = window.open("/requests"), list[Route]()
        line = page.locator("main").get_by_role("progressbar", name="Loading")
        rows = page.locator("tbody tr[aria-rowindex]")
        before = rows.count()
        assert before > len(busy.generations("outcome = 'failed'")) > 0
        expect(line).to_have_count(0)
        page.route("**/admin/requests?*failed=true*", lambda route: held.append(route), times=1)
        with page.expect_request("**/admin/requests?*failed=true*"):
            page.get_by_role("combobox", name="Outcome").select_option("failed")
        expect(line).to_have_css("border-top-style", "solid")
        expect(rows).to_have_count(before)
        assert len(held) == 1
        held[0].continue_()
        expect(rows).to_have_count(len(busy.generations("outcome = 'failed'")))
        expect(line).to_have_count(0)


def test_what_caches_saved_is_not_zero_where_it_is_not_known(browser: Browser, busy: Gateway) -> None:
    """A saving is a matter of prices, so of places: sums by key or app know none."""
    with console(browser, busy) as window:
        for group, says in {"model": "$0", "provider": "$0", "key": "—", "app": "—"}.items():
            tile = window.open(f"/?group={group}").locator("dl > div").filter(has_text="Saved by caches")
            expect(tile.locator("[class*=_figure_]")).to_have_text(says)
            expect(tile.get_by_text("summed by model and provider alone")).to_have_count(0 if says == "$0" else 1)


def test_two_who_change_a_key_are_told(browser: Browser, busy: Gateway) -> None:
    assert busy.operate("POST", "/admin/keys", {"name": "two editors", "limit_usd": "1"}).status == 201
    with console(browser, busy) as window:
        page = window.open("/keys?q=two+editors")
        page.get_by_role("link", name="two editors").click()
        page.get_by_role("button", name="Change").click()
        page.get_by_label("Limit ($)").fill("9")
        hash = key_named(busy, "two editors")["hash"]
        assert busy.operate("PATCH", f"/admin/keys/{hash}", {"limit_usd": "4"}).status == 200
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text("Somebody else changed this key")
        assert key_named(busy, "two editors")["limit_usd"] == "4"
        page.get_by_role("button", name="Begin again").click()
        expect(page.get_by_label("Limit ($)")).to_have_value("4")
        page.get_by_label("Limit ($)").fill("9")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert key_named(busy, "two editors")["limit_usd"] == "9"


def test_a_row_that_is_read_stays_where_it_is(browser: Browser, busy: Gateway) -> None:
    with console(browser, busy) as window:
        page = window.open("/requests?live=on")
        expect(page.get_by_role("status").get_by_text("live")).to_be_visible()
        first = page.locator("tbody tr[aria-rowindex]").first
        first.hover()
        before = first.locator("a").get_attribute("href")
        for _ in range(5):
            busy.post("/v1/chat/completions", {"model": "lab/fast", "messages": [{"role": "user", "content": "Hi"}]})
        expect(page.get_by_role("button", name="5 new rows")).to_be_visible()
        assert first.locator("a").get_attribute("href") == before
        # By keyboard: a pointer that leaves the rows to get there lets them in by itself.
        page.get_by_role("button", name="5 new rows").press("Enter")
        expect(first.locator("a")).not_to_have_attribute("href", before or "")


def test_the_playground_asks_several_and_stops_one(browser: Browser, busy: Gateway, provider: Provider) -> None:
    with console(browser, busy) as window:
        page = window.page
        # For both lanes, whichever comes first: three tokens of an echo, 32 of the other, which is not at its end before it is stopped.
        assert send(provider.address, "POST", "/sim/next", json.dumps([{"pace_ms": 2_000}] * 2).encode()).status == 200
        page.goto("/playground?models=lab/echo,lab/slow")
        page.get_by_label("Prompt").fill("one two three")
        page.get_by_role("button", name="Send").click()
        slow = page.get_by_role("region", name="Answer of lab/slow")
        expect(page.get_by_role("region", name="Answer of lab/echo").get_by_text("done")).to_be_visible()
        slow.get_by_role("button", name="Stop").click()
        expect(slow.get_by_text("stopped")).to_be_visible()
        expect(page.get_by_role("region", name="Text of lab/echo")).to_contain_text("one two three")
        link = page.get_by_role("region", name="Answer of lab/echo").get_by_role("link")
        charged = Decimal(busy.generation(link.inner_text())["charged_nanousd"]) / 10**9
        expect(page.get_by_role("region", name="Answer of lab/echo").locator("[title^=exactly]")).to_have_attribute(
            "title", f"exactly ${charged.normalize():f}"
        )
        page.get_by_role("button", name="Code").click()
        expect(page.get_by_role("region", name="The call in curl")).to_contain_text("$FAIRLEAD_API_KEY")
        assert "one+two" not in page.url and "one%20two" not in page.url


def test_keys_of_the_keyboard(browser: Browser, busy: Gateway) -> None:
    with console(browser, busy) as window:
        page = window.open("/")
        page.keyboard.press("g")
        page.keyboard.press("r")
        expect(page.get_by_role("heading", name="Requests", level=1)).to_be_focused()
        window.settle()
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("/requests/gen-"))
        expect(page.get_by_role("region", name="Request", exact=True)).to_be_visible()
        first = page.url
        page.keyboard.press("j")
        expect(page).not_to_have_url(first)
        page.keyboard.press("Escape")
        expect(page).to_have_url(re.compile("/requests$"))
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys of the keyboard")).to_be_visible()
        page.get_by_label("Single keys do something").uncheck()
        page.get_by_role("button", name="Close").click()
        page.keyboard.press("g")
        page.keyboard.press("o")
        time.sleep(0.3)
        expect(page).to_have_url(re.compile("/requests$"))


def test_a_restart_under_an_open_page(browser: Browser, provider: Provider) -> None:
    """The page says that the gateway is away, and comes back by itself with what happened meanwhile."""
    with Gateway(configuration(provider.address)) as gateway:
        gateway.post("/v1/chat/completions", {"model": "lab/echo", "messages": [{"role": "user", "content": "Hi"}]})
        with console(browser, gateway) as window:
            page = window.open("/?from=-1h")
            assert gateway.process is not None
            command = list(gateway.process.args)
            gateway.stop()
            page.get_by_role("combobox", name="Split by").select_option("key")
            expect(page.get_by_text("The gateway does not answer").first).to_be_visible()
            gateway.command = lambda: command  # type: ignore[method-assign]
            gateway.start()
            expect(page.get_by_text(re.compile("does not answer"))).to_have_count(0, timeout=60_000)
            expect(page.get_by_role("button", name="e2e", exact=True).first).to_be_visible()


@pytest.mark.parametrize("locale", ["de-DE", "ar-EG", "tr-TR"])
def test_other_languages_of_the_browser(browser: Browser, busy: Gateway, locale: str) -> None:
    with console(browser, busy, locale=locale, timezone_id="Asia/Kathmandu") as window:
        window.open("/")
        window.open("/requests")
        expect(window.page.get_by_role("combobox", name="Zone of times")).to_have_value(re.compile("Kathmandu|Katmandu"))


def test_a_language_that_is_none(browser: Browser, busy: Gateway) -> None:
    """Chromium takes `en-US@posix` from the environment of Linux machines."""
    window = Console(browser, busy)
    window.context.add_init_script("Object.defineProperty(navigator, 'language', {value: 'en-US@posix', configurable: true})")
    for path in ("/", "/requests"):
        window.log_in().open(path)
    window.check()
    window.close()


def test_how_files_are_served(busy: Gateway, browser: Browser) -> None:
    """Hashed names for ever, pages asked for again, packed for who takes it, and the policy on each."""
    import http.client

    host, port = busy.admin.rsplit(":", 1)

    def get(path: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse()

    page = get("/requests/deep?x=1", accept="text/html", accept_encoding="gzip, br")
    assert (page.status, page.headers["content-encoding"], page.headers["cache-control"]) == (200, "br", "no-cache")
    assert "trusted-types 'none'" in page.headers["content-security-policy"] and page.headers["x-content-type-options"] == "nosniff"
    assert get("/", accept="text/html", if_none_match=page.headers["etag"]).status == 304
    text = get("/", accept="text/html").read().decode()
    assert "style=" not in text and "<style" not in text and "http://" not in text and "https://" not in text
    first = 0
    for asset in re.findall(r'(?:src|href)="(/assets/[^"]+)"', text):
        reply = get(asset, accept_encoding="gzip")
        assert (reply.status, reply.headers["cache-control"]) == (200, "public, max-age=31536000, immutable"), asset
        assert reply.headers["content-encoding"] == "gzip", asset
        first += len(reply.read())
    print("first load, gzip KiB, before the page itself:", round(first / 1024))
    assert first < 250 * 1024
    for path in ("/assets/none.js", "/admin/none", "/../pyproject.toml", "/assets/../index.html", "/%2e%2e/x"):
        assert get(path, accept="text/html").status in (401, 404) or "root" in text, path
    assert get("/admin/none", accept="text/html").status == 401
    assert get("/", accept="application/json").status == 401
    assert get("/", accept="text/html", host="evil.example").status == 421


def test_pages_that_are_open_stop_nobody(browser: Browser, busy: Gateway) -> None:
    """A stream for each of them, and the traffic goes on."""
    windows = [Console(browser, busy).log_in() for _ in range(3)]
    for window in windows:
        window.open("/requests?live=on")
    done = threading.Event()
    statuses: list[int] = []

    def traffic() -> None:
        while not done.is_set():
            statuses.append(
                busy.post("/v1/chat/completions", {"model": "lab/fast", "messages": [{"role": "user", "content": "x"}]}, key=KEY).status
            )

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        for window in windows:
            expect(window.page.get_by_role("status").get_by_text("live")).to_be_visible()
    finally:
        done.set()
        thread.join()
    assert statuses and set(statuses) == {200}
    for window in windows:
        window.check()
        window.close()


def test_an_endpoint_is_set_aside_and_the_audit_log_says_who(browser: Browser, provider: Provider) -> None:
    second = (
        '[[models."lab/echo".endpoints]]\nprovider = "other"\nupstream_model = "sim/echo"\n'
        'usd_per_million = { prompt = "1", completion = "2" }\n'
    )
    other = (
        '[providers.other]\nname = "Other"\ndialects = ["openai_chat"]\nkeys = ["x"]\n'
        f'base_urls = {{ openai_chat = "http://{provider.address}/v1" }}\n'
    )
    configured = configuration(provider.address).replace('[models."lab/fast"]', f'{second}[models."lab/fast"]') + other
    with Gateway(configured) as gateway:
        for model in ("lab/echo", "lab/fast"):
            assert gateway.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "Hi"}]}).status == 200
        used = gateway.generations("model = 'lab/echo'")[0]["provider"]
        with console(browser, gateway) as window:
            page = window.open("/providers")
            lab = page.get_by_role("region", name="Lab", exact=True)
            lab.get_by_role("row", name="lab/fast").get_by_role("button", name="Set aside").click()
            page.get_by_role("dialog").get_by_role("button", name="Set aside").click()
            expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("last endpoint")
            page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
            shown = page.get_by_role("region", name="Lab" if used == "lab" else "Other", exact=True)
            shown.get_by_role("row", name="lab/echo").get_by_role("button", name="Set aside").click()
            page.get_by_label("Why").fill("it is slow")
            page.get_by_role("dialog").get_by_role("button", name="Set aside").click()
            expect(shown.get_by_text("it is slow")).to_be_visible()
            assert (
                gateway.post("/v1/chat/completions", {"model": "lab/echo", "messages": [{"role": "user", "content": "Hi"}]}).status == 200
            )
            assert {row["provider"] for row in gateway.generations("model = 'lab/echo'")} == {"lab", "other"}
            window.open("/audit?action=endpoint.drain")
            expect(page.get_by_role("row", name=re.compile("admin token.*endpoint.drain.*it is slow"))).to_be_visible()
            window.open("/providers")
            shown.get_by_role("button", name="Let in again").click()
            expect(shown.get_by_text("it is slow")).to_have_count(0)
