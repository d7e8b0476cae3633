"""The two-branch game: one token decides the outcome, all others are filler; a good critic jumps exactly there."""

from collections.abc import Hashable
from dataclasses import dataclass

from critica.environments.base import EnvironmentConfig, EnvironmentProblem
from critica.environments.exact import GameEnvironment, Prefix, TokenGame
from critica.functional.random import generator

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class TwoBranchGame(TokenGame):
    """`length` letters out of `letters`; the outcome is 1 if the one at `decisive` (counted from 0) is `winning`."""

    length: int
    decisive: int
    winning: str
    letters: str = "abcd"

    @property
    def vocabulary(self) -> tuple[str, ...]:  # type: ignore[override]
        """The letters."""
        return tuple(self.letters)

    def is_end(self, prefix: Prefix) -> bool:
        """After `length` letters."""
        return len(prefix) == self.length

    def outcome(self, end: Prefix) -> float:
        """Whether the decisive letter is the winning one."""
        return float(self.state(end) == 1)

    def state(self, prefix: Prefix) -> Hashable:
        """-1: not decided yet; else whether it was won (1) or lost (0)."""
        return int(self.letters[prefix[self.decisive]] == self.winning) if len(prefix) > self.decisive else -1

    def prompt(self) -> str:
        """As `8 letters of abcd, number 3 is b: `."""
        return f"{self.length} letters of {self.letters}, number {self.decisive + 1} is {self.winning}: "


@dataclass(frozen=True)
class TwoBranch(EnvironmentConfig):
    """Games with letter sets, lengths and decisive places drawn at random."""

    min_length: int = 4
    max_length: int = 16
    letters: int = 4

    def __post_init__(self) -> None:
        if not (1 <= self.min_length <= self.max_length and 2 <= self.letters <= 26):
            raise EnvironmentProblem(f"{self}: it needs 1 <= min_length <= max_length and 2 to 26 letters")

    def build(self, seed: int) -> GameEnvironment:
        """The live family."""

        def draw(index: int) -> TwoBranchGame:
            rng = generator(seed, "environments.two_branch", index)
            letters = "".join(sorted(LETTERS[i] for i in rng.permutation(26)[: self.letters]))
            length = int(rng.integers(self.min_length, self.max_length + 1))
            return TwoBranchGame(
                length, int(rng.integers(0, length)), letters[int(rng.integers(0, self.letters))], letters
            )

        return GameEnvironment("two_branch", seed, draw, TwoBranchGame, self.max_length)
