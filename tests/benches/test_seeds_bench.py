"""The seeds bench: which runs, what counts as done, the arithmetic over seeds; nothing is trained here."""

import json
from pathlib import Path

import pytest

from critica.benches import import_time
from critica.benches.base import BenchFailed, Eta
from critica.benches.import_time import ImportCost, import_table, measure
from critica.benches.seeds import Run, SeedsSettings, System, finish, keep_seconds, runs_of, signature, words_of
from critica.benches.seeds_table import SeedResult, seeds_table, summaries, verdict_lines
from critica.records.outcome import Interval

MACHINE = {"processor": "P", "cores": 2, "threads": 2, "commit": "c", "versions": {"torch": "2"}}


def result(system: str, seed: int, before: tuple[float, float], after: tuple[float, float]) -> SeedResult:
    gains = tuple(Interval(b - a, b - a - 0.02, b - a + 0.02, "paired") for a, b in zip(before, after, strict=True))
    return SeedResult(system, "flip:0.2:group", seed, 1000, before, after, gains, 100.0 + seed)


def test_gains_have_student_intervals_over_seeds() -> None:
    """Gains .1, .2, .3: mean .2, standard error .1/sqrt(3), t(.975, 2) = 4.3027."""
    results = [result("dvpo", s, (0.4, 0.5), (0.4 + gain, 0.5 + gain)) for s, gain in enumerate((0.1, 0.2, 0.3))]
    (summary,) = summaries(results)
    half = 4.302653 * 0.1 / 3**0.5
    for gain in summary.gains:
        assert gain.estimate == pytest.approx(0.2)
        assert (gain.low, gain.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-5)
    assert summary.before == pytest.approx((0.4, 0.5)) and summary.after == pytest.approx((0.6, 0.7))
    assert summary.seconds == pytest.approx(101.0)


def test_verdicts_follow_the_signs() -> None:
    good = [result("dvpo", s, (0.4, 0.5), (0.6 + s / 1000, 0.6 + s / 1000)) for s in range(5)]
    flat = [result("dvpo-control", s, (0.4, 0.5), (0.4, 0.5 + (s - 2) / 100)) for s in range(5)]
    assert [line.rpartition(" ")[2] for line in verdict_lines(summaries(good + flat))] == ["pass"] * 3
    worse = [result("dvpo", s, (0.6, 0.6), (0.4 + s / 1000, 0.5 + s / 1000)) for s in range(5)]
    leaking = [result("dvpo-control", s, (0.4, 0.5), (0.4, 0.6 + s / 1000)) for s in range(5)]
    assert [line.rpartition(" ")[2] for line in verdict_lines(summaries(worse + leaking))] == ["FAIL"] * 3


def test_the_table_shows_every_seed_in_points() -> None:
    page = seeds_table(MACHINE, 1, [result("dvpo", s, (0.4, 0.5), (0.55, 0.575)) for s in range(2)])
    assert "| dvpo | 1 | 40.0 | 55.0 | +15.0 [+13.0, +17.0] | 50.0 | 57.5 | +7.5 [+5.5, +9.5] | 101 |" in page
    one = seeds_table(MACHINE, 1, [result("dvpo", 0, (0.4, 0.5), (0.55, 0.575))])
    assert "| dvpo | flip:0.2:group | 1 | 40.0 | 55.0 | +15.0 |" in one, "one seed has no interval over seeds"


def test_all_seeds_of_the_demo_come_first_and_references_get_fewer(tmp_path: Path) -> None:
    names = [run.name for run in runs_of(5, SeedsSettings(reference_seeds=2), tmp_path)]
    assert names[:5] == [f"dvpo-{seed}" for seed in range(5)]
    assert names.count("grpo-1") == 1 and "grpo-2" not in names and "dvpo-control-4" in names
    assert len(runs_of(1, SeedsSettings(reference_seeds=3), tmp_path)) == 5


def test_a_run_is_done_when_marked_and_its_seconds_add_up(tmp_path: Path) -> None:
    run = Run(System("dvpo", "flip:0.2:group"), 0, tmp_path / "dvpo-0")
    assert not run.done and run.seconds == 0.0
    keep_seconds(run, False, 10.0)
    assert not run.done
    (run.folder / "evaluations").mkdir(parents=True)
    (run.folder / "evaluations" / "after-greedy.json").write_text("{}")
    finish(run, 0, 5.0)
    assert run.done and run.seconds == 15.0
    run.folder.with_name("dvpo-0.log").write_text("it broke")
    with pytest.raises(BenchFailed, match="it broke"):
        finish(run, 1, 1.0)


def test_a_stopped_run_is_resumed_and_a_stillborn_one_starts_again(tmp_path: Path) -> None:
    run, settings = Run(System("dvpo", "flip:0.2:group"), 3, tmp_path / "dvpo-3"), SeedsSettings(threads=1, steps=7)
    run.folder.mkdir()
    (run.folder / "scrap").write_text("left by a crash")
    words = words_of(run, settings, run)
    assert words[:3] == ["demo", "--noise", "flip:0.2:group"] and not run.folder.exists()
    assert words[words.index("--seed") + 1] == "3" and "steps=7" in words and "threads=1" in words
    (run.folder / "checkpoints" / "step_000002").mkdir(parents=True)
    (run.folder / "evaluations").mkdir()
    (run.folder / "evaluations" / "before-greedy.json").write_text("{}")
    assert words_of(run, settings, run) == ["resume", str(run.folder)]


def test_settings_that_change_numbers_change_the_signature() -> None:
    assert signature(SeedsSettings(steps=3)) != signature(SeedsSettings(steps=4))
    assert signature(SeedsSettings(jobs=1)) == signature(SeedsSettings(jobs=2))


def test_eta_is_what_is_left_at_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("critica.benches.base.time.monotonic", lambda: now[0])
    eta = Eta(4, start=100.0)
    now[0] = 130.0
    assert eta.after(1) == "eta 1:30"


def test_import_cost_counts_modules_and_sees_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_time.SCRIPT.replace("import torch", "")  # torch itself takes seconds and is not what is tested
    monkeypatch.setattr(import_time, "SCRIPT", script)
    cost = measure("import critica", 1)
    assert cost.own_modules >= 1 and not cost.transformers and cost.seconds > 0
    heavy = ImportCost("import x", 0.1, 0.1, 5, 1, True, (0.1,))
    slow = ImportCost("import y", 1.6, 1.6, 5, 1, False, (1.6,))
    page = import_table("P", "c", [cost, heavy, slow])
    assert [line.split("|")[-2].strip() for line in page.splitlines()[-3:]][1:] == ["FAIL", "FAIL"]
    assert json.dumps(cost.readings)
