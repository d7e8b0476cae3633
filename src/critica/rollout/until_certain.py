"""V_0.5's dynamic budget: a few samples each, then more where they contradict the prior and the rate is in doubt."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from critica.functional.fusion import fused_rate, fused_spread, surprise
from critica.records.protocols import ForecastTraits
from critica.rollout.budget import BudgetProblem, BudgetRule, Standing


@dataclass(frozen=True, slots=True)
class UntilCertain(BudgetRule):
    """Waves: `first` samples each, then `chunk` more for every prompt in doubt, until none is or all are spent.

    A prompt is in doubt while its outcomes miss the forecast by more than `agreement` standard deviations
    (`functional.fusion.surprise`) and the fused rate's own standard deviation is above `certainty`; a forecast that is
    missed by more than `tolerance` counts for nothing in it. The round never takes more than prompts x
    samples_per_prompt; where that does not suffice, the most surprised go first. What nobody asks for is not written:
    the step is smaller and cheaper.

    After V_0.5 (arXiv 2603.10848), which tests its prior and spends extra rollouts on demand; its abstract is all that
    we know of the rule, so the waves, both thresholds and the pool are our choice. Take it with critic=fused_value,
    whose baseline stays independent of the sample's own outcome under such stopping (see there); a mean over all
    samples of a prompt does not: stopping when outcomes agree with p pulls it towards p (by .10 for a prior of .3 and a
    truth of .6). In expectation a prompt's gradient is the true one times its expected number of samples, so prompts
    that the prior misjudges weigh more.
    Use it where samples are few and some priors are far off. By enumeration, for priors of which a fifth mean nothing
    and the rest are worth 16 outcomes, the defaults take 3.6 samples a prompt and leave the fused rate .77 of the
    squared error of as many samples evenly. Not for one outcome a prompt: there is nothing to test then. Costs one more
    call of the decoder a wave.
    """

    first: int = 2
    chunk: int = 2
    most: int = 16
    agreement: float = 1.0
    certainty: float = 0.1
    tolerance: float = 2.5
    reads_forecasts: ClassVar[bool] = True
    compares_outcomes: ClassVar[bool] = True
    may_save: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.most or self.chunk < 1:
            raise BudgetProblem(
                f"budget.first={self.first}, budget.chunk={self.chunk} and budget.most={self.most}: it takes"
                " 1 <= first <= most and a chunk of at least 1"
            )
        if self.agreement < 0 or self.certainty < 0 or self.tolerance < 0:
            raise BudgetProblem("budget.agreement, budget.certainty and budget.tolerance cannot be negative")

    def bounds(self, samples_per_prompt: int) -> tuple[int, int]:
        return self.first, self.most

    def check(self, critic: ForecastTraits, samples_per_prompt: int) -> None:
        """It also needs a forecast whose worth was tested: one that boasts is never in doubt."""
        BudgetRule.check(self, critic, samples_per_prompt)
        if critic.forecasts != "tested":
            raise BudgetProblem(
                f"until_certain weighs a forecast by what it has proved worth, and {type(critic).__name__} does not"
                " test its own: set critic=fused_value, or budget=expected_failures"
            )

    def wants(self, standing: Standing) -> tuple[int, ...]:
        if not any(standing.written):
            return (self.first,) * standing.prompts
        doubts = self.doubts(standing)
        wanted, left = [0] * standing.prompts, standing.left
        for i in sorted(range(standing.prompts), key=lambda i: (-doubts[i], i)):
            if doubts[i] > 0:
                wanted[i] = min(self.chunk, self.most - standing.written[i], left)
                left -= wanted[i]
        return tuple(wanted)

    def doubts(self, standing: Standing) -> list[float]:
        """By how many standard deviations each prompt's outcomes miss its forecast; 0 where nothing is in doubt."""
        count = torch.tensor(standing.known, dtype=torch.float64)
        total = torch.tensor(standing.totals, dtype=torch.float64)
        found = []
        for i in range(standing.prompts):
            one, worth = slice(i, i + 1), float(standing.worth[i])
            case = total[one], count[one], standing.rates[one].double()
            missed = float(surprise(*case, worth))
            _, dropped = fused_rate(*case, worth, self.tolerance)
            spread = float(fused_spread(*case, torch.where(dropped, 0.0, worth).double()))
            doubted = missed > self.agreement and spread > self.certainty
            found.append(missed if doubted and math.isfinite(missed) else 0.0)
        return found
