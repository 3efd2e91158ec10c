"""One simulator and one gateway for all tests that change neither."""

from collections.abc import Iterator

import pytest

from e2e.house import Gateway, Provider, configuration


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
