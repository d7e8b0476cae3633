"""The benchmark's task: `7+5-3=` is answered by its running totals, `12,9`, so that answers have natural lengths."""

from dataclasses import dataclass

from critica.benches.peers.task import reward
from critica.environments.base import Environment, EnvironmentConfig, ScorerAddress
from critica.functional.random import generator
from critica.records.words import Message, Task

LARGEST = 9


@dataclass(frozen=True)
class RunningSums(EnvironmentConfig):
    """Sums and differences of single digits that never fall below zero."""

    min_terms: int = 6
    max_terms: int = 9
    max_new_tokens: int = 64

    def build(self, seed: int) -> "RunningSumsEnvironment":
        """The live environment."""
        return RunningSumsEnvironment(self, seed)


class RunningSumsEnvironment(Environment):
    """The live environment; `demonstration` writes the worked answer."""

    def __init__(self, config: RunningSums, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.name = "running_sums"
        self.reward_range = (0.0, 1.0)
        self.max_new_tokens = config.max_new_tokens

    def candidate(self, index: int) -> Task:
        """Expression `index`."""
        rng = generator(self.seed, "benches.sums", index)
        value = int(rng.integers(1, LARGEST + 1))
        text, totals = str(value), []
        for _ in range(int(rng.integers(self.config.min_terms, self.config.max_terms + 1)) - 1):
            operand, falls = int(rng.integers(1, LARGEST + 1)), bool(rng.random() < 0.5)
            sign = -1 if falls and value >= operand else 1
            value += sign * operand
            text += f"{'-' if sign < 0 else '+'}{operand}"
            totals.append(str(value))
        return Task(
            task_id=f"{self.name}/{self.seed}/{index}",
            environment=self.name,
            messages=(Message("user", f"{text}="),),
            answer=str(value),
            info={"worked": ",".join(totals)},
            seed=self.seed,
        )

    def score(self, task: Task, text: str) -> float:
        """1 if the last total is the answer."""
        return reward(text, task.answer)

    def scorer_address(self) -> ScorerAddress:
        """The same rule, without torch."""
        return ScorerAddress("critica.benches.peers.task", "make_scorer")

    def demonstration(self, task: Task) -> str:
        """The running totals."""
        return str(task.info["worked"])
