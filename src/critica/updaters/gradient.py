"""AdamW with a schedule of its rate and a global gradient-norm clip: the gradient updater's settings."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Adam:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101). The rate rises linearly over `warmup_steps` updates.

    Then it stays, or falls by `schedule` (a line, or half a cosine) to `final_factor` of itself at the last update of
    the run; a resume to more steps stretches what is left of the fall.

    `learning_rate` per update, 0: by the size of the model (`rate_by_size`), fixed before the run starts.
    `max_grad_norm` clips the global L2 norm, 0 switches clipping off. `head_factor` multiplies the rate of parameters
    named `head.…`: a critic's new head has further to go than the body that it reads.
    """

    learning_rate: float = 0.0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    max_grad_norm: float = 1.0
    warmup_steps: int = 0
    head_factor: float = 1.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    final_factor: float = 0.0

    def __post_init__(self) -> None:
        if self.learning_rate < 0:
            raise ValueError(f"learning_rate cannot be negative, got {self.learning_rate}")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError("beta1 and beta2 must lie in [0, 1)")
        if not self.head_factor > 0:
            raise ValueError(f"head_factor must be above 0, got {self.head_factor}")
        if self.max_grad_norm < 0 or self.weight_decay < 0 or self.warmup_steps < 0:
            raise ValueError("max_grad_norm, weight_decay and warmup_steps cannot be negative")
        if not 0 <= self.final_factor <= 1:
            raise ValueError(f"final_factor is a share of the learning rate, in [0, 1], got {self.final_factor}")

    def rate(self, update: int, total: int) -> float:
        """The learning rate of update number `update` (from 1) of `total`; the last one has `final_factor` of it."""
        if update < self.warmup_steps:
            return self.learning_rate * update / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        first = max(1, self.warmup_steps)  # the update at which the rate is whole
        passed = min(1.0, (update - first) / max(1, total - first))
        left = 1 - passed if self.schedule == "linear" else (1 + math.cos(math.pi * passed)) / 2
        return self.learning_rate * (self.final_factor + (1 - self.final_factor) * left)


def rate_by_size(parameters: int, adapters: bool = False) -> float:
    """A starting learning rate for the policy: 3e-4 at a million parameters, about 1e-6 at seven billion.

    3e-4 (10^6 / N)^0.65: a straight line, in logarithms, through what this library's own policy learns well with and
    what TRL, verl and OpenRLHF use for 7B models. Low-rank adapters take ten times as much. Our choice.
    """
    return 3e-4 * (1e6 / max(parameters, 1)) ** 0.65 * (10.0 if adapters else 1.0)


CRITIC_FACTOR = 2.0  # a critic's rate over its policy's, as in VAPO; five was worse on pico (docs/log.md)
