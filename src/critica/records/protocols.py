"""What one room may know of another's part without importing it."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from critica.records.words import Task

Forecasting = Literal["none", "claimed", "tested"]  # tested: what its forecasts are worth was measured on past groups


@runtime_checkable
class CriticTraits(Protocol):
    """What a rule may ask of a critic's configuration before anything is built."""

    @property
    def group_based(self) -> bool: ...  # its values compare samples of one prompt

    @property
    def flat(self) -> bool: ...  # it says one value for a whole answer

    @property
    def distributional(self) -> bool: ...  # its predictions carry a law with quantiles

    @property
    def needs_distributional_targets(self) -> bool: ...  # its regularizers compare tails, which a point has not


@runtime_checkable
class ForecastTraits(Protocol):
    """What a sample budget may ask of a critic's configuration."""

    @property
    def group_based(self) -> bool: ...

    @property
    def forecasts(self) -> Forecasting: ...


@runtime_checkable
class Forecasts(Protocol):
    """A live critic that knows what to expect of a task before anything is sampled."""

    def forecast(self, tasks: Sequence[Task]) -> tuple[Float[Tensor, "P"], Float[Tensor, "P"]]:
        """P(success) of each task, in [0, 1], and how many outcomes this forecast is worth."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """A live part with memory: what `state_dict` gives is plain JSON, saved with every checkpoint and given back."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class Continues(Protocol):
    """The policy going on from states of this step's answers, told what training is told about the results.

    A state is (row, how many tokens the policy had written); unknown outcomes are NaN. Asked again, it says the same.
    `greedy` goes on with the likeliest token each time: one continuation says it all.
    """

    def outcomes(
        self, states: Sequence[tuple[int, int]], count: int, greedy: bool = False
    ) -> Float[np.ndarray, "n k"]: ...


@runtime_checkable
class Restorable(Protocol):
    """An environment without chance that can be put into the state after any text, and stepped from there.

    States are hashable; equal ones have the same future and the same `repr`, which names their random numbers. No
    legal action: it is over, and nothing more is earned. An action that is not legal may be tried all the same.
    """

    def snapshot(self, task: Task, text: str) -> Hashable: ...

    def legal_actions(self, task: Task, state: Hashable) -> tuple[str, ...]: ...

    def act(self, task: Task, state: Hashable, action: str) -> tuple[Hashable, float]: ...  # the next state, the reward
