"""A browser that has the console's Overview open: `python watching.py fairlead.toml`, until it is ended.

One line on standard output says that the page is live.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(config: Path) -> None:
    server = tomllib.loads(config.read_text())["server"]
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page()
        page.goto(f"http://{server['admin']}/")
        page.get_by_label("Admin token", exact=True).fill(server["admin_token"])
        page.get_by_role("button", name="Log in", exact=True).click()
        page.get_by_role("heading", name="Overview", level=1).wait_for()
        page.get_by_text("requests/s").first.wait_for()
        print("live", flush=True)
        while True:
            page.wait_for_timeout(60_000)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
