"""What a page does when the gateway does not answer, or answers something else: every question of every page, and every change
that can be made there, by one table each. With `FAIRLEAD_PROOF` every question is failed on every page in every way."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zlib import crc32

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, Route, TimeoutError, expect

from e2e.browser import Console, console
from e2e.furnished import PAGES, PASSWORD, Furnished, furnished
from e2e.house import Provider

expect.set_options(timeout=20_000)
PROOF = bool(os.environ.get("FAIRLEAD_PROOF"))
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# What a page waits before it asks again is no part of what it shows; and what is late is late when the test says so.
IN_NO_TIME = """
const later = window.setTimeout;
window.setTimeout = (run, ms, ...rest) => later(run, ms >= 700 && ms <= 40000 ? 200 : ms, ...rest);
window.__late = [];
let limit;
AbortSignal.timeout = () => (limit = new AbortController()).signal;
const ask = window.fetch;
window.fetch = (at, init) => {
  const mine = limit;
  window.__late.push([new URL(at, location).pathname, () => mine.abort(new DOMException('late', 'TimeoutError'))]);
  return ask(at, init);
};
"""
AFTER_A_LONG_TIME = """([path, says]) => {
  for (const [at, late] of window.__late.splice(0)) if (at === path) late();
  return [...document.querySelectorAll('[role=alert]')].some((one) => one.textContent.includes(says));
}"""
AWAY = "The gateway does not answer"
# A figure or a sentence for "there is none".
NONE = re.compile(r"^(\$?0(\.0*)?( .*)?|No |None|Nothing|Nobody|It was not)")


class Fault(NamedTuple):
    """How a question is answered, and what the page then says."""

    says: str
    answer: Callable[[Route], None] | None
    """None: it is not answered at all."""
    can_retry: bool = True


def refusal(status: int, message: str = "it broke here") -> Callable[[Route], None]:
    """An error as the operator API says it."""
    body = {"error": {"code": "broken", "message": message, "request_id": "req_broken"}}
    return lambda route: route.fulfill(status=status, content_type="application/json", body=json.dumps(body))


FAULTS = {
    "an error": Fault("it broke here", refusal(500)),
    "no connection": Fault(AWAY, lambda route: route.abort()),
    "not for this role": Fault("Not for your role", refusal(403), can_retry=False),
    "deleted meanwhile": Fault("it is gone", refusal(404, "it is gone")),
    "no answer": Fault(AWAY, None),
    "a page of a proxy": Fault(
        "not answered by the gateway", lambda route: route.fulfill(body="<h1>Welcome</h1>", content_type="text/html")
    ),
}
# Of these the frame of every page is made; what their absence does has tests of its own.
OF_THE_FRAME = {"/admin/session", "/admin/events", "/admin/setup"}
# What a page is as good without: an example names another model, a filter says an id.
AS_GOOD_WITHOUT = {("/models/lab/two", "/admin/models")}


@pytest.fixture(scope="module")
def house(provider: Provider) -> Iterator[Furnished]:
    with furnished(provider) as running:
        yield running


@contextmanager
def hurried(browser: Browser, house: Furnished, **options: Any) -> Iterator[Console]:
    """A window that waits for nothing but answers."""
    with console(browser, house, **options) as window:
        window.context.add_init_script(IN_NO_TIME)
        yield window


@contextmanager
def failing(page: Page, path: str, answer: Callable[[Route], None] | None, method: str = "GET") -> Iterator[None]:
    """Answers a question, and it alone, like this."""
    at = re.compile(rf"^https?://[^/]+{re.escape(path)}(\?|$)")

    def handle(route: Route) -> None:
        if route.request.method != method:
            route.fallback()
        elif answer is not None:
            answer(route)

    page.route(at, handle)
    try:
        yield
    finally:
        page.unroute(at, handle)


def lines(page: Page) -> set[str]:
    """What a page says, line by line."""
    return {line.strip() for line in page.locator("main").inner_text().splitlines()}


def named(path: str) -> bool:
    """Whether a question is about one object, which may be gone; a user without a log-in is none that is gone."""
    return len(path.split("/")) > 3 and not path.startswith("/admin/usage/") and not path.endswith(("/running", "/history", "/login"))


def asked_by(page: Page, there: Callable[[], Page]) -> list[str]:
    """The questions of a page, once each."""
    found: list[str] = []

    def note(request: Request) -> None:
        path = urlsplit(request.url).path
        if path.startswith("/admin/") and request.method == "GET" and path not in (*OF_THE_FRAME, *found):
            found.append(path)

    page.on("request", note)
    there()
    page.remove_listener("request", note)
    return found


def fail(window: Console, place: str, path: str, how: str, well: set[str]) -> None:
    """Loads a page of which one question is answered badly, and once it is answered well presses Retry."""
    page, fault = window.page, FAULTS[how]
    alert = page.get_by_role("alert").filter(has_text=fault.says)
    with failing(page, path, fault.answer):
        page.goto(place)
        if fault.answer is None:
            # Meanwhile it says that it waits.
            expect(page.locator("main [role=progressbar], main [class*=_skeleton_]").first).to_be_attached()
            page.wait_for_function(AFTER_A_LONG_TIME, arg=[path, fault.says])
        expect(alert.first).to_be_visible()
        window.settle()
        expect(page.locator("h1")).to_have_count(1)
        made_up = {line for line in lines(page) - well if NONE.match(line)}
        assert not made_up, (place, path, how, made_up)
        if PROOF:
            assert not (found := window.for_everybody(f"{place} without {path} ({how})")), "\n".join(found)
            page.set_viewport_size({"width": 1280, "height": 800})
    retry = alert.get_by_role("button", name="Retry")
    if fault.says == AWAY:
        # It is asked again by itself.
        page.evaluate(AFTER_A_LONG_TIME, [path, fault.says])
    elif fault.can_retry:
        # Where several parts of a page are of one question, the first is for all of them.
        retry.first.click()
    else:
        expect(retry).to_have_count(0)
        return
    expect(alert).to_have_count(0)
    window.settle()
    window.check()


def test_a_question_that_fails_is_said(browser: Browser, house: Furnished) -> None:
    """With what is wrong and a way on, beside all that did not fail, and never as if there were nothing."""
    tried, routes, wrong = set[str](), set[str](), list[str]()
    with hurried(browser, house) as window:
        for template, route in PAGES.items():
            # The other views of a page ask the same.
            if not PROOF and route in routes:
                continue
            routes.add(route)
            place = house.place(template)
            paths = asked_by(window.page, lambda place=place: window.open(place))
            well = lines(window.page)
            for path in paths:
                if (template, path) in AS_GOOD_WITHOUT or (not PROOF and path in tried):
                    continue
                tried.add(path)
                possible = [how for how in FAULTS if how != "deleted meanwhile" or named(path)]
                # Each question fails in one way, always the same, each way with some question.
                ways = possible if PROOF else [possible[crc32(path.encode()) % len(possible)]]
                for how in ways:
                    try:
                        fail(window, place, path, how, well)
                    except (AssertionError, TimeoutError) as error:
                        wrong.append(f"{template}, {path}, {how}: {str(error)[:300]}")
                        window.wrong.clear()
    assert not wrong, "\n".join(wrong)
    assert len(tried) > 25, tried


# --- changes ----------------------------------------------------------------------------------------------------------


class Change(NamedTuple):
    """Something that can be done on a page, up to the last press."""

    place: str
    before: Callable[[Page], None]
    """Opens what has to be open, and fills it in."""
    press: str
    """The name of the button that does it, as a regular expression."""
    sends: str
    """Method and path."""
    typed: Mapping[str, str] = MappingProxyType({})
    """What stands in the form, before and after each failure."""
    also: tuple[int, ...] = ()
    """Statuses with which it may be refused beside 500 and 422."""


def pressed(*names: str, **typed: str) -> Callable[[Page], None]:
    """Presses buttons in their order, then fills in the fields."""

    def do(page: Page) -> None:
        for name in names:
            inmost(page).get_by_role("button", name=name, exact=True).first.click()
        for label, value in typed.items():
            inmost(page).get_by_label(label.replace("_", " ")).first.fill(value)

    return do


def inmost(page: Page) -> Locator:
    """The dialog where there is one, else the page."""
    dialog = page.get_by_role("dialog")
    return dialog if dialog.count() else page.locator("main")


def reviewed(button: str, label: str, value: str) -> Callable[[Page], None]:
    """A form that is looked at before it is sent."""

    def do(page: Page) -> None:
        page.get_by_role("button", name=button, exact=True).click()
        page.get_by_role("dialog").get_by_label(label, exact=True).fill(value)
        page.get_by_role("dialog").get_by_role("button", name="Review").click()

    return do


def written(page: Page) -> None:
    """A text in the editor of the configuration."""
    area = page.get_by_label("Text of the configuration file")
    area.fill(f"{area.input_value()}\n# more")


def filled(**typed: str) -> Callable[[Page], None]:
    """Fields of the page."""
    return pressed(**typed)


CHANGES = {
    "make a key": Change("/keys", pressed("Create key", Name="a new one"), "Create", "POST /admin/keys", {"Name": "a new one"}, (409,)),
    "change a key": Change(
        "/keys/{key}", pressed("Change", Name="another"), "Save", "PATCH /admin/keys/{key}", {"Name": "another"}, (409, 412)
    ),
    "rotate a key": Change("/keys/{key}", pressed("Rotate"), "Rotate", "POST /admin/keys/{key}/rotate", also=(412,)),
    "disable a key": Change("/keys/{key}", pressed(), "Disable", "PATCH /admin/keys/{key}", also=(412,)),
    "delete a key": Change(
        "/keys/{disabled}",
        pressed("Delete", Its_name="disabled of the team"),
        "Delete for good",
        "DELETE /admin/keys/{disabled}",
        {"Its name": "disabled of the team"},
        (412,),
    ),
    "give credit": Change("/budgets?tab=credits", reviewed("Top up default", "Amount ($)", "12"), "Enter it", "POST /admin/credits"),
    "take credit back": Change(
        "/budgets?tab=credits", reviewed("Refund entry 1", "Amount ($)", "12"), "Enter it", "POST /admin/credits/1/refund", also=(409,)
    ),
    "make a team": Change("/budgets", pressed("Create team", Name="red"), "Create", "POST /admin/teams", {"Name": "red"}, (409,)),
    "change a team": Change("/budgets", reviewed("Change the team blue", "Name", "navy"), "Save", "PATCH /admin/teams/*", also=(409, 412)),
    "delete a team": Change(
        "/budgets",
        pressed("Delete the team blue", Its_name="blue"),
        "Delete for good",
        "DELETE /admin/teams/*",
        {"Its name": "blue"},
        (409, 412),
    ),
    "silence alerts": Change("/budgets?tab=alerts", pressed(), "Silence", "PUT /admin/alerts/silence"),
    "test alerts": Change("/budgets?tab=alerts", pressed(), "Send a test", "POST /admin/alerts/test"),
    "make a preset": Change(
        "/routing",
        pressed("Create preset", Name="mine", Note="why"),
        "Create",
        "POST /admin/presets",
        {"Name": "mine", "Note": "why"},
        (409,),
    ),
    "change a preset": Change(
        "/routing?name=x", pressed("Change", Note="why"), "Save", "PATCH /admin/presets/x", {"Note": "why"}, (409, 412)
    ),
    "delete a preset": Change("/routing?name=x", pressed("Delete"), "Delete it", "DELETE /admin/presets/x", also=(412,)),
    "activate a version": Change("/routing?name=x", pressed(), "Activate version 1", "POST /admin/presets/x/activate", also=(412,)),
    "add a user": Change(
        "/users",
        pressed("Add a user", Name="zoe", Password=PASSWORD),
        "Add",
        "POST /admin/users",
        {"Name": "zoe", "Password": PASSWORD},
        (409,),
    ),
    "change a log-in": Change(
        "/users?user={viewer}",
        filled(Subject_at_the_provider="sub-1"),
        "Save",
        "PUT /admin/users/*/login",
        {"Subject at the provider": "sub-1"},
        (409, 412),
    ),
    "set an endpoint aside": Change(
        "/providers", pressed("Set aside", Why="slow"), "Set aside", "POST /admin/endpoints/*/drain", {"Why": "slow"}
    ),
    "let an endpoint in": Change("/providers", pressed(), "Let in again", "POST /admin/endpoints/*/enable"),
    "apply a configuration": Change("/config", written, "Apply", "PUT /admin/config", also=(412,)),
    "reload": Change("/config", pressed(), "Reload", "POST /admin/reload"),
    "dismiss the first steps": Change("/start", pressed(), "Done.*|Skip the rest|Show this.*", "PUT /admin/setup"),
    "send a prompt": Change(
        "/playground?models=lab/echo", filled(Prompt="Hello"), "Send|Running", "POST /admin/playground/runs", {"Prompt": "Hello"}
    ),
}


LOOK_SECONDS = 20


class Held:
    """Answers a change only when that is asked for, and counts how often it was sent."""

    def __init__(self, page: Page, sends: str) -> None:
        self.method, path = sends.split(" ")
        self.sent = list[Route]()
        self._page, self._at = page, re.compile(rf"^https?://[^/]+{path.replace('*', '[^/]+')}$")
        page.route(self._at, self._keep)

    def wait_for(self, number: int) -> None:
        """Until so many were sent."""
        end = time.monotonic() + LOOK_SECONDS
        while len(self.sent) < number and time.monotonic() < end:
            self._page.wait_for_timeout(10)

    def end(self) -> None:
        """The gateway answers again."""
        self._page.unroute(self._at)

    def _keep(self, route: Route) -> None:
        if route.request.method == self.method:
            self.sent.append(route)
        else:
            route.fallback()


def try_in_vain(window: Console, house: Furnished, change: Change) -> None:
    """Makes a change that is refused, in every way there is."""
    page = window.page
    window.go(house.place(change.place))
    change.before(page)
    held = Held(page, house.place(change.sends))
    button = inmost(page).get_by_role("button", name=re.compile(f"^({change.press})…?$")).first
    has_dialog = page.get_by_role("dialog").count() > 0
    answers: dict[str, Callable[[Route], None]] = {
        "it broke here": refusal(500),
        **{f"refused {status}": refusal(status, f"refused {status}") for status in (422, *(one for one in change.also if one != 412))},
        AWAY: lambda route: route.abort(),
        **({"meanwhile": refusal(412)} if 412 in change.also else {}),
    }
    for number, (says, answer) in enumerate(answers.items(), 1):
        expect(button).to_be_enabled()
        # Twice within one turn: nothing was drawn in between.
        button.evaluate("(one) => { one.click(); one.click(); }")
        expect(button).to_be_disabled()
        page.keyboard.press("Escape")
        if has_dialog:
            expect(page.get_by_role("dialog")).to_have_count(1)
        held.wait_for(number)
        assert len(held.sent) == number, f"sent {len(held.sent) - number + 1} times"
        answer(held.sent[-1])
        if says != "meanwhile":
            expect(page.get_by_role("alert").filter(has_text=says).first).to_be_visible()
        else:
            expect(page.get_by_role("alert").first).to_be_visible()
        for label, value in change.typed.items():
            expect(inmost(page).get_by_label(label).first).to_have_value(value)
    assert len(held.sent) == len(answers)
    window.check()
    held.end()


@pytest.fixture(scope="module")
def window(browser: Browser, house: Furnished) -> Iterator[Console]:
    with hurried(browser, house) as opened:
        yield opened


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_that_fails_is_said_and_not_made_twice(window: Console, house: Furnished, what: str) -> None:
    try_in_vain(window, house, CHANGES[what])


# --- the frame --------------------------------------------------------------------------------------------------------


def test_a_log_in_that_ended_is_said_and_goes_on_where_it_was(browser: Browser, house: Furnished) -> None:
    """Also when a page notices it by itself; whoever was not in, or went, is told nothing of it."""
    told = "Your log-in has ended."
    with console(browser, house) as window:
        page = window.open("/keys?q=team")
        # It ends elsewhere, and the page asks something.
        assert window.context.request.delete(
            "/admin/session", data={}, headers={"origin": window.origin, "x-fairlead-csrf": csrf(window)}
        ).ok
        page.get_by_role("link", name="key of the team", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text(told)
        assert urlsplit(page.url).path == "/login"
        assert told not in page.url
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text(told)
        page.get_by_role("button", name="With name and password").click()
        page.get_by_label("Name").fill("admin")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", level=1, name="key of the team")).to_be_visible()
        window.settle()
        page.get_by_role("button", name="Account:").click()
        page.get_by_role("menuitem", name="Log out").click()
        expect(page.get_by_role("heading", level=1, name="Log in")).to_be_visible()
        expect(page.get_by_text(told)).to_have_count(0)
        page.goto("/audit")
        expect(page.get_by_role("heading", level=1, name="Log in")).to_be_visible()
        expect(page.get_by_text(told)).to_have_count(0)


def csrf(window: Console) -> str:
    """The token with which changes of this log-in are sent."""
    return str(window.context.request.get("/admin/session").json()["data"]["csrf"])


def test_a_machine_without_a_network_reaches_the_gateway_on_it(browser: Browser, house: Furnished) -> None:
    """What the browser says of the network says nothing of a gateway on the same machine. No change is kept for later."""
    with hurried(browser, house) as window:
        page = window.context.new_page()
        page.add_init_script("Object.defineProperty(navigator, 'onLine', {get: () => false})")
        page.goto("/keys")
        page.evaluate("() => dispatchEvent(new Event('offline'))")
        page.get_by_role("link", name="key of the team", exact=True).click()
        expect(page.get_by_role("button", name="Disable")).to_be_visible()
        for name in ("Disable", "Enable"):
            page.get_by_role("button", name=name).click()
        expect(page.get_by_role("button", name="Disable")).to_be_enabled()
        # Cut off from it, too, is said at once.
        window.context.set_offline(True)
        page.get_by_role("button", name="Disable").click()
        expect(page.get_by_role("alert").filter(has_text="Whether it made the change is not known")).to_be_visible()
        window.context.set_offline(False)


@pytest.mark.parametrize("path", ["/admin/session", "/admin/setup"])
def test_the_frame_fails_in_words(browser: Browser, house: Furnished, path: str) -> None:
    with hurried(browser, house) as window:
        page = window.page
        alert = page.get_by_role("alert").filter(has_text="it broke here")
        with failing(page, path, refusal(500)):
            page.goto("/start")
            expect(alert).to_be_visible()
        alert.get_by_role("button", name="Retry").click()
        expect(page.get_by_role("heading", level=1, name="First steps")).to_be_visible()
        expect(alert).to_have_count(0)
