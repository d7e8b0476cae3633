"""A transformer without a language head: the body of a critic that has one of its own."""

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from critica.policies.adapters import adapted_body, holds_adapters, settle_adapter_config
from critica.policies.base import TrainablePolicy
from critica.policies.body_mode import PLAIN, BodyMode, HasBodyMode
from critica.policies.families import base_model
from critica.policies.follower import Follower
from critica.policies.forward import HiddenForward
from critica.policies.loading import open_model, quiet_transformers, refill, resolve_device
from critica.policies.part import Lora
from critica.records.arrays import TokenBatch


class LanguageBackbone(nn.Module):
    """Tokens to final-normed hidden states of width D; what it trains nobody shares."""

    def __init__(self, model: nn.Module, mode: BodyMode = PLAIN) -> None:
        super().__init__()
        self.model, self.mode = model.eval(), mode
        self.width = int(base_model(model).config.hidden_size)  # type: ignore[union-attr,arg-type]
        self._forward = HiddenForward(model, mode)

    @classmethod
    def from_policy(cls, policy: TrainablePolicy) -> Self:
        """A copy of the policy's body as it is now, adapters merged in, every weight trainable; in the same mode."""
        model = copy.deepcopy(policy.model)
        if base_model(model) is not model:
            model = model.merge_and_unload()  # type: ignore[operator]
        mode = policy.mode if isinstance(policy, HasBodyMode) else PLAIN
        return cls(model.base_model.requires_grad_(True), mode)  # type: ignore[union-attr,operator,arg-type]

    @classmethod
    def adapted(cls, policy: TrainablePolicy, lora: Lora) -> Self:
        """Fresh adapters on the base below the policy's own ones, which it shares. Raises ValueError without any."""
        mode = policy.mode if isinstance(policy, HasBodyMode) else PLAIN
        return cls(adapted_body(policy.model, lora), mode)

    @classmethod
    def load(cls, path: str, device: str = "auto", dtype: str = "float32", mode: BodyMode = PLAIN) -> Self:
        """Open a folder that `save` wrote, or any model that transformers opens; a language head is left out."""
        return cls(open_model(path, dtype, headless=True).to(resolve_device(device)), mode)  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def sampled_states(self, batch: TokenBatch) -> Float[Tensor, "S D"]:
        """The state before each sampled token, row-major."""
        return self._forward.sampled_states(batch)

    def final_states(self, batch: TokenBatch) -> Float[Tensor, "N D"]:
        """The state after each row's last token."""
        return self._forward.final_states(batch)

    def sampled_and_final_states(self, batch: TokenBatch) -> tuple[Float[Tensor, "S D"], Float[Tensor, "N D"]]:
        """Both, from one pass."""
        return self._forward.sampled_and_final_states(batch)

    def follow(self, prompts: Sequence[tuple[int, ...]], owners: Sequence[int], steps: int) -> Follower:
        """This body's states along rows that a policy writes. Raises ValueError if its family is not known."""
        return self._forward.follow(prompts, owners, steps)

    def trainable(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Named parameters that receive gradients: all of them, or the adapters alone."""
        if not holds_adapters(self.model):
            return self.model.named_parameters()
        return ((name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad)

    def save(self, folder: Path) -> None:
        """Write a folder that transformers' AutoModel opens; with adapters, these alone, as peft writes them."""
        folder.mkdir(parents=True, exist_ok=True)
        with quiet_transformers():
            self.model.save_pretrained(folder)  # type: ignore[operator]
        settle_adapter_config(folder)

    def restore(self, folder: Path) -> None:
        """Take the weights that `save` wrote there, in place."""
        refill(self.model, folder)
