"""What noise did to credit: which answers were pushed the wrong way, among those told the truth and the others."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from critica.viewer.window import Row


@dataclass(frozen=True, slots=True)
class Pushes:
    """Trained answers of one kind: how many, how many right and pushed down, how many wrong and pushed up."""

    kind: str
    answers: int
    right_down: int
    wrong_up: int

    @property
    def wrong_way(self) -> float:
        """Share that was pushed away from the truth; NaN without answers."""
        return (self.right_down + self.wrong_up) / self.answers if self.answers else math.nan


@dataclass(frozen=True, slots=True)
class NoiseEffect:
    """Both kinds, and how many answers they are taken from."""

    truthful: Pushes
    changed: Pushes

    @property
    def whole(self) -> Pushes:
        """Both kinds together."""
        a, b = self.truthful, self.changed
        return Pushes("all", a.answers + b.answers, a.right_down + b.right_down, a.wrong_up + b.wrong_up)


def noise_effect(rows: Iterable[Row]) -> NoiseEffect:
    """Over trained answers whose truth is known. An answer is pushed up if the mean credit of its tokens is above 0.

    Some wrong pushes are there without noise: a critic that expected more of a right answer pushes it down.
    """
    judged = [row for row in rows if row.state == "trained" and row.correct is not None and not math.isnan(row.credit)]
    return NoiseEffect(
        _pushes("told the truth", [row for row in judged if not row.flipped]),
        _pushes("changed by noise", [row for row in judged if row.flipped]),
    )


def _pushes(kind: str, rows: list[Row]) -> Pushes:
    down = sum(row.correct is True and row.credit < 0 for row in rows)
    up = sum(row.correct is False and row.credit > 0 for row in rows)
    return Pushes(kind, len(rows), down, up)
