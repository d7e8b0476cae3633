"""How many samples each prompt of a round gets: all alike, or as a rule decides from what is expected of them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from critica.records.protocols import Forecasts, ForecastTraits
from critica.records.supervision import Reward, Scored
from critica.records.words import Task


class BudgetProblem(ValueError):
    """A budget that its critic cannot inform, or whose numbers contradict each other."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a round's P prompts when a budget decides how many more samples each gets.

    `rates`: forecast of P(success); `worth`: how many outcomes a forecast is worth. `written`: samples so far; `known`:
    those with an outcome, `totals` their sum, each outcome scaled to [0, 1]. `mean`: sampling.samples_per_prompt.
    """

    rates: Float[Tensor, "P"]
    worth: Float[Tensor, "P"]
    written: tuple[int, ...]
    known: tuple[int, ...]
    totals: tuple[float, ...]
    mean: int

    @property
    def prompts(self) -> int:
        """P."""
        return len(self.written)

    @property
    def left(self) -> int:
        """Samples of the round that nobody has been given yet."""
        return self.prompts * self.mean - sum(self.written)


class BudgetRule(ABC):
    """A stateless rule that spreads a round's samples, prompts x samples_per_prompt at most, over its prompts.

    It is asked again after each wave of samples is scored, until it wants no more. All that it may look at is in the
    `Standing`, so that a resumed run decides the same.
    """

    reads_forecasts: ClassVar[bool] = False
    compares_outcomes: ClassVar[bool] = False  # it holds what was said against forecasts of what training is told
    may_save: ClassVar[bool] = False  # it may leave samples of the round unwritten

    @abstractmethod
    def wants(self, standing: Standing) -> tuple[int, ...]:
        """How many more samples each prompt gets now; all 0: enough."""

    def idle(self, prompts: int, samples_per_prompt: int) -> bool:
        """Whether it has no sample to move from one prompt to another."""
        fewest, most = self.bounds(samples_per_prompt)
        return self.reads_forecasts and (prompts == 1 or fewest == samples_per_prompt or most == samples_per_prompt)

    def bounds(self, samples_per_prompt: int) -> tuple[int, int]:
        """The fewest and the most samples that a prompt may get."""
        return samples_per_prompt, samples_per_prompt

    def check(self, critic: ForecastTraits, samples_per_prompt: int) -> None:
        """Raise `BudgetProblem` if this critic does not go with this budget."""
        if self.reads_forecasts and critic.forecasts == "none":
            raise BudgetProblem(
                f"{type(self).__name__} spreads samples by what the critic expects of a prompt beforehand, and"
                f" {type(critic).__name__} expects nothing before it has seen samples: set critic=prompt_value,"
                " critic=fused_value or (for tasks that come back) critic=beta_posterior; or budget=uniform"
            )
        fewest, most = self.bounds(samples_per_prompt)
        if not 1 <= fewest <= samples_per_prompt <= most:
            raise BudgetProblem(
                f"a prompt gets {samples_per_prompt} samples on average (sampling.samples_per_prompt), and the budget"
                f" allows {fewest} to {most}: the average must lie within; change budget.fewest or budget.most"
            )
        if critic.group_based and fewest < 2:
            raise BudgetProblem(
                f"{type(critic).__name__} compares samples of one prompt, and the budget may give a prompt only"
                f" {fewest}: set budget.fewest=2"
            )


@dataclass(frozen=True, slots=True)
class Uniform(BudgetRule):
    """Every prompt gets samples_per_prompt."""

    def wants(self, standing: Standing) -> tuple[int, ...]:
        return tuple(standing.mean - written for written in standing.written)


class NoForecast:
    """Expects one half of everything, and knows nothing."""

    def forecast(self, tasks: Sequence[Task]) -> tuple[Float[Tensor, "P"], Float[Tensor, "P"]]:
        """One half, worth nothing."""
        return torch.full((len(tasks),), 0.5, dtype=torch.float64), torch.zeros(len(tasks), dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class Allocator:
    """A rule with what informs it: the live critic, and the range of outcomes. It has no memory of its own."""

    rule: BudgetRule = Uniform()
    forecaster: Forecasts = field(default_factory=NoForecast)
    low: float = 0.0
    high: float = 1.0

    def forecast(self, tasks: Sequence[Task]) -> tuple[Float[Tensor, "P"], Float[Tensor, "P"]]:
        """What is expected of these tasks, asked once a round."""
        source = self.forecaster if self.rule.reads_forecasts else NoForecast()
        return source.forecast(tasks)

    def more(
        self,
        expected: tuple[Float[Tensor, "P"], Float[Tensor, "P"]],
        told: Sequence[Sequence[Reward]],
        samples_per_prompt: int,
    ) -> tuple[int, ...]:
        """How many more samples each prompt gets, given what was told of those that it has."""
        scores = [[r.outcome.value for r in rewards if isinstance(r.outcome, Scored)] for rewards in told]
        span = self.high - self.low if self.high > self.low else 1.0
        scaled = [[min(1.0, max(0.0, (value - self.low) / span)) for value in values] for values in scores]
        standing = Standing(
            *expected, tuple(map(len, told)), tuple(map(len, scaled)), tuple(map(math.fsum, scaled)), samples_per_prompt
        )
        wanted = self.rule.wants(standing)
        first = not any(standing.written)
        if len(wanted) != len(told) or min(wanted) < int(first) or sum(wanted) > standing.left:
            raise BudgetProblem(
                f"{type(self.rule).__name__} asked for {list(wanted)} samples for {len(told)} prompts: it must give"
                f" each at least one to begin with, take none back, and {standing.left} are left to give"
            )
        return wanted
