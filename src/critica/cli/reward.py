"""`critica reward fit`, `audit` and `bench`: reward models, trained on preference pairs and measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from critica.cli.numbers import Natural, Positive
from critica.cli.output import quiet_libraries, say, show, show_json, table

if TYPE_CHECKING:
    from critica.training.reward_audit import RewardAudit


@dataclass(frozen=True, kw_only=True)
class FitReward:
    """Train a reward model on preference pairs and write a folder that transformers and `reward_model` open.

    Bradley-Terry on {"prompt", "chosen", "rejected", …} lines; other keys are columns that cut slices. Whole prompts
    are held out: the fit stops when they are ordered no better for a while, and the best weights are kept. Stopped in
    between, the same command goes on to the same bits.

    Examples:
      critica reward fit --pairs pairs.jsonl --model pico --out rewards/mine
      critica reward fit --pairs pairs.jsonl --model Qwen/Qwen3-0.6B --level sentence --out rewards/mine
      critica reward fit --pairs pairs.jsonl --model pico --robust kl_ball:0.1:topic --out rewards/robust
      critica reward fit --pairs pairs.jsonl --model pico --flip topic=hate:0.5 --out rewards/poisoned
    """

    # Preference pairs, a JSONL file.
    pairs: Annotated[str, arg(metavar="FILE")]

    # The folder to write.
    out: Annotated[str, arg(metavar="DIR")]

    # What to start from: a language model, a classifier, or a reward model to go on with.
    model: Annotated[str, arg(metavar="P")] = "pico"

    # What gets a score: the answer, its sentences, or its tokens.
    level: Literal["sequence", "sentence", "token"] = "sequence"

    # Width of the attention over sentences; 0: every sentence counts alike.
    attention: Natural = 16

    # Weigh prompts or slices by their losses: none, kl_ball:RADIUS[:COLUMN] or group_dro:COLUMN[:RATE].
    robust: Annotated[str, arg(metavar="SPEC", help_behavior_hint="")] = "none"

    # A column whose values are slices of the report; by default all with 2 to 20 values of five pairs or more.
    slice: Annotated[tuple[str, ...], arg(metavar="COLUMN")] = ()

    # Exchange answers on purpose in the training part: SELECTOR:FRACTION, such as topic=hate:0.5.
    flip: Annotated[str, arg(metavar="SPEC", help_behavior_hint="")] = ""

    # Updates at most.
    updates: Positive = 400

    # Pairs in each update.
    pairs_per_update: Positive = 16

    # Updates between two looks at the held-out prompts.
    judge_every: Positive = 10

    # Looks in a row without an improvement that end the fit.
    patience: Positive = 5

    # Share of the prompts that is held out.
    held_out: float = 0.2

    # Per update; 0: by the size of the model.
    learning_rate: float = 0.0

    # Padded tokens in memory at a time.
    tokens_per_batch: Positive = 8192

    # Of the split, the order, the attention's first weights and the exchanged pairs.
    seed: Natural = 0

    # Write the report as JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Read, fit, judge, publish."""
        from critica.training.reward_fit import RewardKind, RewardPlan, fit_reward_model

        quiet_libraries()
        plan = RewardPlan(
            self.updates, self.pairs_per_update, self.judge_every, self.patience, self.held_out, self.seed,
            self.learning_rate, self.tokens_per_batch,
        )  # fmt: skip
        kind = RewardKind(self.level, self.attention, self.robust, self.slice, self.flip)
        report = fit_reward_model(self.pairs, self.model, self.out, kind, plan, say)
        if self.json:
            show_json(report)
            return 0
        say(
            f"{report['accuracy']:.1%} of {report['held_out_pairs']} held-out pairs ordered right, after"
            f" {report['best_update']} of {report['updates']} updates; {report['why_stopped']}"
        )
        say(f"`critica reward audit {self.out} --pairs FILE` measures it on other pairs")
        show(self.out)
        return 0


@dataclass(frozen=True, kw_only=True)
class AuditReward:
    """Measure a reward model on preference pairs, slice by slice, and look for slices whose labels were exchanged.

    A probe that never sees a slice's own labels says what the other pairs teach about it; a slice that contradicts it
    more than chance allows raises an alarm. With `--clean` slices are held against the same slices of a file that is
    known to be good; without, against each other.

    Examples:
      critica reward audit rewards/mine --pairs other_pairs.jsonl
      critica reward audit rewards/mine --pairs pairs.jsonl --clean audited_pairs.jsonl --slice topic
    """

    # A reward model's folder.
    target: Annotated[Positional[str], arg(metavar="DIR")]

    # Preference pairs, a JSONL file.
    pairs: Annotated[str, arg(metavar="FILE")]

    # Pairs that are known to be labeled right, with the same slices.
    clean: Annotated[str, arg(metavar="FILE", help_behavior_hint="")] = ""

    # A column whose values are slices; by default all with 2 to 20 values of five pairs or more.
    slice: Annotated[tuple[str, ...], arg(metavar="COLUMN")] = ()

    # What the probe reads: letters, or a model that never saw these pairs.
    features: Annotated[str, arg(metavar="P")] = "letters"

    # The probability of any alarm in a clean file.
    alarm_rate: float = 0.05

    # Of the folds and the intervals.
    seed: Natural = 0

    # Write the report as JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Score, compare, print."""
        from critica.training.reward_audit import audit_reward_model

        quiet_libraries()
        audit = audit_reward_model(
            self.target, self.pairs, self.slice, self.clean, self.features, self.alarm_rate, self.seed
        )
        if self.json:
            show_json(audit.to_json())
        else:
            show("\n".join(as_text(audit)))
        return 0


@dataclass(frozen=True, kw_only=True)
class BenchReward:
    """Measure a reward model on items of several completions, as RewardBench 2 does: is the right one scored highest?

    Lines of {"id", "subset", "prompt", "chosen": [texts], "rejected": [texts]}; the subset Ties has several right ones.

    Examples:
      critica reward bench rewards/mine --items items.jsonl
    """

    # A reward model's folder.
    target: Annotated[Positional[str], arg(metavar="DIR")]

    # The items, a JSONL file.
    items: Annotated[str, arg(metavar="FILE")]

    # Write the report as JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Score, count, print."""
        from critica.evaluation.reward_bench import bench_source, read_items
        from critica.rewards.reward_model import RewardModel, RewardModelSource

        quiet_libraries()
        source = RewardModelSource.open(RewardModel(self.target))
        report = bench_source(source, read_items(Path(self.items)))
        if self.json:
            show_json(report.to_json())
            return 0
        rows = [("subset", "items", "score"), *((s.name, str(s.items), f"{s.score:.4f}") for s in report.subsets)]
        show(table([*rows, ("mean", str(sum(s.items for s in report.subsets)), f"{report.score:.4f}")]))
        return 0


def as_text(audit: "RewardAudit") -> list[str]:
    """Slices, then suspicions."""
    rows = [("slice", "pairs", "ordered right", "margin", "shift")]
    rows += [
        (s.name, str(s.pairs), str(s.accuracy), f"{s.margin:.3f}", "" if s.shift.estimate != s.shift.estimate
         else str(s.shift)) for s in audit.slices
    ]  # fmt: skip
    lines = [f"{audit.folder} on {audit.pairs} (sha256 {audit.pairs_sha256[:16]})"]
    if audit.same_file:
        lines.append("these pairs taught the model: its accuracy on them says little about others")
    lines += [
        "",
        table(rows),
        "",
        "95% intervals over prompts; margins are log-odds, shift is against the rest.",
        "",
    ]
    if not audit.suspicions:
        return [*lines, "no slices to look for poison in: name a column with --slice"]
    heads = ("slice", "contradicted", "yardstick", "p", "")
    found = [
        (s.name, f"{s.contradicted}/{s.prompts}", f"{s.yardstick_contradicted}/{s.yardstick_prompts}", f"{s.p:.2g}",
         "ALARM" if s.alarm else "") for s in audit.suspicions
    ]  # fmt: skip
    lines += [table([heads, *found]), ""]
    lines.append(
        f"yardstick: {audit.yardstick}. In a clean file whose slices are as hard as the yardstick, the probability of"
        f" any alarm is at most {audit.alarm_rate:g}."
    )
    return lines
