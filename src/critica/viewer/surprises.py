"""Where the critic is surprised: tokens that changed what it expects, and outcomes that it did not expect."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from critica.viewer.window import StepArrays

TOKENS_SHOWN = 10
OUTCOMES_SHOWN = 6
WORDS_SHOWN = 10
FEWEST = 5  # times that a word must occur to be listed
CONTEXT = 8  # tokens before a surprising one
TENTHS = 10


@dataclass(frozen=True, slots=True)
class Surprise:
    """One token and what it changed: value `before`, value `after` (at an end: what was told)."""

    step: int
    trajectory_id: str
    place: int
    context: str
    token: str
    before: float
    after: float
    told: float
    clean: float

    @property
    def change(self) -> float:
        """After - before."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Word:
    """A token's text over the steps: how often it was written, how much it moved the value, and in which direction."""

    token: str
    count: int
    size: float
    change: float


@dataclass(frozen=True, slots=True)
class Surprises:
    """The largest single changes inside answers, the largest at their ends, by token text, by tenth of the answer."""

    steps: tuple[int, ...]
    inside: tuple[Surprise, ...]
    ends: tuple[Surprise, ...]
    words: tuple[Word, ...]
    tenths: tuple[float, ...]
    typical: float


def find_surprises(steps: Sequence[StepArrays]) -> Surprises:
    """A token's surprise is the value after it less the value before it; the last one's, what was told less the value.

    No discount and no λ: it is what the critic learned from reading the token, whatever the credit rule does with it.
    At most one of each kind for one prompt of a step.
    """
    inside: list[Surprise] = []
    ends: list[Surprise] = []
    ids, changes, shares = [], [], []
    texts: dict[int, str] = {}
    for step in steps:
        here, change = _changes(step)
        ids.append(step.token_ids[here])
        changes.append(change)
        counts = np.bincount(step.owner, minlength=len(step.rows))
        starts = np.cumsum(counts) - counts
        whose = step.owner[here]
        shares.append((here - starts[whose]) / np.maximum(counts[whose] - 1, 1))
        inside += _largest(step, here, change, TOKENS_SHOWN)
        ends += _largest_ends(step, OUTCOMES_SHOWN)
        _, first = np.unique(step.token_ids[here], return_index=True)
        texts |= {int(step.token_ids[here[i]]): step.text_of(int(here[i])) for i in first}
    flat_ids, flat, share = (np.concatenate(part) if part else np.empty(0) for part in (ids, changes, shares))
    size = np.abs(flat)
    tenths = np.clip((share * TENTHS).astype(int), 0, TENTHS - 1)
    return Surprises(
        steps=tuple(step.step for step in steps),
        inside=tuple(sorted(inside, key=lambda s: -abs(s.change))[:TOKENS_SHOWN]),
        ends=tuple(sorted(ends, key=lambda s: -abs(s.change))[:OUTCOMES_SHOWN]),
        words=_words(flat_ids, flat, texts),
        tenths=tuple(float(size[tenths == i].mean()) if (tenths == i).any() else math.nan for i in range(TENTHS)),
        typical=float(size.mean()) if size.size else math.nan,
    )


def _changes(step: StepArrays) -> tuple[np.ndarray, np.ndarray]:
    """Tokens with a successor in their answer, and how the value changed over them."""
    here = np.flatnonzero(step.owner[1:] == step.owner[:-1])
    return here, step.values[here + 1] - step.values[here]


def _largest(step: StepArrays, here: np.ndarray, change: np.ndarray, count: int) -> list[Surprise]:
    found: dict[str, Surprise] = {}
    for index in np.argsort(-np.abs(change), kind="stable"):
        at = int(here[index])
        if len(found) == count or abs(change[index]) < 1e-9:
            break
        group = step.rows[int(step.owner[at])].group_id
        if group not in found:
            found[group] = _surprise(step, at, float(step.values[at + 1]))
    return list(found.values())


def _largest_ends(step: StepArrays, count: int) -> list[Surprise]:
    last = np.flatnonzero(np.append(step.owner[1:] != step.owner[:-1], True)) if step.owner.size else np.empty(0, int)
    told = np.array([step.rows[int(step.owner[at])].told for at in last], dtype=np.float64)
    size = np.nan_to_num(np.abs(told - step.values[last]), nan=-1.0)
    found: dict[str, Surprise] = {}
    for i in np.argsort(-size, kind="stable"):
        if len(found) == count or size[i] < 1e-9:
            break
        group = step.rows[int(step.owner[last[i]])].group_id
        if group not in found:
            found[group] = _surprise(step, int(last[i]), float(told[i]))
    return list(found.values())


def _surprise(step: StepArrays, at: int, after: float) -> Surprise:
    owner = int(step.owner[at])
    row = step.rows[owner]
    start = max(at - CONTEXT, int(np.searchsorted(step.owner, owner)))
    context = "".join(step.text_of(i) for i in range(start, at))
    return Surprise(step.step, row.trajectory_id, int(step.place[at]), context, step.text_of(at),
                    float(step.values[at]), after, row.told, row.clean)  # fmt: skip


def _words(ids: np.ndarray, changes: np.ndarray, texts: dict[int, str]) -> tuple[Word, ...]:
    kinds, place, counts = np.unique(ids, return_inverse=True, return_counts=True)
    size = np.bincount(place, weights=np.abs(changes)) / np.maximum(counts, 1) if kinds.size else np.empty(0)
    change = np.bincount(place, weights=changes) / np.maximum(counts, 1) if kinds.size else np.empty(0)
    known = [i for i in np.argsort(-size, kind="stable") if counts[i] >= FEWEST and size[i] > 1e-9]
    return tuple(
        Word(texts[int(kinds[i])], int(counts[i]), float(size[i]), float(change[i])) for i in known[:WORDS_SHOWN]
    )
