"""What one room may know of another's part without importing it."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class CriticTraits(Protocol):
    """What a rule may ask of a critic's configuration before anything is built."""

    @property
    def group_based(self) -> bool: ...  # its values compare samples of one prompt

    @property
    def distributional(self) -> bool: ...  # its predictions carry a law with quantiles

    @property
    def needs_distributional_targets(self) -> bool: ...  # its regularizers compare tails, which a point has not
