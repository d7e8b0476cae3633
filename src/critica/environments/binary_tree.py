"""A binary tree with random leaves: every prefix is a node of its own, and no feature of it foretells its value."""

import string
from collections.abc import Hashable
from dataclasses import dataclass

from critica.environments.base import EnvironmentConfig, EnvironmentProblem
from critica.environments.exact import GameEnvironment, Prefix, TokenGame
from critica.functional.random import generator, uniforms


@dataclass(frozen=True)
class BinaryTreeGame(TokenGame):
    """Walk `depth` times left (0) or right (1); each leaf pays 1 with chance `winning_share`, drawn once from `tree`.

    With `graded` leaves the leaf pays the draw itself, a uniform number in [0, 1).
    """

    tree: int
    depth: int
    winning_share: float = 0.3
    graded: bool = False

    vocabulary = ("0", "1")

    def is_end(self, prefix: Prefix) -> bool:
        """At a leaf."""
        return len(prefix) == self.depth

    def outcome(self, end: Prefix) -> float:
        """The leaf's pay: the same whenever and by whomever it is asked."""
        leaf = "".join(map(str, end))
        draw = float(uniforms(self.tree, "environments.binary_tree", self.depth, leaf, count=1)[0])
        return draw if self.graded else float(draw < self.winning_share)

    def state(self, prefix: Prefix) -> Hashable:
        """The node itself."""
        return prefix

    def prompt(self) -> str:
        """As `tree qwz, 6 turns: `; the name is the tree's number in letters."""
        letters, rest = "", self.tree
        for _ in range(4):
            rest, digit = divmod(rest, 26)
            letters = string.ascii_lowercase[digit] + letters
        return f"tree {letters}, {self.depth} turns: "


@dataclass(frozen=True)
class BinaryTree(EnvironmentConfig):
    """Trees of one depth, numbered below 26^4."""

    depth: int = 6
    winning_share: float = 0.3
    graded: bool = False

    def __post_init__(self) -> None:
        if not (1 <= self.depth <= 20 and 0.0 <= self.winning_share <= 1.0):
            raise EnvironmentProblem(
                f"{self}: depth must be 1 to 20 (2^depth leaves are enumerated), the share in [0, 1]"
            )

    def build(self, seed: int) -> GameEnvironment:
        """The live family."""

        def draw(index: int) -> BinaryTreeGame:
            tree = int(generator(seed, "environments.binary_tree.draw", index).integers(0, 26**4))
            return BinaryTreeGame(tree, self.depth, self.winning_share, self.graded)

        return GameEnvironment("binary_tree", seed, draw, BinaryTreeGame, self.depth)
