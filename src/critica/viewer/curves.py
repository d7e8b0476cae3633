"""Which learning curves a report shows, and how many points of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from critica.records.metrics import definition
from critica.store.run_folder import StepMetrics

MOST_POINTS = 800


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture: a title, a question that it answers, its metrics with their short names."""

    title: str
    says: str
    series: tuple[tuple[str, str], ...]
    floor_zero: bool = False


LEARNING = (
    Chart("Reward", "What training was told, beside the truth it never saw.",
          (("reward/told", "told"), ("reward/clean", "clean"))),
    Chart("Sampled accuracy", "On training prompts, at the training temperature, by the clean reward.",
          (("accuracy/sampled", "accuracy"),)),
    Chart("Answer length", "Sampled tokens of right and wrong answers.",
          (("length/correct", "right"), ("length/wrong", "wrong")), True),
)  # fmt: skip
DRIFT = (
    Chart("KL divergence", "How far the policy moved from where it sampled and from where it began.",
          (("policy/kl_behavior", "to behavior"), ("policy/kl_reference", "to reference")), True),
    Chart("Entropy", "How undecided the policy is at each token.", (("policy/entropy", "entropy"),), True),
    Chart("Answers cut", "Answers that the limit of tokens ended.", (("length/limit_share", "cut"),), True),
    Chart("Clipping", "Trained tokens where clipping binds.", (("policy/clip_fraction", "clipped tokens"),), True),
    Chart("Sampler against trainer", "How far the two disagree about a sampled token's probability.",
          (("mismatch/mean_abs_logratio", "mean"),), True),
    Chart("Gradient", "Size of the policy's gradient before clipping.", (("policy/grad_norm", "norm"),), True),
)  # fmt: skip
DROPPED = (
    Chart("Samples by fate", "Trained: in the loss. The rest is not learned from.",
          (("samples/trained", "trained"), ("samples/masked", "masked"), ("samples/filtered", "filtered"),
           ("samples/failed", "failed")), True),
    Chart("Groups that told nothing", "Answers whose siblings all had the same reward.",
          (("samples/zero_variance", "samples"),), True),
)  # fmt: skip
SUPERVISION = (
    Chart("Errors of what was said", "Against the truth, which is known only where noise was put in on purpose.",
          (("noise/false_positives", "wrong said right"), ("noise/false_negatives", "right said wrong"),
           ("noise/flipped_share", "changed by noise")), True),
    Chart("What the correction made of it", "Mean distance from the clean reward, before and after.",
          (("correction/error_said", "said"), ("correction/error_told", "told")), True),
    Chart("Rates it reckons with", "Estimated or stated rates of errors.",
          (("correction/false_positives", "false positives"), ("correction/false_negatives", "false negatives"),
           ("correction/exchanged_groups", "exchanged groups")), True),
    Chart("Signal left", "Youden's J of the channel; from audits with its 95% interval.",
          (("correction/signal", "J"), ("correction/signal_low", "low"), ("correction/signal_high", "high"))),
    Chart("In favor of length", "Correlation of an answer's length with what was told, and with the truth.",
          (("noise/length_correlation", "told"), ("noise/length_correlation_clean", "clean"))),
    Chart("Hacking gap", "How much better answers were said to be than they are.", (("noise/hacking_gap", "gap"),)),
    Chart("Without a verdict", "Answers that no source judged; sources that failed.",
          (("reward/unknown", "no verdict"), ("reward/failed", "failed")), True),
)  # fmt: skip
CRITIC = (
    Chart("Explained variance", "1 is perfect, 0 is as good as a constant, below 0 is worse.",
          (("critic/explained_variance", "told"), ("critic/explained_variance_clean", "clean"))),
    Chart("Bias", "Above 0 the critic expects too much.", (("critic/bias", "told"), ("critic/bias_clean", "clean"))),
    Chart("Calibration error", "Expected calibration error over ten bins of value.",
          (("critic/ece", "told"), ("critic/ece_clean", "clean")), True),
    Chart("Critic loss", "The critic's own objective, term by term, before weights.",
          (("critic/loss", "loss"), ("loss/value", "value"), ("loss/value_tail", "tail"))),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DrawnSeries:
    """One line: values at `steps` (means over `stride` steps), its glossary name, unit and sentence."""

    metric: str
    label: str
    unit: str
    sentence: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DrawnChart:
    """A chart with its numbers."""

    title: str
    says: str
    floor_zero: bool
    series: tuple[DrawnSeries, ...]


def stride_for(count: int) -> int:
    """How many steps share one drawn point."""
    return max(1, math.ceil(count / MOST_POINTS))


def thin(values: Sequence[float], stride: int) -> tuple[float, ...]:
    """Means of `stride` neighbors; NaNs are left out of a mean, and a mean of nothing is NaN."""
    parts = (values[start : start + stride] for start in range(0, len(values), stride))
    return tuple(_mean([v for v in part if not math.isnan(v)]) for part in parts)


def draw(charts: Sequence[Chart], lines: Sequence[StepMetrics], stride: int) -> tuple[DrawnChart, ...]:
    """Charts with at least one number in them; lines without any are left out."""
    drawn = []
    for chart in charts:
        whole = [(name, label, [line.get(name) for line in lines]) for name, label in chart.series]
        series = tuple(
            DrawnSeries(name, label, definition(name).unit, definition(name).sentence, thin(values, stride))
            for name, label, values in whole
            if not all(math.isnan(value) for value in values)
        )
        if series:
            drawn.append(DrawnChart(chart.title, chart.says, chart.floor_zero, series))
    return tuple(drawn)


def draw_clock(lines: Sequence[StepMetrics], timing: Sequence[StepMetrics], stride: int) -> tuple[DrawnChart, ...]:
    """Seconds of each step, whole and of its two largest stages, and tokens written a second; clock readings are no
    metrics, so their sentences stand here."""
    by_step = {line.step: line.values for line in timing}
    spent = [by_step.get(line.step, {}) for line in lines]
    if not any(spent):
        return ()
    stages = {stage for one in spent for stage in one}
    largest = sorted(stages, key=lambda stage: -math.fsum(one.get(stage, 0.0) for one in spent))[:2]
    whole = [math.fsum(one.values()) if one else math.nan for one in spent]
    speed = [
        line.get("tokens/sampled") / total if total else math.nan for line, total in zip(lines, whole, strict=True)
    ]
    seconds = [DrawnSeries("timing.jsonl", "whole step", "s", "All stages of the step.", thin(whole, stride))]
    for stage in largest:
        values = [one.get(stage, math.nan) for one in spent]
        seconds.append(DrawnSeries("timing.jsonl", stage, "s", f"The stage {stage!r}.", thin(values, stride)))
    tokens = DrawnSeries("timing.jsonl", "tokens", "tokens/s", "Sampled tokens over seconds.", thin(speed, stride))
    return (
        DrawnChart("Seconds a step", "Whole, and its two largest stages.", True, tuple(seconds)),
        DrawnChart("Speed", "Tokens written for each second of the whole step.", True, (tokens,)),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
