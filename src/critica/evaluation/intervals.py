"""95% intervals of shares over prompts: the prompt is the unit that repeats, its samples are not independent."""

from collections.abc import Sequence

import numpy as np

from critica.functional.statistics import Interval as PlainInterval
from critica.functional.statistics import bootstrap_interval, paired_difference_interval, wilson_interval
from critica.records.outcome import Difference, Interval, OutcomeReport, shared_prompts


def named(interval: PlainInterval, method: str) -> Interval:
    """The same numbers, with how they were made."""
    return Interval(interval.estimate, interval.low, interval.high, method)


def share_interval(shares: Sequence[float], seed: int = 0) -> Interval:
    """The mean of one share per prompt. Raises ValueError without prompts.

    Wilson's interval when every share is 0 or 1 (greedy, one sample, or all alike), where it is exact enough and
    never has width 0; else the bootstrap over prompts.
    """
    values = np.asarray(shares, dtype=np.float64)
    if values.size and bool(np.isin(values, (0.0, 1.0)).all()):
        return named(wilson_interval(int(values.sum()), values.size), "wilson over prompts")
    return named(bootstrap_interval(values, seed=seed), "bootstrap over prompts")


def mean_interval_over(values: Sequence[float | None], seed: int = 0) -> Interval | None:
    """The mean of one number per prompt, bootstrapped over prompts; those without a number are left out."""
    known = [value for value in values if value is not None]
    return named(bootstrap_interval(known, seed=seed), "bootstrap over prompts") if known else None


def difference(before: OutcomeReport, after: OutcomeReport, names: tuple[str, str], seed: int = 0) -> Difference:
    """`after - before` on the prompts that both scored, bootstrapped over prompts in pairs."""
    pairs = shared_prompts(before, after)
    first, second = zip(*pairs, strict=True)
    interval = named(paired_difference_interval(first, second, seed=seed), "paired bootstrap over prompts")
    return Difference(*names, before.how, len(pairs), interval)
