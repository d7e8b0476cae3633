"""Metropolis-Hastings over answers: the law p^alpha, where an answer is cut, and whether what was put in is kept."""

import math
from collections.abc import Sequence


def cut_law(entropies: Sequence[float], even: float) -> list[float]:
    """P(cut before token t): `even` of it spread evenly, the rest in proportion to the entropy that t was drawn from.

    `even` 1 is a uniform cut; any `even` above 0 lets the chain reach every answer, since a cut before the first token
    replaces all of it. Plain numbers in and out: there is one law for each answer of each move.
    """
    uniform, total = 1.0 / len(entropies), math.fsum(entropies)
    if even == 1 or not total > 0:
        return [uniform] * len(entropies)
    return [even * uniform + (1 - even) * entropy / total for entropy in entropies]


def cut_at(law: Sequence[float], point: float) -> int:
    """The place t with law[0] + ... + law[t - 1] <= point < law[0] + ... + law[t]."""
    reached = 0.0
    for place, chance in enumerate(law):
        reached += chance
        if point < reached:
            return place
    return len(law) - 1


def log_acceptance(
    power: float,
    old: tuple[float, float, float],
    new: tuple[float, float, float],
) -> float:
    """log of p(x')^alpha c(t|x') q(x|x_<t) / (p(x)^alpha c(t|x) q(x'|x_<t)), before it is capped at 0.

    Of the answer at hand and of the proposed one: (log p, log q) summed over the tokens from the cut on, p the policy
    and q the proposal, and log c, the probability of this cut. The tokens before the cut are the same and cancel. With
    the cut t as a variable of its own each move is reversible for every t, and so is the mixture of them.
    """
    return power * (new[0] - old[0]) + (old[1] - new[1]) + (new[2] - old[2])
