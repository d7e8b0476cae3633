"""What the issue wants of the critics, and whether the numbers bear it out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

WANTED_RATIO, WANTED_CRITICS = 0.7, 3
MOVES, ERRS = 0.1, 0.5  # shares of the truth's spread inside prompts
UNTEACHABLE = 0.95  # the ratio from which on a regression that was told the truth has learned nothing to speak of


@dataclass(frozen=True, slots=True)
class Row:
    """One critic on one field under one condition, over all seeds."""

    spec: str
    name: str
    field: str
    condition: str
    ratio: float
    low: float
    high: float
    floor: float
    readings: Mapping[str, float]
    floors: Mapping[str, float]
    seeds: int
    seconds: float
    answers: float
    samples: float
    silent: float
    older: bool  # at some seed its file had other code than it has now
    own: bool  # it has seen the outcome of the answer that it values, as a baseline should not
    movement: float  # spread of the value inside prompts over the spread of the truth there
    follows: float  # slope of the truth on the value inside prompts: 1 for a calibrated critic, 0 for noise


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal, whether it is met, and the numbers that say so."""

    goal: str
    met: bool | None
    because: str

    @property
    def line(self) -> str:
        """As the page prints it."""
        word = "not judged" if self.met is None else "pass" if self.met else "FAIL"
        return f"**{self.goal}: {word}.** {self.because}"


def below(rows: Sequence[Row], condition: str) -> dict[str, dict[str, float]]:
    """Of each critic (its best variant): the mean ratio over fields, and the fields where it is low enough.

    Monte-Carlo references are no critics: they sample what a critic foretells.
    """
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.condition == condition and not row.spec.startswith("mcs@"):
            found.setdefault(row.spec, {})[row.field] = row.ratio
    return found


def many_good(rows: Sequence[Row], condition: str = "data") -> Verdict:
    """(a): at least three critics whose error inside prompts is at most 0.7 of the group mean's, over all fields.

    A critic that has seen the outcome of the answer which it values does not count: late in an answer it repeats it.
    """
    by_spec, fields = below(rows, condition), {row.field for row in rows}
    names = {row.spec: row.name for row in rows}
    seen = {row.spec for row in rows if row.own}
    best: dict[str, tuple[float, str]] = {}
    for spec, ratios in by_spec.items():
        if set(ratios) == fields and not any(map(math.isnan, ratios.values())) and spec not in seen:
            best[names[spec]] = min(best.get(names[spec], (math.inf, "")), (_mean(ratios), spec))
    ranked = sorted(best.values())
    good = [item for item in ranked if item[0] <= WANTED_RATIO]
    peeked = [spec for spec, ratios in by_spec.items() if spec in seen and _mean(ratios) <= WANTED_RATIO]
    told = ", ".join(f"`{spec}` {mean:.2f}" for mean, spec in ranked[: max(5, len(good))])
    somewhere = {
        field: sorted(
            {names[s] for s, r in by_spec.items() if s not in seen and r.get(field, math.inf) <= WANTED_RATIO}
        )
        for field in sorted(fields)
    }
    enough = sum(len(who) >= WANTED_CRITICS for who in somewhere.values())
    where = "; ".join(f"{field}: {', '.join(who) or 'none'}" for field, who in somewhere.items())
    return Verdict(
        f"(a) three critics at most {WANTED_RATIO} of the group mean's error inside prompts, equal {condition}",
        len(good) >= WANTED_CRITICS,
        f"{len(good)} over the mean of {len(fields)} fields (best: {told}); three or more"
        f" on {enough} fields ({where}). Not counted, for seeing"
        f" the outcome of the answer itself: {', '.join(f'`{spec}`' for spec in peeked) or 'none'}.",
    )


def _mean(ratios: Mapping[str, float]) -> float:
    return math.fsum(ratios.values()) / len(ratios)


def not_collapsed(
    rows: Sequence[Row], teachable: Mapping[str, float], spec: str = "scalar", condition: str = "data"
) -> Verdict:
    """(b): the pretrained value head does not stand still inside prompts, or what it reads gives it no reason to move.

    It has collapsed where it moves by less than `MOVES` of the truth's spread, or by less than `ERRS` of it without
    explaining any. `teachable` are the ratios of a ridge regression on the policy's states that was told the truth.
    """
    mine = [row for row in rows if row.spec == spec and row.condition == condition]
    goal = "(b) the pretrained PPO-style critic does not collapse to the group's mean, or the reason is shown"
    if not mine:
        return Verdict(goal, None, f"`{spec}` was not measured.")
    words, unexplained = [], False
    for row in mine:
        explained, least = row.readings["within_explained"], teachable.get(row.field, math.nan)
        told = f"{row.field}: moves {row.movement:.2f} of the truth's spread, explains {explained:.2f}"
        if row.movement >= MOVES and explained > 0:
            words.append(f"{told}, follows it")
        elif row.movement >= ERRS:
            words.append(f"{told}, has not collapsed but errs")
        elif least >= UNTEACHABLE:
            words.append(
                f"{told}, collapsed: even told the truth, a regression on the policy's states reads {least:.2f}"
            )
        else:
            words.append(f"{told}, collapsed without a reason")
            unexplained = True
    return Verdict(goal, not unexplained, "; ".join(words) + ".")


def paper_order(rows: Sequence[Row], fields: Mapping[str, frozenset[str]], condition: str = "data") -> list[Verdict]:
    """(c): where the assumptions hold, mean absolute error in the order that was published.

    `fields` says of each critic where they do. Numca below Hista below the group's mean on states of numbers (SVEB's
    table, `number`); TEMPO below the group's mean where siblings share prefixes.
    """

    def error(name: str, wanted: frozenset[str]) -> float:
        by_spec: dict[str, list[float]] = {}
        for row in rows:
            if row.name == name and row.field in wanted and row.condition == condition:
                by_spec.setdefault(row.spec, []).append(row.readings["mae"])
        full = [math.fsum(v) / len(v) for v in by_spec.values() if len(v) == len(wanted)]
        return min(full, default=math.nan)

    verdicts = []
    for goal, names, where in (
        ("(c) Numca below Hista below the group's mean on numbers", ("number_sets", "hidden_neighbors", "group_mean"),
         fields["numbers"]),
        ("(c) TEMPO below the group's mean where prefixes are shared", ("prefix_tree", "group_mean"), fields["shared"]),
    ):  # fmt: skip
        here = frozenset(row.field for row in rows) & where
        errors = [error(name, here) for name in names]
        known = bool(here) and not any(map(math.isnan, errors))
        pairs = zip(names, errors, strict=True)
        told = ", ".join(f"{name} {value:.4f}" if value == value else f"{name} not measured" for name, value in pairs)
        met = in_order(errors) if known else None
        kept = [field for field in sorted(here) if in_order([error(name, frozenset({field})) for name in names])]
        because = (
            f"Mean absolute error, best variant of each: {told} ({', '.join(sorted(here)) or 'no such field'})."
            f" Field by field in that order: {', '.join(kept) or 'none'}."
        )
        verdicts.append(Verdict(goal, met, because))
    return verdicts


def in_order(errors: Sequence[float]) -> bool:
    """Whether each is below the next; what was not measured is below nothing."""
    return all(a < b for a, b in pairwise(errors))


def floors_given(rows: Sequence[Row]) -> Verdict:
    """(d): every error has the noise floor of its truth beside it."""
    without = [row for row in rows if math.isnan(row.floor) or math.isnan(row.floors.get("mae", math.nan))]
    return Verdict(
        "(d) the noise floor beside each figure", not without and bool(rows),
        f"{len(rows) - len(without)} of {len(rows)} rows have one.",
    )  # fmt: skip


def verdicts(
    rows: Sequence[Row], fields: Mapping[str, frozenset[str]], teachable: Mapping[str, float]
) -> list[Verdict]:
    """Every goal in order."""
    both = [many_good(rows), many_good(rows, "time")]
    return [*both, not_collapsed(rows, teachable), *paper_order(rows, fields), floors_given(rows)]
