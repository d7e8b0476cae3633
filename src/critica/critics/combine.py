"""What critics made of other critics share: their needs, their memory, and how they learn together."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from critica.advantages.laws import DeclaresLaw
from critica.critics.base import CriticPart, Remembering, Trainable, ValueCritic
from critica.critics.bodies import Body, SharedTrunk
from critica.critics.scalar import ScalarCritic
from critica.records.arrays import Law, Point, RewardBatch, TokenBatch, ValuePrediction, ValueTargets
from critica.records.losses import LossTerm
from critica.records.protocols import Stateful


@runtime_checkable
class HasBody(Protocol):
    """A learned critic's configuration."""

    @property
    def body(self) -> Body: ...


@runtime_checkable
class Composed(Protocol):
    """A live critic made of others."""

    def parts(self) -> tuple[tuple[str, ValueCritic], ...]: ...


def leaves(critic: ValueCritic) -> Iterator[ValueCritic]:
    """The critics that a critic is made of in the end; itself, if of no other."""
    if not isinstance(critic, Composed):
        yield critic
        return
    for _, part in critic.parts():
        yield from leaves(part)


def body_of(part: CriticPart) -> Body | None:
    """Where a learned critic reads its features; None if it does not say (it counts, or is made of others)."""
    return part.body if isinstance(part, HasBody) else None


def refuse_clip(part: CriticPart, owner: str) -> None:
    """Raise ValueError for a clipped value loss: its center would be the combination's prediction, not the part's."""
    if isinstance(part, ScalarCritic) and part.clip:
        raise ValueError(
            f"{owner} predicts something else than the critic inside, so a clip around the prediction would hold that"
            " critic at the wrong place; set its clip=0"
        )


class Around(CriticPart):
    """A configuration around another one, `critic`: what the critic inside can do, so can this one."""

    critic: CriticPart

    @property
    def group_based(self) -> bool:  # type: ignore[override]
        """As the critic inside."""
        return self.critic.group_based

    @property
    def flat(self) -> bool:  # type: ignore[override]
        """As the critic inside."""
        return self.critic.flat

    @property
    def distributional(self) -> bool:  # type: ignore[override]
        """As the critic inside."""
        return self.critic.distributional

    @property
    def needs_distributional_targets(self) -> bool:
        """As the critic inside."""
        return self.critic.needs_distributional_targets

    @property
    def inner_law(self) -> type[Law]:
        """The law of the critic inside; a point, if it does not say."""
        return self.critic.law if isinstance(self.critic, DeclaresLaw) else Point

    @property
    def law(self) -> type[Law]:
        """As the critic inside."""
        return self.inner_law


class Combination(ValueCritic):
    """A critic made of named parts: it needs what they need and passes on what there is to remember."""

    def __init__(self, parts: tuple[tuple[str, ValueCritic], ...]) -> None:
        self._parts = parts
        self.needs = frozenset().union(*(part.needs for _, part in parts))

    def parts(self) -> tuple[tuple[str, ValueCritic], ...]:
        """The live critics inside, by name."""
        return self._parts

    def remember(self, batch: TokenBatch, told: RewardBatch) -> None:
        """Tell every part that has a memory."""
        for _, part in self._parts:
            if isinstance(part, Remembering):
                part.remember(batch, told)

    def state_dict(self) -> dict[str, Any]:
        """What every part with a memory remembers, by its name."""
        return {name: part.state_dict() for name, part in self._parts if isinstance(part, Stateful)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give every part its memory back."""
        for name, part in self._parts:
            if isinstance(part, Stateful):
                part.load_state_dict(state[name])


class Learning(Combination):
    """A combination that learns: each part with weights is taught the same targets, by losses of its own.

    Parts with bodies read side by side: their states are joined along D and taken apart again for the losses. Losses
    of one name are added up, in what is reported too. Each part saves into a folder of its own name.
    """

    def __init__(self, parts: tuple[tuple[str, ValueCritic], ...]) -> None:
        super().__init__(parts)
        self.learners = tuple((name, part) for name, part in parts if isinstance(part, Trainable))
        bodies = {part.has_body for _, part in self.learners}
        weights = {part.trunk_weight for _, part in self.learners}
        if len(bodies) != 1 or len(weights) != 1:
            raise ValueError(
                "critics that learn together must read alike: give all of them body=own (or small), or all of them"
                " body=shared with one weight"
            )
        self.has_body, self.trunk_weight = bodies.pop(), weights.pop()
        self.shapes_trunk = any(part.shapes_trunk for _, part in self.learners)
        self._widths: list[int] = []

    def states(self, batch: TokenBatch) -> Float[Tensor, "S D"]:
        """The parts' states side by side."""
        found = [part.states(batch) for _, part in self.learners]
        self._widths = [part.shape[-1] for part in found]
        return torch.cat(found, -1) if len(found) > 1 else found[0]

    def loss(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        """Every part's loss terms."""
        own = states.split(self._widths, -1) if self.has_body else [states] * len(self.learners)
        return tuple(
            term
            for number, (part, read) in enumerate(zip(self.learners, own, strict=True))
            for term in self.taught(number, part[1].loss(read, batch, targets, values), batch)
        )

    def taught(self, number: int, terms: tuple[LossTerm, ...], batch: TokenBatch) -> tuple[LossTerm, ...]:
        """What the part of this number is taught of its loss: all of it."""
        return terms

    def trainable(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Every part's parameters: `head.x` of part p is `head.p.x`, so that heads keep a rate of their own."""
        for name, part in self.learners:
            for path, weight in part.trainable():
                kind, _, rest = path.partition(".")
                yield f"{kind}.{name}.{rest}", weight

    def save(self, folder: Path) -> None:
        """One folder for each part that learns."""
        for name, part in self.learners:
            part.save(folder / name)

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""
        for name, part in self.learners:
            part.load(folder / name)


def require_trainable(critic: ValueCritic, owner: str) -> Trainable:
    """The critic, if it learns. Raises ValueError, with the way out, if it counts."""
    if not isinstance(critic, Trainable):
        raise ValueError(f"{owner} needs a critic with weights inside, and {type(critic).__name__} has none;"
                         f" set critic.critic=scalar, critic.critic=quantile or another that learns")  # fmt: skip
    return critic


def reads_policy(part: CriticPart) -> bool:
    """Whether a learned critic reads the policy's own states."""
    return isinstance(body_of(part), SharedTrunk)
