"""What one room may know of another's part without importing it."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


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
class Stateful(Protocol):
    """A live part with memory: what `state_dict` gives is plain JSON, saved with every checkpoint and given back."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
