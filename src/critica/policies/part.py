"""Which language model is trained, as configuration."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters through peft (Hu et al. 2021, arXiv 2106.09685); rank 0 trains the full weights."""

    rank: int = 0
    alpha: int = 16
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    def __post_init__(self) -> None:
        if self.rank < 0 or self.alpha <= 0:
            raise ValueError("lora.rank cannot be negative and lora.alpha must be above 0")


@dataclass(frozen=True, slots=True)
class LocalPolicy:
    """A transformers causal language model in this process: `pico`, a folder, or a hub name.

    `device` is auto (the first CUDA device where there is one), cpu, cuda or cuda:1; critics, references and losses
    are where the policy is. `dtype` is the weights' own. `precision` is what the body computes in: fp32, or bf16
    (autocast; heads, log-probs, losses and advantages stay fp32); auto is bf16 on CUDA for float32 weights and fp32
    elsewhere. `checkpoint_layers` computes each layer again in the backward pass in place of keeping its activations.
    `system` is the system prompt of every task that brings none; a policy without a chat template reads it as a line.
    """

    path: str = "pico"
    lora: Lora = field(default_factory=Lora)
    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_layers: bool = False
    system: str = ""

    def __post_init__(self) -> None:
        if self.precision == "bf16" and self.dtype != "float32":
            raise ValueError(
                f"policy.precision=bf16 computes float32 weights in bfloat16, and policy.dtype={self.dtype}: set"
                " policy.dtype=float32, or leave policy.precision out"
            )
