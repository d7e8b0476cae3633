"""What the critics bench measures, by default and in its small slice."""

from dataclasses import dataclass, field

from critica.benches.critics_entries import ENTRIES
from critica.benches.critics_fields import FIELDS
from critica.benches.critics_lesson import Effort
from critica.benches.critics_trial import Budget
from critica.benches.critics_world import Sizes


@dataclass(frozen=True, slots=True)
class Curve:
    """More and fewer earlier answers for some critics on some fields: is a poor critic short of data?"""

    entries: tuple[str, ...] = ("scalar",)
    fields: tuple[str, ...] = ("digit_sum", "arithmetic")
    answers: tuple[int, ...] = (512, 4_096, 8_192)


@dataclass(frozen=True, slots=True)
class CriticsSettings:
    """What is measured. `also` adds critics to `entries`, by specs such as `surprise` or `quantile:heads=1`."""

    fields: tuple[str, ...] = tuple(FIELDS)
    entries: tuple[str, ...] = ENTRIES
    also: tuple[str, ...] = ()
    sizes: Sizes = field(default_factory=Sizes)
    budget: Budget = field(default_factory=Budget)
    effort: Effort = field(default_factory=Effort)
    curve: Curve = field(default_factory=Curve)
    continuations: int = 64
    references: int = 16

    def __post_init__(self) -> None:
        unknown = sorted({*self.fields, *self.curve.fields} - set(FIELDS))
        if unknown:
            raise ValueError(f"there is no field {unknown[0]!r}: there are {', '.join(FIELDS)}")
        if self.continuations < 2 or self.references < 1:
            raise ValueError("a truth needs at least two continuations of each state, a reference at least one")


QUICK = (
    "sizes.prompts=8", "sizes.answers=2", "sizes.pool=32", "budget.past=512", "budget.seconds=4", "effort.epochs=2",
    "continuations=32", "references=8", "curve.entries=[]",
)  # fmt: skip
