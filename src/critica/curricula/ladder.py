"""Variants of each task, easier ones first: a ladder up to a task that is too hard to begin with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from critica.curricula.base import Budget, Curriculum, CurriculumPart
from critica.curricula.stream import LiveStream
from critica.environments.base import Environment, EnvironmentProblem, TaskStream
from critica.environments.splits import normalize, split_of
from critica.records.words import Task

TRIES = 8  # variants looked at for each that is wanted: three in ten belong to the training split


@runtime_checkable
class Varies(Protocol):
    """An environment that makes tasks easier: `variants` depend on the task alone, and are scored like any other."""

    def variants(self, task: Task, count: int) -> tuple[Task, ...]: ...


@dataclass(frozen=True, slots=True)
class Node:
    """A task of a tree: how far below the root it lies, and the task that it is a variant of (the root: none)."""

    task: Task
    depth: int
    parent: str


def tree(environment: Varies, root: Task, depth: int, branching: int) -> tuple[Node, ...]:
    """The root and its variants, level by level. Every variant has one parent, and every prompt stands there once.

    Variants whose prompt belongs to the warm-start or held-out split are left out: a ladder must not teach them.
    """
    nodes = [Node(root, 0, "")]
    known = {normalize(root.prompt)}
    level = [root]
    for below in range(1, depth + 1):
        made = []
        for parent in level:
            own: list[Task] = []
            for variant in environment.variants(parent, TRIES * branching):
                if len(own) < branching and normalize(variant.prompt) not in known and trainable(variant):
                    known.add(normalize(variant.prompt))
                    own.append(variant)
            nodes += [Node(variant, below, parent.task_id) for variant in own]
            made += own
        level = made
    return tuple(nodes)


def trainable(task: Task) -> bool:
    """Whether its prompt belongs to the training split."""
    return split_of(task.prompt) == "train"


@dataclass(frozen=True, slots=True)
class Ladder(CurriculumPart):
    """Each training task with a tree of easier variants, drawn from its deepest level up (LADDER, arXiv 2503.00735).

    `depth` levels, each task with up to `branching` variants (the paper caps the depth at about 3). There the variants
    are written by the model, with labels of difficulty, and about 8% cannot be solved; here an environment makes them
    by rule, and all can. Use it where tasks are so hard that no sample is right: plain RL then learns nothing. Where
    some samples are right already, it spends most of a step on what is easier than asked. Costs nothing.
    """

    depth: int = 2
    branching: int = 2

    def __post_init__(self) -> None:
        if self.depth < 1 or self.branching < 1:
            raise ValueError("curriculum.depth and curriculum.branching of a ladder must be at least 1")

    def build(self, environment: Environment, budget: Budget) -> Curriculum:
        if not isinstance(environment, Varies):
            raise EnvironmentProblem(
                f"environment {environment.name!r} makes no variants of its tasks: set --environment arithmetic:4, or"
                " curriculum=stream"
            )
        return LiveLadder(self, environment, environment, budget)


class LiveLadder(LiveStream):
    """A stream of trees with a cursor: the root at hand, and how many of its tasks were drawn."""

    def __init__(self, part: Ladder, environment: Environment, varies: Varies, budget: Budget) -> None:
        super().__init__(TaskStream(environment, "train"), budget)
        self._part, self._varies = part, varies
        self._before = self._tasks.state_dict()  # the stream before the root at hand was drawn
        self._left: list[Task] = []

    def draw(self, count: int) -> tuple[Task, ...]:
        """The next `count` tasks: a tree from its deepest level up to its root, then the next tree."""
        drawn = []
        while len(drawn) < count:
            if not self._left:
                self._open()
            drawn.append(self._left.pop(0))
        return tuple(drawn)

    def _open(self) -> None:
        self._before = self._tasks.state_dict()
        nodes = tree(self._varies, self._tasks.next(), self._part.depth, self._part.branching)
        self._left = [node.task for node in sorted(nodes, key=lambda node: -node.depth)]

    def state_dict(self) -> dict[str, Any]:
        return {"before": self._before if self._left else self._tasks.state_dict(), "left": len(self._left)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._tasks.load_state_dict(state["before"])
        self._before, self._left = self._tasks.state_dict(), []
        if state["left"]:
            self._open()
            self._left = self._left[len(self._left) - int(state["left"]) :]
