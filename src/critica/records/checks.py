"""How a record refuses to be born wrong: one sentence, naming the record, the field and what was found."""

from torch import Tensor


class RecordError(ValueError):
    """A record was given content that contradicts itself."""


class NonFiniteNumbers(RecordError):
    """A NaN or an infinity where there must be a number. `value` is the tensor that holds it."""

    def __init__(self, quantity: str, value: Tensor) -> None:
        self.quantity, self.value = quantity, value
        bad = int((~value.isfinite()).sum())
        super().__init__(f"{quantity}: {bad} of {value.numel()} entries are not finite")


def require(condition: bool, record: object, problem: str) -> None:
    """Raise `RecordError` naming the record's class unless the condition holds."""
    if not condition:
        raise RecordError(f"{type(record).__name__}: {problem}")


def require_shape(record: object, name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Raise unless `value` has exactly this shape."""
    if tuple(value.shape) != tuple(shape):
        raise RecordError(f"{type(record).__name__}.{name}: shape {tuple(value.shape)}, expected {tuple(shape)}")


def require_finite(record: object, name: str, value: Tensor) -> None:
    """Raise `NonFiniteNumbers` if any entry is NaN or infinite."""
    if not value.isfinite().all():
        raise NonFiniteNumbers(f"{type(record).__name__}.{name}", value)
