"""Run folders side by side: what the command and the Python API call."""

from pathlib import Path

from critica.evaluation.compare import ComparisonReport
from critica.evaluation.compare import compare as compare_results
from critica.store.evaluations import load_result


def compare(*runs: Path | str) -> ComparisonReport:
    """Each later run beside the first, in pairs by prompt; means over seeds where recipes repeat.

    Raises ValueError for fewer than two runs.
    """
    if len(runs) < 2:
        raise ValueError("compare needs two run folders or more: critica.compare('runs/a', 'runs/b')")
    return compare_results([load_result(run) for run in runs])
