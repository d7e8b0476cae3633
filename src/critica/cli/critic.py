"""`critica critic audit` and `critica critic fit`: a critic as a product of its own, measured and trained alone."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Natural, Positive, Seed, Step
from critica.cli.output import quiet_libraries, say, show, show_json, table

if TYPE_CHECKING:
    from critica.records.critic_report import CriticReport, PanelRow, Slice

SLICE_HEAD = ("states", "truth", "value", "mse", "expl. var.", "group's")


@dataclass(frozen=True, kw_only=True)
class AuditCritic:
    """Measure a critic: what it says about fresh states beside what fresh continuations of them bring.

    Held-out prompts are answered, answers are cut at several places, every place is continued many times, and the
    critic's values are held against the outcomes: bias, error with its noise floor, explained variance inside
    prompts and over them, calibration, rank, laws, credit. A group's mean and the prompt's own value stand beside it.

    Examples:
      critica critic audit runs/first
      critica critic audit runs/first --continuations 128 --page critic.html
      critica critic audit runs/first --policy runs/second --json     # how it judges another policy
      critica critic audit critics/mine --environment rg:chain_sum
    """

    # A run folder, or a folder that `critica critic fit` wrote.
    target: Annotated[Positional[str], arg(metavar="RUN_OR_CRITIC")]

    # Whose answers are judged: a run folder, a model folder or a name; by default the policy beside the critic.
    policy: Annotated[str, arg(metavar="P", help_behavior_hint="")] = ""

    # What is asked; by default what the critic was trained on.
    environment: Annotated[str, arg(metavar="E", help_behavior_hint="")] = ""

    # The run's checkpoint.
    step: Step = None

    # Held-out prompts.
    prompts: Positive = 64

    # Answers to each prompt: what a counted critic counts.
    samples: Positive = 8

    # Answers of each prompt that are cut.
    answers: Positive = 2

    # Places in each of them.
    positions: Positive = 5

    # Fresh continuations of each place.
    continuations: Positive = 32

    # Walk every continuation instead: the exact value, for token games (digit_sum, binary_tree, chain, two_branch).
    exact: bool = False

    # Noise on what a counted critic is told, such as flip:0.2:sample; by default the run's own.
    noise: Annotated[str, arg(metavar="SPEC", help_behavior_hint="")] = ""

    # Of the sampling; by default that of every audit, so that two critics meet the same states of one policy.
    seed: Seed = None

    # Write a page with pictures to this file.
    page: Annotated[str, arg(metavar="FILE", help_behavior_hint="")] = ""

    # Write the report as JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Sample, continue, compare, print."""
        from critica.rewards.noise_specs import parse_noise
        from critica.training.critic_audit import AUDIT_SEED, AuditPlan, audit_critic

        quiet_libraries()
        seed = AUDIT_SEED if self.seed is None else self.seed
        plan = AuditPlan(
            self.prompts, self.samples, self.answers, self.positions, self.continuations, seed, self.exact
        )
        noise = parse_noise(self.noise) if self.noise else None
        report = audit_critic(self.target, self.policy, self.environment, plan, self.step, noise)
        if self.page:
            from critica.viewer.critic_page import write_critic_page

            say(f"wrote {write_critic_page(report, Path(self.page))}")
        if self.json:
            show_json(report.to_json())
        else:
            show("\n".join(as_text(report)))
        return 0


@dataclass(frozen=True, kw_only=True)
class FitCritic:
    """Fit a critic to stored rollouts and write a folder that `critica train … --critic-from` starts from.

    Prompts are split by their text: the fit stops when the error on prompts that it does not learn from has not
    fallen for a while, and the best weights are kept. Stopped in between, the same command goes on to the same bits.

    Examples:
      critica critic fit --from runs/first --out critics/mine
      critica critic fit --from runs/first --critic quantile --set critic.quantiles=32 --out critics/law
      critica critic fit --from rollouts --policy pico --critic scalar --out critics/mine
    """

    # A run folder, a folder of its rollouts (Parquet files), or a file of scored answers from anywhere (JSON lines).
    from_: Annotated[str, arg(name="from", metavar="RUN_OR_ROLLOUTS")]

    # The folder to write.
    out: Annotated[str, arg(metavar="DIR")]

    # A critic of the catalogue (scalar, quantile, …) or my_file.py:MyCritic; by default the run's own.
    critic: Annotated[str, arg(metavar="SPEC", help_behavior_hint="")] = ""

    # Whose body the critic starts from, or whose states it reads; by default the run's newest.
    policy: Annotated[str, arg(metavar="P", help_behavior_hint="")] = ""

    # Updates at most.
    updates: Positive = 400

    # Stored groups (a prompt and its answers) in each update.
    groups: Positive = 16

    # Updates between two looks at the held-out prompts.
    judge_every: Positive = 10

    # Looks in a row without an improvement that end the fit.
    patience: Positive = 5

    # Share of the prompts that is held out.
    held_out: float = 0.2

    # Of the split, the order and the head's first weights.
    seed: Natural = 0

    # Change one value, e.g. critic.quantiles=32, target=lambda_return or learner.critic.learning_rate=1e-4.
    set: Annotated[tuple[str, ...], arg(metavar="PATH=VALUE")] = ()

    # Write what came out as JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Read, fit, judge, publish."""
        from dataclasses import asdict

        from critica.training.critic_fit import FitPlan, fit_critic

        quiet_libraries()
        plan = FitPlan(
            self.updates, self.groups, self.judge_every, self.patience, self.held_out, self.seed,
        )  # fmt: skip
        folder = fit_critic(self.from_, self.out, self.critic, self.policy, plan, self.set, say)
        if self.json:
            show_json(asdict(folder.manifest))
            return 0
        m = folder.manifest
        say(
            f"held-out error {m.best_error:.5f} after {m.best_update} of {m.updates} updates; before"
            f" {m.first_error:.5f}, best constant {m.constant_error:.5f}; {m.why_stopped}"
        )
        say(f"`critica critic audit {folder.path}` measures it on fresh answers")
        show(str(folder.path))
        return 0


def as_text(report: "CriticReport") -> list[str]:
    """The panel as a table, then slices, cost and age."""
    from critica.records.critic_report import READINGS

    names = [row.name for row in report.rows]
    rows = [("", *names, "perfect", "unit")]
    for reading in report.rows[0].readings:
        cells = [number(row, reading.name) for row in report.rows]
        rows.append((reading.name, *cells, plain(reading.floor), READINGS[reading.name].unit))
    kind = f"{report.critic} ({report.law}) of {report.target}"
    lines = [
        f"{kind}, {len(report.states)} states of {report.prompts} held-out prompts of {report.environment}",
        f"truth: {report.truth}; policy: {report.policy}, version {report.policy_version}, {age_of(report)}",
        "",
        table(rows),
        "",
        "95% intervals over prompts. `perfect` is what the true value itself would read, measured like this.",
        "",
        table([("written", *SLICE_HEAD), *map(slice_cells, report.by_place)]),
        "",
        table([("length", *SLICE_HEAD), *map(slice_cells, report.by_length)]),
        "",
    ]
    cost = report.price
    share = cost.seconds / cost.sampling_seconds if cost.sampling_seconds else math.nan
    lines.append(
        f"cost: {cost.seconds:.2f} s to predict {cost.tokens:,} tokens ({share:.0%} of the time to sample them),"
        f" {cost.parameters:,} weights, {cost.megabytes:.1f} MiB"
    )
    if report.plasticity:
        lines.append("plasticity: " + ", ".join(f"{name} {value:.3g}" for name, value in report.plasticity))
    if report.uses_own_outcome:
        lines.append("this critic has seen the outcome of the very answers that it is asked about")
    return lines


def number(row: "PanelRow", name: str) -> str:
    """A reading with its interval, if the row has it."""
    found = [reading for reading in row.readings if reading.name == name]
    if not found or math.isnan(found[0].value):
        return "–"
    reading = found[0]
    around = "" if math.isnan(reading.low) else f" [{reading.low:.3f}, {reading.high:.3f}]"
    return f"{reading.value:.3f}{around}"


def plain(value: float) -> str:
    """Three digits, or a dash."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def slice_cells(item: "Slice") -> tuple[str, ...]:
    """One slice as cells."""
    numbers = (item.truth, item.value, item.mse, item.explained_variance, item.group_explained_variance)
    return (item.label, str(item.states), *map(plain, numbers))


def age_of(report: "CriticReport") -> str:
    """How far critic and policy are apart."""
    if report.age == 0:
        return "as old as the critic"
    return f"{abs(report.age)} updates {'ahead of' if report.age > 0 else 'behind'} the critic"
