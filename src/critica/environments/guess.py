"""Guess one of M: nothing in the question tells which, so only what was said to be wrong helps the next attempt.

After k different wrong guesses the chance of the next one, if it repeats none, is 1 / (M - k): the value of that
state, known exactly. With one attempt no policy is better than 1 / M.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace

from critica.environments.base import EnvironmentConfig, EnvironmentProblem
from critica.environments.exact import GameEnvironment, Prefix, TokenGame
from critica.functional.random import generator
from critica.records.words import Task

DIGITS = "123456789"


@dataclass(frozen=True)
class GuessGame(TokenGame):
    """One digit out of the first `choices`; the outcome is 1 if it is number `right`. `box` only tells tasks apart."""

    box: int
    choices: int
    right: int

    @property
    def vocabulary(self) -> tuple[str, ...]:  # type: ignore[override]
        """The digits from 1 on."""
        return tuple(DIGITS[: self.choices])

    def is_end(self, prefix: Prefix) -> bool:
        """After one digit."""
        return len(prefix) == 1

    def outcome(self, end: Prefix) -> float:
        """Whether it is the one."""
        return float(end[0] == self.right)

    def state(self, prefix: Prefix) -> Hashable:
        """The guess."""
        return prefix

    def prompt(self) -> str:
        """As `box 17, guess 1 to 4: `."""
        return f"box {self.box}, guess 1 to {self.choices}: "


@dataclass(frozen=True)
class Guess(EnvironmentConfig):
    """`choices` digits from 1 on, one of them right, drawn evenly."""

    choices: int = 4

    def __post_init__(self) -> None:
        if not 2 <= self.choices <= len(DIGITS):
            raise EnvironmentProblem(f"guess has 2 to 9 choices, each one digit, not {self.choices}")

    def build(self, seed: int) -> "GuessEnvironment":
        """The live family."""
        return GuessEnvironment(self, seed)


class GuessEnvironment(GameEnvironment):
    """The live family. A task's answer is the right digit: for who judges or helps, never for the policy."""

    def __init__(self, config: Guess, seed: int) -> None:
        def draw(index: int) -> GuessGame:
            rng = generator(seed, "environments.guess", index)
            return GuessGame(int(rng.integers(0, 10_000)), config.choices, int(rng.integers(0, config.choices)))

        super().__init__("guess", seed, draw, GuessGame, 1)

    def candidate(self, index: int) -> Task:
        """Question `index`."""
        task = super().candidate(index)
        return replace(task, answer=DIGITS[task.info["right"]])

    def answer_in(self, task: Task, text: str) -> str:
        """The digit, if the text is one of the choices and nothing else."""
        return text.strip() if self.game(task).parse(text) is not None else ""
