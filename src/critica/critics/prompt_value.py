"""A prompt's value judged from the policy's record on prompts like it, before anything is sampled (V_0)."""

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
    prompt_shares,
    reward_span,
    scaled_returns,
    tasks_of_rows,
    waves_of_rows,
)
from critica.critics.tallies import Tallies
from critica.functional.in_context import best_bandwidth, kernel_rates
from critica.functional.text_features import ngram_features
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence, Groups
from critica.records.protocols import Forecasting
from critica.records.words import Task

REVIEW_STEPS = 10  # how often the kernel's width is chosen anew
# In units of the record's median distance, the widest first: it is taken where nothing tells prompts apart.
WIDTHS = (float("inf"), 2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.125)


@dataclass(frozen=True, slots=True)
class PromptValue(CriticPart):
    """V(prompt) = low + (high - low) (strength p0 + sum_c w_c total_c) / (strength + sum_c w_c count_c).

    V_0 (arXiv 2602.03584) without its pretrained parts: the policy's ability is an *input*, the record of its last
    `prompts` prompts and outcomes, faded with `half_life_steps`; w is a kernel over character n-grams of the prompts,
    whose width is the one that predicts the record best when each prompt is left out (0.25 rank + 0.75 cross entropy,
    V_0's loss). n-grams and not the policy's states, because those move with the policy and a record must stay
    comparable. p0 is the record's base rate.
    Use it when prompts never come back but resemble each other, down to one sample a prompt, to spread samples
    (budget=expected_failures) and to choose a policy (`critica critic route`). It never sees this step's outcomes:
    unbiased. Not when prompts look alike whatever their difficulty, and it has no value within an answer. It needs
    some hundred prompts before it knows anything.
    Reduces to a per-prompt Beta posterior at width 0 and to the record's mean at width infinity, which is what an
    uninformative text gives. Costs prompts x 257 multiplications a prompt.
    """

    strength: float = 4.0
    half_life_steps: float = 100.0
    prompts: int = 512
    flat: ClassVar[bool] = True
    forecasts: ClassVar[Forecasting] = "claimed"

    def __post_init__(self) -> None:
        if self.strength < 0 or self.prompts < 1:
            raise ValueError("strength (in outcomes) cannot be negative, and prompts must be at least 1")
        if not self.half_life_steps > 0:
            raise ValueError(f"half_life_steps must be above 0, got {self.half_life_steps}; inf: nothing ever fades")

    def build(self, context: CriticContext) -> "PromptValueCritic":
        return PromptValueCritic(self)


class PromptValueCritic(ValueCritic):
    """The record, and a kernel over it."""

    needs = frozenset({Groups})

    def __init__(self, part: PromptValue) -> None:
        self.part = part
        self.tallies = Tallies(part.prompts, part.half_life_steps)
        self.texts: dict[str, str] = {}
        self.bandwidth = float("inf")
        self._points: dict[str, Tensor] = {}
        self._pending = Pending()
        self._shown: dict[str, str] = {}
        self._waves = torch.zeros(0, dtype=torch.long)

    def rates(self, prompts: Sequence[str]) -> tuple[Float[Tensor, "Q"], Float[Tensor, "Q"]]:
        """P(success) of each prompt in [0, 1], and how many outcomes stand behind it. For budgets and routing too."""
        base = self.tallies.base_rate()
        names = sorted(self.tallies.named)
        if not names or not prompts:
            return torch.full((len(prompts),), base, dtype=torch.float64), torch.zeros(len(prompts)).double()
        totals, counts, points = self._record(names)
        asked = torch.stack([ngram_features(prompt) for prompt in prompts])
        distances = torch.cdist(asked, points, compute_mode="donot_use_mm_for_euclid_dist").double()
        return kernel_rates(distances, self.bandwidth, totals, counts, base, self.part.strength)

    def forecast(self, tasks: Sequence[Task]) -> tuple[Float[Tensor, "P"], Float[Tensor, "P"]]:
        """The rate of each task's prompt, and the outcomes that it rests on, those of the base rate included."""
        rate, support = self.rates([task.prompt for task in tasks])
        return rate, support + self.part.strength

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        rate, support = self.rates_of_rows(batch, evidence)
        low, span = reward_span(told)
        return flat_prediction(batch, low + span * rate, rate == rate, support, own=False, siblings=False)

    def rates_of_rows(self, batch: TokenBatch, evidence: Evidence) -> tuple[Float[Tensor, "N"], Float[Tensor, "N"]]:
        """The rate and support of each row's prompt; the rows are those to be remembered next."""
        tasks = tasks_of_rows(batch, evidence)
        self._pending.keep(batch, tuple(task.task_id for task in tasks))
        self._shown = {task.task_id: task.prompt for task in tasks}
        self._waves = waves_of_rows(batch, evidence)
        asked = sorted(set(self._shown.values()))
        rates, support = self.rates(asked)
        return tuple(_at_rows(values, asked, tasks).to(batch.device) for values in (rates, support))  # type: ignore[return-value]

    def _record(self, names: Sequence[str]) -> tuple[Float[Tensor, "C"], Float[Tensor, "C"], Float[Tensor, "C F"]]:
        """Totals, counts and points of these prompts of the record, faded to now."""
        counts, totals = torch.tensor([self.tallies.read(name) for name in names], dtype=torch.float64).unbind(-1)
        for name in names:
            if name not in self._points:
                self._points[name] = ngram_features(self.texts[name])
        return totals, counts, torch.stack([self._points[name] for name in names])

    def remember(self, batch: TokenBatch, told: RewardBatch) -> None:
        """Add this step's outcomes to the record; now and then choose the kernel's width anew."""
        returns, known = scaled_returns(told)
        news: dict[str, tuple[float, float]] = {}
        for name, value, fine in zip(self._pending.take(batch), returns.tolist(), known.tolist(), strict=True):
            if fine:
                count, total = news.get(name, (0.0, 0.0))
                news[name] = (count + 1.0, total + value)
        shares = prompt_shares(known, batch.group_index, self._waves)
        self.tell(news, self._shown, (float(known.sum()), float((shares * returns).sum())))

    def tell(
        self, news: Mapping[str, tuple[float, float]], texts: Mapping[str, str], overall: tuple[float, float]
    ) -> None:
        """One more step of the record: (count, total) by name, the prompts, and (count, total) over everything."""
        self.texts |= {name: texts[name] for name in news}
        self.tallies.tick(news, overall)
        self.texts = {name: text for name, text in self.texts.items() if name in self.tallies.named}
        self._points = {name: point for name, point in self._points.items() if name in self.tallies.named}
        if self.tallies.clock % REVIEW_STEPS == 0:
            self.review()

    def review(self) -> None:
        """Take the width that predicts the record best."""
        names = sorted(self.tallies.named)
        if len(names) < 3:
            return
        totals, counts, points = self._record(names)
        distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").double()
        apart = distances[distances > 0]
        typical = float(apart.median()) if apart.numel() else 1.0
        widths = [typical * width for width in WIDTHS]
        base, strength = self.tallies.base_rate(), self.part.strength
        self.bandwidth = best_bandwidth(distances, totals, counts, base, strength, widths)

    def state_dict(self) -> dict[str, Any]:
        """The record and the width; an infinite width is written as null."""
        width = None if self.bandwidth == float("inf") else self.bandwidth
        return {"tallies": self.tallies.state_dict(), "texts": dict(self.texts), "bandwidth": width}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the record and the width."""
        self.tallies.load_state_dict(state["tallies"])
        self.texts = dict(state["texts"])
        self.bandwidth = float("inf") if state["bandwidth"] is None else float(state["bandwidth"])
        self._points = {}


def _at_rows(values: Float[Tensor, "Q"], asked: Sequence[str], tasks: Sequence[Task]) -> Float[Tensor, "N"]:
    """Values of prompts at the rows that ask them."""
    place = {prompt: i for i, prompt in enumerate(asked)}
    return values[torch.tensor([place[task.prompt] for task in tasks])]
