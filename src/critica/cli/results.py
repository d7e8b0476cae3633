"""What a training run came to, for a person and for a program."""

from typing import TYPE_CHECKING, Any

from critica.cli.output import table

if TYPE_CHECKING:
    from critica.training.run import TrainResult

STOPPED = 1  # the exit status of a run that was asked to stop before its end and can be resumed


def result_json(result: "TrainResult") -> dict[str, Any]:
    """The run folder, how far it came, and held-out accuracy at both ends."""
    return {
        "run": str(result.run),
        "finished": result.finished,
        "step": result.progress.step,
        "samples": result.progress.samples,
        "sampled_tokens": result.progress.sampled_tokens,
        "before": [_accuracy(report) for report in result.before],
        "after": [_accuracy(report) for report in result.after],
    }


def _accuracy(report: Any) -> dict[str, Any]:
    interval = report.accuracy
    return {
        "how": report.how,
        "prompts": len(report.prompts),
        "accuracy": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        **({"reward": report.reward.estimate} if report.reward is not None else {}),
    }


def describe_result(result: "TrainResult") -> str:
    """How the run ended and what may come next."""
    progress = result.progress
    if result.finished:
        ending = f"{progress.step} steps done"
        after = f"`critica report {result.run}` writes the report, `critica evaluate {result.run}` measures accuracy."
    else:
        ending = f"stopped after step {progress.step}, with a checkpoint"
        after = f"`critica resume {result.run}` continues."
    counted = f"{progress.samples:,} samples and {progress.sampled_tokens:,} tokens written"
    lines = [f"{ending}; {counted}; run folder {result.run}"]
    if result.before and result.after:
        lines.append(before_and_after(result))
    return "\n".join([*lines, after])


def before_and_after(result: "TrainResult") -> str:
    """Held-out accuracy at both ends, each with how it was decoded, and the paired differences."""
    from critica.evaluation.intervals import difference

    rows = [("held-out accuracy", "before", "after", "gain")]
    for before, after in zip(result.before, result.after, strict=True):
        gain = difference(before, after, ("before", "after"))
        rows.append((before.how, str(before.accuracy), str(after.accuracy), str(gain).removesuffix(gain.how).rstrip()))
        if before.reward is not None and after.reward is not None:
            rows.append((f"reward, {before.how}", str(before.reward), str(after.reward), ""))
    prompts = len(result.before[0].prompts)
    return f"{table(rows)}\n{prompts:,} held-out prompts, [95% intervals], exact match"
