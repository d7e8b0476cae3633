"""Which tokens a sampled token was drawn among, when truncated sampling left the others out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from critica.records.checks import require

PLACE = np.dtype("<i4")


@dataclass(frozen=True, slots=True)
class KeptTokens:
    """Of each sampled token in order, the ids it was drawn among, as int32; a count of 0 says the whole vocabulary.

    Both empty: every token was drawn from the whole vocabulary, and nothing is kept. As bytes they compare, travel and
    stay small: 4 bytes an id, and 4 a token.
    """

    counts: bytes = b""
    ids: bytes = b""

    def __post_init__(self) -> None:
        counts, ids = self.arrays()
        require(int(counts.sum()) == len(ids), self, f"{len(ids)} ids for counts that add up to {int(counts.sum())}")

    def __bool__(self) -> bool:
        return bool(self.counts)

    @classmethod
    def of(cls, counts: Sequence[int] | np.ndarray, ids: Sequence[int] | np.ndarray) -> "KeptTokens":
        """From numbers."""
        return cls(np.asarray(counts, PLACE).tobytes(), np.asarray(ids, PLACE).tobytes())

    def arrays(self) -> tuple[Int[np.ndarray, "S"], Int[np.ndarray, "E"]]:
        """How many of each token, and the ids one after the other; read-only."""
        return np.frombuffer(self.counts, PLACE), np.frombuffer(self.ids, PLACE)

    def first(self, tokens: int) -> "KeptTokens":
        """Those of the first so many tokens."""
        if not self:
            return self
        counts, ids = self.arrays()
        return KeptTokens.of(counts[:tokens], ids[: int(counts[:tokens].sum())])

    @property
    def tokens(self) -> int:
        """Of how many tokens it speaks."""
        return len(self.counts) // PLACE.itemsize

    @staticmethod
    def join(turns: Sequence[tuple[int, "KeptTokens"]]) -> "KeptTokens":
        """Of several turns of so many tokens each; nothing if none of them was truncated."""
        if not any(kept for _, kept in turns):
            return NOTHING_CUT
        parts = [kept.arrays() if kept else (np.zeros(tokens, PLACE), np.zeros(0, PLACE)) for tokens, kept in turns]
        return KeptTokens.of(np.concatenate([c for c, _ in parts]), np.concatenate([i for _, i in parts]))


NOTHING_CUT = KeptTokens()
