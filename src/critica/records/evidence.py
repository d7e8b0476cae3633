"""What the parts declared that they need, computed once per step and carried in a map keyed by record class."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from critica.records.checks import RecordError, require_finite
from critica.records.words import Group


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """The policy's last hidden state before each sampled token, row-major (`scatter_sampled` undoes it), detached."""

    states: Float[Tensor, "S D"]
    bootstrap: Float[Tensor, "N D"]  # the state after each row's last token

    def __post_init__(self) -> None:
        require_finite(self, "states", self.states)
        require_finite(self, "bootstrap", self.bootstrap)


@dataclass(frozen=True, slots=True)
class ReferenceLogprobs:
    """Log-probs of the sampled tokens under a frozen, named snapshot; zero elsewhere."""

    name: str
    logprobs: Float[Tensor, "N T"]

    def __post_init__(self) -> None:
        require_finite(self, "logprobs", self.logprobs)


@dataclass(frozen=True, slots=True)
class ProximalLogprobs:
    """Log-probs at the start of this update: the center of the trust region; zero elsewhere."""

    logprobs: Float[Tensor, "N T"]

    def __post_init__(self) -> None:
        require_finite(self, "logprobs", self.logprobs)


@dataclass(frozen=True, slots=True)
class Groups:
    """The words themselves, for parts that read text."""

    groups: tuple[Group, ...]


EvidenceItem = HiddenStates | ReferenceLogprobs | ProximalLogprobs | Groups
Kind = TypeVar("Kind", HiddenStates, ReferenceLogprobs, ProximalLogprobs, Groups)


class Evidence:
    """A typed map: `evidence[HiddenStates]` is that record or an error, never None."""

    def __init__(self, *items: EvidenceItem) -> None:
        self._items = {type(item): item for item in items}

    def __getitem__(self, kind: type[Kind]) -> Kind:
        if kind not in self._items:
            held = ", ".join(sorted(item.__name__ for item in self._items)) or "nothing"
            raise RecordError(
                f"Evidence holds {held}, not {kind.__name__}: the part that reads it must list it in `needs`"
            )
        return self._items[kind]  # type: ignore[return-value]

    def __contains__(self, kind: type) -> bool:
        return kind in self._items

    def __iter__(self) -> Iterator[EvidenceItem]:
        return iter(self._items.values())
