"""The store as the trainer uses it, with weights of 32 bytes: every step depends on every step before it."""

import hashlib
import json
import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
from synthetic_run import MANIFEST, synthetic_step

from critica.records.arrays import Metric
from critica.records.run import StepRecord
from critica.store import run_folder
from critica.store.errors import NoCheckpoint
from critica.store.files import write_all
from critica.store.rollouts import encode_rollouts
from critica.store.run_folder import RunFolder

STEPS, EVERY = 4, 2
START = hashlib.blake2b(b"start").digest()


def learn(weights: bytes, step: int) -> bytes:
    """The next weights."""
    return hashlib.blake2b(weights + step.to_bytes(4, "little")).digest()


def after(step: int) -> bytes:
    """The weights after this step."""
    weights = START
    for number in range(1, step + 1):
        weights = learn(weights, number)
    return weights


@lru_cache
def record_of(step: int) -> tuple[StepRecord, bytes]:
    """A step of two prompts, with a metric that only the right weights have, and its rollout file."""
    number = int.from_bytes(after(step)[:6], "little") / 2**48
    made = synthetic_step(step, steps=STEPS, prompts=2, samples=2)
    made = replace(made, metrics=(Metric("policy/entropy", number, 1.0),))
    return made, encode_rollouts(made)


def encode_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet is not what is tested here: a step's file is made once, for hundreds of runs."""
    for step in range(1, STEPS + 1):
        record_of(step)
    monkeypatch.setattr(run_folder, "encode_rollouts", lambda record: record_of(record.step)[1])


def write_plainly(path: Path, payload: bytes) -> None:
    """As libraries write: no sync of their own."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    write_all(descriptor, payload)
    os.close(descriptor)


def save(folder: Path, step: int, weights: bytes) -> None:
    """A small tree, as a policy and its optimizer make."""
    os.mkdir(folder / "policy")
    write_plainly(folder / "policy" / "weights", weights)
    write_plainly(folder / "progress.json", json.dumps({"step": step}).encode())


class Said:
    """How far the work has said that it came: in memory that outlives it."""

    def __init__(self) -> None:
        import mmap

        self._memory = mmap.mmap(-1, 2)

    def committed(self, step: int) -> None:
        self._memory[0] = step

    def saved(self, step: int) -> None:
        self._memory[1] = step + 1

    @property
    def last_committed(self) -> int:
        return self._memory[0]

    @property
    def last_saved(self) -> int:
        """-1 if none was."""
        return self._memory[1] - 1


def train(run: Path, said: Said, back_to: int | None = None) -> None:
    """Start, or resume from the newest checkpoint (or from step `back_to`), and go on to the end."""
    step, weights = 0, START
    if (run / "run.json").exists():
        store = RunFolder.open(run, write=True)
        try:
            found = store.checkpoints.latest() if back_to is None else store.checkpoints.verify(back_to)
            step = json.loads((found.path / "progress.json").read_text())["step"]
            weights = (found.path / "policy" / "weights").read_bytes()
            said.saved(step)
        except NoCheckpoint:
            assert store.last_step < 0  # or steps were committed that nothing can lead to
        said.committed(step)  # what comes later is given up from here on
        store.checkpoints.drop_after(step)
        store.truncate_after(step)
    else:
        store = RunFolder.create(run, MANIFEST, 'recipe = "dvpo"\n')
    if step == 0:
        store.checkpoints.write(0, lambda folder: save(folder, 0, START))
        said.saved(0)
    while step < STEPS:
        step += 1
        weights = learn(weights, step)
        store.append(step, record_of(step)[0])
        said.committed(step)
        if step % EVERY == 0:
            store.checkpoints.write(step, lambda folder, at=step, now=weights: save(folder, at, now))
            said.saved(step)
    store.close()


def tree(run: Path) -> dict[str, bytes]:
    """Every file by which the run is known, down to the checkpoints that rotation keeps.

    Left out: the lock, whose content is the last writer's number; and, of a run that was stopped after its last
    checkpoint had its name, what was about to be rotated away: that is out of sight, or good and older.
    """
    kept = (f"checkpoints/step_{STEPS}/", f"checkpoints/step_{STEPS - EVERY}/")
    files = {str(p.relative_to(run)): p for p in sorted(run.rglob("*")) if p.is_file() and p.name != ".lock"}
    for name in list(files):
        if name.startswith("checkpoints/") and not name.startswith(kept):
            folder = name.split("/")[1]
            assert folder.startswith(".tmp-step_") or RunFolder.open(run).checkpoints.verify(int(folder[5:]))
            del files[name]
    return {name: path.read_bytes() for name, path in files.items()}


def check_whole(run: Path, whole: dict[str, bytes]) -> int:
    """What a reader finds is a prefix of the undisturbed run, step for step; returns its last step."""
    store = RunFolder.open(run)
    last = max(store.last_step, 0)
    for name in ("metrics", "ledger", "timing"):
        lines = [json.loads(line) for line in whole[f"{name}.jsonl"].splitlines()]
        assert [line for line in lines if line["step"] <= last] == list(
            {"metrics": _metrics, "ledger": RunFolder.ledger, "timing": _timing}[name](store)
        ), name
    assert store.rollout_steps == tuple(range(1, last + 1))
    for step in store.rollout_steps:
        name = f"rollouts/step_{step:06d}.parquet"
        assert (run / name).read_bytes() == whole[name]
    return last


def _metrics(store: RunFolder) -> list[dict[str, float]]:
    return [{"step": line.step, **line.values} for line in store.metrics()]


def _timing(store: RunFolder) -> list[dict[str, float]]:
    return [{"step": line.step, **line.values} for line in store.timing()]


def check_checkpoint(run: Path) -> int:
    """The newest published checkpoint is good and holds the weights of its step; -1 if there is none."""
    store = RunFolder.open(run).checkpoints
    if not store.steps:
        return -1
    found = store.latest()
    assert (found.path / "policy" / "weights").read_bytes() == after(found.step)
    return found.step
