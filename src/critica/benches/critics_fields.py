"""The fields of the critics bench: which policy writes, on which tasks, and whether the truth can be walked."""

from dataclasses import dataclass
from typing import Literal

from critica.environments.arithmetic import Arithmetic
from critica.environments.base import EnvironmentConfig
from critica.environments.binary_tree import BinaryTree
from critica.environments.catalogue import PICO_MAX_NEW_TOKENS
from critica.environments.chain import Chain
from critica.environments.digit_sum import DigitSum
from critica.environments.mixes import PICO_TASKS
from critica.environments.reasoning_gym import ReasoningGym
from critica.environments.two_branch import TwoBranch


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `exact`: every continuation can be walked. `numbers`: states are told apart by numbers written.

    `shared`: answers are short and begin alike, so that siblings share prefixes.
    """

    name: str
    policy: Literal["pico", "player"]
    environment: EnvironmentConfig
    exact: bool
    numbers: bool = False
    shared: bool = False


GAMES = (
    Field("digit_sum", "player", DigitSum(3, 4, 9, 5), exact=True, shared=True),
    Field("binary_tree", "player", BinaryTree(6, 0.4), exact=True, shared=True),
    Field("chain", "player", Chain(8), exact=True, shared=True),
    Field("two_branch", "player", TwoBranch(4, 7, 3), exact=True, shared=True),
)
ARITHMETIC = Field("arithmetic", "player", Arithmetic(4), exact=False, numbers=True)
GYM = tuple(
    Field(
        entry.name,
        "pico",
        ReasoningGym((entry,), max_new_tokens=PICO_MAX_NEW_TOKENS, extract="after_equals"),
        exact=False,
        numbers=True,
    )
    for entry in PICO_TASKS
)
FIELDS = {field.name: field for field in (*GAMES, ARITHMETIC, *GYM)}
TAUGHT = {field.name: field.environment for field in (*GAMES, ARITHMETIC)}  # what the player is shown
