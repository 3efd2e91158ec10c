"""Limits: rates, calls at the same time, and counts per day, week and month. Exact: integers, and no clock but the one that is given.

    bucket = Bucket(rate_per_minute=60, burst=10)
    bucket.take(1)                              # or raises Refused, with .retry_after_ns
    tokens = Bucket(rate_per_minute=100_000)
    take_all([(bucket, 1), (tokens, 1_200)])    # from both or from neither
    tokens.refund(400)                          # only 800 were used
    with Concurrency(8): ...                    # a place for as long as it takes
    Window(50, limit_reset="daily").take(1)     # 50 a day of UTC

They are what the gateway limits with. Amounts and times are whole numbers: anything else, negative numbers and rates of 0 raise ValueError.
Each may be used from several threads. They belong to one process and are in no file; `Bucket.save` says what has to be kept.
"""

from fairlead._native import Bucket, Concurrency, Window, take_all

__all__ = ["Bucket", "Concurrency", "Refused", "Window", "take_all"]


class Refused(Exception):
    """A limit had no room, and nothing was taken."""

    def __init__(self, retry_after_ns: int | None = None, never: bool = False, index: int | None = None) -> None:
        super().__init__(retry_after_ns, never, index)
        self.retry_after_ns = retry_after_ns
        """After how many nanoseconds it fits and not before, if nobody else takes anything; `None` where no time is known."""
        self.never = never
        """Whether it is more than the whole limit, or a total is used up: waiting does not help."""
        self.index = index
        """Of what `take_all` was given: which one is refused the longest, from 0. Everything fits after its time."""

    def __str__(self) -> str:
        if self.never:
            return "more than the limit ever has"
        if self.retry_after_ns is None:
            return "no place is free"
        return f"there is room in {self.retry_after_ns / 1e9:g} s"
