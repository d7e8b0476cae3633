"""The bench around the trials: enough signals, every system, cut off and gone on with, and failures that are loud."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from critica.benches import torture as bench
from critica.benches.base import BenchFailed, Order
from critica.benches.torture_compare import Verdict
from critica.benches.torture_trial import SYSTEMS, Reference, Strike, TrialResult

CLEAN = Verdict(0, 0, 0, 36, 466, "")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Trials without processes: three signals each; the numbers of those that were carried out."""
    carried_out: list[int] = []

    def run_trial(stable, number, system, reference, sizes, work) -> TrialResult:
        carried_out.append(number)
        strikes = tuple(Strike("SIGKILL", "step", phase, 1.0, -9) for phase in ("training", "saving", "resuming"))
        return TrialResult(number, system.name, f"torture/{number}", strikes, CLEAN, 0, 0, 0)

    monkeypatch.setattr(bench, "Stable", nullcontext)
    monkeypatch.setattr(bench, "make_reference", lambda *given: Reference(Path("t"), 0, Path("w"), 1.0, 0.5))
    monkeypatch.setattr(bench, "run_trial", run_trial)
    return carried_out


def order(folder: Path, *settings: str) -> Order:
    return Order(folder / "out", folder / "work", 5, ("jobs=1", *settings))


def test_it_goes_on_until_enough_signals_were_sent_and_every_system_was_tried(done: list[int], tmp_path: Path) -> None:
    table = bench.run_torture(order(tmp_path, "kills=2")).read_text()
    assert done == list(range(len(SYSTEMS)))
    assert f"**{3 * len(SYSTEMS)} signals in {len(SYSTEMS)} runs: 0 differing bits" in table and "Problems" not in table
    bench.run_torture(order(tmp_path, "kills=25"))
    assert done == list(range(9))  # the first ones were kept
    content = json.loads((tmp_path / "out" / "torture.json").read_text())
    assert len(content["trials"]) == 9 and content["trials"][8]["seed"] == "torture/8"


def test_a_difference_is_loud_is_in_the_table_and_is_done_again(
    done: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = bench.run_trial

    def bad(stable, number, *rest) -> TrialResult:
        result = good(stable, number, *rest)
        if number != 1:
            return result
        verdict = replace(CLEAN, differing_bits=7, lost_prompts=1, first="metrics.jsonl: line 3")
        return replace(result, verdict=verdict, problem="metrics.jsonl: line 3 differs")

    with monkeypatch.context() as patch:
        patch.setattr(bench, "run_trial", bad)
        with pytest.raises(BenchFailed, match="line 3 differs"):
            bench.run_torture(order(tmp_path, "kills=30"))
    assert done == [0, 1]  # it stops: the machine is not kept busy with more of the same
    table = (tmp_path / "out" / "torture.md").read_text()
    assert "7 differing bits, 1 lost" in table and "- trial 1: metrics.jsonl: line 3 differs" in table
    bench.run_torture(order(tmp_path, "kills=2"))
    assert done[2:] == list(range(1, len(SYSTEMS)))


def test_a_worker_that_breaks_is_not_a_success(
    done: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given) -> Reference:
        raise BenchFailed("two undisturbed runs differ")

    monkeypatch.setattr(bench, "make_reference", broken)
    with pytest.raises(BenchFailed, match="two undisturbed runs differ"):
        bench.run_torture(order(tmp_path))
    assert not (tmp_path / "out").exists()


def test_when_its_time_is_over_it_says_so_and_the_next_call_goes_on(done: list[int], tmp_path: Path) -> None:
    with pytest.raises(BenchFailed, match=r"0 of 30 signals in 0 minutes.*goes on from here"):
        bench.run_torture(order(tmp_path, "kills=30", "minutes=0"))
    bench.run_torture(order(tmp_path, "kills=30"))
    assert done == list(range(10))
