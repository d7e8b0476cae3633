"""How a record refuses to be born wrong: one sentence, naming the record, the field and what was found."""

from torch import Tensor


class RecordError(ValueError):
    """A record was given content that contradicts itself."""


def require(condition: bool, record: object, problem: str) -> None:
    """Raise `RecordError` naming the record's class unless the condition holds."""
    if not condition:
        raise RecordError(f"{type(record).__name__}: {problem}")


def require_shape(record: object, name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Raise unless `value` has exactly this shape."""
    if tuple(value.shape) != tuple(shape):
        raise RecordError(f"{type(record).__name__}.{name}: shape {tuple(value.shape)}, expected {tuple(shape)}")


def require_finite(record: object, name: str, value: Tensor) -> None:
    """Raise if any entry is NaN or infinite."""
    if not value.isfinite().all():
        bad = int((~value.isfinite()).sum())
        raise RecordError(f"{type(record).__name__}.{name}: {bad} of {value.numel()} entries are not finite")
