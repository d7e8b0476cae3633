"""Which of several policies to ask, prompt by prompt, by what the rollouts of each tell of its ability (V_0)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from pathlib import Path

import numpy as np
from jaxtyping import Float

from critica.critics.prompt_value import PromptValue, PromptValueCritic
from critica.environments.splits import normalize
from critica.functional.budget import routing_scores
from critica.functional.random import uniforms
from critica.store.rollouts import read_facts
from critica.store.run_folder import RunFolder

RECORD = PromptValue(prompts=4096)
COLUMNS = ["prompt", "reward_told", "reward_clean"]
FEWEST = 10  # held-out prompts below which a router's regret is chance


class RouteProblem(ValueError):
    """Policies that cannot be compared, or prompts that nobody answered."""


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """`costs` of one answer of each run, in any unit; `success_weight` is beta; `held_out` the share that judges."""

    costs: tuple[float, ...]
    success_weight: float = 0.75
    held_out: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.costs) < 2 or min(self.costs) < 0 or max(self.costs) <= 0:
            raise RouteProblem(
                f"costs are {list(self.costs)}: name one for each run, none below 0, for example --costs 1,3"
            )
        if not 0 <= self.success_weight <= 1 or not 0 < self.held_out < 1:
            raise RouteProblem("the success weight lies in [0, 1], and the held-out share between 0 and 1")

    @property
    def scaled(self) -> Float[np.ndarray, "M"]:
        """Costs in units of the dearest."""
        return np.array(self.costs) / max(self.costs)


@dataclass(frozen=True, slots=True)
class Told:
    """What one step of a run was told of one prompt: how many outcomes in [0, 1], and their sum; told and clean."""

    step: int
    prompt: str
    count: int
    total: float
    clean: float


@dataclass(frozen=True, slots=True)
class Choice:
    """One prompt: each run's forecast, its score, and the run that is asked."""

    prompt: str
    rates: tuple[float, ...]
    scores: tuple[float, ...]
    run: int


@dataclass(frozen=True, slots=True)
class Way:
    """One way to choose, on the held-out prompts: mean success, mean cost (of the dearest), mean score.

    `regret` is how far its score lies below the oracle's, with its standard error over prompts.
    """

    name: str
    success: float
    cost: float
    score: float
    regret: float
    error: float


@dataclass(frozen=True, slots=True)
class Routing:
    """The choices for the prompts that were asked about, and how good such choices are on held-out ones."""

    runs: tuple[str, ...]
    choices: tuple[Choice, ...]
    ways: tuple[Way, ...]
    judged_on: int


def route(runs: Sequence[str], prompts: Sequence[str], plan: RoutePlan) -> Routing:
    """Choose a run for each prompt, and judge the choosing on prompts that every run answered.

    score = beta r + (1 - beta)(1 - cost), r from a V_0 record of each run's rollouts. The records that are judged hold
    no held-out prompt; those that choose hold all. The oracle knows each held-out prompt's own outcomes, so with few
    samples a prompt it is flattered by chance. Raises `RouteProblem`.
    """
    if len(runs) != len(plan.costs):
        raise RouteProblem(f"{len(runs)} runs and {len(plan.costs)} costs: name one cost for each run, --costs 1,3")
    if len({str(Path(run).resolve()) for run in runs}) < len(runs):
        raise RouteProblem("a run is named twice: choose between different ones")
    told = [read_told(run) for run in runs]
    choices = choose(prompts, [record_of(one) for one in told], plan)
    ways, judged_on = judge(told, [Path(run).name for run in runs], plan)
    return Routing(tuple(map(str, runs)), choices, ways, judged_on)


def read_told(run: Path | str) -> tuple[Told, ...]:
    """Every prompt of every step of a run with known outcomes."""
    store = RunFolder.open(run)
    found: list[Told] = []
    for step in store.rollout_steps:
        table = store.rollouts(step, COLUMNS)
        facts = read_facts(table)
        low, high = fsum(facts["low"]), fsum(facts["high"])
        span = high - low if high > low else 1.0
        rows: dict[str, list[tuple[float, float]]] = {}
        for row in table.to_pylist():
            if row["reward_told"] is not None:
                clean = row["reward_told"] if row["reward_clean"] is None else row["reward_clean"]
                values = ((row["reward_told"] - low) / span, (clean - low) / span)
                rows.setdefault(row["prompt"], []).append(values)
        found += [
            Told(step, prompt, len(values), fsum(v for v, _ in values), fsum(v for _, v in values))
            for prompt, values in rows.items()
        ]
    if not found:
        raise RouteProblem(f"{run} holds no rollouts with outcomes: train it for some steps first")
    return tuple(found)


def record_of(told: Sequence[Told]) -> PromptValueCritic:
    """A V_0 critic that was told all this, step by step."""
    critic = PromptValueCritic(RECORD)
    for step in sorted({one.step for one in told}):
        now = [one for one in told if one.step == step]
        news: dict[str, tuple[float, float]] = {}
        for one in now:
            count, total = news.get(normalize(one.prompt), (0.0, 0.0))
            news[normalize(one.prompt)] = (count + one.count, total + one.total)
        count = float(sum(one.count for one in now))
        mean = fsum(total / number for number, total in news.values()) / len(news)
        critic.tell(news, {normalize(one.prompt): one.prompt for one in now}, (count, count * mean))
    critic.review()
    return critic


def choose(prompts: Sequence[str], records: Sequence[PromptValueCritic], plan: RoutePlan) -> tuple[Choice, ...]:
    """The run with the best score for each prompt; the first of equals."""
    if not prompts:
        return ()
    rates = np.stack([record.rates(prompts)[0].numpy() for record in records], 1)
    scores = routing_scores(rates, plan.scaled, plan.success_weight)
    best = scores.argmax(1)
    return tuple(
        Choice(prompt, tuple(rate), tuple(score), int(run))
        for prompt, rate, score, run in zip(prompts, rates.tolist(), scores.tolist(), best, strict=True)
    )


def judge(told: Sequence[Sequence[Told]], names: Sequence[str], plan: RoutePlan) -> tuple[tuple[Way, ...], int]:
    """Router, always the same run, and oracle on held-out prompts that every run answered; and how many these are."""
    truths = [held_out_truths(one, plan) for one in told]
    common = sorted(set(truths[0]).intersection(*truths[1:]))
    if len(common) < FEWEST:
        raise RouteProblem(
            f"the runs answered {len(common)} held-out prompts in common, {FEWEST} are needed to judge a router: train"
            " them on the same environment with the same seed, for more steps, or hold out a larger share"
        )
    truth = np.array([[one[name] for one in truths] for name in common])
    learned = [[item for item in one if not is_held_out(item.prompt, plan)] for one in told]
    if not all(learned):
        raise RouteProblem("no prompt is left to learn from: hold out a smaller share")
    shown = {normalize(item.prompt): item.prompt for item in told[0]}
    chosen = choose([shown[name] for name in common], [record_of(one) for one in learned], plan)
    score = routing_scores(truth, plan.scaled, plan.success_weight)
    return compare_ways(truth, score, np.array([choice.run for choice in chosen]), names, plan), len(common)


def compare_ways(
    truth: Float[np.ndarray, "P M"],
    score: Float[np.ndarray, "P M"],
    router: np.ndarray,
    names: Sequence[str],
    plan: RoutePlan,
) -> tuple[Way, ...]:
    """Each way's means over the P prompts; `router` holds a run for each prompt."""
    prompts = np.arange(len(truth))
    always = {f"always {name}": np.full(len(truth), m) for m, name in enumerate(names)}
    picks = {"router": router, **always, "oracle": score.argmax(1)}
    best = score.max(1)
    ways = []
    for name, pick in picks.items():
        lost = best - score[prompts, pick]
        error = float(lost.std(ddof=1)) / sqrt(len(lost)) if len(lost) > 1 else 0.0
        success, cost, gained = truth[prompts, pick], plan.scaled[pick], score[prompts, pick]
        ways.append(
            Way(name, float(success.mean()), float(cost.mean()), float(gained.mean()), float(lost.mean()), error)
        )
    return tuple(ways)


def held_out_truths(told: Sequence[Told], plan: RoutePlan) -> dict[str, float]:
    """Mean clean outcome of each held-out prompt, by its normalized text."""
    sums: dict[str, tuple[int, float]] = {}
    for one in told:
        if is_held_out(one.prompt, plan):
            count, total = sums.get(normalize(one.prompt), (0, 0.0))
            sums[normalize(one.prompt)] = (count + one.count, total + one.clean)
    return {name: total / count for name, (count, total) in sums.items()}


def is_held_out(prompt: str, plan: RoutePlan) -> bool:
    """By the text alone, so that no run learns from what another is judged on."""
    return bool(uniforms(plan.seed, "route/split", normalize(prompt), count=1)[0] < plan.held_out)
