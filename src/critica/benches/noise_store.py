"""Finished runs by signature: lines of a journal, and what earlier occasions have committed."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from critica.benches.base import Eta, say
from critica.benches.jobs import keep_line, results
from critica.benches.machine import file_digest
from critica.benches.noise_arms import Lengths, Run, recipe_of
from critica.benches.noise_mechanism import Mechanism
from critica.benches.noise_trial import EDITION, Point, Trial
from critica.benches.pico_trial import PICO
from critica.benches.readings import read_lines

UNREAD = ("paper", "wing", "provenance")  # fields of a recipe that change no run


def signature(run: Run, lengths: Lengths) -> str:
    """What decides a run's numbers: the edition, pico, how it is measured, and its config."""
    config = json.dumps(essence(recipe_of(run, lengths)), sort_keys=True)
    parts = [str(EDITION), pico_digest(), str(lengths.every), str(lengths.held_out), config]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


@cache
def pico_digest() -> str:
    """Of the policy that all runs start from."""
    return file_digest(PICO)


def essence(value: Any) -> Any:
    """A config as plain data without what stands at its default: a part that gains a field keeps its runs."""
    if is_dataclass(value) and not isinstance(value, type):
        said = {"": type(value).__name__}
        for field in fields(value):
            own = getattr(value, field.name)
            usual = field.default_factory() if field.default_factory is not MISSING else field.default
            if field.name not in UNREAD and own != usual:
                said[field.name] = essence(own)
        return said
    if isinstance(value, Mapping):
        return {str(key): essence(item) for key, item in value.items()}
    return [essence(item) for item in value] if isinstance(value, list | tuple) else value


def read_trial(line: Mapping[str, Any]) -> Trial:
    """As `asdict` wrote it."""
    points = tuple(Point(**{**point, "mechanism": Mechanism(**point["mechanism"])}) for point in line["points"])
    return Trial(**{**line, "points": points})


def kept_trials(journal: Path, committed: Path) -> dict[str, Trial]:
    """Every finished run of this edition, by signature; the journal's own come last and win."""
    before = json.loads(committed.read_text())["runs"] if committed.is_file() else []
    lines = [line for line in (*before, *read_lines(journal)) if line.get("edition") == EDITION]
    return {line["signature"]: read_trial(line) for line in lines}


def known(runs: Sequence[Run], lengths: Lengths, kept: Mapping[str, Trial]) -> list[Trial]:
    """The trials of those runs that are done, in their order."""
    names = {(trial.mix, trial.noise, trial.arm, trial.seed, trial.learning_rate) for trial in kept.values()}
    likely = [run for run in runs if (run.mix, run.noise, run.arm, run.seed, run.learning_rate) in names]
    return [kept[name] for run in likely if (name := signature(run, lengths)) in kept]


def filled(
    files: tuple[Path, Path],
    runs: Sequence[Run],
    lengths: Lengths,
    jobs: int,
    made: tuple[Callable[[tuple[Run, str]], Trial], Callable[[], None]],
    told: Callable[[Trial], str],
) -> dict[str, Trial]:
    """Every finished run by signature, after those that are missing were run: each is a line as soon as it is done.

    `files`: the journal, and what earlier occasions have committed. `made`: what makes a trial, and what warms a
    process up before. `told`: what is said of a finished one.
    """
    journal, committed = files
    journal.parent.mkdir(parents=True, exist_ok=True)
    kept = kept_trials(journal, committed)
    waiting = [(run, name) for run in runs if (name := signature(run, lengths)) not in kept]
    say(f"{len(runs)} runs, {len(runs) - len(waiting)} done before, {jobs} at a time; kept in {journal}")
    eta = Eta(len(waiting))
    for trial in results(waiting, *made, jobs):
        keep_line(journal, asdict(trial))
        kept[trial.signature] = trial
        say(f"  {told(trial)}, {eta.after(1)}")
    return kept
