"""Who may press what: every control of the console that changes something, for every role, against the one table of routes and roles.

A control whose route the role may not use is not there, or cannot be pressed and says why; one that it may use is there. What is neither
in `CONTROLS` nor in `HARMLESS` fails, so that a new button says here which route it uses, and so does a new route that no page uses.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fairlead.control.access import RANKS
from fairlead.control.operator.table import ADMIN
from playwright.sync_api import Browser

from e2e.browser import Console
from e2e.furnished import PAGES, PASSWORD, ROLES, Furnished, furnished
from e2e.house import Provider

LEAST = {f"{route.method} {route.path}": route.access.value for route in ADMIN}
KEY, LOGIN = "/admin/keys/{selector}", "/admin/users/{selector}/login"
DRAIN = "/admin/endpoints/{id}"


class Control(NamedTuple):
    """Something to press, by its name on a page of `PAGES`, and the route that it comes to."""

    route: str
    page: str
    name: str
    waits: str = ""
    """Who may press it can do so only after this."""
    least: str = ""
    """A higher role than the route's: of what is not the caller's own."""


def of_key(page: str, route: str, names: str, **more: str) -> list[Control]:
    return [Control(f"{route} {KEY}", page, name, **more) for name in names.split("|")]


CONTROLS = (
    Control("PUT /admin/setup", "/start", "Skip the rest|Done: take this page out of the navigation"),
    Control("POST /admin/keys", "/start", "Create a key", least="admin"),
    Control("POST /admin/keys", "/keys", "Create key"),
    *of_key("/keys/{key}", "PATCH", "Change|Disable"),
    Control(f"POST {KEY}/rotate", "/keys/{key}", "Rotate"),
    *of_key("/keys/{key}", "DELETE", "Delete", waits="it is disabled first"),
    *of_key("/keys/{disabled}", "PATCH", "Change"),
    *of_key("/keys/{disabled}", "PATCH", "Enable", least="admin"),
    Control(f"POST {KEY}/rotate", "/keys/{disabled}", "Rotate"),
    *of_key("/keys/{disabled}", "DELETE", "Delete"),
    *of_key("/keys/{others}", "PATCH", "Change|Disable", least="admin"),
    Control(f"POST {KEY}/rotate", "/keys/{others}", "Rotate", least="admin"),
    *of_key("/keys/{others}", "DELETE", "Delete", least="admin", waits="it is disabled first"),
    *(Control(f"POST /admin/{kind}s", "/budgets?keys=all", f"Create {kind}") for kind in ("account", "team", "user")),
    *(
        Control(f"{method} /admin/{kind}s/{{selector}}", "/budgets?keys=all", f"{verb} the {kind} .*")
        for kind in ("account", "team", "user")
        for method, verb in (("PATCH", "Change"), ("DELETE", "Delete"))
        if (kind, verb) != ("account", "Delete")
    ),
    Control("DELETE /admin/accounts/{selector}", "/budgets?keys=all", "Delete the account .*", waits="it is not the first account"),
    Control("POST /admin/credits", "/budgets?tab=credits", "Top up default"),
    Control("POST /admin/credits", "/budgets?tab=credits", "Adjust default"),
    Control("POST /admin/credits/{id}/refund", "/budgets?tab=credits", r"Refund entry \d+"),
    Control("PUT /admin/alerts/silence", "/budgets?tab=alerts", "Silence"),
    Control("POST /admin/alerts/test", "/budgets?tab=alerts", "Send a test"),
    Control("POST /admin/presets", "/routing", "Create preset"),
    Control("POST /admin/splits", "/routing?tab=splits", "Create split"),
    *(
        Control(route, page, name)
        for page, kind in (("/routing?name=x", "presets/{name}"), ("/routing?tab=splits&name=acme/new", "splits/{name:path}"))
        for route, name in (
            (f"PATCH /admin/{kind}", "Change"),
            (f"DELETE /admin/{kind}", "Delete"),
            (f"POST /admin/{kind}/activate", "Activate version 1"),
            ("POST /admin/explain", r"Where would it go\?"),
        )
    ),
    Control("POST /admin/explain", "/routing?name=own", r"Where would it go\?"),
    Control("POST /admin/providers/{id}/probe", "/providers", "Probe( .*)?"),
    Control(f"POST {DRAIN}/drain", "/providers", "Set aside"),
    Control(f"POST {DRAIN}/enable", "/providers", "Let in again"),
    *(Control("POST /admin/reload", page, "Reload") for page in PAGES if page.startswith("/config")),
    Control("POST /admin/config/validate", "/config", "Validate"),
    Control("POST /admin/config/diff", "/config", "Diff"),
    Control("PUT /admin/config", "/config", "Apply", waits="something was edited"),
    Control("POST /admin/users", "/users", "Add a user"),
    Control("POST /admin/users", "/users?user={viewer}", "Add a user"),
    Control(f"PUT {LOGIN}", "/users?user={viewer}", "Save"),
    Control(f"DELETE {LOGIN}", "/users?user={viewer}", "Delete the log-in"),
    Control("DELETE /admin/sessions/{id}", "/users", r"End the log-in \d+ of .*", least="admin"),
    Control("DELETE /admin/sessions/{id}", "/users?user={viewer}", r"End the log-in \d+ of .*", least="admin"),
    Control("DELETE /admin/sessions/{id}", "/account", r"End the log-in \d+ of .*"),
    Control("POST /admin/session/password", "/account", "Change the password"),
    Control("POST /admin/playground/runs", "/playground?models=lab/echo", "Send"),
    Control("GET /admin/requests/{id}/content", "/requests/{request}?tab=content", "Open the content"),
)
BEHIND = {
    "DELETE /admin/playground/runs/{id}": "stops what Send began",
    "DELETE /admin/session": "in everybody's own menu",
}
"""Routes of controls that are not there at first."""
WITHOUT = {
    "POST /admin/login/oidc": "the page to log in",
    "POST /admin/session": "the page to log in",
    "POST /admin/estimate": "changes nothing: what a prompt would cost",
    "DELETE /admin/health": "for programs",
    "POST /webhooks/stripe": "the provider of payments calls it",
}
"""Routes that no control of these pages comes to."""
LEFT_OUT = {"/requests/{request}?tab=explain", "/requests/{request}?tab=content"}
"""Parts of pages that who may not see them does not see, instead of a page that says so."""
HARMLESS = re.compile(
    "|".join(
        (
            "Copy( id)?|CSV|Code|Share the settings|View|Compare( version .*)?|Explain again now|Put into the editor",
            "Close|Cancel|Retry|Older|Live|Filter|Clear( all)?|Without .*|Show all.*|50 more|To the budgets",
            "Models|Providers|Keys|Apps|Teams|Users|Arms of splits|Other|Requests of .*|.* of the team|e2e|lab/.*|acme/.*|"
            + "|".join(ROLES),
        )
    )
)
"""What changes nothing, or only what is shown."""

NAVIGATION = {
    "Overview": PAGES["/"],
    "Models": PAGES["/models"],
    "Playground": PAGES["/playground?models=lab/echo"],
    "Requests": PAGES["/requests"],
    "Keys": PAGES["/keys"],
    "Budgets": PAGES["/budgets?keys=all"],
    "Routing": PAGES["/routing"],
    "Providers": PAGES["/providers"],
    "Configuration": PAGES["/config"],
    "Audit": PAGES["/audit"],
    "Users": PAGES["/users"],
}
"""Links of the rail, and the route that each page is nothing without."""

# Every button that can be seen, with its name, and why it cannot be pressed where it cannot.
BUTTONS = """() => [...document.querySelectorAll('main button:not([role=tab]), [role=dialog] button')]
  .filter((one) => one.checkVisibility({visibilityProperty: true}))
  .map((one) => ({name: (one.getAttribute('aria-label') ?? one.innerText).trim(), disabled: one.disabled, why: one.title}))"""


@pytest.fixture(scope="module")
def house(provider: Provider) -> Iterator[Furnished]:
    with furnished(provider) as running:
        yield running


def may(role: str, least: str) -> bool:
    return RANKS[role] >= RANKS[least]


def test_every_route_that_changes_something_has_its_control() -> None:
    """What is pressed comes to routes that there are, and each of those is pressed somewhere or says why not."""
    changing = {route for route in LEAST if not route.startswith("GET ")}
    pressed = {control.route for control in CONTROLS} | set(BEHIND)
    # Opening what is logged changes the audit log.
    assert pressed | set(WITHOUT) == changing | {"GET /admin/requests/{id}/content"} and not pressed & set(WITHOUT)
    assert set(PAGES.values()) <= set(LEAST) and {control.page for control in CONTROLS} <= set(PAGES)
    for control in CONTROLS:
        assert not control.least or may(control.least, LEAST[control.route]), f"{control} asks for less than its route"


@pytest.mark.parametrize("role", ROLES)
def test_who_may_press_what(browser: Browser, house: Furnished, role: str) -> None:
    window = Console(browser, house).log_in(role, PASSWORD)
    refused: list[str] = []
    window.page.on("response", lambda reply: refused.append(reply.url) if reply.status == 403 else None)
    found = []
    for page, read in PAGES.items():
        refused.clear()
        window.go(house.place(page))
        buttons = window.page.evaluate(BUTTONS)
        found += [f"{page}: {line}" for line in wrong(page, role, buttons)]
        allowed = may(role, LEAST[read])
        if allowed and refused:
            found.append(f"{page}: the page asks for what the role {role} may not: {refused}")
        said = window.page.locator("main").inner_text()
        if not allowed and page not in LEFT_OUT:
            if "Not for your role" not in said:
                found.append(f"{page}: it does not say that it is not for the role {role}: {said[:200]}")
            found += [f"{page}: {one['name']!r} is there for nothing" for one in buttons if one["name"] != "To the budgets"]
    links = set(window.page.get_by_role("navigation", name="Pages", exact=True).get_by_role("link").all_inner_texts())
    for name, read in NAVIGATION.items():
        if (name in links) != may(role, LEAST[read]):
            found.append(f"navigation: {name}, which needs {LEAST[read]}, is {'' if name in links else 'not '}there")
    window.page.get_by_role("button", name=re.compile("^Account:")).click()
    if not window.page.get_by_role("menuitem", name="Log out").is_visible():
        found.append("nobody can log out")
    assert not found, "\n".join(found)
    window.check()
    window.close()


def wrong(page: str, role: str, buttons: list[dict[str, Any]]) -> list[str]:
    """What on a page is not as the table says."""
    found = []
    here = [control for control in CONTROLS if control.page == page]
    for control in here:
        least = control.least or LEAST[control.route]
        like = [one for one in buttons if re.fullmatch(control.name, one["name"])]
        ready = [one["name"] for one in like if not one["disabled"]]
        if not may(role, least) and ready:
            found.append(f"{ready} is for the role {least} ({control.route}), and {role} can press it")
        if may(role, least) and not like:
            found.append(f"{control.name!r} is missing, which {role} may use ({control.route})")
        if may(role, least) and not control.waits and like and not ready:
            found.append(f"{control.name!r} cannot be pressed, and {role} may ({control.route})")
        mute = [one["name"] for one in like if one["disabled"] and not one["why"]]
        if mute and not (control.waits and may(role, least)):
            found.append(f"{mute} cannot be pressed and does not say why")
    known = [control.name for control in here]
    for one in buttons:
        if not HARMLESS.fullmatch(one["name"]) and not any(re.fullmatch(name, one["name"]) for name in known):
            found.append(f"{one['name']!r} is in neither table")
    return found
