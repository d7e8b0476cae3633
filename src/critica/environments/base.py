"""What an environment is: a seeded, endless list of tasks, split by prompt text, and a scorer for what was written."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from critica.environments.numbers import parse_number
from critica.environments.splits import Split, normalize, split_of
from critica.records.words import EMPTY, Message, Task

CORRECT = 0.999
SEARCH_FACTOR = 200  # candidates looked at per task wanted, before the search is called hopeless
SEARCH_FLOOR = 2_000
SLIPS = (-10, -2, -1, 1, 2, 10)  # how far wrong numbers lie from the right one: slips of counting and of carrying


class EnvironmentProblem(ValueError):
    """An environment cannot give what was asked of it; the text says what to do."""


@dataclass(frozen=True, slots=True)
class ScorerAddress:
    """Where a fresh, torch-free interpreter finds the scorer.

    `module:factory(settings)` must return `score(answer, info, text) -> float`, with `answer` and `info` a task's.
    """

    module: str
    factory: str
    settings: Mapping[str, Any] = field(default_factory=lambda: EMPTY, hash=False)


class Environment(ABC):
    """A live environment. Candidate i depends only on (environment, seed, i); the text of its prompt picks its split.

    A subclass sets the four attributes and writes `candidate` and `score`. `score` must not change the environment:
    it also runs in worker processes.
    """

    name: str
    seed: int
    reward_range: tuple[float, float] = (0.0, 1.0)
    max_new_tokens: int

    @abstractmethod
    def candidate(self, index: int) -> Task:
        """The index-th task, whatever split its prompt falls in."""

    @abstractmethod
    def score(self, task: Task, text: str) -> float:
        """The raw score of `text` as an answer to `task`, within `reward_range`."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know about these tasks before training on them."""
        return ()

    def fit(self, encode: Callable[[Sequence[Message]], Sequence[int]]) -> None:
        """Shown how the policy that will be asked turns a prompt into tokens, before any task is asked for.

        An environment that leaves out long prompts does so now. Said again, it changes nothing.
        """
        return None

    def size(self, split: Split) -> int | None:
        """How many tasks the split has before they come again; None for an endless source."""
        return None

    def is_correct(self, score: float) -> bool:
        """Whether a raw score counts as a right answer: at least .999, partial credit is not enough."""
        return score >= CORRECT

    def answer_in(self, task: Task, text: str) -> str:
        """The part of `text` that is compared with the answer; empty where there is none."""
        return text.strip()

    def wrong_answer(self, task: Task, chance: np.random.Generator) -> str:
        """A wrong answer of the right kind: a whole number nearby, or what another task of the same source answers.

        A number that is not negative stays so. Raises `EnvironmentProblem` for a task without an answer, or where
        every other task has the same.
        """
        number = parse_number(task.answer.strip())
        if number is not None and number.denominator == 1:
            near = [slip for slip in SLIPS if number < 0 or number + slip >= 0]
            return str(int(number) + near[int(chance.integers(len(near)))])
        source, start = task.info.get("dataset"), int(chance.integers(SEARCH_FLOOR))
        for index in range(start, start + SEARCH_FLOOR):
            other = self.candidate(index)
            answer = other.answer.strip()
            if task.answer.strip() and answer not in ("", task.answer.strip()) and other.info.get("dataset") == source:
                return answer
        raise EnvironmentProblem(f"task {task.task_id!r} has no answer that could be wrong in another way")

    def scorer_address(self) -> ScorerAddress | None:
        """Where a torch-free worker finds the scorer; None: workers are forked and call `score` itself."""
        return None

    def tasks(self, split: Split, start: int = 0) -> Iterator[Task]:
        """The tasks of a split, endlessly, from candidate `start` on (a `TaskStream.cursor`, not a count of tasks)."""
        stream = TaskStream(self, split, start)
        while True:
            yield stream.next()

    def find(self, split: Split, start: int) -> tuple[int, Task]:
        """(index, task) of the split's first candidate from `start` on. Raises after 2,000 of other splits in a row."""
        for index in range(start, start + SEARCH_FLOOR + 1):
            task = self.candidate(index)
            if split_of(task.prompt) == split:
                return index, task
        raise EnvironmentProblem(
            f"environment {self.name!r}: none of {SEARCH_FLOOR} candidates from {start} on has a prompt in the {split} "
            "split: its prompts repeat too much; widen its settings"
        )

    def held_out(self, count: int, split: Split = "held_out") -> tuple[Task, ...]:
        """The first `count` tasks of the held-out split whose normalized prompts are all different.

        Raises `EnvironmentProblem` if a bounded search finds fewer.
        """
        bound = max(SEARCH_FLOOR, SEARCH_FACTOR * count)
        found: dict[str, Task] = {}
        for index in range(bound):
            if len(found) == count:
                break
            task = self.candidate(index)
            if split_of(task.prompt) == split:
                found.setdefault(normalize(task.prompt), task)
        if len(found) < count:
            raise EnvironmentProblem(
                f"environment {self.name!r} gave only {len(found)} distinct {split} prompts in {bound} candidates, "
                f"{count} were asked for: ask for fewer, or widen its settings (more terms, longer words, more digits)"
            )
        return tuple(found.values())


class TaskStream:
    """A split's tasks in order, with a cursor: the index of the next candidate to look at. It never runs out."""

    def __init__(self, environment: Environment, split: Split, cursor: int = 0) -> None:
        self.environment = environment
        self.split: Split = split
        self.cursor = cursor

    def next(self) -> Task:
        """The next task of the split; prompts of other splits are passed over. See `Environment.find`."""
        index, task = self.environment.find(self.split, self.cursor)
        self.cursor = index + 1
        return task

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resume needs to continue with the very next task."""
        return {
            "environment": self.environment.name,
            "seed": self.environment.seed,
            "split": self.split,
            "cursor": self.cursor,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` stopped. Raises if it belongs to another environment, seed or split."""
        mine = self.state_dict()
        for key in ("environment", "seed", "split"):
            if state[key] != mine[key]:
                raise EnvironmentProblem(
                    f"a task stream saved with {key} {state[key]!r} cannot continue with {mine[key]!r}: "
                    f"resume with the settings in the run folder's config.toml"
                )
        self.cursor = int(state["cursor"])


@dataclass(frozen=True)
class EnvironmentConfig(ABC):
    """The settings of an environment: a frozen dataclass whose `build` gives the live object."""

    @abstractmethod
    def build(self, seed: int) -> Environment:
        """The live environment for this seed."""

    def answer_tokens(self, seed: int) -> int:
        """The live environment's `max_new_tokens`; one that reads much to be built says it without."""
        return self.build(seed).max_new_tokens
