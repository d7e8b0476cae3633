"""Corrections that ask a better source about a share of the verdicts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from critica.functional.correction import audited
from critica.records.arrays import Metric
from critica.records.supervision import Reward, Scored
from critica.rewards.base import RewardConfig, RewardSource, memory_of, remind
from critica.rewards.correction_base import CorrectionContext, CorrectionPart, Said, corrected
from critica.rewards.rates import (
    CorrectionProblem,
    drawn,
    fp64,
    gold_of,
    refuse_comparing,
    two_valued,
    unit_value,
    with_unit,
)
from critica.rewards.verifiers import EnvironmentScorer

AUDIT = "rewards.correction.audit"
APPEAL = "rewards.correction.appeal"


@dataclass(frozen=True, slots=True)
class AuditedValue(CorrectionPart):
    """told + audited (gold - told) / share: unbiased for gold whatever the noise is, without knowing any rate.

    A random `share` is checked by `gold`, picked by (seed, step, trajectory); grades count as they are. The price is
    variance: (1 - share) / share times the mean squared error of what was told, and values up to 1 / share outside
    the range. Where gold itself gives no number, what was told stays.
    """

    share: float = 0.2
    gold: RewardConfig = field(default_factory=EnvironmentScorer)

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise CorrectionProblem(f"share is {self.share}: of verdicts that are checked, in (0, 1]")
        refuse_comparing(self.gold)

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """1 / share times the range to either side."""
        wide = (high - low) / self.share
        return high - wide, low + wide

    def build(self, context: CorrectionContext) -> "AskingGold":
        """With a gold source of its own."""
        return AskingGold(self.gold.build(context.environment, context.limits), self.correct_with)

    def correct_with(self, said: Said, gold: RewardSource) -> tuple[list[Reward], int]:
        """(the rewards, how many were checked)."""
        chosen = drawn(said, self.share, AUDIT)
        truths = dict(zip((r.trajectory_id for r in chosen), gold_of(said, chosen, gold), strict=True))
        made = []
        for reward in said.rewards:
            truth = truths.get(reward.trajectory_id)
            if not isinstance(reward.outcome, Scored):
                made.append(reward)
            elif truth is None:
                made.append(corrected(reward, reward.outcome.value, "audited_value"))
            else:
                values = fp64(unit_value(reward, said)), fp64(truth), torch.tensor([True])
                made.append(with_unit(reward, float(audited(*values, self.share)), said, "audited_value"))
        return made, len(chosen)


@dataclass(frozen=True, slots=True)
class Appeal(CorrectionPart):
    """A random `share` of the verdicts of one kind goes to a better source, whose word counts (2510.00915's appeals).

    `against` low: only wrong-looking answers appeal and can only gain; against high: only right-looking ones are
    checked and can only lose.
    """

    share: float = 1.0
    against: Literal["low", "high"] = "low"
    gold: RewardConfig = field(default_factory=EnvironmentScorer)

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise CorrectionProblem(f"share is {self.share}: of verdicts that appeal, in (0, 1]")
        refuse_comparing(self.gold)

    def build(self, context: CorrectionContext) -> "AskingGold":
        """With a gold source of its own."""
        return AskingGold(self.gold.build(context.environment, context.limits), self.correct_with)

    def correct_with(self, said: Said, gold: RewardSource) -> tuple[list[Reward], int]:
        """(the rewards, how many appealed)."""
        beaten = 0.0 if self.against == "low" else 1.0
        chosen = [reward for reward in drawn(said, self.share, APPEAL) if two_valued(reward, said) == beaten]
        truths = dict(zip((r.trajectory_id for r in chosen), gold_of(said, chosen, gold), strict=True))
        made = []
        for reward in said.rewards:
            truth = truths.get(reward.trajectory_id)
            made.append(reward if truth is None else with_unit(reward, float(truth >= 0.5), said, "appeal"))
        return made, len(chosen)


class AskingGold:
    """A correction with a better source at hand."""

    def __init__(self, gold: RewardSource, rule: Callable[[Said, RewardSource], tuple[list[Reward], int]]) -> None:
        self.gold, self.rule, self.asked = gold, rule, 0

    def correct(self, said: Said) -> list[Reward]:
        """By the rule."""
        made, self.asked = self.rule(said, self.gold)
        return made

    def reports(self) -> tuple[Metric, ...]:
        """How often gold was asked in the last round."""
        return (Metric("correction/audits", float(self.asked), 1.0),)

    def close(self) -> None:
        """End the gold source."""
        self.gold.close()

    def state_dict(self) -> dict[str, Any]:
        """The gold source's memory."""
        return {"gold": dict(memory_of(self.gold))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        remind(self.gold, state["gold"])
