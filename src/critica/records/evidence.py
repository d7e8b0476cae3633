"""What the parts declared that they need, computed once per step and carried in a map keyed by record class."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.records.checks import RecordError, require, require_finite
from critica.records.protocols import Continues, Restorable
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


@dataclass(frozen=True, slots=True)
class Continuations:
    """Someone who goes on from this step's answers when asked: what is not asked for is never sampled."""

    live: Continues


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The environment itself, to be put back to any state of this step's answers."""

    environment: Restorable


@dataclass(frozen=True, slots=True)
class SaidError:
    """How far what is said may be from the truth on average, in units of reward, by the correction's own reckoning."""

    error: float


@dataclass(frozen=True, slots=True)
class View:
    """Another reading of the same sampled tokens: the state before each token that it covers, row-major, and a head.

    States, not logits: [tokens V] exists only for the piece of a batch at hand. Nothing of it carries a gradient.
    """

    name: str
    states: Float[Tensor, "C D"]
    covers: Bool[Tensor, "N T"]  # C cells
    head: Callable[[Tensor], Tensor]  # states [S D] to logits [S V], in fp32 or better

    def __post_init__(self) -> None:
        cells = int(self.covers.sum())
        require(len(self.states) == cells, self, f"{len(self.states)} states for {cells} tokens of view {self.name!r}")
        require(not self.states.requires_grad, self, f"the states of view {self.name!r} carry a gradient: detach them")
        require_finite(self, "states", self.states)

    def at(self, mask: Bool[Tensor, "N T"]) -> Float[Tensor, "S D"]:
        """The states before the masked tokens, row-major. Raises `RecordError` for a token that it does not cover."""
        require(not bool((mask & ~self.covers).any()), self, f"view {self.name!r} does not cover some of these tokens")
        return self.states[mask[self.covers]]

    def logits(self, mask: Bool[Tensor, "N T"]) -> Float[Tensor, "S V"]:
        """The logits that each masked token was scored by, row-major, without gradient."""
        with torch.no_grad():
            return self.head(self.at(mask))

    def select(self, rows: Int[Tensor, "R"], width: int) -> "View":
        """These rows, cut to this width."""
        place = torch.full(self.covers.shape, -1, dtype=torch.long, device=self.covers.device)
        place[self.covers] = torch.arange(len(self.states), device=place.device)
        covers = self.covers[rows, :width]
        return replace(self, states=self.states[place[rows, :width][covers]], covers=covers)


@dataclass(frozen=True, slots=True)
class Views:
    """Frozen models that an objective compares the policy with, by name."""

    views: tuple[View, ...]

    def __getitem__(self, name: str) -> View:
        for view in self.views:
            if view.name == name:
                return view
        raise RecordError(f"there is no view {name!r}; there are {', '.join(v.name for v in self.views) or 'none'}")

    def select(self, rows: Int[Tensor, "R"], width: int) -> "Views":
        """These rows of every view."""
        return Views(tuple(view.select(rows, width) for view in self.views))


EvidenceItem = (
    HiddenStates | ReferenceLogprobs | ProximalLogprobs | Groups | Continuations | Snapshots | Views | SaidError
)
Kind = TypeVar(
    "Kind", HiddenStates, ReferenceLogprobs, ProximalLogprobs, Groups, Continuations, Snapshots, Views, SaidError
)  # fmt: skip


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
