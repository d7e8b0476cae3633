"""Is the critic any good: its errors over the last steps beside those of two things that cost nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from critica.viewer.window import Row, StepArrays

PARTS = (("first token", 0.0, 0.0), ("first half", 0.0, 0.5), ("second half", 0.5, 1.0), ("last token", 1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to expect an outcome: mean squared error and explained variance, of what was told and of the truth."""

    name: str
    about: str
    mse_told: float
    mse_clean: float
    explained_told: float
    explained_clean: float


@dataclass(frozen=True, slots=True)
class PlaceReading:
    """What the critic explains of the truth in one part of the answers."""

    part: str
    tokens: int
    explained_told: float
    explained_clean: float


@dataclass(frozen=True, slots=True)
class Contest:
    """The critic first, then the mean of an answer's siblings, then one number for all; the critic by place."""

    tokens: int
    contestants: tuple[Contestant, ...]
    places: tuple[PlaceReading, ...]
    uses_own_outcome: bool
    moves: bool

    @property
    def silent(self) -> bool:
        """Whether there is no critic: nothing was expected, or always the same."""
        return not self.contestants


def hold_contest(steps: Sequence[StepArrays]) -> Contest:
    """All on the same tokens: written by the policy, with a value, in answers whose outcome is known.

    Tokens weigh alike, so long answers weigh more, as in the critic's curves. The siblings' mean leaves the answer
    itself out; it is known only when the siblings are finished, so it has seen more than a critic may.
    """
    parts = [_of_step(step) for step in steps]
    told, clean, value, siblings, share = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else (np.empty(0),) * 5  # fmt: skip  # noqa: E501
    own = any(bool(step.facts.get("uses_own_outcome")) for step in steps)
    moves = any(_moves(step) for step in steps)
    if not value.size or float(np.ptp(value)) < 1e-9:
        return Contest(0, (), (), own, False)
    contestants = [_contestant("the critic", "its value before each token", value, told, clean)]
    if np.isfinite(siblings).any():
        about = "mean told reward of the other answers to the prompt, known only afterwards"
        contestants.append(_contestant("its siblings’ mean", about, siblings, told, clean))
    about = "the mean told reward of these steps"
    contestants.append(_contestant("one number for all", about, np.full_like(told, told.mean()), told, clean))
    places = []
    for name, low, high in PARTS:
        here = (share >= low) & (share <= high)
        places.append(PlaceReading(name, int(here.sum()), explained(value[here], told[here]),
                                   explained(value[here], clean[here])))  # fmt: skip
    return Contest(int(value.size), tuple(contestants), tuple(places), own, moves)


def siblings_mean(rows: Sequence[Row]) -> np.ndarray:
    """Mean told reward of each row's siblings, itself left out; NaN where none of them is known."""
    known: dict[str, list[float]] = {}
    for row in rows:
        if not math.isnan(row.told):
            known.setdefault(row.group_id, []).append(row.told)

    def others(row: Row) -> float:
        found = known.get(row.group_id, [])
        count, total = len(found), math.fsum(found)
        if not math.isnan(row.told):
            count, total = count - 1, total - row.told
        return total / count if count > 0 else math.nan

    return np.array([others(row) for row in rows], dtype=np.float64)


def explained(value: np.ndarray, outcome: np.ndarray) -> float:
    """1 - Var(outcome - value) / Var(outcome) where both are known; NaN if the outcome never varies."""
    known = np.isfinite(value) & np.isfinite(outcome)
    if not known.any() or outcome[known].var() < 1e-12:
        return math.nan
    return float(1 - (outcome[known] - value[known]).var() / outcome[known].var())


def _contestant(name: str, about: str, value: np.ndarray, told: np.ndarray, clean: np.ndarray) -> Contestant:
    return Contestant(name, about, _mse(value, told), _mse(value, clean), explained(value, told),
                      explained(value, clean))  # fmt: skip


def _mse(value: np.ndarray, outcome: np.ndarray) -> float:
    known = np.isfinite(value) & np.isfinite(outcome)
    return float(((outcome[known] - value[known]) ** 2).mean()) if known.any() else math.nan


def _of_step(step: StepArrays) -> tuple[np.ndarray, ...]:
    """Of each token: told and clean outcome of its answer, value, siblings' mean, share of the answer before it."""
    told = np.array([row.told for row in step.rows], dtype=np.float64)
    clean = np.array([row.clean for row in step.rows], dtype=np.float64)
    counts = np.bincount(step.owner, minlength=len(step.rows))
    order = np.arange(step.owner.size) - np.repeat(np.cumsum(counts) - counts, counts)
    share = order / np.maximum(counts[step.owner] - 1, 1)
    known = np.isfinite(told[step.owner])
    whose = step.owner[known]
    return told[whose], clean[whose], step.values[known], siblings_mean(step.rows)[whose], share[known]


def _moves(step: StepArrays) -> bool:
    """Whether the value changes inside an answer."""
    same = step.owner[1:] == step.owner[:-1]
    return bool((np.abs(np.diff(step.values))[same] > 1e-9).any())
