"""One optimizer over named parameters: its schedule, its clip, its finite check, and its state as named tensors."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from critica.updaters.gradient import Adam


class Optimizer:
    """AdamW over a fixed list of named parameters; every trainable tensor is in exactly one of these."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], settings: Adam) -> None:
        self.settings = settings
        self.names, self.parameters = zip(*parameters, strict=True)
        self.updates = 0
        named = list(zip(self.names, self.parameters, strict=True))
        heads = [weight for name, weight in named if name.startswith("head.")]
        rest = [weight for name, weight in named if not name.startswith("head.")]
        factors = [(rest, 1.0), (heads, settings.head_factor)]
        self.adam = torch.optim.AdamW(
            [{"params": weights, "factor": factor} for weights, factor in factors if weights],
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def step(self) -> tuple[float, bool]:
        """Clip and apply the gradients; returns their norm before the clip and whether they were finite.

        A non-finite gradient is thrown away: no weight moves.
        """
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm or math.inf))
        finite = math.isfinite(norm)
        if finite:
            self.updates += 1
            for group in self.adam.param_groups:
                group["lr"] = self.settings.rate(self.updates) * group["factor"]
            self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return norm, finite

    @property
    def rate(self) -> float:
        """The learning rate of the last update."""
        return self.settings.rate(max(1, self.updates))

    def tensors(self) -> dict[str, Tensor]:
        """The moments and step counts by parameter name, and the number of updates."""
        kept = {"updates": torch.tensor(self.updates)}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            for key, value in self.adam.state.get(parameter, {}).items():
                kept[f"{name}|{key}"] = value.detach().clone().contiguous()
        return kept

    def load_tensors(self, kept: dict[str, Tensor]) -> None:
        """Restore what `tensors` gave. Raises if a moment belongs to no parameter."""
        self.updates = int(kept["updates"])
        place = dict(zip(self.names, self.parameters, strict=True))
        state: dict[Tensor, dict[str, Tensor]] = {}
        for entry, value in kept.items():
            if entry == "updates":
                continue
            name, key = entry.rsplit("|", 1)
            if name not in place:
                raise ValueError(f"the checkpoint's optimizer knows {name!r}, which is not trained here")
            state.setdefault(place[name], {})[key] = value.clone()
        self.adam.state.clear()
        for parameter, moments in state.items():
            self.adam.state[parameter] = moments
