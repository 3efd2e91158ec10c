"""A real browser before a running gateway: what a page may not do is collected, so that any test fails on it.

The browser is Chromium: `FAIRLEAD_CHROMIUM`, else the system's, else Playwright's own.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from e2e.house import ADMIN_TOKEN, Gateway

ROOT = Path(__file__).parents[2]
AXE = ROOT / "python/console/node_modules/axe-core/axe.min.js"
NO_BROWSER = "no Chromium here: apt-get install chromium, or .venv/bin/playwright install chromium, or name one in FAIRLEAD_CHROMIUM"
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

    def log_in(self) -> "Console":
        """With the admin token, through the page."""
        self.page.goto("/")
        self.page.get_by_label("Admin token", exact=True).fill(ADMIN_TOKEN)
        self.page.get_by_role("button", name="Log in", exact=True).click()
        self.page.get_by_role("heading", name="Overview", level=1).wait_for()
        return self

    def open(self, path: str) -> Page:
        """Goes to a page and waits until nothing is loading."""
        self.page.goto(path)
        self.settle()
        return self.page

    def settle(self) -> None:
        """Waits until what was asked for is shown."""
        self.page.locator("h1").first.wait_for()
        self.page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")

    def check(self) -> None:
        """Nothing that is forbidden happened."""
        forbidden = self.page.evaluate("() => [...(window.__forbidden ?? []), ...(window.__ran ?? [])]")
        assert not forbidden, forbidden
        assert not self.wrong, self.wrong

    def axe(self) -> list[str]:
        """What axe finds: rule, how bad, where."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate(
            "() => axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
        )
        return [
            f"{one['id']} ({one['impact']}): {node['html'][:160]} {node['failureSummary'][:300]}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

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
