"""The disk fills at any single change, and for real: a sentence, nothing half done, and the same bits afterwards."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from file_operations import Operation, Watch, record
from small_trainer import Said, check_checkpoint, check_whole, encode_once, train, tree

from critica.benches.base import child_environment
from critica.store.errors import DiskFull

NEEDS_ROOM = ("create", "write", "mkdir", "rename", "sync")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_any_single_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    encode_once(monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    train(tmp_path / "whole", Said())
    whole, run = tree(tmp_path / "whole"), tmp_path / "full"
    changes = record(run, lambda: train(run, Said()))
    for at, change in enumerate(changes):
        if change.kind not in NEEDS_ROOM:
            continue
        shutil.rmtree(run)
        said, where = Said(), f"no room for change {at} ({change.kind} {change.path})"
        full = Watch(run, no_room_from(at, number))
        with pytest.raises(DiskFull, match="critica resume"), full.installed():
            train(run, said)
            pytest.fail(where)
        if (run / "run.json").exists():
            assert said.last_committed <= check_whole(run, whole) <= said.last_committed + 1, where
            assert check_checkpoint(run) >= said.last_saved, where
        train(run, Said())
        assert tree(run) == whole, where


def no_room_from(at: int, number: int) -> Callable[[int, Operation, Callable[[bytes], None]], None]:
    """Once full, a disk stays full: only what makes room still works, and syncing what was cut off."""

    def before(count: int, operation: Operation, perform: Callable[[bytes], None]) -> None:
        if count == at or (count > at and operation.kind in NEEDS_ROOM and operation.kind != "sync"):
            raise OSError(number, os.strerror(number))

    return before


FILLS = """
import json, sys
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
from critica.store.checkpoints import CheckpointStore
from critica.store.errors import DiskFull

store = CheckpointStore(Path(sys.argv[1]) / "checkpoints", keep=5)
said, step = "", 0
try:
    while step < 50:
        step += 1
        weight = torch.full((20_000,), float(step))
        store.write(step, lambda folder: save_file({"weight": weight}, folder / "x.safetensors"))
except DiskFull as error:
    said = str(error)
latest = store.latest()
weight = load_file(latest.path / "x.safetensors")["weight"]
left = sorted(path.name for path in store.folder.iterdir())
print(json.dumps({"said": said, "step": step, "latest": latest.step, "weight": float(weight.mean()), "left": left}))
"""


def test_a_real_disk_that_fills_inside_safetensors(tmp_path: Path) -> None:
    """A tmpfs of 300 KiB: libraries report a full disk in their own words."""
    import json

    mounted = tmp_path / "small"
    mounted.mkdir()
    script = f'mount -t tmpfs -o size=300k none {mounted} && exec {sys.executable} -c "$0" {mounted}'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, FILLS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=child_environment(1))
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "the disk is full" in found["said"] and f"critica resume {mounted}" in found["said"]
    assert found["latest"] == found["step"] - 1 == found["weight"] > 1
    assert found["left"] == sorted(f"step_{step}" for step in range(1, found["step"]))
