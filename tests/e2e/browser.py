"""A real browser before a running gateway: what a page may not do is collected, so that any test fails on it.

The browser is Chromium: `FAIRLEAD_CHROMIUM`, else the system's, else Playwright's own.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from e2e.house import ADMIN_TOKEN, Gateway

ROOT = Path(__file__).parents[2]
DIST = ROOT / "python/fairlead/console/dist/index.html"
AXE = ROOT / "python/console/node_modules/axe-core/axe.min.js"
NO_BROWSER = "no Chromium here: apt-get install chromium, or .venv/bin/playwright install chromium, or name one in FAIRLEAD_CHROMIUM"
NOWHERE = "/no/such/page"
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
NARROW, WIDE = {"width": 380, "height": 800}, {"width": 1280, "height": 800}
# Beside our own rules: everything that a page tried and the policy forbade, and whatever would show that a text was run.
WATCH = """
window.__forbidden = [];
addEventListener('securitypolicyviolation', (event) => {
  window.__forbidden.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
window.__ran = [];
for (const name of ['alert', 'confirm', 'prompt']) window[name] = (text) => window.__ran.push(`${name} ${text}`);
"""


@cache
def _axe() -> str:
    return AXE.read_text()


def launch(playwright: Playwright) -> Browser:
    """Starts the browser. Raises `RuntimeError` that says how to get one."""
    found = os.environ.get("FAIRLEAD_CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None and not Path(playwright.chromium.executable_path).exists():
        raise RuntimeError(NO_BROWSER)
    # Containers have neither the namespaces of its sandbox nor much shared memory; every page is our own.
    return playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])


class Console:
    """The console of a gateway in one browser window."""

    def __init__(
        self, browser: Browser, gateway: Gateway, *, theme: str = "light", viewport: dict[str, int] | None = None, **options: Any
    ) -> None:
        self.gateway = gateway
        self.origin = f"http://{gateway.admin}"
        self.context: BrowserContext = browser.new_context(
            base_url=self.origin, viewport=viewport or WIDE, color_scheme=theme, **{"timezone_id": "UTC", "locale": "en-US", **options}
        )
        self.context.set_default_timeout(20_000)
        self.context.add_init_script(WATCH)
        self.wrong: list[str] = []
        """Requests to another origin, exceptions of scripts, errors in the browser's log."""
        self.failed_statuses: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("request", self._requested)
        self.page.on("pageerror", lambda error: self.wrong.append(f"exception: {error}"))
        self.page.on("console", self._logged)

    def _requested(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("data", "blob"):
            return
        if f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.wrong.append(f"another origin: {request.url}")

    def _logged(self, message: Any) -> None:
        # Chromium logs each reply of 400 and above; those are looked at where they are expected.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.wrong.append(f"log: {message.text}")

    def log_in(self, name: str = "", password: str = "") -> "Console":
        """With the admin token, or as a user. Through the API: the page for it is where the tests of logging in are."""
        body = {"name": name, "password": password} if name else {"token": ADMIN_TOKEN}
        reply = self.context.request.post("/admin/session", data=body, headers={"origin": self.origin})
        assert reply.ok, reply.text()
        return self

    def open(self, path: str) -> Page:
        """Loads a page and waits until nothing is loading."""
        self.page.goto(path)
        self.settle()
        return self.page

    def go(self, path: str) -> Page:
        """Goes to a page as a link does, without loading the console again, over one that has nothing. What was asked for lately is not
        asked for again."""
        if self.page.url == "about:blank":
            return self.open(path)
        for place, arrived in ((NOWHERE, "=== 'Not found'"), (path, "!== 'Not found'")):
            self.page.evaluate("(place) => history.pushState({}, '', place)", place)
            self.page.wait_for_function(f"() => (document.querySelector('h1')?.textContent ?? 'Not found') {arrived}")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Waits until what was asked for is shown."""
        self.page.locator("h1").first.wait_for()
        self.page.wait_for_function("() => !document.querySelector('[aria-busy=true], main [role=progressbar], [class*=_skeleton_]')")

    def check(self) -> None:
        """Nothing that is forbidden happened."""
        forbidden = self.page.evaluate("() => [...(window.__forbidden ?? []), ...(window.__ran ?? [])]")
        assert not forbidden, forbidden
        assert not self.wrong, self.wrong

    def axe(self, only: list[str] | None = None) -> list[str]:
        """What axe finds, by all its rules or some of them: rule, how bad, where."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(_axe())
        found = self.page.evaluate(
            "(only) => axe.run(document, {resultTypes: ['violations'], runOnly: only})",
            only or ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
        )
        return [
            f"{one['id']} ({one['impact']}): {node['html'][:160]} {node['failureSummary'][:300]}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

    def for_everybody(self, where: str) -> list[str]:
        """What axe finds on this page as it is, in both widths and both themes, and by how much it is wider than its window. A theme is
        colours alone, so that the second is asked about those."""
        found = []
        for viewport in (NARROW, WIDE):
            self.page.set_viewport_size({"width": viewport["width"], "height": viewport["height"]})
            for theme, only in (("dark", COLOUR_RULES), ("light", None)):
                self.page.emulate_media(color_scheme=theme)
                found += [f"{where} ({viewport['width']} px, {theme}): {line}" for line in self.axe(only)]
            if (by := self.wide_by()) > 0:
                found.append(f"{where}: {by} px wider than a window of {viewport['width']}")
        return found

    def wide_by(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def close(self) -> None:
        """Closes the window."""
        self.context.close()


@contextlib.contextmanager
def console(browser: Browser, gateway: Gateway, **options: Any) -> Iterator[Console]:
    """A window in which somebody has logged in; nothing forbidden may have happened when it is closed."""
    window = Console(browser, gateway, **options)
    try:
        yield window.log_in()
        window.check()
    finally:
        window.close()
