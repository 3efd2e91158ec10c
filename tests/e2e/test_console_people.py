"""The console's pages about people: coming in through a provider of OpenID Connect."""

import re
from collections.abc import Iterator

import pytest
from openid_provider import OpenIdProvider
from playwright.sync_api import Browser, expect, sync_playwright

from e2e.browser import Console, launch
from e2e.house import ADMIN_TOKEN, Gateway, Provider, configuration

expect.set_options(timeout=20_000)
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = launch(playwright)
        yield running
        running.close()


@pytest.fixture(scope="module")
def openid() -> Iterator[OpenIdProvider]:
    with OpenIdProvider() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(provider: Provider, openid: OpenIdProvider) -> Iterator[Gateway]:
    with Gateway(configuration(provider.address, tables=openid.configuration())) as running:
        yield running


def apart(window: Console, openid: OpenIdProvider) -> None:
    """Nothing was forbidden; the provider's own page is the one other origin."""
    window.wrong = [line for line in window.wrong if not line.startswith(f"another origin: {openid.issuer}/authorize?")]
    window.check()
    window.close()


def test_a_provider_lets_people_in(browser: Browser, gateway: Gateway, openid: OpenIdProvider) -> None:
    window = Console(browser, gateway)
    page = window.page
    page.goto("/keys?show=all")
    page.get_by_role("button", name="Log in with Acme").click()
    # Over another origin and back to what was asked for; nothing of it stays in the address.
    expect(page.get_by_role("heading", name="Keys", level=1)).to_be_visible()
    assert page.url == f"{window.origin}/keys?show=all"
    expect(page.get_by_role("button", name=re.compile("Account: ada@acme.example, admin"))).to_be_visible()
    kept = page.evaluate("() => JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])")
    assert kept.startswith('["",{},') and not re.search("code|state|next|show=all", kept)
    apart(window, openid)


def test_the_way_back_belongs_to_one_browser_once(browser: Browser, gateway: Gateway, openid: OpenIdProvider) -> None:
    ada, eve = Console(browser, gateway), Console(browser, gateway)
    landings: list[str] = []
    eve.page.on("framenavigated", lambda frame: landings.append(frame.url) if "code=" in frame.url else None)
    eve.page.goto("/login")
    eve.page.get_by_role("button", name="Log in with Acme").click()
    expect(eve.page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    # Eve's link in Ada's browser logs nobody in, and in Eve's own not again.
    for window in (ada, eve):
        window.page.goto(landings[0])
        expect(window.page.get_by_role("alert")).to_contain_text("begin again")
        assert "code=" not in window.page.url and "state=" not in window.page.url
    apart(ada, openid)
    apart(eve, openid)


def test_who_is_not_let_in_is_told(browser: Browser, gateway: Gateway, openid: OpenIdProvider) -> None:
    window = Console(browser, gateway)
    page = window.page
    openid.claims |= {"sub": "bob-2", "email": "bob@acme.example", "groups": ["strangers"]}
    page.goto("/login")
    page.get_by_role("button", name="Log in with Acme").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing gives you a role here")
    openid.denies = True
    page.get_by_role("button", name="Log in with Acme").click()
    expect(page.get_by_role("alert")).to_contain_text("access_denied: <b>No.</b>")
    assert page.url == f"{window.origin}/login"
    openid.denies, openid.fails = False, {"/realm/token"}
    page.get_by_role("button", name="Log in with Acme").click()
    expect(page.get_by_role("alert")).to_contain_text("Acme cannot be used now")
    # The token is as good as ever.
    openid.fails = set()
    page.get_by_label("Admin token").fill(ADMIN_TOKEN)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    apart(window, openid)
