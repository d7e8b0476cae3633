"""The long chain: copy a string of bits; one slip anywhere loses, and only the end tells."""

from collections.abc import Hashable
from dataclasses import dataclass

from critica.environments.base import EnvironmentConfig, EnvironmentProblem
from critica.environments.exact import GameEnvironment, Prefix, TokenGame
from critica.functional.random import generator


@dataclass(frozen=True)
class ChainGame(TokenGame):
    """Write `pattern`; the outcome is 1 if every bit is right, so V(prefix) is the product of what remains."""

    pattern: str

    vocabulary = ("0", "1")

    def is_end(self, prefix: Prefix) -> bool:
        """After as many bits as the pattern has: a slip does not end the game."""
        return len(prefix) == len(self.pattern)

    def outcome(self, end: Prefix) -> float:
        """Whether there was no slip."""
        return float(self.state(end) is True)

    def state(self, prefix: Prefix) -> Hashable:
        """Whether there was no slip so far."""
        return all(self.pattern[t] == self.vocabulary[token] for t, token in enumerate(prefix))

    def prompt(self) -> str:
        """As `copy 0110: `."""
        return f"copy {self.pattern}: "


@dataclass(frozen=True)
class Chain(EnvironmentConfig):
    """Patterns of random bits, of one length."""

    length: int = 32

    def __post_init__(self) -> None:
        if self.length < 1:
            raise EnvironmentProblem(f"a chain of length {self.length} is none: give it at least 1 step")

    def build(self, seed: int) -> GameEnvironment:
        """The live family."""

        def draw(index: int) -> ChainGame:
            bits = generator(seed, "environments.chain", index).integers(0, 2, self.length)
            return ChainGame("".join(map(str, bits.tolist())))

        return GameEnvironment("chain", seed, draw, ChainGame, self.length)
