"""Tasks from a file or a data set as an environment: a finite list, asked again in a new order each epoch."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int

from critica.environments.answers import Extract, extract_answer
from critica.environments.base import Environment, EnvironmentConfig, ScorerAddress
from critica.environments.hub import PREFIX, hub_name
from critica.environments.keep import parse_condition
from critica.environments.matching import make_scorer
from critica.environments.row_files import LEFT_OUT, RowFile
from critica.environments.rows import Columns, TaskFileProblem, near, shown
from critica.environments.sources import SUFFIXES, is_folder
from critica.environments.splits import SPLITS, Split, Splits, normalize
from critica.functional.random import generator
from critica.records.words import Message, Task

ANSWER = "answer"
WINDOW = 512  # rows of the order looked at together


@dataclass(frozen=True)
class TaskFile(EnvironmentConfig):
    """Tasks from `path`: the column `prompt` asks (text, or a list of {role, content} messages), `answer` is right.

    `path` is a .jsonl or .parquet file, a folder of them (`train.jsonl`, `test.jsonl`, …), a folder that `datasets`
    saved, or `hf:NAME[:SUBSET][@REVISION]`. A column may be a field inside of one: `reward_model.ground_truth`. Every
    other column goes to `Task.info`. Without answers, bring a reward of your own. `extract` says which part of a
    completion is compared with the answer by the environment's own scorer (`answers.extract_answer`). `shuffle` gives
    each epoch an order of its own; without it each has the file's. `splits` says what is trained on and what is held
    out, `keep` which rows are used at all (`keep.parse_condition`): all of its conditions must hold.
    """

    path: str
    prompt: str = "prompt"
    answer: str = ANSWER
    extract: Extract = "whole"
    max_new_tokens: int = 128
    shuffle: bool = True
    splits: Splits = Splits()
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_source(self.path):
            raise TaskFileProblem(
                f"{shown(self.path)} is no task file: write one JSON object a line into a {' or '.join(SUFFIXES)} file,"
                " or name a folder of such files that is there, or a data set as hf:OWNER/NAME"
            )
        if self.prompt == self.answer:
            raise TaskFileProblem(f"column {shown(self.prompt)} cannot be both the prompt and the answer: name two")
        if self.max_new_tokens < 1:
            raise TaskFileProblem(f"max_new_tokens is {self.max_new_tokens}: an answer has at least 1 token")
        for text in self.keep:
            parse_condition(text)
        if self.path.startswith(PREFIX):
            hub_name(self.path)
        else:
            object.__setattr__(self, "path", str(Path(self.path).absolute()))  # a run resumes from any folder

    @property
    def stem(self) -> str:
        """What the tasks are called after."""
        return hub_name(self.path).short if self.path.startswith(PREFIX) else Path(self.path).name

    def answer_tokens(self, seed: int) -> int:
        """Nothing is read."""
        return self.max_new_tokens

    def build(self, seed: int) -> "TaskFileEnvironment":
        """The live environment: reads the whole file once. Raises `TaskFileProblem` for the first row that is wrong."""
        return TaskFileEnvironment(self, seed)


def is_source(path: str) -> bool:
    """Whether this may be the path of tasks, and a config file can hold it."""
    writable = path.isprintable() and not any("\ud800" <= character <= "\udfff" for character in path)
    return writable and (path.startswith(PREFIX) or path.lower().endswith(SUFFIXES) or is_folder(Path(path)))


class TaskFileEnvironment(Environment):
    """The live environment. Its name holds a digest of rows, splits and conditions: a run does not resume on others."""

    def __init__(self, config: TaskFile, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.max_new_tokens = config.max_new_tokens
        self.reward_range = (0.0, 1.0)
        self._keep = [parse_condition(text) for text in config.keep]
        self._rows = RowFile(config.path, Columns(config.prompt, config.answer), config.splits, self._keep)
        self.tally = self._rows.tally
        chosen = f"{self._rows.digest} {config.splits} {config.keep}"
        self.name = f"{config.stem}@{hashlib.blake2b(chosen.encode(), digest_size=4).hexdigest()}"
        self._too_long: dict[str, int] = {}
        self._fitted = not any(condition.of_length for condition in self._keep)
        self._order = -1, np.arange(0)  # an epoch, and its order
        if config.answer != ANSWER and not self.tally.has_answers:
            raise TaskFileProblem(
                f"{config.path}: no row has a column {shown(config.answer)}{near(config.answer, self.tally.columns)}"
            )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out, prompts that stand there more than once, and whether their answers agree."""
        tally, path = self.tally, self.config.path
        said = [
            f"{path}: {count:,} tasks do not meet {shown(text)} and are left out"
            for text, count in {**tally.dropped, **self._too_long}.items() if count
        ]  # fmt: skip
        if tally.shared:
            said.append(
                f"{path}: {tally.shared:,} tasks to train on stand in the held-out split as well and are left out"
            )
        if tally.duplicates:
            wrong = f", {tally.contradictions} of them with another answer" if tally.contradictions else ""
            said.append(f"{path}: {tally.duplicates:,} of {tally.rows:,} tasks repeat a prompt{wrong}")
        return tuple(said)

    def fit(self, encode: Callable[[Sequence[Message]], Sequence[int]]) -> None:
        """Leave out the prompts whose length in tokens does not meet `keep`; once."""
        if self._fitted:
            return
        self._fitted = True
        for condition in self._keep:
            if condition.of_length:
                out = self._rows.leave_out(lambda row, asked=condition: not asked.compares(len(encode(row.messages))))
                self._too_long[condition.text] = out
        if not self.size("train"):
            raise TaskFileProblem(
                f"{self.config.path}: environment.keep leaves no prompt to train on"
                f" ({self.config.splits.sentence()}{self._left_out()}): allow longer prompts, or take shorter ones"
            )

    def size(self, split: Split) -> int:
        """How many rows the split has."""
        self._require_fit()
        return int((self._rows.splits == SPLITS.index(split)).sum())

    def candidate(self, index: int) -> Task:
        """Place `index` of the endless order: epoch `index // rows`, whose order hangs on (seed, epoch) alone.

        A task keeps its id from epoch to epoch, so that noise which belongs to a prompt comes back with it.
        """
        epoch, place = divmod(index, len(self._rows))
        number = int(self._epoch(epoch)[place])
        row = self._rows.row(number)
        task_id = f"{self.name}/{self._rows.number(number)}"
        return Task(task_id, self.name, row.messages, row.answer, row.info, self.seed)

    def find(self, split: Split, start: int) -> tuple[int, Task]:
        """The first task of the split from place `start` on, without reading the rows between."""
        self._require_fit()
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
            f"{self.config.path}: none of its {rows:,} rows has a prompt in the {split} split"
            f" ({self.config.splits.sentence()}{self._left_out()}): add tasks"
        )

    def held_out(self, count: int, split: Split = "held_out") -> tuple[Task, ...]:
        """The first `count` tasks of the split with different prompts, in the order of epoch 0."""
        self._require_fit()
        found: dict[str, Task] = {}
        for place in np.flatnonzero(self._rows.splits[self._epoch(0)] == SPLITS.index(split)).tolist():
            if len(found) == count:
                break
            task = self.candidate(place)
            found.setdefault(normalize(task.prompt), task)
        if len(found) < count:
            raise TaskFileProblem(
                f"{self.config.path} has {len(found):,} different {split} prompts in {len(self._rows):,} rows,"
                f" {count:,} were asked for ({self.config.splits.sentence()}{self._left_out()}): ask for fewer, or add"
                " tasks"
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

    def _require_fit(self) -> None:
        if not self._fitted:
            raise TaskFileProblem(
                f"{self.config.path}: environment.keep bounds the length of prompts in tokens, and no policy has said"
                " how long they are: call fit(policy.encode) before asking for tasks"
            )

    def _left_out(self) -> str:
        """How many rows are in no split, for errors."""
        count = int((self._rows.splits == LEFT_OUT).sum())
        return f"; {count:,} rows are left out" if count else ""

    def _epoch(self, epoch: int) -> Int[np.ndarray, "R"]:
        """Row numbers in the order of this epoch."""
        if self._order[0] != epoch:
            rows = len(self._rows)
            shuffled = generator(self.seed, "environments.files", epoch).permutation(rows)
            self._order = epoch, shuffled if self.config.shuffle else np.arange(rows)
        return self._order[1]
