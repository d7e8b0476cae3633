"""Any reasoning-gym dataset as an environment, alone or in a weighted mix, with its own scorer."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from critica.environments.answers import Extract, extract_answer
from critica.environments.base import Environment, EnvironmentConfig, EnvironmentProblem, ScorerAddress
from critica.environments.demonstrations import DEMONSTRATED, worked_steps
from critica.environments.gym_entries import GymDatasets, dataset_names, make_scorer, pack, unpack
from critica.environments.mixes import MixEntry
from critica.functional.random import uniforms
from critica.records.words import Message, Task


@dataclass(frozen=True)
class ReasoningGym(EnvironmentConfig):
    """A mix of reasoning-gym datasets; which one asks next is drawn with the entries' weights.

    `score` is raw: wrong answers get partial credit. Whether rewards keep it is the reward's choice
    (`EnvironmentScorer(threshold)`). `extract` says which part of a completion is the answer
    (`answers.extract_answer`).
    """

    entries: tuple[MixEntry, ...]
    name: str = ""
    max_new_tokens: int = 256
    extract: Extract = "auto"

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.entries]
        if not names:
            raise EnvironmentProblem("a reasoning-gym mix is empty: name at least one dataset, as in rg:chain_sum")
        if len(set(names)) < len(names):
            raise EnvironmentProblem(
                f"a reasoning-gym mix names a dataset twice: {', '.join(names)}; merge their weights"
            )
        wrong = [entry for entry in self.entries if not 0.0 < entry.weight < float("inf")]
        if wrong:
            raise EnvironmentProblem(f"{wrong[0].name} has weight {wrong[0].weight}: weights are above 0 and finite")

    def build(self, seed: int) -> "ReasoningGymEnvironment":
        """The live mix. Raises `EnvironmentProblem` for unknown datasets, with the nearest name."""
        known = dataset_names()
        for entry in self.entries:
            if entry.name not in known:
                near = difflib.get_close_matches(entry.name, known, 1, 0.0)[0]
                raise EnvironmentProblem(
                    f"reasoning-gym has no dataset {entry.name!r}; the nearest is {near!r}. It has: {', '.join(known)}"
                )
        return ReasoningGymEnvironment(self, seed)


def mix_name(entries: tuple[MixEntry, ...]) -> str:
    """`rg:chain_sum+lcm`, with weights where they differ: `rg:chain_sum*2+lcm*1`."""
    equal = len({entry.weight for entry in entries}) == 1
    return "rg:" + "+".join(entry.name if equal else f"{entry.name}*{entry.weight:g}" for entry in entries)


class ReasoningGymEnvironment(Environment):
    """The live mix."""

    def __init__(self, config: ReasoningGym, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.name = config.name or mix_name(config.entries)
        self.max_new_tokens = config.max_new_tokens
        self.reward_range = (0.0, 1.0)
        self._datasets = GymDatasets()
        self._settings = {entry.name: dict(entry.config) for entry in config.entries}
        total = sum(entry.weight for entry in config.entries)
        self._upper = [weight / total for weight in accumulate(entry.weight for entry in config.entries)]

    def candidate(self, index: int) -> Task:
        """Task `index`: the dataset by a draw counted by (seed, index), the item by the same index."""
        draw = float(uniforms(self.seed, "environments.mix", index, count=1)[0])
        choice = next((i for i, upper in enumerate(self._upper) if draw < upper), len(self._upper) - 1)
        name = self.config.entries[choice].name
        entry = self._datasets.entry(name, self._settings[name], self.seed, index)
        info = {
            "dataset": name,
            "question": entry["question"],
            "metadata": pack(entry["metadata"]),
            "answer_is_open": entry["answer"] is None,
        }
        return Task(
            task_id=f"{self.name}/{self.seed}/{index}",
            environment=self.name,
            messages=(Message("user", entry["question"]),),
            answer=str(entry["answer"] if entry["answer"] is not None else ""),
            info=info,
            seed=self.seed,
        )

    def score(self, task: Task, text: str) -> float:
        """The dataset's own score of the extracted answer, partial credit included."""
        return self._scorer(task.answer, task.info, text)

    def demonstration(self, task: Task) -> str:
        """A right answer with every step written down where one is known for the dataset; else the bare answer."""
        name = str(task.info["dataset"])
        if name not in DEMONSTRATED:
            return task.answer
        return "".join(worked_steps(name, {"metadata": unpack(task.info["metadata"])})) or task.answer

    @cached_property
    def _scorer(self) -> Callable[[str, Mapping[str, Any], str], float]:
        return make_scorer(self._scorer_settings())

    def answer_in(self, task: Task, text: str) -> str:
        """The part of `text` that is scored."""
        return extract_answer(text, self.config.extract, task.answer)

    def scorer_address(self) -> ScorerAddress:
        """`gym_entries.make_scorer`, which needs no torch."""
        return ScorerAddress("critica.environments.gym_entries", "make_scorer", self._scorer_settings())

    def _scorer_settings(self) -> dict[str, object]:
        return {"datasets": self._settings, "extract": self.config.extract}
