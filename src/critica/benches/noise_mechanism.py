"""Why a run went as it did: what the critic knew of the clean outcome, and how much of the credit was about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from critica.evaluation.measure import clean_outcomes
from critica.functional.statistics import explained_variance
from critica.records.run import StepRecord


@dataclass(frozen=True, slots=True)
class Seen:
    """One step's sampled tokens: the critic's value, the row's clean outcome and prompt; and the credited tokens'."""

    value: Float[np.ndarray, "n"]
    outcome: Float[np.ndarray, "n"]
    group: Int[np.ndarray, "n"]
    credit: Float[np.ndarray, "m"]
    credit_outcome: Float[np.ndarray, "m"]
    credit_group: Int[np.ndarray, "m"]
    changed: float

    @classmethod
    def of(cls, record: StepRecord) -> "Seen":
        """Rows without a clean outcome are left out."""
        clean, changed = clean_outcomes(record.batch, record.rewards)
        known = ~clean.isnan()[:, None]
        valued = record.values.mask & record.batch.sampled_mask & known
        credited = record.credit.mask & record.batch.sampled_mask & known
        outcome = clean[:, None].expand(valued.shape)
        group = record.batch.group_index[:, None].expand(valued.shape)
        return cls(
            record.values.mean.double()[valued].numpy(), outcome[valued].numpy(), group[valued].numpy(),
            record.credit.advantage.double()[credited].numpy(), outcome[credited].numpy(), group[credited].numpy(),
            float(changed.to(torch.float64).mean()),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Over some steps; None where nothing varies.

    `explained`: share of the variance of the clean outcome over tokens that the critic's value explains; `within`: the
    same inside prompts, 1 - sum (y - v)^2 / sum y^2 after each prompt's means have left y and v. `alignment`: the
    correlation over credited tokens of the advantage with the clean outcome minus its prompt's mean, averaged over
    steps; its square over one minus its square is signal to noise. `changed`: share of answers told otherwise.
    """

    explained: float | None = None
    within: float | None = None
    alignment: float | None = None
    changed: float | None = None


def mechanism_of(steps: Sequence[Seen]) -> Mechanism:
    """Tokens of all steps together; the correlation step by step, for advantages have a scale of their own in each."""
    if not steps:
        return Mechanism()
    value = np.concatenate([one.value for one in steps])
    outcome = np.concatenate([one.outcome for one in steps])
    errors = [centered(one.outcome - one.value, one.group) for one in steps]
    truths = [centered(one.outcome, one.group) for one in steps]
    truth = sum(float(part @ part) for part in truths)
    left = sum(float(part @ part) for part in errors)
    aligned = [correlation(one.credit, centered(one.credit_outcome, one.credit_group)) for one in steps]
    known = [r for r in aligned if not math.isnan(r)]
    return Mechanism(
        finite(explained_variance(value, outcome)) if value.size else None,
        1 - left / truth if truth > 0 else None,
        math.fsum(known) / len(known) if known else None,
        math.fsum(one.changed for one in steps) / len(steps),
    )


def centered(values: Float[np.ndarray, "n"], group: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Each value minus its group's mean."""
    if not values.size:
        return values
    _, index = np.unique(group, return_inverse=True)
    return values - (np.bincount(index, values) / np.bincount(index))[index]


def correlation(one: Float[np.ndarray, "n"], other: Float[np.ndarray, "n"]) -> float:
    """Pearson's; NaN where either does not vary."""
    if one.size < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(np.corrcoef(one, other)[0, 1])


def finite(value: float) -> float | None:
    """None for what is no number."""
    return value if math.isfinite(value) else None
