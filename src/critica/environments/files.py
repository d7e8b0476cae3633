"""A file of tasks (JSON lines or Parquet) as an environment: a finite list, asked again in a new order each epoch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int

from critica.environments.answers import Extract, extract_answer
from critica.environments.base import Environment, EnvironmentConfig, ScorerAddress
from critica.environments.matching import make_scorer
from critica.environments.row_files import SUFFIXES, RowFile
from critica.environments.rows import Columns, TaskFileProblem, near, shown
from critica.environments.splits import SPLITS, Split, normalize
from critica.functional.random import generator
from critica.records.words import Task

ANSWER = "answer"
WINDOW = 512  # rows of the order looked at together
SHARES = "prompts are split by a hash of their text: half warm-start, three tenths train, two tenths held out"


@dataclass(frozen=True)
class TaskFile(EnvironmentConfig):
    """Tasks from `path`: the column `prompt` asks (text, or a list of {role, content} messages), `answer` is right.

    Every other column goes to `Task.info`. A file without answers needs a reward of your own. `extract` says which
    part of a completion is compared with the answer by the environment's own scorer (`answers.extract_answer`).
    `shuffle` gives each epoch an order of its own; without it each has the file's.
    """

    path: str
    prompt: str = "prompt"
    answer: str = ANSWER
    extract: Extract = "whole"
    max_new_tokens: int = 128
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not self.path.lower().endswith(SUFFIXES) or not is_writable(self.path):
            raise TaskFileProblem(
                f"{shown(self.path)} is no task file: write one JSON object a line into a {' or '.join(SUFFIXES)} file"
            )
        if self.prompt == self.answer:
            raise TaskFileProblem(f"column {shown(self.prompt)} cannot be both the prompt and the answer: name two")
        if self.max_new_tokens < 1:
            raise TaskFileProblem(f"max_new_tokens is {self.max_new_tokens}: an answer has at least 1 token")
        object.__setattr__(self, "path", str(Path(self.path).absolute()))  # a run resumes from any folder

    def build(self, seed: int) -> "TaskFileEnvironment":
        """The live environment: reads the whole file once. Raises `TaskFileProblem` for the first row that is wrong."""
        return TaskFileEnvironment(self, seed)


def is_writable(path: str) -> bool:
    """Whether a config file can hold this path."""
    return path.isprintable() and not any("\ud800" <= character <= "\udfff" for character in path)


class TaskFileEnvironment(Environment):
    """The live environment. Its name holds a digest of the file: a run does not resume on another file's tasks."""

    def __init__(self, config: TaskFile, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.max_new_tokens = config.max_new_tokens
        self.reward_range = (0.0, 1.0)
        self._rows = RowFile(Path(config.path), Columns(config.prompt, config.answer))
        self.tally = self._rows.tally
        self.name = f"{Path(config.path).name}@{self._rows.digest}"
        self._order = -1, np.arange(0)  # an epoch, and its order
        if config.answer != ANSWER and not self.tally.has_answers:
            raise TaskFileProblem(
                f"{config.path}: no row has a column {shown(config.answer)}{near(config.answer, self.tally.columns)}"
            )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Prompts that stand there more than once, and whether their answers agree."""
        tally = self.tally
        if not tally.duplicates:
            return ()
        wrong = f", {tally.contradictions} of them with another answer" if tally.contradictions else ""
        return (f"{self.config.path}: {tally.duplicates:,} of {tally.rows:,} tasks repeat a prompt{wrong}",)

    def candidate(self, index: int) -> Task:
        """Place `index` of the endless order: epoch `index // rows`, whose order hangs on (seed, epoch) alone.

        A task keeps its id from epoch to epoch, so that noise which belongs to a prompt comes back with it.
        """
        epoch, place = divmod(index, len(self._rows))
        number = int(self._epoch(epoch)[place])
        row = self._rows.row(number)
        return Task(f"{self.name}/{number + 1}", self.name, row.messages, row.answer, row.info, self.seed)

    def find(self, split: Split, start: int) -> tuple[int, Task]:
        """The first task of the split from place `start` on, without reading the rows between."""
        rows = len(self._rows)
        at = start
        while at < start + 2 * rows:  # the rest of this epoch and all of the next one
            epoch, place = divmod(at, rows)
            window = self._epoch(epoch)[place : place + WINDOW]
            hits = np.flatnonzero(self._rows.splits[window] == SPLITS.index(split))
            if len(hits):
                return at + int(hits[0]), self.candidate(at + int(hits[0]))
            at += len(window)
        raise TaskFileProblem(
            f"{self.config.path}: none of its {rows:,} rows has a prompt in the {split} split ({SHARES}): add tasks"
        )

    def held_out(self, count: int, split: Split = "held_out") -> tuple[Task, ...]:
        """The first `count` tasks of the split with different prompts, in the order of epoch 0."""
        found: dict[str, Task] = {}
        for place in np.flatnonzero(self._rows.splits[self._epoch(0)] == SPLITS.index(split)).tolist():
            if len(found) == count:
                break
            task = self.candidate(place)
            found.setdefault(normalize(task.prompt), task)
        if len(found) < count:
            raise TaskFileProblem(
                f"{self.config.path} has {len(found):,} different {split} prompts in {len(self._rows):,} rows,"
                f" {count:,} were asked for ({SHARES}): ask for fewer, or add tasks"
            )
        return tuple(found.values())

    def score(self, task: Task, text: str) -> float:
        """1 if the extracted text is the answer, outer white space aside. Raises if the file has no answers."""
        self._require_answers()
        return self._scorer(task.answer, task.info, text)

    def answer_in(self, task: Task, text: str) -> str:
        """The part of `text` that is compared."""
        return extract_answer(text, self.config.extract, task.answer)

    def scorer_address(self) -> ScorerAddress:
        """`matching.make_scorer`, which needs no torch. Raises if the file has no answers."""
        self._require_answers()
        return ScorerAddress("critica.environments.matching", "make_scorer", {"extract": self.config.extract})

    @cached_property
    def _scorer(self) -> Callable[[str, Mapping[str, object], str], float]:
        return make_scorer({"extract": self.config.extract})

    def _require_answers(self) -> None:
        if not self.tally.has_answers:
            columns = ", ".join(map(shown, self.tally.columns)) or "none besides the prompt"
            raise TaskFileProblem(
                f"{self.config.path} has no column {shown(self.config.answer)}, so nothing says which answer is right:"
                f" name the column that does (--set environment.answer=…; it has {columns}), or judge with your own"
                " code (--set reward=my_file.py:function), without held-out accuracy (held_out.prompts=0)"
            )

    def _epoch(self, epoch: int) -> Int[np.ndarray, "R"]:
        """Row numbers in the order of this epoch."""
        if self._order[0] != epoch:
            rows = len(self._rows)
            shuffled = generator(self.seed, "environments.files", epoch).permutation(rows)
            self._order = epoch, shuffled if self.config.shuffle else np.arange(rows)
        return self._order[1]
