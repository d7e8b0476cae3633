"""Where samples are worth their price: how many each prompt gets, given how likely it is solved."""

import heapq
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

Utility = Callable[[int, float], float]  # (samples, rate) -> what a prompt of this rate is worth with so many samples
ALIKE = 1e-6  # rates that differ by less tell no prompt from another


def mixed_failures(samples: int, rate: float) -> float:
    """U(B, p) = B (1 - p) (1 - (1 - p)^(B - 1)): the expected failures in a group, counted only if it holds a success.

    Equals E[(B - k) 1{0 < k < B}] for k ~ Binomial(B, p). Source: V_0 (arXiv 2602.03584). Not symmetric in p: it
    favors prompts that mostly fail.
    """
    failing = 1.0 - rate
    return samples * failing * (1.0 - failing ** (samples - 1))


def mixed_chance(samples: int, rate: float) -> float:
    """1 - p^B - (1 - p)^B: the chance that a group of B holds both a success and a failure.

    Symmetric in p and concave in B from B = 1 on, so that giving greedily is best.
    """
    return 1.0 - rate**samples - (1.0 - rate) ** samples


def allocate_evenly(total: int, prompts: int) -> tuple[int, ...]:
    """`total` samples over `prompts`, as equal as whole numbers are; the first get the odd ones."""
    share, rest = divmod(total, prompts)
    return tuple(share + (i < rest) for i in range(prompts))


def tell_apart(rates: Sequence[float]) -> bool:
    """Whether the rates differ at all. Where they do not, a convex utility would feed whichever prompt comes first."""
    return max(rates) - min(rates) > ALIKE


def allocate_greedily(
    total: int, rates: Sequence[float], fewest: int = 2, most: int = 128, utility: Utility = mixed_failures
) -> tuple[int, ...]:
    """Samples for each prompt: `fewest` each, then one by one where the utility grows most (the first of equals).

    Adds up to `total`, or to what `most` allows. As published (V_0), with U = `mixed_failures`. It is not always the
    best: U is convex below B = (1 + q) / (1 - q), q = 1 - p, so that a hard prompt's first samples look worthless one
    at a time; `allocate_exactly` finds the best. Raises ValueError if `total` is less than `fewest` each.
    """
    _check(total, rates, fewest, most)
    given = [fewest] * len(rates)
    heap = [(-_gain(utility, fewest, rate), i) for i, rate in enumerate(rates) if fewest < most]
    heapq.heapify(heap)
    for _ in range(total - fewest * len(rates)):
        if not heap:
            break
        _, i = heapq.heappop(heap)
        given[i] += 1
        if given[i] < most:
            heapq.heappush(heap, (-_gain(utility, given[i], rates[i]), i))
    return tuple(given)


def allocate_exactly(
    total: int, rates: Sequence[float], fewest: int = 2, most: int = 128, utility: Utility = mixed_failures
) -> tuple[int, ...]:
    """The allocation of `total` with the largest sum of a utility that never falls in B, by dynamic programming.

    Adds up to `total`, or to what `most` allows; what gains nothing anywhere goes to those with the fewest.
    Cost: prompts x total x (most - fewest). Raises ValueError if `total` is less than `fewest` each.
    """
    _check(total, rates, fewest, most)
    spare = total - fewest * len(rates)
    reach = min(spare, most - fewest)
    best = np.zeros(spare + 1)
    picks: list[np.ndarray] = []
    for rate in rates:
        worth = np.array([utility(fewest + extra, rate) for extra in range(reach + 1)])
        options: Float[np.ndarray, "E S"] = np.full((reach + 1, spare + 1), -np.inf)
        for extra in range(reach + 1):
            options[extra, extra:] = best[: spare + 1 - extra] + worth[extra]
        picks.append(options.argmax(0))
        best = options.max(0)
    given, left = [], spare
    for pick in reversed(picks):
        given.append(fewest + int(pick[left]))
        left -= int(pick[left])
    given.reverse()
    return _spend(left, given, most)


def routing_scores(
    rates: Float[np.ndarray, "P M"], costs: Float[np.ndarray, "M"], success_weight: float
) -> Float[np.ndarray, "P M"]:
    """weight r + (1 - weight) (1 - cost): what sending prompt P to policy M is worth, costs scaled to [0, 1] (V_0)."""
    if not 0 <= success_weight <= 1:
        raise ValueError(f"routing_scores: success_weight must lie in [0, 1], got {success_weight}")
    return success_weight * rates + (1 - success_weight) * (1 - costs)


def _gain(utility: Utility, samples: int, rate: float) -> float:
    return utility(samples + 1, rate) - utility(samples, rate)


def _spend(left: int, given: list[int], most: int) -> tuple[int, ...]:
    """`left` more samples, one by one to the first of those that have the fewest."""
    heap = [(samples, i) for i, samples in enumerate(given) if samples < most]
    heapq.heapify(heap)
    for _ in range(left):
        if not heap:
            break
        samples, i = heapq.heappop(heap)
        given[i] = samples + 1
        if samples + 1 < most:
            heapq.heappush(heap, (samples + 1, i))
    return tuple(given)


def _check(total: int, rates: Sequence[float], fewest: int, most: int) -> None:
    if not 1 <= fewest <= most:
        raise ValueError(f"allocating samples needs 1 <= fewest <= most, got {fewest} and {most}")
    if total < fewest * len(rates):
        raise ValueError(f"{total} samples are too few for {len(rates)} prompts of at least {fewest} each")
