"""What a critic is: something that says what was expected before each token, and may learn from what happened."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from critica.policies.base import TrainablePolicy
from critica.records.arrays import Metric, RewardBatch, TokenBatch, ValuePrediction, ValueTargets
from critica.records.evidence import Evidence
from critica.records.losses import LossTerm
from critica.records.protocols import Forecasting


@dataclass(frozen=True, slots=True)
class CriticContext:
    """What a critic may lean on when it is built."""

    policy: TrainablePolicy
    seed: int
    reward_low: float
    reward_high: float


class CriticPart(ABC):
    """A critic's configuration: a frozen dataclass; `build` gives the live critic."""

    group_based: ClassVar[bool] = False
    distributional: ClassVar[bool] = False
    flat: ClassVar[bool] = False
    forecasts: ClassVar[Forecasting] = "none"

    @property
    def needs_distributional_targets(self) -> bool:
        """Whether its loss compares tails of laws, which a point target has not."""
        return False

    @abstractmethod
    def build(self, context: CriticContext) -> "ValueCritic": ...


class ValueCritic(ABC):
    """A live critic. `predict` is deterministic and carries no gradient; only counted critics look at `told`."""

    needs: frozenset[type] = frozenset()

    @abstractmethod
    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction: ...


@runtime_checkable
class HasWeights(Protocol):
    """A critic with weights of its own, however it learns: an optimizer owns them and a checkpoint holds them."""

    def trainable(self) -> Iterable[tuple[str, nn.Parameter]]: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


@runtime_checkable
class Reporting(Protocol):
    """A critic with something to report about its last prediction that the values do not show."""

    def report(self) -> tuple[Metric, ...]: ...


@runtime_checkable
class Trainable(Protocol):
    """A critic with weights that learns from targets: the learner drives it.

    A critic on a shared trunk has no body: the learner hands it the policy's states, detached unless `shapes_trunk`.
    """

    has_body: bool
    shapes_trunk: bool
    trunk_weight: float

    def states(self, batch: TokenBatch) -> Float[Tensor, "S D"]: ...

    def loss(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]: ...

    def trainable(self) -> Iterable[tuple[str, nn.Parameter]]: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


@runtime_checkable
class Remembering(Protocol):
    """A critic with memory: told of every step that was learned from, after it was. See also `records.Stateful`."""

    def remember(self, batch: TokenBatch, told: RewardBatch) -> None: ...


@runtime_checkable
class Teaching(Protocol):
    """A critic made of language models that an objective may draw the policy to, by name."""

    @property
    def views(self) -> tuple[tuple[str, TrainablePolicy], ...]: ...
