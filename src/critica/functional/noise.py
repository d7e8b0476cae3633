"""Label noise on two-valued outcomes: flips at declared rates, and what they do to an expectation."""

import numpy as np
from jaxtyping import Bool, Float


def flip_two_valued(
    values: Float[np.ndarray, "N"],
    low: float,
    high: float,
    uniforms: Float[np.ndarray, "N"],
    rate_low_to_high: float,
    rate_high_to_low: float,
) -> tuple[Float[np.ndarray, "N"], Bool[np.ndarray, "N"]]:
    """The values after noise, and which were flipped: `low` flips where u < rate_low_to_high, `high` likewise.

    One uniform per value decides, so rows given the same uniform (a group, a prompt) flip together, and raising a
    rate only adds flips. Raises ValueError naming the first value that is neither `low` nor `high`, or a rate outside
    [0, 1]: flips need a two-valued reward (binarize it first).
    """
    if not low < high:
        raise ValueError(f"flip_two_valued: low {low} is not below high {high}")
    for rate in (rate_low_to_high, rate_high_to_low):
        if not 0 <= rate <= 1:
            raise ValueError(f"flip_two_valued: a flip rate of {rate} is outside [0, 1]")
    is_high, is_low = values == high, values == low
    strange = np.flatnonzero(~(is_high | is_low))
    if strange.size:
        raise ValueError(
            f"flip_two_valued: value {values[strange[0]]} at index {strange[0]} is neither {low} nor {high}; "
            "binarize the reward before flipping it"
        )
    flipped = uniforms < np.where(is_high, rate_high_to_low, rate_low_to_high)
    noisy = np.where(is_high ^ flipped, high, low).astype(values.dtype)
    return noisy, flipped


def flipped_expectation(
    p: float | Float[np.ndarray, "*B"], rate01: float, rate10: float
) -> float | Float[np.ndarray, "*B"]:
    """P(told 1) = p (1 - rate10) + (1 - p) rate01 when the clean outcome is 1 with probability p."""
    return p * (1 - rate10) + (1 - p) * rate01


def unflipped_expectation(
    q: float | Float[np.ndarray, "*B"], rate01: float, rate10: float
) -> float | Float[np.ndarray, "*B"]:
    """The p with `flipped_expectation(p) = q`: (q - rate01) / (1 - rate01 - rate10). Natarajan et al. 2013.

    Raises ValueError when the rates add up to 1 or more: what was told then says nothing about p, or its opposite.
    """
    if not rate01 + rate10 < 1:
        raise ValueError(f"unflipped_expectation: rates {rate01} and {rate10} leave no signal; they must add up to < 1")
    return (q - rate01) / (1 - rate01 - rate10)
