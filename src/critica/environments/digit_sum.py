"""The digit-sum game: write so many digits that a running sum meets its target; only the end tells."""

from collections.abc import Hashable
from dataclasses import dataclass

from critica.environments.base import EnvironmentConfig, EnvironmentProblem
from critica.environments.exact import GameEnvironment, Prefix, TokenGame
from critica.functional.random import generator


@dataclass(frozen=True)
class DigitSumGame(TokenGame):
    """`length` digits below `base`; the outcome is 1 if `offset` plus their sum is `target`."""

    offset: int
    length: int
    target: int
    base: int = 10

    @property
    def vocabulary(self) -> tuple[str, ...]:  # type: ignore[override]
        """The digits."""
        return tuple("0123456789"[: self.base])

    def is_end(self, prefix: Prefix) -> bool:
        """After `length` digits."""
        return len(prefix) == self.length

    def outcome(self, end: Prefix) -> float:
        """Whether the sum is met."""
        return float(self.offset + sum(end) == self.target)

    def state(self, prefix: Prefix) -> Hashable:
        """The sum so far."""
        return sum(prefix)

    def prompt(self) -> str:
        """As `37 and 3 digits make 52: `."""
        return f"{self.offset} and {self.length} digits make {self.target}: "


@dataclass(frozen=True)
class DigitSum(EnvironmentConfig):
    """Games whose target is the sum of digits drawn at random, so that each can be won."""

    min_length: int = 2
    max_length: int = 4
    max_offset: int = 99
    base: int = 10

    def __post_init__(self) -> None:
        if not (1 <= self.min_length <= self.max_length and 2 <= self.base <= 10 and self.max_offset >= 0):
            raise EnvironmentProblem(
                f"{self}: it needs 1 <= min_length <= max_length, a base from 2 to 10, and max_offset of at least 0"
            )

    def build(self, seed: int) -> GameEnvironment:
        """The live family."""

        def draw(index: int) -> DigitSumGame:
            rng = generator(seed, "environments.digit_sum", index)
            length = int(rng.integers(self.min_length, self.max_length + 1))
            offset = int(rng.integers(0, self.max_offset + 1))
            target = offset + int(rng.integers(0, self.base, length).sum())
            return DigitSumGame(offset, length, target, self.base)

        return GameEnvironment("digit_sum", seed, draw, DigitSumGame, self.max_length)
