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
    """A transformers causal language model in this process: `pico`, a folder, or a hub name."""

    path: str = "pico"
    lora: Lora = field(default_factory=Lora)
    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
