"""What can happen to a run folder from outside: each is a sentence with a way out, and nothing gets worse."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from critica.benches.torture_compare import compare_runs, is_tensors
from critica.benches.torture_stable import Stable
from critica.benches.torture_trial import Reference
from critica.store.errors import CorruptCheckpoint, RunFolderBusy, StoreError
from critica.store.run_folder import RunFolder
from critica.training.run import resume, train

SAVED = ("policy/", "critic/", "policy_optimizer", "critic_optimizer", "progress.json", "MANIFEST.json")


@pytest.fixture
def run(undisturbed: tuple[Reference, Path], tmp_path: Path) -> Path:
    """A copy of the undisturbed run: checkpoints of steps 6 and 8."""
    return Path(shutil.copytree(undisturbed[0].run, tmp_path / "run"))


def places(name: str, content: bytes) -> list[int]:
    """A byte of each section: a safetensors file's length, header and data; the ends and the middle of any other."""
    if not is_tensors(name):
        return [0, len(content) // 2, len(content) - 1]
    header = int.from_bytes(content[:8], "little")
    return [0, 7, 9, 8 + header // 2, 7 + header, 8 + header, (8 + header + len(content)) // 2, len(content) - 1]


def refuse(run: Path, name: str) -> None:
    """A resume names the file and offers the checkpoint before."""
    with pytest.raises(CorruptCheckpoint, match=rf"{name}.*step 6 is good: `critica resume .* --step 6`"):
        resume(run)


def test_a_flipped_byte_in_any_section_of_any_file_is_refused_by_name(run: Path) -> None:
    last = run / "checkpoints" / "step_8"
    files = {str(path.relative_to(last)): path for path in sorted(last.rglob("*")) if path.is_file()}
    assert all(any(name.startswith(part) for name in files) for part in SAVED)
    for name, path in files.items():
        content = path.read_bytes()
        for place in places(name, content):
            flipped = bytearray(content)
            flipped[place] ^= 0x10
            path.write_bytes(flipped)
            refuse(run, name)
        for cut in (content[:-1], content[: len(content) // 2], b"", content + b"\0"):
            path.write_bytes(cut)
            refuse(run, name)
        path.unlink()
        refuse(run, name)
        path.write_bytes(content)
    (last / "policy" / "stranger.bin").write_bytes(b"x")
    refuse(run, "policy/stranger.bin")
    (last / "policy" / "stranger.bin").unlink()
    assert RunFolder.open(run).checkpoints.verify(8).step == 8


def test_from_the_checkpoint_that_is_offered_the_run_ends_in_the_same_bits(
    run: Path, undisturbed: tuple[Reference, Path], stable: Stable, tmp_path: Path
) -> None:
    path = run / "checkpoints" / "step_8" / "policy" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    before = compare_runs(undisturbed[0].run, run)
    assert not before.same and before.first.startswith("checkpoints/step_8/policy/model.safetensors: tensor")
    attempt = stable.start(["resume", str(run)], tmp_path / "log")
    assert attempt.ended(60.0) and stable.reap(attempt) == 1
    said = (tmp_path / "log").read_text()
    assert f"critica resume {run} --step 6" in said and "Traceback" not in said
    attempt = stable.start(["resume", str(run), "--step", "6"], tmp_path / "log")
    assert attempt.ended(60.0) and stable.reap(attempt) == 0
    assert compare_runs(undisturbed[0].run, run).same


def test_a_checkpoint_of_another_run_is_refused(run: Path, undisturbed: tuple[Reference, Path], stable: Stable) -> None:
    toml, work = undisturbed[0].toml, undisturbed[1]
    attempt = stable.start(["train", str(toml), "--run", str(work / "other"), "--set", "seed=4"], work / "other-log")
    assert attempt.ended(60.0) and stable.reap(attempt) == 0
    shutil.rmtree(run / "checkpoints" / "step_8")
    shutil.copytree(work / "other" / "checkpoints" / "step_8", run / "checkpoints" / "step_8")
    lines = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(StoreError, match="another run"):
        resume(run)
    assert (run / "metrics.jsonl").read_bytes() == lines


def test_lines_that_do_not_reach_the_checkpoint_are_a_sentence(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:5]))
    with pytest.raises(StoreError, match=r"metrics\.jsonl ends at step 5, but step 8"):
        resume(run)


def test_two_processes_on_one_folder_the_second_is_refused_and_the_first_unharmed(
    undisturbed: tuple[Reference, Path], stable: Stable, tmp_path: Path
) -> None:
    run, logs = tmp_path / "run", [tmp_path / name for name in ("first", "second", "third")]
    first = stable.start(["train", str(undisturbed[0].toml), "--run", str(run)], logs[0])
    while not (run / "run.json").exists():
        assert not first.ended(0.001), logs[0].read_text()
    first.strike(signal.SIGSTOP)  # so that the others meet it at work, however slow they start
    try:
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        for words, log in (
            (["resume", str(run)], logs[1]),
            (["train", str(undisturbed[0].toml), "--run", str(run)], logs[2]),
        ):
            other = stable.start(words, log)
            assert other.ended(60.0) and stable.reap(other) == 2
            assert "Traceback" not in log.read_text()
        assert f"is being written by process {first.pid}" in logs[1].read_text()
        assert "already holds a run" in logs[2].read_text()
        assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        with pytest.raises(RunFolderBusy, match=str(first.pid)):
            RunFolder.open(run, write=True)
    finally:
        first.strike(signal.SIGCONT)
    assert first.ended(60.0) and stable.reap(first) == 0
    assert compare_runs(undisturbed[0].run, run).same


def test_a_read_only_folder_is_a_sentence_and_nothing_changes(
    run: Path, undisturbed: tuple[Reference, Path], tmp_path: Path
) -> None:
    """A read-only mount: the super-user, who may run the tests, ignores modes."""
    from critica.benches.base import child_environment

    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    entry = f'{sys.executable} -c "from critica.cli.main import entry; entry()"'
    script = (
        f"mount --bind {run} {run} && mount -o remount,bind,ro {run} || exit 99\n"
        f"{entry} resume {run} --steps 20; echo status $?\n"
        f"{entry} train {undisturbed[0].toml} --run {run}/new; echo status $?\n"
        f"{entry} inspect {run} --ledger > {tmp_path}/shown; echo status $?\n"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True, text=True, timeout=120, env=child_environment(1),
    )  # fmt: skip
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"nothing can be mounted read-only here: {done.stderr.strip()}")
    assert done.stdout.split() == ["status", "1", "status", "1", "status", "0"], done.stdout + done.stderr
    assert f"{run} cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_train_and_resume_are_what_the_command_calls(run: Path) -> None:
    """The functions that these tests call in this process refuse as the command does."""
    from critica.training.saved_recipe import recipe_of

    with pytest.raises(RunFolderBusy, match="already holds a run"):
        train(recipe_of(RunFolder.open(run)), run)
