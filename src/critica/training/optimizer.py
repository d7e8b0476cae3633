"""One optimizer over named parameters: its schedule, its clip, its finite check, and its state as named tensors."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from critica.records.checks import NonFiniteNumbers
from critica.records.devices import HOST
from critica.updaters.gradient import Adam


class Optimizer:
    """AdamW over a fixed list of named parameters; every trainable tensor is in exactly one of these."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], settings: Adam, total: int = 0) -> None:
        """`total`: how many updates the run will make, which a falling rate must know."""
        if settings.schedule != "constant" and total < 1:
            raise ValueError(
                f"a {settings.schedule} schedule must know how many updates there will be, and here nobody can say: set"
                " schedule=constant"
            )
        self.settings, self.total = settings, total
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

    @property
    def owned(self) -> tuple[nn.Parameter, ...]:
        """Every tensor that an update moves."""
        return tuple(weight for group in self.adam.param_groups for weight in group["params"])

    def clip(self) -> float:
        """Bound the gradient's norm; returns the norm before. Raises `NonFiniteNumbers` naming the parameters."""
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm or math.inf))
        if not math.isfinite(norm):
            raise self._non_finite()
        return norm

    def _non_finite(self) -> NonFiniteNumbers:
        """The first offending gradient; the norm itself if every gradient is finite and only their sum is not."""
        named = [(n, p.grad) for n, p in zip(self.names, self.parameters, strict=True) if p.grad is not None]
        bad = [(name, grad) for name, grad in named if not grad.isfinite().all()]
        if not bad:
            return NonFiniteNumbers("the gradient's norm", torch.tensor([math.inf]))
        others = f" and {len(bad) - 1} others" if len(bad) > 1 else ""
        return NonFiniteNumbers(f"the gradient of {bad[0][0]}{others}", bad[0][1].detach().clone())

    def apply(self) -> None:
        """Move the weights by the gradients, at the schedule's rate, and forget the gradients."""
        self.updates += 1
        for group in self.adam.param_groups:
            group["lr"] = self.settings.rate(self.updates, self.total) * group["factor"]
        self.adam.step()
        self.forget_gradients()

    def reset(self) -> None:
        """As it was before its first update."""
        self.updates = 0
        self.adam.state.clear()
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """No gradient is left."""
        self.adam.zero_grad(set_to_none=True)

    @property
    def rate(self) -> float:
        """The learning rate of the last update."""
        return self.settings.rate(max(1, self.updates), self.total)

    def tensors(self) -> dict[str, Tensor]:
        """The moments and step counts by parameter name, and the number of updates."""
        kept = {"updates": torch.tensor(self.updates)}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            for key, value in self.adam.state.get(parameter, {}).items():
                kept[f"{name}|{key}"] = value.detach().to(HOST, copy=True).contiguous()
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
            state.setdefault(place[name], {})[key] = value.to(place[name].device, copy=True)
        self.adam.state.clear()
        for parameter, moments in state.items():
            self.adam.state[parameter] = moments
