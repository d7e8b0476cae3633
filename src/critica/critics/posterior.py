"""A prompt's record as its baseline: a Beta posterior over its outcomes, carried from one epoch to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.counted import flat_prediction
from critica.critics.identity import (
    Pending,
    group_sums,
    prompt_shares,
    reward_span,
    scaled_returns,
    tasks_of_rows,
    waves_of_rows,
)
from critica.critics.tallies import Tallies
from critica.functional.beta import beta_mean
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence, Groups
from critica.records.protocols import Forecasting
from critica.records.words import Task


@dataclass(frozen=True, slots=True)
class BetaPosterior(CriticPart):
    """V(prompt) = low + (high - low) (strength p0 + sum x) / (strength + n), x the outcomes so far scaled to [0, 1].

    n, x: this task's outcomes of *earlier* steps, faded with `half_life_steps` because the policy moves; p0: the base
    rate, the faded mean over every task, which is all that a new task gets. `siblings` adds the other samples of this
    step. Never the sample's own outcome: unbiased.
    Use it when prompts come back (task files over epochs) and samples are few, down to one per prompt. Not for endless
    generated tasks: there it is the base rate. One value a prompt: it cannot say where in an answer things went wrong.
    Reduces to a running mean without memory, to leave-one-out at strength 0 with siblings and no memory, and to the
    mean of the group's past at strength 0. Costs a dictionary look-up a row and 60 bytes a task.
    Related: SPO's tracker (arXiv 2509.13232), which fades by how far the policy moved instead of by steps.
    """

    strength: float = 4.0
    half_life_steps: float = 100.0
    siblings: bool = False
    tasks: int = 100_000
    flat: ClassVar[bool] = True
    forecasts: ClassVar[Forecasting] = "claimed"

    def __post_init__(self) -> None:
        if self.strength < 0 or self.tasks < 0:
            raise ValueError("strength (in outcomes) and tasks (to be remembered) cannot be negative")
        if not self.half_life_steps > 0:
            raise ValueError(f"half_life_steps must be above 0, got {self.half_life_steps}; inf: nothing ever fades")

    def build(self, context: CriticContext) -> ValueCritic:
        return BetaPosteriorCritic(self)


class BetaPosteriorCritic(ValueCritic):
    """Tallies by task."""

    needs = frozenset({Groups})

    def __init__(self, part: BetaPosterior) -> None:
        self.part = part
        self.memory = Tallies(part.tasks, part.half_life_steps)
        self._pending = Pending()
        self._waves = torch.zeros(0, dtype=torch.long)

    def forecast(self, tasks: Sequence[Task]) -> tuple[Float[Tensor, "P"], Float[Tensor, "P"]]:
        """The posterior mean of each task, and the outcomes that it rests on, those of the base rate included."""
        counts = [self.memory.read(task.task_id) for task in tasks]
        count, total = torch.tensor(counts, dtype=torch.float64).reshape(-1, 2).unbind(-1)
        rate = beta_mean(total, count, self.memory.base_rate(), self.part.strength)
        return rate, count + self.part.strength

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        """The posterior mean of each row's task, from earlier steps alone (and from siblings, if asked for)."""
        names = tuple(task.task_id for task in tasks_of_rows(batch, evidence))
        self._pending.keep(batch, names)
        self._waves = waves_of_rows(batch, evidence)
        count, total = torch.tensor(
            [self.memory.read(name) for name in names], dtype=torch.float64, device=batch.device
        ).unbind(-1)
        if self.part.siblings:
            returns, known = scaled_returns(told)
            count = count + group_sums(known.double(), batch.group_index) - known.double()
            total = total + group_sums(returns, batch.group_index) - returns
        rate = beta_mean(total, count, self.memory.base_rate(), self.part.strength)
        low, span = reward_span(told)
        value = low + span * rate
        return flat_prediction(batch, value, value == value, count, own=False, siblings=False)

    def remember(self, batch: TokenBatch, told: RewardBatch) -> None:
        """Count what was told of each task."""
        returns, known = scaled_returns(told)
        news: dict[str, tuple[float, float]] = {}
        for name, value, fine in zip(self._pending.take(batch), returns.tolist(), known.tolist(), strict=True):
            if fine:
                count, total = news.get(name, (0.0, 0.0))
                news[name] = (count + 1.0, total + value)
        shares = prompt_shares(known, batch.group_index, self._waves)
        self.memory.tick(news, (float(known.sum()), float((shares * returns).sum())))

    def state_dict(self) -> dict[str, Any]:
        """The tallies."""
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the tallies."""
        self.memory.load_state_dict(state)
