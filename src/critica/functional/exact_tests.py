"""Whether one share is above another, by counting: exact at any sample size."""

import math


def fisher_above(successes: int, n: int, other_successes: int, m: int) -> float:
    """P(at least `successes` of the n) if all successes of both samples were dealt out at random (Fisher's exact test).

    sum_{k >= a} C(n, k) C(m, t - k) / C(n + m, t), t = a + b. One-sided; under equal shares it is at most p with
    probability at most p. 1 for an empty sample. Raises ValueError for counts that no sample has.
    """
    if not (0 <= successes <= n and 0 <= other_successes <= m):
        raise ValueError(f"fisher_above: {successes} of {n} and {other_successes} of {m} are no counts")
    total = successes + other_successes
    every = _log_choose(n + m, total)
    terms = (_log_choose(n, k) + _log_choose(m, total - k) - every for k in range(successes, min(n, total) + 1)
             if total - k <= m)  # fmt: skip
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
