"""A blend of two critics: shrinkage of one toward the other."""

from dataclasses import dataclass, field

from critica.critics.base import CriticContext, CriticPart, Trainable, ValueCritic
from critica.critics.combine import Combination, Learning, refuse_clip
from critica.critics.counted import GroupMean
from critica.critics.scalar import ScalarCritic
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Blend(CriticPart):
    """V = weight V_first + (1 - weight) V_second, spoken where both speak.

    ProAct's 0.9 Monte-Carlo + 0.1 network (arXiv 2602.05327), or a group's mean shrunk toward a value head where few
    samples stand behind it. Each part that learns is taught by targets that bootstrap from the blend. Its law is a
    point. Weight 1 or 0 is one of the two. Use it when one critic is unbiased and noisy and the other is neither. Not
    to join two critics that err alike. With a part that compares siblings, credit must be `advantage=outcome`. Costs
    what both cost. A counted value's `support` is kept where only one of the two counts; where both do, it is the
    smaller.
    """

    weight: float = 0.5
    first: CriticPart = field(default_factory=GroupMean)
    second: CriticPart = field(default_factory=ScalarCritic)

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight is the first critic's share, in [0, 1], got {self.weight}")
        for part in (self.first, self.second):
            refuse_clip(part, "a blend")

    @property
    def group_based(self) -> bool:  # type: ignore[override]
        """Whether either compares siblings, and so must have some."""
        return self.first.group_based or self.second.group_based

    @property
    def flat(self) -> bool:  # type: ignore[override]
        """Whether both say one value an answer."""
        return self.first.flat and self.second.flat

    @property
    def distributional(self) -> bool:  # type: ignore[override]
        """Never: two laws blended are no law of either kind."""
        return False

    @property
    def needs_distributional_targets(self) -> bool:
        """Whether either does; then it cannot be taught here, and the recipe says so."""
        return self.first.needs_distributional_targets or self.second.needs_distributional_targets

    def build(self, context: CriticContext) -> ValueCritic:
        parts = (("first", self.first.build(context)), ("second", self.second.build(context)))
        learns = any(isinstance(part, Trainable) for _, part in parts)
        return LearningBlend(parts, self.weight) if learns else CountedBlend(parts, self.weight)


def blended(first: ValuePrediction, second: ValuePrediction, weight: float) -> ValuePrediction:
    """The two predictions, weighted. A blend with nodes coarser than tokens takes those of whoever has them."""
    mask = first.mask & second.mask
    supports = [part.support for part in (first, second) if part.support is not None]
    if first.nodes is not None and second.nodes is not None and not bool((first.nodes == second.nodes).all()):
        raise ValueError("a blend's two critics number their states differently: blend critics of the same nodes")
    return ValuePrediction(
        (weight * first.mean + (1 - weight) * second.mean).where(mask, 0.0),
        mask,
        bootstrap=weight * first.bootstrap + (1 - weight) * second.bootstrap,
        support=None if not supports else supports[0] if len(supports) == 1 else supports[0].minimum(supports[1]),
        uses_own_outcome=(first.uses_own_outcome and weight > 0) or (second.uses_own_outcome and weight < 1),
        uses_siblings=(first.uses_siblings or weight == 0) and (second.uses_siblings or weight == 1),
        nodes=first.nodes if first.nodes is not None else second.nodes,
    )


class CountedBlend(Combination):
    """A blend of critics without weights."""

    def __init__(self, parts: tuple[tuple[str, ValueCritic], ...], weight: float) -> None:
        super().__init__(parts)
        self.weight = weight

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        first, second = (part.predict(batch, told, evidence) for _, part in self.parts())
        return blended(first, second, self.weight)


class LearningBlend(CountedBlend, Learning):
    """A blend of which at least one part learns."""
