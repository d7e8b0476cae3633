"""The books of a whole run, added up and compared with what else the folder says of them."""

import json
import re
from collections import Counter
from dataclasses import dataclass

from critica.records.run import LEDGER_STATES
from critica.store.errors import CorruptCheckpoint, NoCheckpoint
from critica.store.run_folder import RunFolder

PROBLEMS_SHOWN = 5
IN_THE_BATCH = ("trained", "masked")
_TRAJECTORY = re.compile(r" for trajectory '[^']*'")


@dataclass(frozen=True, slots=True)
class Tally:
    """How many entries came in, by state, and why those that were not trained were not."""

    total: int
    states: dict[str, int]
    reasons: dict[str, int]  # "state: reason" -> entries


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """A published checkpoint; `problem` is empty if every byte is as it was written."""

    step: int
    problem: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What a run folder's books say. They balance if `problems` is empty."""

    last_step: int
    samples: Tally
    prompts: Tally
    checkpoints: tuple[CheckpointState, ...]
    problems: tuple[str, ...]


def audit(store: RunFolder) -> Audit:
    """Read every ledger line; compare with the rollouts of each step and the counts in each good checkpoint.

    The run may be written meanwhile: only steps that were done when this began are looked at.
    """
    last = store.last_step
    entries = [entry for entry in store.ledger() if int(str(entry["step"])) <= last]
    samples = [entry for entry in entries if entry["kind"] == "sample"]
    prompts = [entry for entry in entries if entry["kind"] == "prompt"]
    found = [_checkpoint_state(store, step) for step in store.checkpoints.steps if step <= max(last, 0)]
    checkpoints = tuple(state for state in found if state is not None)
    problems = [*_counted_twice(samples), *_against_rollouts(store, samples, last)]
    for state in checkpoints:
        if not state.problem:
            problems += _against_checkpoint(store, state.step, samples, prompts)
    return Audit(last, _tally(samples), _tally(prompts), checkpoints, tuple(problems))


def _tally(entries: list[dict[str, object]]) -> Tally:
    found = Counter(str(entry["state"]) for entry in entries)
    states = {state: found.pop(state, 0) for state in LEDGER_STATES} | dict(found)
    why = Counter(f"{entry['state']}: {short_reason(str(entry['reason']))}" for entry in entries if entry["reason"])
    return Tally(len(entries), states, dict(why.most_common()))


def short_reason(reason: str) -> str:
    """The same failure about two trajectories counts as one reason."""
    return _TRAJECTORY.sub("", reason.split(" (trajectory ", 1)[0])


def _counted_twice(samples: list[dict[str, object]]) -> list[str]:
    twice = [name for name, count in Counter(str(entry["trajectory_id"]) for entry in samples).items() if count > 1]
    return [f"{len(twice)} samples are counted more than once: {', '.join(twice[:PROBLEMS_SHOWN])}"] if twice else []


def _against_rollouts(store: RunFolder, samples: list[dict[str, object]], last: int) -> list[str]:
    """A step's rollout file holds just the trajectories that its ledger counts, save those turned away before."""
    by_step: dict[object, list[dict[str, object]]] = {}
    for entry in samples:
        by_step.setdefault(entry["step"], []).append(entry)
    problems: list[str] = []
    for step in [step for step in store.rollout_steps if step <= last]:
        written = set(store.rollouts(step, ["trajectory_id"]).column("trajectory_id").to_pylist())
        counted = {str(entry["trajectory_id"]): entry["state"] for entry in by_step.get(step, [])}
        lost = sorted(written - set(counted))
        missing = sorted(name for name, state in counted.items() if name not in written and state in IN_THE_BATCH)
        if lost:
            problems.append(f"step {step}: {len(lost)} trajectories are in no ledger line: {', '.join(lost[:3])}")
        if missing:
            problems.append(f"step {step}: {len(missing)} counted samples are in no rollout: {', '.join(missing[:3])}")
    return problems


def _checkpoint_state(store: RunFolder, step: int) -> CheckpointState | None:
    """None for one that was rotated away meanwhile."""
    try:
        store.checkpoints.verify(step)
    except (NoCheckpoint, FileNotFoundError):
        return None
    except CorruptCheckpoint as error:
        return CheckpointState(step, str(error)) if store.checkpoints.path_of(step).is_dir() else None
    return CheckpointState(step, "")


def _against_checkpoint(
    store: RunFolder, step: int, samples: list[dict[str, object]], prompts: list[dict[str, object]]
) -> list[str]:
    """The counts that a checkpoint keeps are those of the ledger up to its step."""
    path = store.checkpoints.path_of(step) / "progress.json"
    try:
        said = json.loads(path.read_text())["progress"]
    except FileNotFoundError:
        return []
    problems = []
    for name, entries in (("samples", samples), ("prompts", prompts)):
        counted = sum(int(str(entry["step"])) <= step for entry in entries)
        if said[name] != counted:
            problems.append(f"checkpoint {step} counts {said[name]} {name}, the ledger up to there {counted}")
    return problems
