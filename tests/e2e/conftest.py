"""One simulator and one gateway for all tests that change neither; one browser for the tests of a file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from e2e.house import Gateway, Provider, configuration
from e2e.judge import Judge
from e2e.matrix import Matrix, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """The simulator behind `gateway`."""
    with Provider() as running:
        yield running


@pytest.fixture(scope="session")
def gateway(provider: Provider) -> Iterator[Gateway]:
    """A gateway with the provider `lab`, its usual timeouts and two keys. Its configuration stays as it is."""
    with Gateway(configuration(provider.address)) as running:
        yield running


@pytest.fixture(scope="session")
def hasty(provider: Provider) -> Iterator[Gateway]:
    """A gateway that waits for nobody. Only for tests in which somebody is too slow: on a busy machine it gives up on others too."""
    timeouts = {"upstream_head_ms": 500, "idle_ms": 500, "content_idle_ms": 800, "total_ms": 3_000}
    clients = {"client_head_ms": 500, "client_idle_ms": 1_000, "body_grace_ms": 500, "early_head_ms": 60_000}
    lines = "\n".join(f"{name} = {value}" for name, value in (timeouts | clients).items())
    with Gateway(configuration(provider.address, tables=f"[timeouts]\n{lines}\n")) as running:
        yield running


@pytest.fixture(scope="session")
def every_dialect() -> Iterator[Matrix]:
    """A gateway before a provider of each dialect, which all are one simulator that judges everybody."""
    with Judge(seed=5) as judge:
        judge.judge()
        with Gateway(settings(judge.address)) as running:
            yield Matrix(running, judge)


@pytest.fixture
def matrix(every_dialect: Matrix) -> Matrix:
    """The same with its books opened at a new page."""
    every_dialect.begin()
    return every_dialect


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium. Of a file, not of all: while Playwright runs, no other test of this process may run a loop of its own."""
    from playwright.sync_api import sync_playwright

    from e2e.browser import DIST, launch

    assert DIST.exists(), "the console is not built: make build, or npm run build in python/console"
    with sync_playwright() as playwright:
        running = launch(playwright)
        yield running
        running.close()
