"""The console's pages about people: coming in through a provider of OpenID Connect, users and their log-ins, a key's other secret."""

import json
import re
from collections.abc import Iterator

import pytest
from openid_provider import OpenIdProvider
from playwright.sync_api import Browser, Page, Route, expect

from e2e.browser import Console, console
from e2e.house import ADMIN_TOKEN, Gateway, Provider, configuration

expect.set_options(timeout=20_000)
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def openid() -> Iterator[OpenIdProvider]:
    with OpenIdProvider() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(provider: Provider, openid: OpenIdProvider) -> Iterator[Gateway]:
    with Gateway(configuration(provider.address, tables=openid.configuration())) as running:
        for name, role in (("eve", "viewer"), ("mel", "member"), ("boss", "owner")):
            assert running.operate("POST", "/admin/users", {"name": name}).status == 201
            assert running.operate("PUT", f"/admin/users/{name}/login", {"role": role, "password": PASSWORD}).status == 200
        yield running


def with_password(window: Console, name: str) -> Console:
    window.page.goto("/login")
    fill_in(window.page, name)
    expect(window.page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    return window


def fill_in(page: Page, name: str) -> None:
    page.get_by_role("button", name="With name and password").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()


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
    page.get_by_role("button", name=re.compile("Account:")).click()
    page.get_by_role("menuitem", name="Your log-ins").click()
    expect(page.get_by_text("admin, by provider")).to_be_visible()
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
    page.get_by_label("Admin token", exact=True).fill(ADMIN_TOKEN)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    apart(window, openid)


def test_the_pages_can_be_used_by_everybody(browser: Browser, gateway: Gateway) -> None:
    with console(browser, gateway) as window:
        found = []
        user = gateway.operate("GET", "/admin/users/eve").json()["data"]["id"]
        for path in ("/users", f"/users?user={user}", "/users?q=nobody", "/account"):
            window.go(path)
            if "user=" in path:
                expect(window.page.get_by_role("dialog").get_by_role("button", name="Save")).to_be_visible()
            found += window.for_everybody(path)
        assert not found, "\n".join(found)


def test_a_user_is_added_changed_and_put_out(browser: Browser, gateway: Gateway) -> None:
    with console(browser, gateway) as window:
        page = window.open("/users")
        page.get_by_role("button", name="Add a user").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Add", exact=True).click()
        expect(dialog.get_by_text("A name is needed.")).to_be_visible()
        dialog.get_by_label("Name", exact=True).fill("new in a browser")
        dialog.get_by_label("Password", exact=True).fill("short")
        expect(dialog.get_by_text("It has 5 characters; 12 to 256 are expected.")).to_be_visible()
        dialog.get_by_label("Password", exact=True).fill(PASSWORD)
        dialog.get_by_role("combobox", name="Role").select_option("member")
        dialog.get_by_role("button", name="Add", exact=True).click()
        row = page.get_by_role("row", name=re.compile("new in a browser.*member.*password"))
        expect(row).to_be_visible()
        other = with_password(Console(browser, gateway), "new in a browser")
        page.reload()
        row.get_by_role("button", name="new in a browser", exact=True).click()
        expect(page).to_have_url(re.compile(r"/users\?user=\d+$"))
        # A deep link opens it, and another's change is not overwritten.
        page.reload()
        dialog.get_by_role("combobox", name="Role").select_option("admin")
        path = "/admin/users/new%20in%20a%20browser/login"
        assert gateway.operate("PUT", path, {"role": "viewer"}).status == 200
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_role("alert")).to_contain_text("Somebody else changed this")
        expect(dialog.get_by_role("alert").locator("dl")).to_have_text("Roleviewer")
        dialog.get_by_role("button", name="Begin again").click()
        expect(dialog.get_by_role("alert")).to_have_count(0)
        dialog.get_by_role("combobox", name="Role").select_option("admin")
        dialog.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert gateway.operate("GET", path).json()["data"]["role"] == "admin"
        # Its log-in is ended from here, and then the log-in itself goes.
        page.get_by_role("button", name=re.compile("End the log-in .* of new in a browser")).click()
        expect(page.get_by_role("button", name=re.compile("End the log-in .* of new in a browser"))).to_have_count(0)
        other.page.goto("/keys")
        expect(other.page).to_have_url(re.compile("/login"))
        other.close()
        row = page.get_by_role("row", name=re.compile("new in a browser"))
        row.get_by_role("button", name="new in a browser", exact=True).click()
        dialog.get_by_role("button", name="Delete the log-in").click()
        dialog.get_by_role("button", name=re.compile("Delete it")).click()
        expect(page.get_by_role("row", name=re.compile("new in a browser.*cannot log in"))).to_be_visible()
        assert gateway.operate("GET", path).status == 404


def test_a_name_that_looks_like_a_number_is_not_taken_for_one(browser: Browser, gateway: Gateway) -> None:
    """People choose their names at a provider: nobody gets what is meant for who has that number."""
    victim = gateway.operate("POST", "/admin/users", {"name": "numbered"}).json()["data"]["id"]
    assert gateway.operate("POST", "/admin/users", {"name": str(victim)}).status == 201
    with console(browser, gateway) as window:
        page = window.open(f"/users?user={victim}")
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("combobox", name="Role").select_option("admin")
        dialog.get_by_label("Password", exact=True).fill(PASSWORD)
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_have_count(0)
        roles = {user["name"]: user["role"] for user in gateway.operate("GET", "/admin/users").json()["data"]}
        assert (roles["numbered"], roles[str(victim)]) == ("admin", None)


def test_what_one_wrote_is_not_the_next_ones(browser: Browser, gateway: Gateway) -> None:
    """In the same tab: and who is of another account than the default one logs in by name, too."""
    assert gateway.operate("POST", "/admin/accounts", {"name": "elsewhere"}).status == 201
    assert gateway.operate("POST", "/admin/users", {"name": "olga", "account": "elsewhere"}).status == 201
    assert gateway.operate("PUT", "/admin/users/olga/login", {"role": "member", "password": PASSWORD}).status == 200
    with console(browser, gateway) as window:
        page = window.open("/playground")
        page.get_by_label("Prompt").fill("a secret thought")
        page.reload()
        expect(page.get_by_label("Prompt")).to_have_value("a secret thought")
        page.get_by_role("button", name=re.compile("Account:")).click()
        page.get_by_role("menuitem", name="Log out").click()
        expect(page).to_have_url(re.compile("/login"))
        assert "secret thought" not in page.evaluate("() => JSON.stringify({...sessionStorage})")
        with_password(window, "olga")
        window.open("/playground")
        expect(page.get_by_label("Prompt")).to_have_value("")
        # Where clients go is told to those who may send something.
        page.get_by_label("Add a model").select_option("lab/echo")
        page.get_by_label("Prompt").fill("Hi")
        page.get_by_role("button", name="Code").click()
        expect(page.get_by_role("region", name="The call in curl")).to_contain_text(f"{gateway.url}/v1/chat/completions")


def test_a_run_of_the_playground_says_that_its_log_in_is_over(browser: Browser, gateway: Gateway) -> None:
    """And leads to the next one, after which the prompt is there as it was. It is looked at every 15 seconds."""
    assert gateway.operate("POST", "/admin/users", {"name": "wanda"}).status == 201
    assert gateway.operate("PUT", "/admin/users/wanda/login", {"role": "member", "password": PASSWORD}).status == 200
    window = with_password(Console(browser, gateway), "wanda")

    def slowly(route: Route) -> None:
        asked = route.request.post_data_json
        asked["lanes"][0]["body"]["sim"] = {"tokens": 2000, "pace_ms": 50}
        route.continue_(post_data=json.dumps(asked))

    page = window.open("/playground?models=lab/fast")
    page.route("**/admin/playground/runs", slowly)
    page.get_by_label("Prompt").fill("Tell me of the sea.")
    page.get_by_role("button", name="Send").click()
    answer = page.get_by_role("region", name="Answer of lab/fast")
    expect(page.get_by_role("region", name="Text of lab/fast")).to_contain_text("ipsum")
    assert gateway.operate("DELETE", "/admin/users/wanda/login").status == 200
    expect(page.get_by_role("alert")).to_contain_text("its log-in is over", timeout=30_000)
    expect(answer.get_by_text("stopped", exact=True)).to_be_visible()
    found = window.for_everybody("the end of a run")
    assert not found, "\n".join(found)
    assert gateway.operate("PUT", "/admin/users/wanda/login", {"role": "member", "password": PASSWORD}).status == 200
    page.get_by_role("link", name="log in again").click()
    fill_in(page, "wanda")
    expect(page).to_have_url(re.compile(r"/playground\?models=lab(%2F|/)fast$"))
    expect(page.get_by_label("Prompt")).to_have_value("Tell me of the sea.")
    window.close()


def test_the_own_password_and_roles_above_the_own(browser: Browser, gateway: Gateway) -> None:
    viewer = with_password(Console(browser, gateway), "eve")
    page = viewer.page
    # The own password, and with it the end of the other log-ins.
    second = Console(browser, gateway).log_in("eve", PASSWORD)
    viewer.open("/account")
    expect(page.get_by_role("button", name=re.compile("End the log-in"))).to_have_count(1)
    page.get_by_label("Present password").fill("wrong" * 3)
    page.get_by_label("New password").fill("a new long password")
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("alert")).to_contain_text("this is not your password")
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("status").get_by_text("It is changed")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("End the log-in"))).to_have_count(0)
    second.page.goto("/keys")
    expect(second.page).to_have_url(re.compile("/login"))
    viewer.check()
    viewer.close()
    second.close()
    # Nobody changes what is above.
    assert gateway.operate("PUT", "/admin/users/mel/login", {"role": "admin"}).status == 200
    admin = Console(browser, gateway).log_in("mel", PASSWORD)
    page = admin.open("/users")
    page.get_by_role("button", name="boss", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("above yours")
    assert page.get_by_role("dialog").get_by_role("button", name="Save").count() == 0
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("button", name="eve", exact=True).click()
    roles = page.get_by_role("dialog").get_by_role("combobox", name="Role").locator("option")
    expect(roles).to_have_count(3)
    admin.check()
    admin.close()


def test_a_key_gets_another_secret(browser: Browser, gateway: Gateway) -> None:
    made = gateway.operate("POST", "/admin/keys", {"name": "rotated in a browser"}).json()
    chat = {"model": "lab/echo", "messages": [{"role": "user", "content": "Hi"}]}
    with console(browser, gateway) as window:
        page = window.open(f"/keys/{made['data']['hash']}")
        page.get_by_role("button", name="Rotate", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
        new = page.get_by_test_id("secret").inner_text().strip()
        assert new != made["key"]
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("secret")).to_be_visible()
        page.get_by_label("I stored it").check()
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(page.get_by_text(re.compile("good until"))).to_be_visible()
        kept = page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, location.href, document.body.innerHTML])")
        assert new not in kept and new[20:] not in gateway.stderr()
        for secret in (made["key"], new):
            assert gateway.post("/v1/chat/completions", chat, key=secret).status == 200
        page.get_by_role("button", name="Rotate", exact=True).click()
        expect(page.get_by_role("dialog")).to_contain_text("stops at once")
        # Somebody else was quicker.
        assert gateway.operate("POST", f"/admin/keys/{made['data']['hash']}/rotate", {}).status == 200
        page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("changed meanwhile (label")
