"""Which answers a reader sees, early and late, of every kind, and what each one's credit was made of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from critica.records.words import label_of
from critica.store.rollouts import read_facts
from critica.store.run_folder import RunFolder
from critica.viewer.contest import siblings_mean
from critica.viewer.surprises import Surprises
from critica.viewer.window import StepArrays, step_arrays

MINIMUM = 20
STEPS_SHOWN = 6
PER_STEP = 5
TOKEN_BUDGET = 16_000  # over all answers shown: keeps the page small whatever their length
PROMPT_SHOWN, EXCERPT, SIBLINGS_SHOWN = 2_000, 120, 16


@dataclass(frozen=True, slots=True)
class ShownToken:
    """One token after the prompt, as the page draws it; NaN where there is nothing to say."""

    text: str
    sampled: bool
    value: float
    quantiles: tuple[float, ...]
    advantage: float
    logprob: float


@dataclass(frozen=True, slots=True)
class Sibling:
    """An answer to the same prompt: `expected` is the value before its first token, `credit` its mean advantage."""

    trajectory_id: str
    told: float
    clean: float
    correct: bool | None
    flipped: bool
    state: str
    expected: float
    credit: float
    text: str


@dataclass(frozen=True, slots=True)
class ShownRollout:
    """One answer, as the page draws it. Numbers are NaN where they are unknown. Tokens begin at place `start`; the
    trajectory has `end`.

    `said` is what the source said, noise included. `siblings_told` is the mean told reward of the other answers.
    `rank` of `ranked` trained answers of its step by credit, from the highest.
    """

    step: int
    trajectory_id: str
    task_id: str
    group: str
    prompt: str
    answer: str
    stop: str
    said: float
    told: float
    clean: float
    correct: bool | None
    flipped: bool
    state: str
    reason: str
    low: float
    high: float
    length: int
    expected: float
    credit: float
    siblings_told: float
    rank: int
    ranked: int
    rule: str
    surprising: bool
    start: int
    end: int
    tokens: tuple[ShownToken, ...]


@dataclass(frozen=True, slots=True)
class ShownAnswers:
    """The answers, latest step first, and the groups (`step/group`) that they belong to."""

    rollouts: tuple[ShownRollout, ...]
    groups: Mapping[str, tuple[Sibling, ...]]


def shown_steps(steps: Sequence[int], count: int = STEPS_SHOWN) -> tuple[int, ...]:
    """At most `count` steps, evenly spread, the first and the last among them."""
    if len(steps) <= count:
        return tuple(steps)
    return tuple(steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count))


def pick_rollouts(run: RunFolder, surprises: Surprises | None = None) -> ShownAnswers:
    """At least 20 answers (fewer only if the run has fewer), kinds mixed, and those that surprised the critic most."""
    steps = shown_steps(run.rollout_steps)
    per_step = max(PER_STEP, math.ceil(MINIMUM / max(len(steps), 1)))
    named: dict[int, dict[str, int]] = {}
    for one in (*surprises.inside, *surprises.ends) if surprises is not None else ():
        named.setdefault(one.step, {}).setdefault(one.trajectory_id, one.place)
    cap = TOKEN_BUDGET // max(per_step * len(steps) + sum(map(len, named.values())), 1)
    rollouts: list[ShownRollout] = []
    groups: dict[str, tuple[Sibling, ...]] = {}
    for step in sorted({*steps, *named}, reverse=True):
        shown = _of_step(run, step, per_step if step in steps else 0, named.get(step, {}), cap)
        rollouts += shown.rollouts
        groups |= shown.groups
    return ShownAnswers(tuple(rollouts), groups)


def _of_step(run: RunFolder, step: int, count: int, named: Mapping[str, int], cap: int) -> ShownAnswers:
    table, arrays = run.rollouts(step), step_arrays(run, step)
    facts = read_facts(table)
    kinds = [(row.correct, row.flipped, row.state == "trained") for row in arrays.rows]
    chosen = sorted(
        {*spread_kinds(kinds, count), *(n for n, row in enumerate(arrays.rows) if row.trajectory_id in named)}
    )
    context = _StepContext(arrays, facts, named, cap)
    shown = tuple(
        context.shown(row, n) for row, n in zip(table.take(chosen).to_pylist(), chosen, strict=True)
    )  # fmt: skip
    groups = {rollout.group for rollout in shown}
    members: dict[str, list[Sibling]] = {}
    for n, row in enumerate(arrays.rows):
        if (key := f"{step}/{row.group_id}") in groups and len(members.get(key, ())) < SIBLINGS_SHOWN:
            members.setdefault(key, []).append(
                Sibling(row.trajectory_id, row.told, row.clean, row.correct, row.flipped, row.state,
                        context.expected[n], row.credit, row.text[:EXCERPT])
            )  # fmt: skip
    return ShownAnswers(shown, {key: tuple(found) for key, found in members.items()})


def spread_kinds(kinds: Sequence[tuple[bool | None, bool, bool]], count: int) -> list[int]:
    """Row numbers: the first of each kind (correct, flipped, trained), then the second of each, until `count`."""
    members: dict[tuple[bool | None, bool, bool], list[int]] = {}
    for index, kind in enumerate(kinds):
        members.setdefault(kind, []).append(index)
    rare_first = sorted(members, key=lambda kind: (kind[2], not kind[1], str(kind[0])))  # dropped, flipped, the rest
    turns = [members[kind][turn] for turn in range(len(kinds)) for kind in rare_first if turn < len(members[kind])]
    return sorted(turns[:count])


class _StepContext:
    """What the answers of one step have in common."""

    def __init__(self, arrays: StepArrays, facts: Mapping[str, Any], named: Mapping[str, int], cap: int) -> None:
        self.arrays, self.named, self.cap = arrays, named, cap
        self.low, self.high = sum(facts.get("low", [0.0])), sum(facts.get("high", [1.0]))
        self.rule = str(facts.get("advantage_rule", ""))
        self.siblings = siblings_mean(arrays.rows)
        self.expected = np.full(len(arrays.rows), np.nan)
        whose, first = np.unique(arrays.owner, return_index=True)
        self.expected[whose] = arrays.values[first]
        self.credits = np.array([row.credit for row in arrays.rows if not math.isnan(row.credit)])

    def shown(self, row: dict[str, Any], n: int) -> ShownRollout:
        known = self.arrays.rows[n]
        end = len(row["tokens"])
        begin = row["sampled_mask"].index(True) if True in row["sampled_mask"] else end
        around = self.named.get(row["trajectory_id"], begin)
        first = begin if around < begin + self.cap else max(begin, min(around - self.cap // 2, end - self.cap))
        prompt = "".join(row["tokens"][:begin]) if label_of(row["trajectory_id"]) else row["prompt"]
        return ShownRollout(
            step=known.step,
            trajectory_id=known.trajectory_id,
            task_id=known.task_id,
            group=f"{known.step}/{known.group_id}",
            prompt=prompt if len(prompt) <= PROMPT_SHOWN else prompt[:PROMPT_SHOWN] + " …",
            answer=row["answer"][:PROMPT_SHOWN],
            stop=row["stop"],
            said=_number(row.get("reward_said")),
            told=known.told,
            clean=known.clean,
            correct=known.correct,
            flipped=known.flipped,
            state=row["ledger_state"],
            reason=row["ledger_reason"],
            low=self.low,
            high=self.high,
            length=sum(row["sampled_mask"]),
            expected=float(self.expected[n]),
            credit=known.credit,
            siblings_told=float(self.siblings[n]),
            rank=int((self.credits > known.credit).sum()) + 1,
            ranked=len(self.credits),
            rule=self.rule,
            surprising=row["trajectory_id"] in self.named,
            start=first,
            end=end,
            tokens=tuple(_token(row, t) for t in range(first, min(end, first + self.cap))),
        )


def _token(row: dict[str, Any], t: int) -> ShownToken:
    sampled, quantiles = row["sampled_mask"][t], row["value_quantiles"][t]
    return ShownToken(
        text=row["tokens"][t],
        sampled=sampled,
        value=_number(row["value_mean"][t]),
        quantiles=tuple(quantiles) if quantiles is not None else (),
        advantage=row["advantage"][t] if row["trained_mask"][t] else math.nan,
        logprob=row["behavior_logprobs"][t] if sampled else math.nan,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
