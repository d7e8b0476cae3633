"""Proper scoring: a number paid for a stated expectation, such that honesty pays best."""

from collections.abc import Sequence


def brier_reward(stated: float, outcomes: Sequence[float]) -> float:
    """1 - mean_i (stated - R_i)^2, in [0, 1] for a statement and outcomes in [0, 1].

    E[1 - (v - R)^2] = 1 - Var R - (v - E R)^2: it is largest at v = E R alone, whatever the law of R, and falls off
    by the squared distance from it (Brier 1950: strictly proper). Averaging over the outcomes of one state changes no
    expectation and lowers the variance. Raises ValueError without an outcome.
    """
    if not outcomes:
        raise ValueError("a statement can only be scored by outcomes, and none is known")
    return 1.0 - sum((stated - outcome) ** 2 for outcome in outcomes) / len(outcomes)
