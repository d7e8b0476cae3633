"""A kill at every single change that the store makes: what is found is before or after, and going on ends the same."""

import random
import shutil
from pathlib import Path

import pytest
from file_operations import killed_at, record
from small_trainer import EVERY, STEPS, Said, check_checkpoint, check_whole, encode_once, train, tree

from critica.records.journal import Answer
from critica.records.supervision import Abstained, Failed, Scored, Verdict
from critica.store.journal import StepJournal


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run that was never stopped."""
    encode_once(monkeypatch)
    train(tmp_path / "whole", Said())
    return tmp_path / "whole"


def check_and_finish(run: Path, whole: dict[str, bytes], said: Said, where: str, ahead: int = 1) -> None:
    """Nothing that was said is lost, nothing is mixed, at most `ahead` steps were not said, and the end is the same."""
    assert (run / "run.json").exists() or not said.last_committed, where
    if (run / "run.json").exists():
        last, saved = check_whole(run, whole), check_checkpoint(run)
        assert said.last_committed <= last <= said.last_committed + ahead, f"{where}: {last} steps are there"
        assert saved >= said.last_saved, f"{where}: the checkpoint of step {said.last_saved} is gone"
    train(run, Said())
    assert tree(run) == whole, where


@pytest.mark.parametrize("torn", [False, True])
def test_killed_before_or_inside_any_change_of_a_run(whole: Path, tmp_path: Path, torn: bool) -> None:
    expected, run = tree(whole), tmp_path / "struck"
    changes = record(run, lambda: train(run, Said()))
    kinds = {change.kind for change in changes}
    assert kinds == {"create", "write", "sync", "rename", "remove", "mkdir"} and len(changes) > 100
    for number, change in enumerate(changes):
        if torn and change.kind != "write":
            continue
        shutil.rmtree(run)
        said = Said()
        assert killed_at(number, run, lambda: train(run, said), torn)  # noqa: B023
        check_and_finish(run, expected, said, f"stopped at change {number} ({change.kind} {change.path})")


def test_killed_at_any_change_of_a_resume_from_an_earlier_step(whole: Path, tmp_path: Path) -> None:
    expected, run = tree(whole), tmp_path / "struck"
    shutil.copytree(whole, run)
    changes = record(run, lambda: train(run, Said(), back_to=STEPS - 2))
    assert any(change.kind == "truncate" for change in changes)
    assert tree(run) == expected
    for number, change in enumerate(changes):
        shutil.rmtree(run)
        shutil.copytree(whole, run)
        assert killed_at(number, run, lambda: train(run, Said(), back_to=STEPS - 2))
        where = f"stopped at change {number} ({change.kind} {change.path})"
        check_whole(run, expected)
        saved = check_checkpoint(run)
        assert saved >= STEPS - 2, where
        train(run, Said())
        assert tree(run) == expected, where


def test_killed_while_it_repairs_what_a_kill_left(whole: Path, tmp_path: Path) -> None:
    """Two kills: the second somewhere in the resume after the first."""
    expected, run = tree(whole), tmp_path / "struck"
    count, dice = len(record(run, lambda: train(run, Said()))), random.Random(3)
    for _ in range(80):
        shutil.rmtree(run, ignore_errors=True)
        first, second, said = dice.randrange(count), dice.randrange(40), Said()
        killed_at(first, run, lambda: train(run, said), torn=dice.random() < 0.5)  # noqa: B023
        if killed_at(second, run, lambda: train(run, said), torn=dice.random() < 0.5):  # noqa: B023
            check_and_finish(run, expected, said, f"stopped at changes {first} and {second}", ahead=EVERY)
        assert tree(run) == expected


def test_answers_that_were_recorded_are_there_after_a_kill_and_half_a_line_is_not(tmp_path: Path) -> None:
    outcomes = [Scored(1 / 3, 0.5), Failed("it timed out"), Abstained("no idea"), Scored(0.0)]
    answers = [Answer("judge", f"1.0.{i}", f"{i:016x}", Verdict((outcome,))) for i, outcome in enumerate(outcomes)]
    run = tmp_path / "run"

    def tell() -> None:
        run.mkdir(exist_ok=True)
        journal = StepJournal(run / "journal", run)
        for part in (answers[:2], answers[2:]):
            known = {answer.trajectory_id for answer in journal.recall(1)}
            journal.record(1, [answer for answer in part if answer.trajectory_id not in known])

    changes = record(run, tell)
    for number, change in enumerate(changes):
        for torn in (False, True):
            shutil.rmtree(run, ignore_errors=True)
            killed_at(number, run, tell, torn)
            found = StepJournal(run / "journal", run).recall(1)
            assert list(found) == answers[: len(found)], f"{number}: {change}"
            before = sum(item.kind == "write" for item in changes[:number])
            assert len(found) >= 2 * before, f"{number}: answers that were recorded are gone"
            tell()
            assert list(StepJournal(run / "journal", run).recall(1)) == answers
