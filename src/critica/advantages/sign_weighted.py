"""Blame weighs less than praise: negative credit times a factor, fixed (HPO) or set by the step itself (A-HPO)."""

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch

from critica.advantages.base import AdvantageRule, Around
from critica.records.arrays import Advantages, RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


class SignRule(Around):
    """Negative credit times a factor."""

    @property
    @abstractmethod
    def name(self) -> str: ...  # of the rule, for the record

    @abstractmethod
    def factor(self, credit: Advantages) -> float: ...  # what negative credit is multiplied by

    def estimate(self, batch: TokenBatch, told: RewardBatch, values: ValuePrediction, evidence: Evidence) -> Advantages:
        credit = self.inner.estimate(batch, told, values, evidence)
        factor = self.factor(credit)
        advantage = torch.where(credit.advantage < 0, factor * credit.advantage, credit.advantage)
        return replace(credit, advantage=advantage, rule=f"{self.name}({credit.rule})")


@dataclass(frozen=True, slots=True)
class SignWeighted(SignRule):
    """A h, h = `alpha` where A < 0 and 1 elsewhere (hysteretic policy optimization, HPO, arXiv 2605.30201).

    1 is `inner`, 0 learns from praise alone. Around a group z-score it keeps each prompt's direction and weighs easy
    prompts less, whose credit is mostly blame; the credit of a group no longer sums to 0, so that log-probs of what
    was sampled are pushed up on the whole: near 0, answers collapse (the paper's ablation: best near 0.6).
    """

    inner: AdvantageRule
    alpha: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must lie in [0, 1], got {self.alpha}: 1 is symmetric")

    @property
    def name(self) -> str:
        return f"sign_weighted/{self.alpha:g}"

    def factor(self, credit: Advantages) -> float:
        return self.alpha


@dataclass(frozen=True, slots=True)
class AdaptiveSignWeighted(SignRule):
    """`SignWeighted` with alpha = clip(p+ / p-, `least`, 1), p+- the shares of the step's answers with A > 0 and < 0.

    So blame never weighs more in all than praise by numbers (A-HPO, arXiv 2605.30201). 1 where nothing is blamed. An
    answer's sign is that of its mean credit. `least` is not known to us from the paper; 0.1 is ours.
    """

    inner: AdvantageRule
    least: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise ValueError(f"least must lie in [0, 1], got {self.least}")

    @property
    def name(self) -> str:
        return "adaptive_sign_weighted"

    def factor(self, credit: Advantages) -> float:
        mean = credit.advantage.sum(-1)
        praised, blamed = int((mean > 0).sum()), int((mean < 0).sum())
        return min(1.0, max(self.least, praised / blamed)) if blamed else 1.0
