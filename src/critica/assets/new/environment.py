"""An environment of one's own: tasks without end from a seed, and a score for what was written.

    critica train ppo --environment my_environment.py:MyEnvironment --steps 20 --run runs/mine
    critica train ppo --environment my_environment.py:MyEnvironment --set environment.longest=4
"""

from dataclasses import dataclass

from critica.environments.base import Environment, EnvironmentConfig
from critica.functional.random import generator
from critica.records.words import Message, Task


@dataclass(frozen=True)
class MyEnvironment(EnvironmentConfig):
    """The settings. Whatever stands here can be set: `--set environment.longest=4`."""

    longest: int = 3

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise ValueError(f"longest must be at least 1, got {self.longest}")

    def build(self, seed: int) -> Environment:
        return LiveMyEnvironment(self.longest, seed)


class LiveMyEnvironment(Environment):
    """Write a number backwards. Train and held-out prompts are told apart by their text; nothing is to be done here."""

    name = "my_environment"
    reward_range = (0.0, 1.0)
    max_new_tokens = 8

    def __init__(self, longest: int, seed: int) -> None:
        self.longest, self.seed = longest, seed

    def candidate(self, index: int) -> Task:
        """The index-th task: the same for the same seed, on every machine."""
        chance = generator(self.seed, "my_environment", index)
        digits = "".join(str(d) for d in chance.integers(0, 10, size=int(chance.integers(1, self.longest + 1))))
        prompt = Message("user", f"{digits} backwards: ")
        return Task(f"my_environment/{index}", self.name, (prompt,), digits[::-1], {}, self.seed)

    def score(self, task: Task, text: str) -> float:
        """Within `reward_range`: the share of digits in their place, all of them for 1."""
        written, right = text.strip(), task.answer
        if len(written) != len(right):
            return 0.0
        return sum(a == b for a, b in zip(written, right, strict=True)) / len(right)
