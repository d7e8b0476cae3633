"""Moving a record to another device, with all that it holds."""

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

HOST = torch.device("cpu")
Record = TypeVar("Record")


def moved(record: Record, device: torch.device) -> Record:
    """The record with each of its tensors on `device`; the very same object if they are all there already.

    Training works where the policy is: a step's batch goes there once, when its tokens are arrays, and what was made of
    it comes back once, before it is measured and stored. Nothing between the two moves anything.
    """
    if isinstance(record, Tensor):
        return record if _is_there(record, device) else record.to(device)  # type: ignore[return-value]
    if isinstance(record, tuple):
        parts = tuple(moved(part, device) for part in record)
        same = all(new is old for new, old in zip(parts, record, strict=True))
        return record if same else parts  # type: ignore[return-value]
    if not is_dataclass(record) or isinstance(record, type):
        return record
    held = {item.name: getattr(record, item.name) for item in fields(record)}
    changed = {name: new for name, old in held.items() if (new := moved(old, device)) is not old}
    return replace(record, **changed) if changed else record


def _is_there(tensor: Tensor, device: torch.device) -> bool:
    """`cuda` without a number is the device that torch would take."""
    return tensor.device.type == device.type and device.index in (None, tensor.device.index)
