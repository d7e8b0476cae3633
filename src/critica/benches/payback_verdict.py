"""What the payback bench's runs say: accuracy at equal samples and at equal CPU seconds, and who beats the group."""

from collections.abc import Sequence
from dataclasses import dataclass

from critica.benches.payback_arms import GROUP
from critica.benches.payback_trial import Trial
from critica.functional.statistics import Interval, mean_interval


@dataclass(frozen=True, slots=True)
class Cell:
    """An arm at one sample count, over its seeds, with Student's 95% intervals.

    `cost_seconds`: CPU seconds of a whole undisturbed run. `at_samples`, `at_cost`: accuracy with all samples drawn,
    and when the edition's budget is spent. `over_group_…`: the same minus the group baseline's at this count, and
    `over_best_…` minus the group baseline's at the count where it is best, paired by seed; None for the baseline.
    """

    arm: str
    samples_per_prompt: int
    seeds: int
    cost_seconds: float
    at_samples: Interval
    at_cost: Interval
    greedy: Interval
    over_group_samples: Interval | None
    over_group_cost: Interval | None
    over_best_samples: Interval | None
    over_best_cost: Interval | None


@dataclass(frozen=True, slots=True)
class Edition:
    """All cells under one reward noise. `budget_seconds`: the most CPU time that every cell's run spent."""

    noise: str
    samples: int
    budget_seconds: float
    start: float
    best_samples: int
    best_cost: int
    cells: tuple[Cell, ...]

    @property
    def figure(self) -> str:
        """The name of its picture."""
        return "payback.svg" if self.noise == "none" else f"payback_{self.noise.replace(':', '_')}.svg"

    @property
    def arms(self) -> tuple[str, ...]:
        """In the order of the runs, the group baseline first."""
        return tuple(dict.fromkeys(cell.arm for cell in self.cells))

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples per prompt, the most first."""
        return tuple(sorted({cell.samples_per_prompt for cell in self.cells}, reverse=True))

    def cell(self, arm: str, samples: int) -> Cell | None:
        """This one, if it was run."""
        found = [cell for cell in self.cells if (cell.arm, cell.samples_per_prompt) == (arm, samples)]
        return found[0] if found else None


def shared_costs(trials: Sequence[Trial]) -> tuple[float, ...]:
    """CPU seconds up to each point: stretch by stretch the least over seeds.

    A busy neighbor can only add to a stretch (through shared caches up to twofold, as measured), never take away.
    """
    stretches = zip(*(steps_of(trial) for trial in trials), strict=True)
    total, found = 0.0, [0.0]
    for stretch in stretches:
        total += min(stretch)
        found.append(total)
    return tuple(found)


def steps_of(trial: Trial) -> list[float]:
    """CPU seconds between a run's points."""
    return [b.cpu_seconds - a.cpu_seconds for a, b in zip(trial.points, trial.points[1:], strict=False)]


def accuracy_at(trial: Trial, costs: Sequence[float], budget: float) -> float:
    """The accuracy when `budget` CPU seconds are spent, linear between the points that lie at `costs`.

    Raises ValueError for a budget outside of them: nothing is extrapolated.
    """
    if not costs[0] <= budget <= costs[-1]:
        raise ValueError(f"a run between {costs[0]:.1f} and {costs[-1]:.1f} CPU seconds says nothing of {budget:.1f}")
    for i in range(1, len(costs)):
        if budget <= costs[i]:
            share = (budget - costs[i - 1]) / (costs[i] - costs[i - 1])
            before, after = trial.points[i - 1].accuracy, trial.points[i].accuracy
            return before + share * (after - before)
    raise AssertionError("unreachable: the budget lies between the first cost and the last")


def judged(noise: str, trials: Sequence[Trial], counts: Sequence[int]) -> Edition | None:
    """Every cell of this edition; None before its group baseline has finished a run at each of its counts."""
    runs: dict[tuple[str, int], dict[int, Trial]] = {}
    for trial in trials:
        if trial.noise == noise and trial.samples_per_prompt in counts:
            runs.setdefault((trial.arm, trial.samples_per_prompt), {})[trial.seed] = trial
    runs = {key: found for key, found in runs.items() if (GROUP, key[1]) in runs}
    if not runs:
        return None
    costs = {key: shared_costs(list(found.values())) for key, found in runs.items()}
    budget = min(cost[-1] for cost in costs.values())
    final = {key: {s: t.points[-1].accuracy for s, t in found.items()} for key, found in runs.items()}
    spent = {key: {s: accuracy_at(t, costs[key], budget) for s, t in found.items()} for key, found in runs.items()}
    best_samples, best_cost = best_group(final), best_group(spent)
    cells = []
    for (arm, count), found in runs.items():
        key, other = (arm, count), arm != GROUP
        cells.append(Cell(
            arm, count, len(found), costs[key][-1],
            mean_interval(list(final[key].values())),
            mean_interval(list(spent[key].values())),
            mean_interval([trial.greedy for trial in found.values()]),
            paired(final[GROUP, count], final[key]) if other else None,
            paired(spent[GROUP, count], spent[key]) if other else None,
            paired(final[GROUP, best_samples], final[key]) if other else None,
            paired(spent[GROUP, best_cost], spent[key]) if other else None,
        ))  # fmt: skip
    first = next(iter(next(iter(runs.values())).values()))
    return Edition(
        noise, first.points[-1].samples, budget, first.points[0].accuracy, best_samples, best_cost,
        tuple(sorted(cells, key=lambda cell: -cell.samples_per_prompt)),
    )  # fmt: skip


def best_group(found: dict[tuple[str, int], dict[int, float]]) -> int:
    """The sample count at which the group baseline's mean accuracy is highest."""
    means = {n: sum(by_seed.values()) / len(by_seed) for (arm, n), by_seed in found.items() if arm == GROUP}
    return max(means, key=lambda n: means[n])


def paired(of: dict[int, float], to: dict[int, float]) -> Interval | None:
    """Student's interval of `to - of` over the seeds that both have; None if they share none."""
    seeds = sorted(of.keys() & to.keys())
    return mean_interval([to[seed] - of[seed] for seed in seeds]) if seeds else None


def verdict_lines(edition: Edition) -> list[str]:
    """Who is beyond the group baseline's interval, at equal samples and at equal CPU time."""
    return [
        line
        for what, name, best in (
            (f"At equal samples ({edition.samples:,} each)", "samples", edition.best_samples),
            (f"At equal CPU time ({edition.budget_seconds:.1f} s each)", "cost", edition.best_cost),
        )
        for line in (
            verdict(edition, f"{what}, against the group baseline with as many samples a prompt", f"over_group_{name}"),
            verdict(
                edition,
                f"{what}, against the group baseline where it is best, {best} a prompt (chosen on these very runs)",
                f"over_best_{name}",
            ),
        )
    ]


def verdict(edition: Edition, what: str, field: str) -> str:
    """One sentence: what lies above, what below, and how many comparisons show nothing."""
    compared = [(cell, gain) for cell in edition.cells if (gain := getattr(cell, field)) is not None]
    above = [f"{_named(cell)} {points(gain)}" for cell, gain in compared if gain.low > 0]
    below = [f"{_named(cell)} {points(gain)}" for cell, gain in compared if gain.high < 0]
    rest = len(compared) - len(above) - len(below)
    said = [
        f"better beyond the interval: {', '.join(above) or 'none'}",
        f"worse: {', '.join(below) or 'none'}",
        f"undecided: {rest} of {len(compared)}",
    ]
    return f"{what}: {'; '.join(said)}."


def _named(cell: Cell) -> str:
    return f"{cell.arm} at {cell.samples_per_prompt}"


def points(gain: Interval) -> str:
    """A difference in points with its interval."""
    return f"{100 * gain.estimate:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
