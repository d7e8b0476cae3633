"""Checkpoints: whole or not there, every flipped byte is seen, the last good one stays."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from critica.store.checkpoints import CheckpointStore
from critica.store.errors import CorruptCheckpoint, DiskFull, NoCheckpoint


def fill(content: str):
    """A writer of a small tree."""

    def writer(folder: Path) -> None:
        (folder / "policy").mkdir()
        (folder / "policy" / "model.safetensors").write_bytes(b"weights " + content.encode() * 50)
        (folder / "progress.json").write_text(content)

    return writer


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    store = CheckpointStore(tmp_path / "run" / "checkpoints", keep=2)
    for step in (10, 20):
        store.write(step, fill(f"step {step}"))
    return store


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(bytes(content))


def test_write_publishes_what_the_writer_wrote_and_latest_verifies_it(store: CheckpointStore) -> None:
    latest = store.latest()
    assert latest.step == 20 and latest.path.name == "step_20" and latest.skipped == ()
    assert (latest.path / "progress.json").read_text() == "step 20"
    assert store.verify(10).path.name == "step_10"


@pytest.mark.parametrize("name", ["policy/model.safetensors", "progress.json", "MANIFEST.json"])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_flipped_byte_is_seen_in_each_file(store: CheckpointStore, name: str, place: int) -> None:
    flip(store.path_of(20) / name, place)
    with pytest.raises(CorruptCheckpoint, match=rf"{name} was changed.*step 10 is good.*--step 10"):
        store.latest()
    fallback = store.latest(allow_fallback=True)
    assert fallback.step == 10
    assert len(fallback.skipped) == 1 and name in fallback.skipped[0]


def test_bytes_everywhere_in_the_manifest_matter(store: CheckpointStore) -> None:
    path = store.path_of(20) / "MANIFEST.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        flip(path, place)
        with pytest.raises(CorruptCheckpoint):
            store.verify(20)
        path.write_bytes(whole)
    store.verify(20)


def test_missing_shortened_and_added_files_are_named(store: CheckpointStore) -> None:
    progress = store.path_of(20) / "progress.json"
    progress.write_text("step 2")
    with pytest.raises(CorruptCheckpoint, match=r"progress\.json has 6 bytes, 7 were written"):
        store.verify(20)
    progress.unlink()
    with pytest.raises(CorruptCheckpoint, match=r"progress\.json is missing"):
        store.verify(20)
    progress.write_text("step 20")
    (store.path_of(20) / "extra.bin").write_bytes(b"x")
    with pytest.raises(CorruptCheckpoint, match=r"extra\.bin was added"):
        store.verify(20)


def test_a_half_written_folder_under_a_final_name_is_no_checkpoint(store: CheckpointStore) -> None:
    shutil.copytree(store.path_of(20), store.folder / "step_30")
    (store.folder / "step_30" / "MANIFEST.json").unlink()
    with pytest.raises(CorruptCheckpoint, match="never finished"):
        store.latest()
    assert store.latest(allow_fallback=True).step == 20


def test_what_a_crash_before_the_rename_leaves_is_ignored_and_cleaned_up(store: CheckpointStore) -> None:
    store.stage(30, fill("step 30"))  # and there the process was killed
    assert (store.folder / ".tmp-step_30").exists()
    assert store.latest().step == 20
    assert (store.folder / ".tmp-step_30").exists()  # a reader leaves it: it may be another process at work
    store.write(30, fill("step 30"))
    assert not (store.folder / ".tmp-step_30").exists()
    assert store.latest().step == 30


@pytest.mark.parametrize("renames", [0, 1])
def test_a_crash_while_a_step_is_written_again_loses_nothing(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    class Killed(BaseException):
        pass

    real, calls = os.rename, [0]

    def killed(source: Path, target: Path) -> None:
        if calls[0] == renames:
            raise Killed
        calls[0] += 1
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        with pytest.raises(Killed):
            store.write(20, fill("again 20"))
    latest = store.latest()
    assert latest.step == 20 and (latest.path / "progress.json").read_text() == "step 20"
    store.write(20, fill("again 20"))
    assert (store.latest().path / "progress.json").read_text() == "again 20"
    assert sorted(path.name for path in store.folder.iterdir()) == ["step_10", "step_20"]


def test_a_writer_that_fails_leaves_nothing(store: CheckpointStore) -> None:
    def failing(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        store.write(30, failing)
    assert sorted(path.name for path in store.folder.iterdir()) == ["step_10", "step_20"]


def test_a_full_disk_is_explained_and_leaves_the_older_ones(store: CheckpointStore) -> None:
    def full(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    run = store.folder.parent
    with pytest.raises(DiskFull, match=rf"step_30 needs about .* more.*critica resume {run}"):
        store.write(30, full)
    assert store.latest().step == 20
    assert sorted(path.name for path in store.folder.iterdir()) == ["step_10", "step_20"]


def test_rotation_keeps_the_newest_two(store: CheckpointStore) -> None:
    store.write(30, fill("step 30"))
    store.write(40, fill("step 40"))
    assert store.steps == (30, 40)


def test_rotation_never_removes_the_last_good_one(store: CheckpointStore) -> None:
    single = CheckpointStore(store.folder, keep=1)
    flip(store.path_of(20) / "progress.json", 0)

    def bad(folder: Path) -> None:
        fill("step 30")(folder)

    store.write(30, bad)
    assert store.steps == (10, 20, 30)  # 20 is not good, so 10 and 30 are the two kept
    flip(store.path_of(30) / "progress.json", 0)
    single._rotate()
    assert single.steps == (10, 20, 30)
    assert single.latest(allow_fallback=True).step == 10
    store.write(40, fill("step 40"))
    single._rotate()
    assert single.steps == (40,)


def test_none_good_and_none_at_all_are_different_sentences(store: CheckpointStore, tmp_path: Path) -> None:
    for step in (10, 20):
        flip(store.path_of(step) / "progress.json", 0)
    with pytest.raises(CorruptCheckpoint, match="no earlier checkpoint is good"):
        store.latest()
    with pytest.raises(CorruptCheckpoint, match=r"no checkpoint in .* is good"):
        store.latest(allow_fallback=True)
    with pytest.raises(NoCheckpoint, match="before its first one"):
        CheckpointStore(tmp_path / "empty").latest()
    with pytest.raises(NoCheckpoint, match="it holds: 10, 20"):
        store.verify(15)


def test_drop_after(store: CheckpointStore) -> None:
    store.drop_after(10)
    assert store.steps == (10,)
