"""Worked answers to reasoning-gym items, by writers of different patience: step by step, or at once.

A worked answer is a chain of small steps, and what follows its last `=` is the answer. Before every step
the writer may lose patience and jump to the answer, doing the rest in the head:

    4 - 1 - 7 + 3 =        patient  `4-1=3-7=-4+3=-1`     `4-1=3=-1`     `=-1`  hurried
    5*x - 7 = 38           patient  `38+7=45/5=9`         `38+7=45=9`    `=9`   hurried
    3 tigers, 1 crab, 2 ducks  patient  `12+10=22+4=26`    `12+10=22=26`  `=26`  hurried

(Equations are solved from left to right; legs are added up kind by kind.) Every demonstration is
right; a jump is only harder to imitate, because more happens between two tokens. Nothing in the prompt
tells which writer will answer.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from critica.environments.mixes import MixEntry
from critica.environments.splits import Split, split_of

DEMONSTRATED = ("chain_sum", "simple_equations", "leg_counting")
Chain = tuple[tuple[str, int], ...]  # (operator, operand), applied from left to right; the first operator is ""


@dataclass(frozen=True, slots=True)
class Writers:
    """Who writes: a `hurried_share` of answers is by hurried writers, the rest by careful ones.

    Before each step a writer goes on with probability `hurried_goes_on` or `careful_goes_on`, else jumps.
    """

    hurried_share: float
    careful_goes_on: float = 0.98
    hurried_goes_on: float = 0.25

    def __post_init__(self) -> None:
        for name, value in (
            ("hurried_share", self.hurried_share),
            ("careful_goes_on", self.careful_goes_on),
            ("hurried_goes_on", self.hurried_goes_on),
        ):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}, but it is a probability; choose a number in [0, 1]")

    def shown(self, steps: int, rng: Random) -> int:
        """How many of `steps` steps one writer shows before the jump; `steps` is no jump at all."""
        goes_on = self.hurried_goes_on if rng.random() < self.hurried_share else self.careful_goes_on
        shown = 0
        while shown < steps and rng.random() < goes_on:
            shown += 1
        return shown


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and one right answer to it: the first `shown` of `steps` steps are written down."""

    prompt: str
    completion: str
    shown: int
    steps: int


def final_answer(text: str) -> str:
    """What a completion answers: the stripped text after its last `=`, the whole text when it has none."""
    return text.rpartition("=")[2].strip()


def demonstrate(name: str, item: Mapping[str, Any], writers: Writers, rng: Random) -> Demonstration:
    """A right answer to `item` of the reasoning-gym dataset `name`, as careful as the writer drawn."""
    steps = worked_steps(name, item)
    shown = writers.shown(len(steps), rng)
    text = "".join(steps[:shown])
    if shown < len(steps):
        text += f"={item['answer']}"
    return Demonstration(item["question"], text, shown, len(steps))


def shown_steps(name: str, item: Mapping[str, Any], completion: str) -> tuple[int, int]:
    """(steps written down, steps to write) of any completion, right or wrong: how careful it is."""
    return len(re.findall(r"(?<=\d)[-+/]-?\d+=", completion)), len(worked_steps(name, item))


def worked_steps(name: str, item: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of all steps that lead to the answer of `item`; the last one ends with it."""
    if name == "chain_sum":
        return _worked(_terms(item["metadata"]["expression"]))
    if name == "simple_equations":
        return _worked(_equation(item["metadata"]["equation"]))
    if name == "leg_counting":
        return _worked(_legs(item["metadata"]["animals"]))
    raise ValueError(
        f"no demonstrations are known for the reasoning-gym dataset {name!r}; "
        "known are chain_sum, simple_equations, leg_counting"
    )


def items(entry: MixEntry, seed: int, split: Split | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(index, item) of one dataset of a mix, without end, deterministic in `seed`, of `split` if given."""
    import reasoning_gym

    config = {key: list(value) if isinstance(value, tuple) else value for key, value in entry.config.items()}
    dataset = reasoning_gym.create_dataset(entry.name, seed=seed, size=2**31, **config)
    index = 0
    while True:
        item = dataset[index]
        if split is None or split_of(item["question"]) == split:
            yield index, item
        index += 1


def demonstrations(entry: MixEntry, seed: int, writers: Writers, split: Split) -> Iterator[Demonstration]:
    """Demonstrations of one dataset of a mix, without end; each is a function of (seed, index) alone."""
    for index, item in items(entry, seed, split):
        yield demonstrate(entry.name, item, writers, Random(f"{seed}/{entry.name}/{index}"))


def _terms(expression: str) -> Chain:
    first, *rest = expression.split(" ")
    return ("", int(first)), *((op, int(value)) for op, value in zip(rest[::2], rest[1::2], strict=True))


def _equation(equation: str) -> Chain:
    """``a*x + b = c`` as ``c - b / a``, left to right; steps by nothing (b = 0, a = 1) are left out."""
    left, right = equation.split(" = ")
    coefficient, constant = 0, 0
    for sign, number, variable in re.findall(r"([+-]?)(\d*)\*?([a-z]?)", left.replace(" ", "")):
        if not number and not variable:
            continue
        value = int(number or 1) * (-1 if sign == "-" else 1)
        if variable:
            coefficient += value
        else:
            constant += value
    chain: list[tuple[str, int]] = [("", int(right))]
    if constant:
        chain.append(("-" if constant > 0 else "+", abs(constant)))
    if coefficient != 1 or not constant:
        chain.append(("/", coefficient))
    return tuple(chain)


def _value(chain: Chain) -> int:
    """The chain applied from left to right. Raises ValueError for a division that leaves a rest."""
    total = chain[0][1]
    for op, operand in chain[1:]:
        if op == "/":
            total, rest = divmod(total, operand)
            if rest:
                raise ValueError(f"a division by {operand} leaves {rest}: the item's solution is not whole")
        else:
            total = total + operand if op == "+" else total - operand
    return total


def _worked(chain: Chain) -> tuple[str, ...]:
    """One text a step: the operand copied, then the result so far; the first step starts with the first operand."""
    texts = [f"{op}{operand}={_value(chain[: i + 2])}" for i, (op, operand) in enumerate(chain[1:])]
    return (f"{chain[0][1]}{texts[0]}", *texts[1:]) if texts else ()


def _legs(animals: Mapping[str, int]) -> Chain:
    """The legs of each kind, added up."""
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    first, *rest = (count * ANIMALS[animal] for animal, count in animals.items())
    return ("", first), *(("+", legs) for legs in rest)
