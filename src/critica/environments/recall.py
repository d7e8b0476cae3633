"""Recall: facts one after the other, and a question about one of them; who reads in pieces has to keep the right ones.

The keys of the question are known from the start, so that a perfect memory holds one digit at most; a memory that
holds nothing leaves a uniform guess over `digits`.
"""

from dataclasses import dataclass

from critica.environments.base import Environment, EnvironmentConfig, EnvironmentProblem
from critica.functional.random import generator
from critica.records.words import Message, Task

KEYS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Recall(EnvironmentConfig):
    """`chunks` pieces of `facts` facts each, such as `c=4`; the answer is one of `digits` digits from 1 on."""

    chunks: int = 3
    facts: int = 1
    digits: int = 4

    def __post_init__(self) -> None:
        if self.chunks < 1 or self.facts < 1 or not 2 <= self.digits <= 9 or self.chunks * self.facts > len(KEYS):
            raise EnvironmentProblem("recall needs 1 to 26 facts in all, in chunks of 1 or more, and 2 to 9 digits")

    def build(self, seed: int) -> "RecallEnvironment":
        """The live environment."""
        return RecallEnvironment(self, seed)


class RecallEnvironment(Environment):
    """The live environment. A task's `info` holds the question and the pieces, for protocols that show them in turn."""

    def __init__(self, config: Recall, seed: int) -> None:
        self.config, self.seed = config, seed
        self.name = f"recall:{config.chunks}x{config.facts}"
        self.reward_range = (0.0, 1.0)
        self.max_new_tokens = 4

    def candidate(self, index: int) -> Task:
        """Question `index`."""
        rng = generator(self.seed, "environments.recall", index)
        count = self.config.chunks * self.config.facts
        keys = [KEYS[i] for i in rng.permutation(len(KEYS))[:count]]
        digits = [str(int(digit)) for digit in rng.integers(1, self.config.digits + 1, count)]
        facts = [f"{key}={digit}" for key, digit in zip(keys, digits, strict=True)]
        pieces = [" ".join(facts[i : i + self.config.facts]) for i in range(0, count, self.config.facts)]
        wanted = int(rng.integers(count))
        question = f"{keys[wanted]}?"
        return Task(
            task_id=f"{self.name}/{self.seed}/{index}",
            environment=self.name,
            messages=(Message("user", f"{' '.join(pieces)} {question} "),),
            answer=digits[wanted],
            info={"question": question, "pieces": pieces},
            seed=self.seed,
        )

    def score(self, task: Task, text: str) -> float:
        """1 for the digit alone, outer white space aside."""
        return float(text.strip() == task.answer)
