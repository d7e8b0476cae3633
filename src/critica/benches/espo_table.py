"""The espo bench's page: each arm over its seeds, and the regret rule against its random twin, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from critica.functional.statistics import Interval, mean_interval, wilson_interval

ARMS = ("none", "regret", "random")
TITLES = {"none": "no stops (PPO)", "regret": "regret stops (ESPO)", "random": "random stops at its rate"}
WAYS = ("temperature 1", "greedy")


@dataclass(frozen=True, slots=True)
class Run:
    """One arm at one seed. `tokens` and the rates are over the steps in which the rule acts.

    `audited`: answers that the rule gave up and the audit let go on; `audited_right`: those of them that were right.
    """

    arm: str
    seed: int
    tokens: int
    stop_rate: float
    audited: int
    audited_right: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    seconds: float


def of_arm(runs: Sequence[Run], arm: str) -> list[Run]:
    """This arm's runs by seed."""
    return sorted((run for run in runs if run.arm == arm), key=lambda run: run.seed)


def saved(runs: Sequence[Run], arm: str) -> list[float]:
    """The share of the plain arm's tokens that this arm did not write, seed by seed."""
    return [1 - run.tokens / plain.tokens for run, plain in zip(of_arm(runs, arm), of_arm(runs, "none"), strict=True)]


def ahead(runs: Sequence[Run], arm: str, other: str, way: int) -> list[float]:
    """How far this arm's final accuracy is above the other's, seed by seed."""
    pairs = zip(of_arm(runs, arm), of_arm(runs, other), strict=True)
    return [run.after[way] - base.after[way] for run, base in pairs]


def espo_table(machine: Mapping[str, Any], settings: Mapping[str, Any], runs: Sequence[Run]) -> str:
    """The whole page."""
    seeds = len(of_arm(runs, "none"))
    acting = settings["steps"] - settings["warmup_steps"]
    parts = [
        "# Early stops: regret against chance\n",
        f"Made by `critica bench espo`: pico, {settings['steps']} steps of {settings['prompts']} prompts x"
        f" {settings['samples']} samples, {seeds} seeds; {machine['processor']}, commit {machine['commit']}."
        " The three arms differ in the decode control alone. The random arm stops at the rate that the regret arm"
        f" reached with the same seed. The rule acts in the last {acting} steps, and tokens are counted there;"
        f" {100 * settings['audit']:.0f}% of the answers are under audit: they go on although they were given up, and"
        f" the right ones among them are false stops. Accuracy: {settings['held_out']} held-out prompts. Intervals:"
        " 95%, Student over seeds; Wilson for false stops, over answers.\n",
        _arms(runs),
        _contrasts(runs),
    ]
    return "\n".join(parts)


def _arms(runs: Sequence[Run]) -> str:
    lines = [
        "| arm | stopped | tokens saved | false stops | accuracy after, temperature 1 | greedy |",
        "|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        own = of_arm(runs, arm)
        audited = sum(run.audited for run in own)
        false = "" if not audited else _percent(wilson_interval(sum(run.audited_right for run in own), audited))
        after = [_percent(mean_interval([run.after[way] for run in own])) for way in range(len(WAYS))]
        stopped = "" if arm == "none" else _percent(mean_interval([run.stop_rate for run in own]))
        less = "" if arm == "none" else _percent(mean_interval(saved(runs, arm)))
        lines.append(f"| {TITLES[arm]} | {stopped} | {less} | {false} | {after[0]} | {after[1]} |")
    return "\n".join(lines) + "\n"


def _contrasts(runs: Sequence[Run]) -> str:
    lines = ["| final accuracy, paired by seed | temperature 1 | greedy |", "|---|---|---|"]
    for arm, other in (("regret", "random"), ("regret", "none"), ("random", "none")):
        cells = [_percent(mean_interval(ahead(runs, arm, other, way))) for way in range(len(WAYS))]
        lines.append(f"| {TITLES[arm]} minus {TITLES[other]} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def _percent(interval: Interval) -> str:
    if not abs(interval.low) < float("inf"):
        return f"{100 * interval.estimate:.1f}%"
    return f"{100 * interval.estimate:.1f}% [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
