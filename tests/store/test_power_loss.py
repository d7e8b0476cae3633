"""The power fails between any two changes of the store: what is left resumes, and ends in the same bits."""

import json
import os
import shutil
from pathlib import Path

import pytest
from file_operations import Operation, killed_at, record
from power_loss import Disk, losses
from small_trainer import STEPS, Said, check_checkpoint, encode_once, train, tree

from critica.store.lines import StepLines


class Noted(Said):
    """Remembers after how many changes each checkpoint was said to be safe."""

    def __init__(self, changes: list[Operation]) -> None:
        super().__init__()
        self.changes, self.safe = changes, [(0, -1)]

    def saved(self, step: int) -> None:
        self.safe.append((len(self.changes), step))

    def safe_after(self, count: int) -> int:
        """The newest checkpoint that must survive a loss after this many changes."""
        return [step for number, step in self.safe if number <= count][-1]


def watched(root: Path, back_to: int | None = None) -> tuple[list[Operation], Noted]:
    """Every change of a whole run, and what was said meanwhile."""
    changes: list[Operation] = []
    noted = Noted(changes)
    found = record(root, lambda: train(root / "run", noted, back_to), changes)
    assert found is changes
    return changes, noted


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncs are told, not done: the disk is a model here."""
    encode_once(monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def lose_everywhere(start: Path, root: Path, changes: list[Operation], noted: Noted, expected: dict[str, bytes]) -> int:
    """After every change, in every way of the model: resume and compare. Returns how many states were tried."""
    disk, tried = Disk(start), 0
    for count in range(len(changes) + 1):
        for loss in losses(count):
            shutil.rmtree(root, ignore_errors=True)
            disk.write_out(root, loss)
            where = f"after change {count} ({changes[count - 1]}), left: {loss.name}"
            run, safe = root / "run", noted.safe_after(count)
            if (run / "run.json").exists():
                assert check_checkpoint(run) >= safe, where
            else:
                assert safe < 0, where
            train(run, Said())
            assert tree(run) == expected, where
            tried += 1
        if count < len(changes):
            disk.apply(changes[count])
    return tried


@pytest.mark.usefixtures("quick")
def test_a_run_survives_a_loss_after_any_change(tmp_path: Path) -> None:
    start, root = tmp_path / "start", tmp_path / "root"
    start.mkdir()
    root.mkdir()
    changes, noted = watched(root)
    expected = tree(root / "run")
    assert lose_everywhere(start, root, changes, noted, expected) > 700


@pytest.mark.usefixtures("quick")
def test_a_resume_from_an_earlier_step_survives_a_loss_after_any_change(tmp_path: Path) -> None:
    start, root = tmp_path / "start", tmp_path / "root"
    root.mkdir()
    train(root / "run", Said())
    expected = tree(root / "run")
    shutil.copytree(root, start)
    changes, noted = watched(root, back_to=STEPS - 2)
    noted.safe.insert(1, (0, STEPS - 2))
    assert tree(root / "run") == expected
    assert lose_everywhere(start, root, changes, noted, expected) > 200


@pytest.mark.usefixtures("quick")
def test_a_resume_before_the_first_new_checkpoint_survives_a_loss_after_any_change(tmp_path: Path) -> None:
    """The run was killed in its first step: the resume writes the first checkpoint again, over the one there is."""
    start, root = tmp_path / "start", tmp_path / "root"
    for folder in (start, root):
        folder.mkdir()
    first = [change.path for change in record(start, lambda: train(start / "run", Said()))].index("run/metrics.jsonl")
    expected = tree(start / "run")
    shutil.rmtree(start / "run")
    assert killed_at(first + 2, start, lambda: train(start / "run", Said()))
    shutil.copytree(start, root, dirs_exist_ok=True)
    changes, noted = watched(root)
    assert any(change.other.endswith(".old-step_0") for change in changes)
    assert lose_everywhere(start, root, changes, noted, expected) > 500


def test_zeros_in_place_of_lines_end_a_file_and_a_changed_line_does_not(tmp_path: Path) -> None:
    lines = StepLines(tmp_path / "metrics.jsonl")
    lines.append([{"step": step} for step in (1, 2, 3, 4)])
    whole = lines.path.read_bytes()
    size = len(whole) // 4
    lines.path.write_bytes(whole[: 2 * size] + bytes(size) + whole[3 * size :])
    assert [line["step"] for line in lines] == [1, 2]
    lines.cut_after(4)
    assert lines.path.read_bytes() == whole[: 2 * size]
    lines.append([{"step": 3}, {"step": 4}])
    assert lines.path.read_bytes() == whole
    lines.path.write_bytes(whole[: 2 * size] + b"x" * (size - 1) + b"\n" + whole[3 * size :])
    with pytest.raises(Exception, match=r"metrics\.jsonl, line 3"):
        lines.cut_after(4)


def test_the_model_of_the_disk_loses_what_was_not_synced(tmp_path: Path) -> None:
    """The model itself: without a sync nothing is safe, with one everything is, and zeros are zeros."""
    start = tmp_path / "start"
    start.mkdir()
    made = [Operation("create", "a"), Operation("write", "a", payload=b"12345678"), Operation("rename", "a", "b")]
    left = {}
    for name, more in (
        ("none", []),
        ("file", [Operation("sync", "b")]),
        ("folder", [Operation("sync", ".")]),
        ("both", [Operation("sync", "b"), Operation("sync", ".")]),
    ):
        disk = Disk(start)
        for change in made + more:
            disk.apply(change)
        for loss in losses(0)[:4]:
            target = tmp_path / f"{name}-{loss.name}"
            disk.write_out(target, loss)
            left[name, loss.name] = json.dumps({p.name: p.read_bytes().hex() for p in target.iterdir()})
    nothing, names, zero, holes = (loss.name for loss in losses(0)[:4])
    content, whole = b"12345678".hex(), {"b": b"12345678".hex()}
    assert left["none", nothing] == left["file", nothing] == "{}"
    assert left["none", names] == left["folder", names] == left["folder", nothing] == '{"b": ""}'
    assert left["none", zero] == json.dumps({"b": "00" * 8})
    assert left["none", holes] == json.dumps({"b": "00" * 4 + content[8:]})
    assert {left["both", loss] for loss in (nothing, names, zero, holes)} == {json.dumps(whole)}
