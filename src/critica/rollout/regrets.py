"""The stop rule's statistics while rows decode: each row's smoothed regret and sums, by one pass over the logits."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.functional.stopping import FLOOR, deviation_of, gives_up, smoothed, standardized_regret, surrogate_regret
from critica.policies.kernels import RegretState, kernels_for


@dataclass(frozen=True, slots=True)
class StopRule:
    """The rule's numbers, frozen while a step's rows decode; see `EarlyStop`."""

    temperature: float
    mean: float
    variance: float
    clip: float
    smoothing: float
    threshold: float

    @property
    def numbers(self) -> tuple[float, ...]:
        """As the kernel takes them; rounded to fp32 there, as torch rounds a number that meets an fp32 tensor."""
        spread, smoothing = deviation_of(self.variance), (self.smoothing, 1 - self.smoothing)
        return self.temperature or 1.0, self.mean, spread, self.clip, *smoothing, self.threshold, FLOOR


class Regrets:
    """What one call of the decoder learns of its rows' regrets.

    `signal[row]` is z; `sums[row]` are the count, the sum and the sum of squares of the row's regrets, in fp64, so that
    no total depends on which rows decode beside it. The compiled kernel and torch's operations give the same bits.
    """

    def __init__(self, rows: int, rule: StopRule, device: torch.device) -> None:
        self.rule, self._state = rule, RegretState(rows, rule.numbers, device)
        self.signal, self.sums = self._state.signal, self._state.sums

    def step(
        self,
        logits: Float[Tensor, "n V"],
        tokens: Int[Tensor, "n"],
        rows: Int[Tensor, "n"],
        writing: Bool[Tensor, "n"],
        values: Float[Tensor, "n"] | None,
    ) -> Bool[Tensor, "n"] | None:
        """One token of each slot that writes: who gives up, None if none does. Without `values` it only counts."""
        kernels = kernels_for(logits)
        expected = None if values is None else values.float().contiguous()
        if kernels is None:
            return self._in_torch(logits, tokens, rows, writing, expected)
        return kernels.regret_step((logits, tokens, rows, writing), expected, self._state)

    def _in_torch(
        self, logits: Tensor, tokens: Tensor, rows: Tensor, writing: Tensor, values: Tensor | None
    ) -> Bool[Tensor, "n"] | None:
        slots, rule = writing.nonzero().squeeze(-1), self.rule
        own = rows[slots]
        regret = surrogate_regret(logits[slots], tokens[slots], rule.temperature)
        exact = regret.double()
        self.sums.index_add_(0, own, torch.stack([torch.ones_like(exact), exact, exact * exact], -1))
        if values is None:
            return None
        now = standardized_regret(regret, rule.mean, rule.variance, rule.clip)
        signal = smoothed(self.signal[own], now, rule.smoothing)
        self.signal[own] = signal
        given_up = gives_up(signal, values[slots], rule.threshold)
        if not bool(given_up.any()):
            return None
        stops = torch.zeros_like(writing)
        stops[slots] = given_up
        return stops
