"""Requests with constraints that code can check, of MulDimIF's kinds; nothing else about the text is asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from critica.environments.base import Environment, EnvironmentConfig, EnvironmentProblem, ScorerAddress
from critica.environments.constraint_rules import read_rule
from critica.functional.random import generator
from critica.records.words import Message, Task

TOPICS = ("the sea", "a market", "winter", "an old clock", "two friends", "a train", "bread", "the moon", "a garden",
          "a lost key", "rain", "a river")  # fmt: skip
KEYWORDS = ("7", "12", "light", "two", "stone", "green", "home", "40", "song", "3")
Constraint = tuple[str, str, str]


@dataclass(frozen=True)
class Constrained(EnvironmentConfig):
    """`Write about TOPIC.` and from `least` to `most` of seven constraints, no two of one kind and none in conflict.

    `info["constraints"]` has them as [category, subcategory, text]. The score is the share that holds; all must hold to
    be correct. The constraints are those of MulDimIF (arXiv 2505.07591), the prompts are ours and small.
    """

    least: int = 1
    most: int = 4
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most <= 7:
            raise EnvironmentProblem(f"{self}: from 1 to 7 constraints, and least not above most")
        if self.max_new_tokens < 1:
            raise EnvironmentProblem(f"max_new_tokens is {self.max_new_tokens}: an answer has at least 1 token")

    def build(self, seed: int) -> "ConstrainedEnvironment":
        """The live environment."""
        return ConstrainedEnvironment(self, seed)


class ConstrainedEnvironment(Environment):
    """The live environment."""

    name = "constrained"
    reward_range = (0.0, 1.0)

    def __init__(self, config: Constrained, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.max_new_tokens = config.max_new_tokens

    def candidate(self, index: int) -> Task:
        """The index-th request."""
        rng = generator(self.seed, "environments.constrained", index)
        every = _drawn(lambda count: int(rng.integers(count)))
        count = int(rng.integers(self.config.least, self.config.most + 1))
        chosen = [every[place] for place in sorted(rng.permutation(len(every))[:count].tolist())]
        rules = "".join(f"\n{number}. {text}" for number, (_, _, text) in enumerate(chosen, 1))
        prompt = f"Write about {TOPICS[int(rng.integers(len(TOPICS)))]}. Rules:{rules}\n"
        info = {"constraints": [list(constraint) for constraint in chosen]}
        return Task(f"constrained/{self.seed}/{index}", self.name, (Message("user", prompt),), "", info, self.seed)

    def score(self, task: Task, text: str) -> float:
        """The share of constraints that hold."""
        return satisfied_share(task.answer, task.info, text)

    def scorer_address(self) -> ScorerAddress:
        """`make_scorer`; its module needs no torch."""
        return ScorerAddress("critica.environments.constrained", "make_scorer", {})


def make_scorer(settings: Mapping[str, Any]) -> Any:
    """The scorer of this environment; it has no settings."""
    assert not settings
    return satisfied_share


def satisfied_share(answer: str, info: Mapping[str, Any], text: str) -> float:
    """The share of `info["constraints"]` that a text satisfies."""
    rules = [read_rule(*constraint) for constraint in info["constraints"]]
    assert None not in rules, "this environment writes only constraints that can be read"
    return sum(rule(text.strip()) for rule in rules if rule is not None) / len(rules)


def _drawn(draw: Any) -> list[Constraint]:
    """One constraint of each kind."""
    few = 4 + draw(8)
    return [
        ("Length", "Words", f"The answer must contain at most {few + 8} words"),
        ("Length", "Sentences", f"The answer must contain at most {1 + draw(3)} sentences"),
        ("Length", "Paragraphs", "The answer must contain exactly 1 paragraph"),
        ("Content", "Keywords", f"Must include the keyword '{KEYWORDS[draw(len(KEYWORDS))]}'"),
        (
            "Content",
            "Punctuation",
            ("Ending punctuation must be a period", "The answer must end with a question mark")[draw(2)],
        ),
        ("Content", "Identifiers", f"The answer must start with '{('so', 'well', 'now')[draw(3)]}'"),
        ("Language", "English", "The answer must be in all lowercase letters"),
    ]
