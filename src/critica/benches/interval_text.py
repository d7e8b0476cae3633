"""Intervals as the benchmarks' pages write them."""

import math

from critica.functional.statistics import Interval


def level(interval: Interval) -> str:
    """An accuracy in points."""
    half = f" ± {100 * (interval.high - interval.estimate):.1f}" if math.isfinite(interval.high) else ""
    return f"{100 * interval.estimate:.1f}{half}"
