"""evaluations/NAME.json: an outcome report with every prompt in it, so that runs can be compared in pairs later."""

import json
import re
from pathlib import Path

from critica.functional.statistics import paired_difference_interval
from critica.records.outcome import (
    Curve,
    Difference,
    Interval,
    NamedReport,
    OutcomeReport,
    RunResult,
    shared_prompts,
)
from critica.store.errors import DamagedRun, full_disk_explained
from critica.store.files import write_whole
from critica.store.run_folder import RunFolder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def name_part(text: str) -> str:
    """The text as a part of an evaluation's name: `_` for every sign that may not stand there."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def save_evaluation(run: Path | str, name: str, report: OutcomeReport) -> Path:
    """Write `evaluations/NAME.json`, replacing one of the same name. Names: letters, digits, dots, `-`, `_`."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"an evaluation cannot be named {name!r}: use letters, digits, '.', '-' and '_'")
    path = Path(run) / "evaluations" / f"{name}.json"
    payload = (json.dumps(report.to_json(), ensure_ascii=False, allow_nan=False) + "\n").encode()
    with full_disk_explained(path, len(payload), Path(run)):
        path.parent.mkdir(exist_ok=True)
        write_whole(path, payload)
    return path


def load_evaluations(run: Path | str) -> tuple[NamedReport, ...]:
    """All evaluations of a run, by name."""
    found = []
    for path in sorted((Path(run) / "evaluations").glob("*.json")):
        if path.name.startswith(".tmp-"):
            continue
        try:
            found.append(NamedReport(path.stem, OutcomeReport.from_json(json.loads(path.read_text()))))
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedRun(
                f"{path} is no evaluation ({error}): remove it and run `critica evaluate {run}`"
            ) from error
    return tuple(found)


def load_result(run: Path | str) -> RunResult:
    """What `compare` needs of this run folder."""
    folder = RunFolder.open(run)
    lines = tuple(folder.metrics())
    names = list(dict.fromkeys(name for line in lines for name in line.values))
    curves = tuple(
        Curve(name, tuple(line.step for line in lines), tuple(line.get(name) for line in lines)) for name in names
    )
    manifest = folder.manifest
    return RunResult(folder.path.name, manifest.recipe, manifest.seed, manifest.noise, load_evaluations(run), curves)


def gains(reports: tuple[NamedReport, ...], seed: int = 0) -> tuple[Difference, ...]:
    """Last minus first policy, in pairs by prompt, once for each way of decoding that was evaluated twice."""
    ways = {(item.report.environment, -item.report.temperature, item.report.how) for item in reports}
    found = []
    for environment, _, how in sorted(ways):  # sampled before greedy
        same = [item for item in reports if (item.report.environment, item.report.how) == (environment, how)]
        first, last = (pick(same, key=lambda item: item.report.policy_version) for pick in (min, max))
        if first.report.policy_version == last.report.policy_version:
            continue
        pairs = shared_prompts(first.report, last.report)
        plain = paired_difference_interval(*zip(*pairs, strict=True), seed=seed)
        interval = Interval(plain.estimate, plain.low, plain.high, "paired bootstrap over prompts")
        found.append(Difference(first.name, last.name, how, len(pairs), interval))
    return tuple(found)
