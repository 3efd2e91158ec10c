"""What `fairlead replay` takes and how it shows what came out; what it computes is tested end to end."""

import argparse
from typing import Any

import pytest
from fairlead.cli import replay
from fairlead.cli.arguments import since, since_ms

NOW_MS = 1_795_266_000_000


@pytest.mark.parametrize(
    ("text", "unix_ms"),
    [
        ("7d", NOW_MS - 7 * 86_400_000),
        ("90m", NOW_MS - 5_400_000),
        ("0s", NOW_MS),
        ("2026-11-20", 1_795_132_800_000),
        ("2026-11-20T00:00:00Z", 1_795_132_800_000),
        ("2026-11-20T01:00:00+01:00", 1_795_132_800_000),
    ],
)
def test_a_moment_can_be_said_in_many_ways(text: str, unix_ms: int) -> None:
    assert since_ms(since(text), NOW_MS) == unix_ms


@pytest.mark.parametrize("text", ["", "7", "7w", "-7d", "soon", "2026-13-01", "2026-11-20T00:00:00", "9999999d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="how long ago"):
        since(text)


def summary(**fields: Any) -> dict[str, Any]:
    """Sums of two decisions that came out the same."""
    nothing = {"decisions": 0, "then_nanousd": 0, "now_nanousd": 0}
    return {
        "decisions": 2,
        "first_ms": NOW_MS,
        "last_ms": NOW_MS + 1000,
        "same": 2,
        "same_first": 2,
        "newly_possible": 0,
        "changed": [],
        "impossible": [],
        "cost": {"decisions": 2, "then_nanousd": 1_500, "now_nanousd": 1_500},
        "expected": {"decisions": 0, "then_nanousd": 0, "now_usd": 0.0},
        "would_fail": nothing,
        "unreadable": {"records": 0, "blocks": 0, "segments": 0, "cut_off": 0},
        **fields,
    }


@pytest.mark.parametrize(
    ("fields", "is_reproduced"),
    [
        ({}, True),
        ({"same": 1}, False),
        ({"decisions": 0, "same": 0}, False),
        ({"unreadable": {"records": 1, "blocks": 0, "segments": 0, "cut_off": 0}}, False),
        ({"unreadable": {"records": 0, "blocks": 0, "segments": 1, "cut_off": 0}}, False),
        # A killed process loses its last decisions; those that are there are the same.
        ({"unreadable": {"records": 0, "blocks": 0, "segments": 0, "cut_off": 1}}, True),
    ],
)
def test_what_counts_as_the_same(fields: dict[str, Any], is_reproduced: bool) -> None:
    assert replay.reproduced(summary(**fields)) is is_reproduced


def test_nearly_all_is_not_all() -> None:
    assert "the same to the last endpoint: 2 (100 %)" in replay.text(summary())
    assert "(99.99 %)" in replay.text(summary(decisions=1_000_000, same=999_999))


def test_everything_has_a_line() -> None:
    both = {"endpoint": 1, "tier": None, "model": "a/b", "provider": "p/eu"}
    forgotten = {"endpoint": 77, "tier": "flex", "model": "", "provider": ""}
    row = {"decisions": 1, "then_nanousd": 2_000, "now_nanousd": 1_000}
    text = replay.text(
        summary(
            newly_possible=3,
            changed=[{"then": both, "now": forgotten, **row}] * (replay.MOST_ROWS + 1),
            impossible=[{"model": "a/c", "reason": "max_price", "decisions": 4, "then_nanousd": 9}],
            cost={"decisions": 5, "then_nanousd": 2_000, "now_nanousd": 1_000},
            expected={"decisions": 6, "then_nanousd": 7_000_000_000, "now_usd": 0.25},
            would_fail={"decisions": 8, "then_nanousd": 1, "now_nanousd": 0},
            unreadable={"records": 0, "blocks": 9, "segments": 0, "cut_off": 1},
        )
    )
    for line in (
        "2 decisions from 2026-11-21 13:00:00 to 2026-11-21 13:00:01",
        "refused then, possible now: 3",
        "cost of 5 at the usage that there was: 0.000002 $ then, 0.000001 $ now (-50.0%)",
        "cost of 6 without a reply to go by: 7 $ then, expected 0.250000 $ now",
        "would fail, because whoever is left failed or was full then: 8 (0.000000001 $ then)",
        "a/b at p/eu  endpoint 77/flex",
        "and 1 more; --json has all",
        "a/c                 max_price",
        "not all could be read: 9 blocks, 1 cut off",
    ):
        assert line in text, text
    assert "no decisions were logged then" in replay.text(summary(decisions=0, first_ms=None, last_ms=None))
