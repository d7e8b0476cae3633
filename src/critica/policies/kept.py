"""One forward pass kept, with its graph, from the prediction to the update that follows it on the same batch."""

from jaxtyping import Float
from torch import Tensor

from critica.records.arrays import TokenBatch


class KeptStates:
    """Holds the states of one batch until they are taken, once. The batch is known by identity, not by content.

    With one update a step the weights do not change between prediction and update, so the second forward pass would
    repeat the first. `tokens` is the largest batch kept, in grid cells; 0 keeps nothing.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._batch: TokenBatch | None = None
        self._states: Tensor | None = None

    def keep(self, batch: TokenBatch, states: Float[Tensor, "S D"]) -> None:
        """Remember these states, in place of any others."""
        self._batch, self._states = batch, states

    def take(self, batch: TokenBatch) -> Float[Tensor, "S D"] | None:
        """The states of this very batch, if they are here; afterwards nothing is."""
        states = self._states if self._batch is batch else None
        self.forget()
        return states

    def forget(self) -> None:
        """Keep nothing."""
        self._batch = self._states = None
