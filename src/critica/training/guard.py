"""No bad number gets in: a step in which one appears is recorded, not learned from, and kept for replay."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from critica.records.arrays import Advantages, Metric, TokenBatch, ValuePrediction
from critica.records.checks import NonFiniteNumbers
from critica.records.run import Fault

Result = TypeVar("Result")
REASON = "non_finite"


@dataclass(frozen=True, slots=True)
class Bad:
    """A fault and the tensor that shows it."""

    fault: Fault
    value: Tensor


class Guard:
    """Watches one step after another. After the first fault of a step, nothing of it is carried out any more."""

    def __init__(self) -> None:
        self.bad: Bad | None = None
        self._batch: TokenBatch | None = None

    def begin(self) -> None:
        """A new step: nothing wrong yet."""
        self.bad, self._batch = None, None

    def sampled(self, batch: TokenBatch) -> TokenBatch:
        """The batch, its sampler's log-probs looked at."""
        self._batch = batch
        if not batch.behavior_logprobs.isfinite().all():
            self._found("gather", NonFiniteNumbers("TokenBatch.behavior_logprobs", batch.behavior_logprobs))
        return batch

    def attempt(self, stage: str, act: Callable[[], Result], instead: Callable[[], Result]) -> Result:
        """What `act` gives; `instead` if it meets a number that is not finite, or if an earlier stage did."""
        if self.bad is None:
            try:
                return act()
            except NonFiniteNumbers as error:
                self._found(stage, error)
        return instead()

    def skipped(self, applied: bool) -> str:
        """Why nothing of this step was learned from; empty if it was, or if a part of it was `applied` before."""
        return REASON if self.bad is not None and not (applied and self.bad.fault.stage == "update") else ""

    def metric(self) -> Metric:
        """Whether something was wrong in this step."""
        return Metric("step/skipped", float(self.bad is not None), 1.0)

    def _found(self, stage: str, error: NonFiniteNumbers) -> None:
        value = error.value.detach().cpu()
        off = ~value.isfinite()
        rows: tuple[str, ...] = ()
        if self._batch is not None and value.dim() >= 2 and value.shape[0] == self._batch.rows:
            names = self._batch.trajectory_ids
            rows = tuple(names[i] for i in off.flatten(1).any(-1).nonzero().flatten().tolist())
        fault = Fault(stage, error.quantity, int(off.sum()), value.numel(), rows, tensor_digest(value))
        self.bad = Bad(fault, value)


def tensor_digest(value: Tensor) -> str:
    """16 hexadecimal digits of the tensor's type, shape and bits."""
    raw = value.contiguous().view(torch.uint8) if value.numel() and value.dim() else value.reshape(-1).view(torch.uint8)
    head = f"{value.dtype} {tuple(value.shape)}".encode()
    return hashlib.blake2b(head + raw.numpy().tobytes(), digest_size=8).hexdigest()


def nothing_expected(batch: TokenBatch) -> ValuePrediction:
    """The prediction of a critic that says nothing."""
    grid = torch.zeros(batch.token_ids.shape, device=batch.device)
    return ValuePrediction(grid, torch.zeros_like(batch.valid_mask), grid[:, 0].clone())


def no_credit(batch: TokenBatch) -> Advantages:
    """No token is trained on."""
    nowhere = torch.zeros_like(batch.valid_mask)
    return Advantages(torch.zeros(batch.token_ids.shape, device=batch.device), nowhere, nowhere[:, 0].clone(), REASON)


def no_targets() -> None:
    """Nothing for a critic to learn."""
