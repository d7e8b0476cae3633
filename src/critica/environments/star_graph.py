"""The star graph: the way from the center to a goal is decided by its first step, and nothing nearby tells which."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from critica.environments.base import EnvironmentConfig, EnvironmentProblem
from critica.environments.exact import GameEnvironment, Prefix, TokenGame
from critica.functional.random import generator

NAMES = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class StarGraphGame(TokenGame):
    """Write the nodes from the center to `goal`: `arms` are the paths of a star, each without its center.

    A model trained on right answers learns a shortcut: after the first node each next one is the only neighbor left,
    so all but one token are predicted without looking for the goal, and the first becomes a guess (Bachmann &
    Nagarajan 2024, arXiv 2403.06963): 1 in `degree` right. More of the same training, or REINFORCE from such a start,
    does not undo it; a value of the first step does (Q#, arXiv 2502.20548, section 3.1). `edges` is the order in which
    the prompt tells the edges, as places in the list arm by arm.
    """

    center: str
    arms: tuple[str, ...]
    goal: str
    edges: tuple[int, ...]

    @property
    def vocabulary(self) -> tuple[str, ...]:  # type: ignore[override]
        """The nodes, the center among them."""
        return tuple(sorted(self.center + "".join(self.arms)))

    @property
    def answer(self) -> str:
        """The right arm."""
        return next(arm for arm in self.arms if arm.endswith(self.goal))

    def is_end(self, prefix: Prefix) -> bool:
        """After as many nodes as an arm has: a wrong one does not end the game."""
        return len(prefix) == len(self.arms[0])

    def outcome(self, end: Prefix) -> float:
        """Whether every node is right."""
        return float("".join(self.vocabulary[token] for token in end) == self.answer)

    def state(self, prefix: Prefix) -> Hashable:
        """Whether every node so far is right."""
        return self.answer.startswith("".join(self.vocabulary[token] for token in prefix))

    def shortcut(self, prefix: Prefix) -> tuple[float, ...]:
        """The law of the guessing policy: any neighbor of the center, then along the arm that was entered."""
        written = "".join(self.vocabulary[token] for token in prefix)
        entered = [arm for arm in self.arms if arm.startswith(written)]
        likely = {arm[len(written)] for arm in entered} if entered else set(self.vocabulary)
        return tuple((node in likely) / len(likely) for node in self.vocabulary)

    def prompt(self) -> str:
        """As `ab ac bd ce from a to d: `."""
        told = [previous + node for arm in self.arms for previous, node in zip(self.center + arm, arm, strict=False)]
        return f"{' '.join(told[place] for place in self.edges)} from {self.center} to {self.goal}: "


@dataclass(frozen=True)
class StarGraph(EnvironmentConfig):
    """G(degree, length): `degree` arms of `length` nodes each, named by letters at random."""

    degree: int = 2
    length: int = 4

    def __post_init__(self) -> None:
        if self.degree < 2 or self.length < 1 or self.degree * self.length + 1 > len(NAMES):
            raise EnvironmentProblem(
                f"{self}: it needs 2 arms or more of at least 1 node, and at most {len(NAMES)} nodes with the center"
            )

    def build(self, seed: int) -> GameEnvironment:
        """The live family."""

        def draw(index: int) -> StarGraphGame:
            rng = generator(seed, "environments.star_graph", index)
            size = self.degree * self.length
            nodes = "".join(NAMES[i] for i in rng.permutation(len(NAMES))[: size + 1])
            arms = tuple(nodes[1 + a * self.length : 1 + (a + 1) * self.length] for a in range(self.degree))
            goal = arms[int(rng.integers(0, self.degree))][-1]
            return StarGraphGame(nodes[0], arms, goal, tuple(int(i) for i in rng.permutation(size)))

        def rules(center: str, arms: Sequence[str], goal: str, edges: Sequence[int]) -> StarGraphGame:
            return StarGraphGame(center, tuple(arms), goal, tuple(edges))

        return GameEnvironment("star_graph", seed, draw, rules, self.length)
