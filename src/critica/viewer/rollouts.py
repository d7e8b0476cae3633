"""Which trajectories a reader sees: right and wrong, told the truth and told a lie, early and late."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from critica.records.words import label_of
from critica.store.rollouts import read_facts
from critica.store.run_folder import RunFolder

MINIMUM = 20
STEPS_SHOWN = 6
PER_STEP = 5
TOKEN_BUDGET = 12_000  # over all rollouts shown: keeps the page small whatever the answers' length


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
class ShownRollout:
    """One trajectory, as the page draws it. `told` and `clean` are NaN where they are unknown."""

    step: int
    trajectory_id: str
    task_id: str
    prompt: str
    answer: str
    stop: str
    told: float
    clean: float
    correct: bool | None
    flipped: bool
    state: str
    reason: str
    low: float
    high: float
    length: int
    tokens: tuple[ShownToken, ...]


def shown_steps(steps: Sequence[int], count: int = STEPS_SHOWN) -> tuple[int, ...]:
    """At most `count` steps, evenly spread, the first and the last among them."""
    if len(steps) <= count:
        return tuple(steps)
    return tuple(steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count))


def pick_rollouts(run: RunFolder) -> tuple[ShownRollout, ...]:
    """At least 20 trajectories (fewer only if the run has fewer), the latest step first, kinds mixed in each."""
    steps = shown_steps(run.rollout_steps)
    per_step = max(PER_STEP, math.ceil(MINIMUM / max(len(steps), 1)))
    cap = TOKEN_BUDGET // max(per_step * len(steps), 1)
    return tuple(rollout for step in reversed(steps) for rollout in _of_step(run, step, per_step, cap))


def _of_step(run: RunFolder, step: int, count: int, cap: int) -> list[ShownRollout]:
    table = run.rollouts(step)
    facts = read_facts(table)
    low, high = sum(facts["low"]), sum(facts["high"])
    kinds = list(zip(table["correct"].to_pylist(), table["flipped"].to_pylist(), strict=True))
    rows = table.take(spread_kinds(kinds, count)).to_pylist()
    return [_shown(row, step, low, high, cap) for row in rows]


def spread_kinds(kinds: Sequence[tuple[bool | None, bool]], count: int) -> list[int]:
    """Row numbers: the first of each kind, then the second of each, until there are `count`; grouped by kind."""
    members: dict[tuple[bool | None, bool], list[int]] = {}
    for index, kind in enumerate(kinds):
        members.setdefault(kind, []).append(index)
    order = sorted(members, key=lambda kind: (not kind[1], str(kind[0])))  # the flipped are rarest: they go first
    turns = [members[kind][turn] for turn in range(len(kinds)) for kind in order if turn < len(members[kind])]
    return sorted(turns[:count])


def _shown(row: dict, step: int, low: float, high: float, cap: int) -> ShownRollout:
    first = row["sampled_mask"].index(True) if True in row["sampled_mask"] else len(row["tokens"])
    last = min(len(row["tokens"]), first + cap)
    return ShownRollout(
        step=step,
        trajectory_id=row["trajectory_id"],
        task_id=row["task_id"],
        prompt="".join(row["tokens"][:first]) if label_of(row["trajectory_id"]) else row["prompt"],
        answer=row["answer"],
        stop=row["stop"],
        told=_number(row["reward_told"]),
        clean=_number(row["reward_clean"]),
        correct=row["correct"],
        flipped=row["flipped"],
        state=row["ledger_state"],
        reason=row["ledger_reason"],
        low=low,
        high=high,
        length=sum(row["sampled_mask"]),
        tokens=tuple(_token(row, t) for t in range(first, last)),
    )


def _token(row: dict, t: int) -> ShownToken:
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
