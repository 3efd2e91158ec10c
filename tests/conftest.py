"""What every test may ask for: whether this is a proof run, and randomness that can be repeated.

Long tests are sampled by default; with FAIRLEAD_PROOF=1 they run at their full counts. Every run prints its seed, and FAIRLEAD_SEED
repeats one.
"""

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

PROOF = os.environ.get("FAIRLEAD_PROOF", "") not in ("", "0")
SEED = int(os.environ.get("FAIRLEAD_SEED", "") or random.SystemRandom().randrange(2**32))
# The processes that share the tests between them must collect the same ones.
os.environ["FAIRLEAD_SEED"] = str(SEED)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One seed for everything, hypothesis included; its own option still wins."""
    if config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = str(SEED)
    # Examples cross processes and sockets here: no clock is a judge, and what failed is printed, not kept in a folder.
    examples = 2000 if PROOF else 60
    quiet = [HealthCheck.too_slow]
    settings.register_profile("house", max_examples=examples, deadline=None, database=None, print_blob=True, suppress_health_check=quiet)
    settings.load_profile("house")


def pytest_report_header() -> str:
    """The seed, and which counts are in force."""
    return f"fairlead: FAIRLEAD_SEED={SEED} ({'full counts' if PROOF else 'long tests sampled; FAIRLEAD_PROOF=1 runs them at full counts'})"


@pytest.fixture(scope="session")
def proof() -> bool:
    """Whether the full counts are wanted."""
    return PROOF


@pytest.fixture(scope="session")
def counts(proof: bool) -> Callable[[int, int], int]:
    """`counts(sampled, full)`: how often something is repeated in this run."""
    return lambda sampled, full: full if proof else sampled


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Randomness of this test's own, the same for the same seed whatever other tests run."""
    return random.Random(f"{SEED} {request.node.nodeid}")
