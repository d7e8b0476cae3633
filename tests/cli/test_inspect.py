"""Looking into a run: the books as the user sees them, what does not balance, and a step done again."""

import json
import os
import shutil
from pathlib import Path

import pytest

from critica.cli.main import main

SMALL = ["--environment", "digit_sum", "--set", "sampling.prompts_per_step=2", "--set", "sampling.samples_per_prompt=2",
         "--set", "threads=1", "--set", "sampling.max_new_tokens=8", "--set", "checkpoint.every=2"]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of four steps, with checkpoints of steps 2 and 4."""
    run = tmp_path_factory.mktemp("inspected") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda process: {0})
        assert main(["train", "grpo", "--steps", "4", "--run", str(run), *SMALL]) == 0
    return run


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of it to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def answer(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_the_books_of_a_sound_run_balance(run, capsys):
    capsys.readouterr()
    assert main(["inspect", str(run), "--ledger"]) == 0
    said = capsys.readouterr().out
    assert "samples      16 in = " in said and "books        balance" in said and "checkpoints  2, 4 good" in said
    assert main(["inspect", str(run), "--json"]) == 0
    found = answer(capsys)
    assert found["balanced"] and found["samples"]["total"] == sum(found["samples"]["states"].values()) == 16
    assert found["prompts"]["total"] == sum(found["prompts"]["states"].values()) == 8
    assert found["journaled_steps"] == [3, 4]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: lines[1:], "in no ledger line"),
        (lambda lines: [*lines, lines[-3]], "counted more than once"),
        (lambda lines: [line.replace("4.1.1", "4.9.9") for line in lines], "in no rollout"),
        (lambda lines: [x for x in lines if '"prompt"' not in x or '"step": 1' not in x], "2 counts 4 prompts"),
    ],
)
def test_books_that_do_not_balance_are_named(damage, said, run, capsys):
    path = run / "ledger.jsonl"
    path.write_text("\n".join(damage(path.read_text().splitlines())) + "\n")
    assert main(["inspect", str(run)]) == 1
    assert said in capsys.readouterr().out
    assert main(["inspect", str(run), "--json"]) == 1
    assert not answer(capsys)["balanced"]


def test_a_corrupt_checkpoint_is_named(run, capsys):
    path = run / "checkpoints/step_4/policy/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["inspect", str(run)]) == 1
    said = capsys.readouterr().out
    assert "NOT GOOD" in said and "model.safetensors has" in said and "checkpoints  2 good" in said


def test_a_step_is_done_again_bit_for_bit(run, tmp_path, capsys):
    before = {str(p): p.stat().st_mtime_ns for p in run.rglob("*")}
    assert main(["replay", str(run), "4", "--keep", str(tmp_path / "again")]) == 0
    assert "steps 3 to 4: bit for bit as recorded" in capsys.readouterr().out
    assert {str(p): p.stat().st_mtime_ns for p in run.rglob("*")} == before
    assert main(["inspect", str(tmp_path / "again")]) in (0, 1)  # itself a run folder
    ledger = run / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"trajectory_id": "4.0.0"', '"trajectory_id": "4.0.7"'))
    capsys.readouterr()
    assert main(["replay", str(run), "4", "--json"]) == 1
    found = answer(capsys)
    assert found["differences"] == ["step 4: the ledger differs"] and not found["same"]


def test_a_step_that_cannot_be_replayed_says_which_can(run, capsys):
    assert main(["replay", str(run), "2"]) == 1
    said = capsys.readouterr().err
    assert "before step 2 is left" in said and "3 to 4" in said
    assert main(["replay", str(run), "9"]) == 1
    assert "steps 1 to 4" in capsys.readouterr().err
