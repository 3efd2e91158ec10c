"""`fairlead.limits`: its semantics as a model in fractions, dates by `datetime`, threads, and misuse."""

import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from threading import Barrier
from typing import Any

import pytest
from fairlead.limits import Bucket, Concurrency, Refused, Window, take_all
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

SECOND_NS = 10**9
PERIODS_NS = {"rate_per_second": SECOND_NS, "rate_per_minute": 60 * SECOND_NS, "rate_per_day": 86_400 * SECOND_NS}
SKEW_NS = SECOND_NS
NOW_NS = 1_795_289_600 * SECOND_NS


def refusal(call: Callable[[], None]) -> Refused | None:
    """Why it was refused; `None` if it was not."""
    try:
        call()
    except Refused as refused:
        return refused
    return None


# --- the model --------------------------------------------------------------------------------------------------------

RATES = st.fixed_dictionaries(
    {"period": st.sampled_from(sorted(PERIODS_NS)), "units": st.integers(1, 50) | st.integers(1, 10**18), "burst": st.integers(1, 60)}
)
AMOUNTS = st.integers(0, 70)


class ABucket(RuleBasedStateMachine):
    """A bucket beside what is said of one: so many units are there, as a fraction; time adds units, up to the burst; a debt is below 0."""

    @initialize(rate=RATES)
    def make(self, rate: dict[str, Any]) -> None:
        self.bucket = Bucket(**{rate["period"]: rate["units"]}, burst=rate["burst"])
        self.take_rate(rate)
        self.there = Fraction(self.burst)
        self.now_ns, self.seen_ns = NOW_NS, 0

    def take_rate(self, rate: dict[str, Any]) -> None:
        self.burst: int = rate["burst"]
        self.per_ns = Fraction(rate["units"], PERIODS_NS[rate["period"]])

    def pass_time(self) -> None:
        """What every call that changes something begins with."""
        self.seen_ns = min(self.seen_ns, self.now_ns + SKEW_NS)
        self.there = min(Fraction(self.burst), self.there + max(0, self.now_ns - self.seen_ns) * self.per_ns)
        self.seen_ns = max(self.seen_ns, self.now_ns)

    @rule(ns=st.integers(0, 3 * SECOND_NS) | st.integers(0, 2 * 86_400 * SECOND_NS))
    def wait(self, ns: int) -> None:
        self.now_ns += ns

    @rule(ns=st.integers(0, 3_600 * SECOND_NS))
    def set_the_clock_back(self, ns: int) -> None:
        self.now_ns -= ns

    @rule(n=AMOUNTS)
    def take(self, n: int) -> None:
        self.pass_time()
        refused = refusal(lambda: self.bucket.take(n, now_ns=self.now_ns))
        assert (refused is None) == (n <= self.there)
        if refused is None:
            self.there -= n
            return
        assert refused.never == (n > self.burst)
        assert refused.retry_after_ns == self.bucket.wait_ns(n, now_ns=self.now_ns)
        if not refused.never:
            assert refused.retry_after_ns is not None
            # The first whole nanosecond, counted from where time stands still.
            wait_ns = refused.retry_after_ns - (self.seen_ns - self.now_ns)
            assert wait_ns - 1 < (n - self.there) / self.per_ns <= wait_ns

    @rule(n=AMOUNTS)
    def refund(self, n: int) -> None:
        self.bucket.refund(n)
        self.there = min(Fraction(self.burst), self.there + n)

    @rule(n=AMOUNTS)
    def charge(self, n: int) -> None:
        self.pass_time()
        self.bucket.charge(n, now_ns=self.now_ns)
        self.there -= n

    @rule(rate=RATES)
    def change(self, rate: dict[str, Any]) -> None:
        self.pass_time()
        debt, taken = max(Fraction(0), -self.there), min(self.burst - self.there, Fraction(self.burst))
        self.take_rate(rate)
        period_ns = PERIODS_NS[rate["period"]]

        def rounded(units: Fraction) -> Fraction:
            """Up, to what a nanosecond of this rate can give."""
            return Fraction(-(-units * period_ns // 1), period_ns)

        self.there = self.burst - min(rounded(taken), Fraction(self.burst)) - rounded(debt)
        self.bucket.change(**{rate["period"]: rate["units"]}, burst=rate["burst"], now_ns=self.now_ns)

    @rule()
    def restart(self) -> None:
        self.bucket = Bucket.load(self.bucket.save())

    @invariant()
    def tells_what_is_there(self) -> None:
        seen_ns = min(self.seen_ns, self.now_ns + SKEW_NS)
        there = min(Fraction(self.burst), self.there + max(0, self.now_ns - seen_ns) * self.per_ns)
        assert self.bucket.remaining(now_ns=self.now_ns) == max(there // 1, 0)
        assert self.bucket.debt(now_ns=self.now_ns) == max(-(there // 1), 0)
        lacks_ns = (self.burst - there) / self.per_ns
        still_ns = max(0, seen_ns - self.now_ns) if lacks_ns else 0
        assert self.bucket.full_after_ns(now_ns=self.now_ns) == -(-lacks_ns // 1) + still_ns


TestABucket = ABucket.TestCase


@given(
    limits=st.lists(st.tuples(st.integers(1, 100), st.integers(1, 20)), min_size=1, max_size=4),
    calls=st.lists(st.tuples(st.integers(0, SECOND_NS), st.lists(st.integers(0, 8), min_size=4, max_size=4)), max_size=20),
)
def test_several_are_taken_from_or_none(limits: list[tuple[int, int]], calls: list[tuple[int, list[int]]]) -> None:
    buckets = [Bucket(rate_per_minute=units, burst=burst) for units, burst in limits]
    now_ns = NOW_NS
    for wait_ns, amounts in calls:
        now_ns += wait_ns
        wanted = list(zip(buckets, amounts, strict=False))
        waits = [bucket.wait_ns(n, now_ns=now_ns) for bucket, n in wanted]
        before = [bucket.remaining(now_ns=now_ns) for bucket in buckets]
        refused = refusal(lambda wanted=wanted, now_ns=now_ns: take_all(wanted, now_ns=now_ns))  # type: ignore[misc]
        after = [bucket.remaining(now_ns=now_ns) for bucket in buckets]
        if refused is None:
            assert waits == [0] * len(buckets)
            assert after == [there - n for there, (_, n) in zip(before, wanted, strict=True)]
            continue
        assert after == before
        longest = max(waits, key=lambda wait: float("inf") if wait is None else wait)
        assert (refused.retry_after_ns, refused.never, refused.index) == (longest, longest is None, waits.index(longest))


# --- windows ----------------------------------------------------------------------------------------------------------


def edges(now: datetime, limit_reset: str) -> tuple[datetime, datetime]:
    """When the window begins that a time lies in, and when the next one does."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if limit_reset == "daily":
        return day, day + timedelta(days=1)
    if limit_reset == "weekly":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


@given(
    now=st.datetimes(datetime(1970, 1, 5), datetime(9990, 1, 1), timezones=st.just(UTC)),
    limit_reset=st.sampled_from(["daily", "weekly", "monthly"]),
)
def test_windows_are_the_calendars(now: datetime, limit_reset: str) -> None:
    start, end = (int(edge.timestamp()) * 1000 for edge in edges(now, limit_reset))
    now_ms = int(now.timestamp() * 1000)
    window = Window(3, limit_reset=limit_reset)
    window.take(3, now_ms=now_ms)
    assert (window.start_ms, window.reset_ms(now_ms=now_ms)) == (start, end)
    refused = refusal(lambda: window.take(now_ms=now_ms))
    assert refused and refused.retry_after_ns == (end - now_ms) * 10**6
    assert window.remaining(now_ms=end - 1) == 0
    window.take(3, now_ms=end)


def test_a_windows_life() -> None:
    noon_ms = NOW_NS // 10**6
    window = Window(10, limit_reset="daily")
    window.take(4, now_ms=noon_ms)
    start_ms = window.start_ms
    window.refund(1, start_ms=start_ms)
    window.charge(9, now_ms=noon_ms)
    assert (window.used(now_ms=noon_ms), window.remaining(now_ms=noon_ms), repr(window)) == (12, 0, "<Window of 10 daily>")
    window.limit = 15
    again = Window(window.limit, limit_reset="daily", start_ms=start_ms, used=window.used(now_ms=noon_ms))
    assert again.remaining(now_ms=noon_ms) == 3
    total = Window(1, limit_reset=None)
    total.take()
    refused = refusal(total.take)
    assert refused and refused.never and total.reset_ms() is None
    assert repr(total) == "<Window of 1 in total>"


# --- places, clocks, threads ------------------------------------------------------------------------------------------


def test_a_place_is_given_back_whatever_happens() -> None:
    places = Concurrency(1)
    with pytest.raises(RuntimeError, match="on the way"), places as held:
        assert (held, places.held, places.remaining) == (places, 1, 0)
        refused = refusal(places.acquire)
        assert refused and (refused.retry_after_ns, refused.never) == (None, False)
        raise RuntimeError("on the way")
    assert (places.held, places.remaining) == (0, 1)
    with pytest.raises(ValueError, match="nobody held"):
        places.release()
    places.limit = 2
    with places, places:
        assert repr(places) == "<Concurrency of 2, 2 held>"


def test_the_clock_is_the_monotonic_one_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(rate_per_minute=60, burst=1)
    monkeypatch.setattr(time, "monotonic_ns", lambda: 5 * SECOND_NS)
    bucket.take()
    assert bucket.wait_ns() == SECOND_NS
    monkeypatch.setattr(time, "monotonic_ns", lambda: 6 * SECOND_NS)
    bucket.take()
    window = Window(1, limit_reset="daily")
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)
    window.take()
    assert window.start_ms == NOW_NS // 10**6 // 86_400_000 * 86_400_000


def together(threads: int, work: Callable[[], int]) -> int:
    """The sum of what threads that begin at once return."""
    barrier = Barrier(threads)

    def begin(_: int) -> int:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(begin, range(threads)))


def test_threads_get_exactly_what_there_is() -> None:
    bucket, other = Bucket(rate_per_minute=1_000), Bucket(rate_per_minute=5_000)

    def alone() -> int:
        return sum(refusal(lambda: bucket.take(now_ns=NOW_NS)) is None for _ in range(400))

    def both() -> int:
        """In either order."""
        one = sum(refusal(lambda: take_all([(bucket, 1), (other, 2)], now_ns=NOW_NS)) is None for _ in range(200))
        return one + sum(refusal(lambda: take_all([(other, 2), (bucket, 1)], now_ns=NOW_NS)) is None for _ in range(200))

    assert together(8, alone) == 1_000
    bucket.refund(1_000)
    assert together(8, both) == 1_000
    assert other.remaining(now_ns=NOW_NS) == 3_000


def test_no_more_than_the_limit_at_the_same_time() -> None:
    places = Concurrency(3)
    most: list[int] = []

    def work() -> int:
        done = 0
        while done < 300:
            try:
                with places:
                    most.append(places.held)
                    done += 1
            except Refused:
                time.sleep(0)
        return done

    assert together(8, work) == 2_400
    assert places.held == 0 and max(most) <= 3


# --- misuse -----------------------------------------------------------------------------------------------------------

WHOLE = "is a whole number from 0 to"
NAN = float("nan")


def bucket() -> Bucket:
    return Bucket(rate_per_minute=60)


def wrong(*_: Any) -> Any:
    """Types are not what is tested here."""
    return _[0]


@pytest.mark.parametrize(
    ("misuse", "says"),
    [
        (lambda: bucket().take(-1), f"n {WHOLE} 18446744073709551615, not -1"),
        (lambda: bucket().take(2**64), f"n {WHOLE}"),
        (lambda: bucket().take(wrong(1.0)), f"n {WHOLE} .* not 1.0"),
        (lambda: bucket().take(wrong(NAN)), "not nan"),
        (lambda: bucket().take(wrong(True)), "not True"),
        (lambda: bucket().take(wrong("1")), "not '1'"),
        (lambda: bucket().take(wrong(None)), "not None"),
        (lambda: bucket().take(now_ns=-1), f"now_ns {WHOLE}"),
        (lambda: bucket().take(now_ns=wrong(1e9)), f"now_ns {WHOLE}"),
        (lambda: bucket().charge(-1), f"n {WHOLE}"),
        (lambda: bucket().refund(-1), f"n {WHOLE}"),
        (lambda: bucket().wait_ns(-1), f"n {WHOLE}"),
        (lambda: Bucket(), "give one of rate_per_second"),
        (lambda: Bucket(rate_per_minute=1, rate_per_hour=1), "give one of rate_per_second"),
        (lambda: Bucket(rate_per_minute=0), "a rate is 1 to 1000000000000000000 units per period"),
        (lambda: Bucket(rate_per_minute=10**18 + 1), "a rate is 1 to"),
        (lambda: Bucket(rate_per_second=-1), f"rate_per_second {WHOLE}"),
        (lambda: Bucket(rate_per_day=wrong(0.5)), f"rate_per_day {WHOLE}"),
        (lambda: Bucket(rate_per_minute=wrong(NAN)), f"rate_per_minute {WHOLE}"),
        (lambda: Bucket(rate_per_minute=1, burst=0), "a burst is 1 to"),
        (lambda: Bucket(rate_per_minute=1, burst=wrong(1.5)), f"burst {WHOLE}"),
        (lambda: bucket().change(rate_per_minute=0), "a rate is 1 to"),
        (lambda: bucket().change(burst=5), "give one of rate_per_second"),
        (lambda: Bucket.load(wrong((1, 2, 3))), "the five integers"),
        (lambda: Bucket.load((1, 2, 3, -1, 5)), "the five integers"),
        (lambda: Bucket.load((0, 2, 3, 4, 5)), "a rate is 1 to"),
        (lambda: Bucket.load((1, 0, 3, 4, 5)), "a period is 1 to"),
        (lambda: Concurrency(0), "limit is 1 to 4294967295, not 0"),
        (lambda: Concurrency(2**32), "limit is 1 to 4294967295"),
        (lambda: Concurrency(wrong(1.0)), f"limit {WHOLE}"),
        (lambda: setattr(Concurrency(1), "limit", -1), f"limit {WHOLE}"),
        (lambda: Window(-1, limit_reset=None), f"limit {WHOLE}"),
        (lambda: Window(1, limit_reset="hourly"), 'limit_reset is "daily", "weekly", "monthly" or None, not "hourly"'),
        (lambda: Window(1, limit_reset="daily", used=-1), f"used {WHOLE}"),
        (lambda: Window(1, limit_reset="daily").take(-1), f"n {WHOLE}"),
        (lambda: Window(1, limit_reset="daily").take(now_ms=wrong(1.0)), f"now_ms {WHOLE}"),
        (lambda: take_all([(bucket(), -1)]), f"n {WHOLE}"),
        (lambda: (lambda one: take_all([(one, 1), (bucket(), 1), (one, 1)]))(bucket()), "stands twice"),
    ],
)
def test_misuse_is_named(misuse: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        misuse()


def test_a_refusal_says_how_long_and_can_be_sent_on() -> None:
    for refused, text in (
        (Refused(1_500_000_000, False, 2), "there is room in 1.5 s"),
        (Refused(None, True), "more than the limit ever has"),
        (Refused(), "no place is free"),
    ):
        assert str(refused) == text
        sent = pickle.loads(pickle.dumps(refused))
        assert (sent.retry_after_ns, sent.never, sent.index) == (refused.retry_after_ns, refused.never, refused.index)


def test_what_is_not_there_is_never_taken_and_what_is_too_much_never_fits() -> None:
    bucket = Bucket(rate_per_minute=60, burst=10)
    refused = refusal(lambda: bucket.take(11, now_ns=NOW_NS))
    assert refused and refused.never and bucket.wait_ns(11, now_ns=NOW_NS) is None
    take_all([], now_ns=NOW_NS)
    assert repr(bucket) == "<Bucket of 60 per minute, burst 10>"
    assert repr(Bucket.load((1, 7, 1, 0, 0))) == "<Bucket of 1 per 7 ns, burst 1>"
