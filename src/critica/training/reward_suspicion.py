"""Poisoned slices of a preference file: those whose labels disagree with what all other pairs teach.

A linear Bradley-Terry probe is fitted to the pairs of other slices and of other prompts (cross-fitting), so that a
slice's own labels cannot speak for it, and asked which answer each prompt of the slice prefers. Preference poisoning
(arXiv 2503.03039) exchanges labels inside one slice, and so raises the probe's disagreement there and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.bradley_terry import linear_bradley_terry
from critica.functional.exact_tests import fisher_above
from critica.functional.random import stream_key
from critica.training.reward_pairs import BadPairs, Pair

FOLDS = 5
PENALTY = 1e-3


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One slice: prompts whose labels the probe contradicts, among how many, beside the same count of the yardstick.

    The yardstick is the same slice of a clean file, or else all other slices. `alarm` if `p` (Fisher, one-sided) is at
    most the false-alarm rate over the number of slices.
    """

    name: str
    contradicted: int
    prompts: int
    yardstick_contradicted: int
    yardstick_prompts: int
    p: float
    alarm: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Points:
    """Pairs as differences of features, with what they ask and the slices that they fall into."""

    differences: Float[Tensor, "P F"]
    pairs: Sequence[Pair]
    slices: Mapping[str, Sequence[int]]


def suspect_slices(
    told: Points, clean: Points | None = None, alarm_rate: float = 0.05, seed: int = 0
) -> tuple[Suspicion, ...]:
    """Every slice's disagreement, and whether it is an alarm.

    With a clean file the probe learns from it alone, and a slice is held against the same slice there: how hard a slice
    is by nature cancels. Without one it is held against the other slices: the probability of any alarm in a clean file
    is then at most `alarm_rate` only if its slices are equally hard for the probe, and a poisoned majority makes the
    clean rest look wrong. Labels that are wrong everywhere alike raise no alarm, and neither does a slice that the
    probe cannot read: look at `contradicted` of the yardstick, half of the prompts mean that it knows nothing. Raises
    `BadPairs` for fewer than two slices and no clean file, for unknown slices, and a rate outside of (0, 1).
    """
    if not 0 < alarm_rate < 1:
        raise BadPairs(f"the false-alarm rate lies between 0 and 1, got {alarm_rate}")
    if clean is None and len(told.slices) < 2:
        raise BadPairs("one slice cannot be held against others: name a column with several values, or a clean file")
    strangers = [name for name in told.slices if clean is not None and name not in clean.slices]
    if strangers:
        raise BadPairs(f"the clean file has no pairs of the slice {strangers[0]}: bring one that covers all slices")
    made = []
    for name, rows in told.slices.items():
        asked = {told.pairs[row].prompt_text for row in rows}
        others = [row for row in range(len(told.pairs)) if told.pairs[row].prompt_text not in asked]
        teacher = told if clean is None else clean
        lessons = others if clean is None else range(len(clean.pairs))
        judges = _probes(teacher, lessons, seed)
        measured = _contradicted(told, rows, judges, seed)
        yardstick = _contradicted(teacher, others if clean is None else clean.slices[name], judges, seed)
        p = fisher_above(int(measured.sum()), len(measured), int(yardstick.sum()), len(yardstick))
        made.append(Suspicion(name, int(measured.sum()), len(measured), int(yardstick.sum()), len(yardstick), p,
                              p <= alarm_rate / len(told.slices)))  # fmt: skip
    return tuple(made)


def fold_of(prompt: str, seed: int) -> int:
    """The fold of a prompt, the same in every file."""
    return stream_key(seed, "suspicion/fold", prompt) % FOLDS


def _probes(points: Points, rows: Sequence[int], seed: int) -> Float[Tensor, "K F"]:
    """For each fold, the probe of all these pairs outside of it; 0 where nothing is left to learn from."""
    folds = torch.tensor([fold_of(points.pairs[row].prompt_text, seed) for row in rows], dtype=torch.long)
    lessons = points.differences[list(rows)]
    found = [
        linear_bradley_terry(lessons[folds != fold], PENALTY)
        if bool((folds != fold).any())
        else points.differences.new_zeros(points.differences.shape[1])
        for fold in range(FOLDS)
    ]
    return torch.stack(found)


def _contradicted(points: Points, rows: Sequence[int], probes: Float[Tensor, "K F"], seed: int) -> Bool[Tensor, "Q"]:
    """Of each prompt among these rows, whether the probe of its fold prefers the rejected answers on the whole."""
    prompts = list(dict.fromkeys(points.pairs[row].prompt_text for row in rows))
    place = {prompt: k for k, prompt in enumerate(prompts)}
    where = torch.tensor([place[points.pairs[row].prompt_text] for row in rows], dtype=torch.long)
    folds = torch.tensor([fold_of(prompt, seed) for prompt in prompts], dtype=torch.long)
    sums = points.differences.new_zeros(len(prompts), points.differences.shape[1])
    sums.index_add_(0, where, points.differences[list(rows)])
    return (sums * probes[folds]).sum(-1) < 0
