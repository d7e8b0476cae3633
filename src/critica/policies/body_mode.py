"""How a model's body computes: in which precision, and whether its layers' activations are kept or made again."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from critica.policies.part import LocalPolicy

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class BodyMode:
    """What changes time and memory of the body's forward and backward pass.

    `bf16`: its products are computed in bfloat16 (torch's autocast) while weights, norms and the residual stream stay
    fp32, and so does all that comes after it: heads, log-probs, losses, advantages. bfloat16 has 8 bits of mantissa: a
    log-prob moves by about 0.01 nats. `checkpoint`: a layer keeps its input alone and is computed again in the backward
    pass (Chen et al. 2016, arXiv 1604.06174): same gradients, about a third more time. `into_grad`: a large
    embedding's gradient is added to its `.grad`, where it has one, without a tensor of its size in between; only for
    losses that call `backward()`, as `torch.autograd.grad` would not see it.
    """

    bf16: bool = False
    checkpoint: bool = False
    into_grad: bool = False

    def computing(self, device: torch.device) -> AbstractContextManager[object]:
        """Within: the body's products on this device are in the mode's precision."""
        if not self.bf16:
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


PLAIN = BodyMode()  # the weights' own precision, every activation kept


@runtime_checkable
class HasBodyMode(Protocol):
    """A model that knows how its body computes, so that copies of it do the same."""

    @property
    def mode(self) -> BodyMode: ...


def mode_of(part: LocalPolicy, device: torch.device) -> BodyMode:
    """How a policy of these settings computes on this device while it is trained."""
    automatic = part.precision == "auto" and device.type == "cuda" and part.dtype == "float32"
    return BodyMode(automatic or part.precision == "bf16", part.checkpoint_layers, into_grad=True)


def meant_device(part: LocalPolicy) -> torch.device:
    """Where a policy of these settings would be, whether or not that device is here."""
    if part.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(part.device)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's weights are; the CPU for one that has none."""
    return next((weight.device for weight in model.parameters()), CPU)
