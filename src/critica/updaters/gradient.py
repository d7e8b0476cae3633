"""AdamW with warm-up and a global gradient-norm clip: the one gradient updater, its state open to checkpoints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Adam:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101). The rate rises linearly over `warmup_steps` updates.

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

    def __post_init__(self) -> None:
        if self.learning_rate < 0:
            raise ValueError(f"learning_rate cannot be negative, got {self.learning_rate}")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError("beta1 and beta2 must lie in [0, 1)")
        if not self.head_factor > 0:
            raise ValueError(f"head_factor must be above 0, got {self.head_factor}")
        if self.max_grad_norm < 0 or self.weight_decay < 0 or self.warmup_steps < 0:
            raise ValueError("max_grad_norm, weight_decay and warmup_steps cannot be negative")

    def rate(self, update: int) -> float:
        """The learning rate of update number `update` (from 1)."""
        return self.learning_rate * min(1.0, update / self.warmup_steps) if self.warmup_steps else self.learning_rate


def rate_by_size(parameters: int, adapters: bool = False) -> float:
    """A starting learning rate for the policy: 3e-4 at a million parameters, about 1e-6 at seven billion.

    3e-4 (10^6 / N)^0.65: a straight line, in logarithms, through what this library's own policy learns well with and
    what TRL, verl and OpenRLHF use for 7B models. Low-rank adapters take ten times as much. Our choice.
    """
    return 3e-4 * (1e6 / max(parameters, 1)) ** 0.65 * (10.0 if adapters else 1.0)


CRITIC_FACTOR = 2.0  # a critic's rate over its policy's, as in VAPO; five was worse on pico (docs/log.md)
