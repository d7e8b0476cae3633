"""A prior for the prompt and the siblings' outcomes made one baseline, as far as the prior proves reliable (V_0.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.counted import flat_prediction
from critica.critics.identity import group_sums, reward_span, scaled_returns, waves_of_rows
from critica.critics.prompt_value import PromptValue, PromptValueCritic
from critica.functional.beta import fading
from critica.functional.fusion import fused_rate, prior_strength
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence, Groups
from critica.records.protocols import Forecasting
from critica.records.words import Task

START = (0.05, 0.0, 0.25)  # (missed, chance, scale) before any track record: a prior worth four outcomes


@dataclass(frozen=True, slots=True)
class FusedValue(CriticPart):
    """V = low + (high - low) (s p + sum of the siblings' outcomes) / (s + siblings), p from `prior`, s its strength.

    After V_0.5 (arXiv 2603.10848). Two tests of the prior: s itself is estimated from how far past priors missed their
    groups beyond chance (method of moments, at most `most`), and where the siblings miss p by more than `tolerance`
    standard deviations p is dropped for this prompt. The sample's own outcome is never used: unbiased. Use it with 1 to
    4 samples a prompt; not with many, where the siblings suffice. With budget=until_certain, which asks for more where
    it is in doubt (the paper's extra rollouts), a sample's siblings are those of its own and of earlier waves: later
    ones were written only because of what it earned, and counting them would bias the policy's gradient. The track
    record is of first waves alone for the same reason. Reduces to leave-one-out at strength 0 (or tolerance 0) and to
    its prior with one sample a prompt. Costs its prior.
    """

    prior: PromptValue = field(default_factory=PromptValue)
    tolerance: float = 2.5
    most: float = 32.0
    flat: ClassVar[bool] = True
    forecasts: ClassVar[Forecasting] = "tested"

    def __post_init__(self) -> None:
        if self.tolerance < 0 or self.most < 0:
            raise ValueError("tolerance (standard deviations) and most (outcomes) cannot be negative")

    def build(self, context: CriticContext) -> ValueCritic:
        return FusedValueCritic(self, self.prior.build(context))


class FusedValueCritic(ValueCritic):
    """The prior's critic, and the prior's track record."""

    needs = frozenset({Groups})

    def __init__(self, part: FusedValue, prior: PromptValueCritic) -> None:
        self.part, self.prior = part, prior
        self.record = START
        self._prior_rates = torch.zeros(0, dtype=torch.float64)
        self._waves = torch.zeros(0, dtype=torch.long)

    @property
    def strength(self) -> float:
        """How many outcomes the prior has proved worth."""
        return prior_strength(*self.record, self.part.most)

    def forecast(self, tasks: Sequence[Task]) -> tuple[Float[Tensor, "P"], Float[Tensor, "P"]]:
        """The prior's rate of each task, and how many outcomes the prior has proved worth."""
        rate, _ = self.prior.forecast(tasks)
        return rate, torch.full_like(rate, self.strength)

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        self._prior_rates, _ = self.prior.rates_of_rows(batch, evidence)
        self._waves = waves_of_rows(batch, evidence)
        returns, known = scaled_returns(told)
        count, total = torch.zeros_like(returns), torch.zeros_like(returns)
        for wave in self._waves.unique().tolist():
            seen = (self._waves <= wave).double()
            here = self._waves == wave
            count = torch.where(here, group_sums(known * seen, batch.group_index) - known.double(), count)
            total = torch.where(here, group_sums(returns * seen, batch.group_index) - returns, total)
        rate, dropped = fused_rate(total, count, self._prior_rates, self.strength, self.part.tolerance)
        support = count + torch.where(dropped, 0.0, self.strength)
        low, span = reward_span(told)
        return flat_prediction(batch, low + span * rate, rate == rate, support, own=False, siblings=False)

    def remember(self, batch: TokenBatch, told: RewardBatch) -> None:
        """Add to the prior's memory, and to its track record every first wave of two outcomes or more."""
        returns, known = scaled_returns(told)
        first = known & (self._waves == 0)
        size = group_sums(first.double(), batch.group_index)
        mean = group_sums(returns * first, batch.group_index) / size.clamp(min=1)
        share = first & (size >= 2)  # each group counts once: 1 / size of each of its rows
        p, n = self._prior_rates[share], size[share]
        spread = p * (1 - p)
        missed = float(((mean[share] - p).square() / n).sum())
        chance, scale = float((spread / n / n).sum()), float((spread * (1 - 1 / n) / n).sum())
        kept = fading(1, self.prior.part.half_life_steps)
        self.record = (kept * self.record[0] + missed, kept * self.record[1] + chance, kept * self.record[2] + scale)
        self.prior.remember(batch, told)

    def state_dict(self) -> dict[str, Any]:
        """The track record and the prior's memory."""
        return {"record": list(self.record), "prior": self.prior.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore both."""
        missed, chance, scale = state["record"]
        self.record = (float(missed), float(chance), float(scale))
        self.prior.load_state_dict(state["prior"])
