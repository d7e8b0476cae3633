"""The payback bench: arithmetic by hand, verdicts that follow the numbers, resumption, arms that differ as stated."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from critica.benches import payback, payback_trial
from critica.benches.base import Order
from critica.benches.payback import PAYBACK, PaybackSettings, Run, keep, run_payback, runs_of, signature, trials_in
from critica.benches.payback_arms import ARMS, base, recipe_of
from critica.benches.payback_figure import payback_figure
from critica.benches.payback_page import payback_page
from critica.benches.payback_trial import Point, Trial
from critica.benches.payback_verdict import Edition, accuracy_at, judged, shared_costs, verdict_lines
from critica.critics.counted import LeaveOneOut, NoBaseline
from critica.recipes.config import apply_sets

MACHINE = {"processor": "P", "commit": "c", "versions": {"torch": "2"}}


def trial(arm: str, samples: int, seed: int, costs: tuple[float, ...], levels: tuple[float, ...]) -> Trial:
    """A run measured at step 0 and then once after each cost."""
    points = [Point(i, 64 * i, cost, level) for i, (cost, level) in enumerate(zip(costs, levels, strict=True))]
    return Trial("none", arm, samples, seed, tuple(points), levels[-1] + 0.05)


def edition(trials: list[Trial]) -> Edition:
    found = judged("none", trials, (16, 4, 1))
    assert found is not None
    return found


def both(gap: float, seeds: int = 3) -> list[Trial]:
    """Group .6, .61, .62 and v0 `gap` above it by seed, give or take a thousandth; v0's run costs twice as much."""
    trials = []
    for seed in range(seeds):
        level = 0.6 + seed / 100
        trials.append(trial("group", 4, seed, (0.0, 1.0, 2.0), (0.3, 0.5, level)))
        trials.append(trial("v0", 4, seed, (0.0, 2.0, 4.0), (0.3, 0.4, level + gap + (seed - 1) / 1000)))
    return trials


def test_a_stretch_costs_its_least_over_seeds() -> None:
    """Stretches 4, 9, 2 and 3, 3, 5: the least are 2 and 3, though no run took 5 seconds."""
    runs = [
        trial("v0", 4, s, costs, (0.0, 0.0, 0.0))
        for s, costs in enumerate(((0.0, 4.0, 7.0), (0.0, 9.0, 12.0), (0.0, 2.0, 7.0)))
    ]
    assert shared_costs(runs) == pytest.approx((0.0, 2.0, 5.0))


def test_accuracy_at_equal_cost_is_linear_between_points_and_never_beyond() -> None:
    run = trial("v0", 4, 0, (0.0, 2.0, 6.0), (0.3, 0.5, 0.9))
    for budget, level in ((0.0, 0.3), (1.0, 0.4), (2.0, 0.5), (3.0, 0.6), (6.0, 0.9)):
        assert accuracy_at(run, (0.0, 2.0, 6.0), budget) == pytest.approx(level)
    with pytest.raises(ValueError, match="says nothing"):
        accuracy_at(run, (0.0, 2.0, 6.0), 6.1)


def test_the_budget_is_what_every_cell_has_spent_and_pairs_are_by_seed() -> None:
    """v0 ends .1 above; the budget 2 is group's whole run and half of v0's, where v0 stands at .4."""
    found = edition(both(0.1))
    cell, group = found.cell("v0", 4), found.cell("group", 4)
    assert cell is not None and group is not None and cell.over_group_samples and cell.over_group_cost
    assert found.budget_seconds == 2.0 and found.samples == 128 and found.start == 0.3
    assert cell.at_cost.estimate == pytest.approx(0.4) and group.at_cost.estimate == pytest.approx(0.61)
    half = 4.302653 * 0.001 / 3**0.5  # differences .099, .1, .101: the seeds' own spread of .01 is paired away
    assert (cell.over_group_samples.low, cell.over_group_samples.high) == pytest.approx((0.1 - half, 0.1 + half))
    assert cell.over_group_cost.estimate == pytest.approx(-0.21)
    assert group.over_group_samples is None and cell.cost_seconds == 4.0


def test_verdicts_follow_the_numbers() -> None:
    above, _, at_cost, _ = verdict_lines(edition(both(0.1)))
    assert "better beyond the interval: v0 at 4 +10.0" in above and "worse: none" in above
    assert "worse: v0 at 4 -21.0" in at_cost and "better beyond the interval: none" in at_cost
    below = verdict_lines(edition(both(-0.1)))[0]
    assert "better beyond the interval: none" in below and "worse: v0 at 4 -10.0" in below
    same = verdict_lines(edition(both(0.0)))[0]
    assert "undecided: 1 of 1" in same
    assert "undecided: 1 of 1" in verdict_lines(edition(both(0.1, seeds=1)))[0], "one seed decides nothing"


def test_the_second_verdict_is_against_the_groups_best_count() -> None:
    trials = both(0.1)
    trials += [trial("group", 16, seed, (0.0, 1.0, 2.0), (0.3, 0.5, 0.9)) for seed in range(3)]
    found = edition(trials)
    assert found.best_samples == 16 and found.counts == (16, 4)
    same, best, *_ = verdict_lines(found)
    assert "better beyond the interval: v0 at 4 +10.0" in same and "16 a prompt" in best
    assert "worse: v0 at 4 -19.0" in best


def test_without_a_baseline_nothing_is_judged() -> None:
    assert judged("none", [run for run in both(0.1) if run.arm != "group"], (4,)) is None
    assert judged("flip:0.2:sample", both(0.1), (4,)) is None


def test_the_page_and_the_figure_show_what_was_found() -> None:
    found = edition(both(0.1))
    page = payback_page(MACHINE, PaybackSettings(), [found])
    assert "| v0 | **+10.0 [+9.8, +10.2]** |" in page and "| v0 | 71.0 ± 2.7 |" in page
    assert "`v0`" in page and "`dvpo`" not in page, "only arms that were run are described"
    picture = payback_figure(found)
    assert picture.count("<circle") == 4 and 'fill="white" stroke="#1f6fb4"' not in picture
    open_dots = payback_figure(edition(both(0.0))).count('fill="white" stroke="#1f6fb4"')
    assert open_dots == 1, "equal at equal samples: an open dot; worse at equal cost: a filled one"


def test_arms_differ_in_critic_its_passes_target_advantage_and_in_nothing_else() -> None:
    shared = base(64, 2e-4)
    for name in ARMS:
        recipe = recipe_of(name, 4, shared, "flip:0.2:sample", 3)
        differing = {f.name for f in fields(recipe) if getattr(recipe, f.name) != getattr(shared, f.name)}
        assert differing <= {"critic", "target", "advantage", "sampling", "noise", "seed", "learner"}
        assert replace(recipe.learner, critic_epochs=1) == shared.learner
        assert recipe.learner.critic_epochs == (8 if name == "surprise" else 1)
        assert (recipe.sampling.prompts_per_step, recipe.sampling.samples_per_prompt) == (16, 4)
    assert isinstance(recipe_of("group", 2, shared, "none", 0).critic, LeaveOneOut)
    assert isinstance(recipe_of("group", 1, shared, "none", 0).critic, NoBaseline), "one sample has no siblings"
    with pytest.raises(ValueError, match="at least 2"):
        recipe_of("tempo", 1, shared, "none", 0)
    with pytest.raises(ValueError, match="cannot be 3 a prompt"):
        recipe_of("group", 3, shared, "none", 0)


def test_runs_come_in_whole_seeds_the_clean_edition_first() -> None:
    settings = PaybackSettings(arms=("group", "tempo"), counts=(4, 1), noisy_seeds=1)
    runs = runs_of(2, settings)
    one = [("group", 4), ("tempo", 4), ("group", 1)]
    assert [(run.arm, run.samples) for run in runs] == one * 3
    assert [run.seed for run in runs] == [0] * 3 + [1] * 3 + [0] * 3
    assert [run.noise for run in runs] == ["none"] * 6 + ["flip:0.2:sample"] * 3
    assert [run.seed for run in runs_of(5, apply_sets(PaybackSettings(), PAYBACK.quick, {}))][-1] == 2
    with pytest.raises(ValueError, match="no arms grpo"):
        PaybackSettings(arms=("grpo",))


def test_only_what_decides_a_runs_numbers_changes_the_signature() -> None:
    plain = signature(PaybackSettings())
    assert signature(PaybackSettings(arms=("group",), counts=(4,), jobs=2, noisy_seeds=1)) == plain
    for other in (PaybackSettings(steps=13), PaybackSettings(learning_rate=1e-4), PaybackSettings(prompts=8)):
        assert signature(other) != plain


def test_a_cut_off_bench_goes_on_from_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Run] = []

    def fake(run: Run, settings: PaybackSettings) -> Trial:
        asked.append(run)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return trial(run.arm, run.samples, run.seed, (0.0, 1.0, 2.0), (0.3, 0.5, 0.6 + run.seed / 100))

    monkeypatch.setattr(payback, "trial_of", fake)
    monkeypatch.setattr(payback, "warm_up", lambda settings: None)
    order = Order(tmp_path / "out", tmp_path / "work", 2, ('arms=["group","v0"]', "counts=[4]", 'editions=["none"]'))
    with pytest.raises(KeyboardInterrupt):
        run_payback(order)
    (journal,) = (tmp_path / "work").rglob("runs.jsonl")
    assert len(trials_in(journal)) == 2
    with journal.open("a") as file:
        file.write('{"noise": "none", "arm": "gro')  # killed while writing
    page = run_payback(order)
    assert [(run.seed, run.arm) for run in asked[3:]] == [(1, "group"), (1, "v0")]
    assert len(json.loads((tmp_path / "out" / "payback.json").read_text())["runs"]) == 4
    assert run_payback(replace(order, seeds=1)) == page, "an interval over one seed has no ends, in JSON neither"
    (verdict,) = json.loads((tmp_path / "out" / "payback.json").read_text(), parse_constant=pytest.fail)["verdicts"]
    assert verdict["cells"][0]["at_samples"] == {"estimate": 0.6, "low": None, "high": None}
    assert len(asked) == 5 and (tmp_path / "out" / "payback.svg").is_file()


def test_a_kept_line_after_a_torn_one_is_whole(tmp_path: Path) -> None:
    journal, runs = tmp_path / "runs.jsonl", both(0.1)
    keep(journal, runs[0])
    with journal.open("a") as file:
        file.write('{"noise"')
    keep(journal, runs[1])
    assert trials_in(journal) == runs[:2]


def test_measuring_changes_nothing_and_its_seconds_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps measured after each and after the last alone end in the same weights; every hour in between is free."""
    clock = {"now": 0.0}
    real = payback_trial.accuracy

    def weighed(policy, prompts: int, temperature: float) -> float:
        real(policy, prompts, temperature)
        clock["now"] += 3600.0
        return float(sum(weight.detach().double().abs().sum() for _, weight in policy.trainable()))

    def tick() -> float:
        clock["now"] += 1.0
        return clock["now"]

    monkeypatch.setattr(payback_trial, "accuracy", weighed)
    monkeypatch.setattr(payback_trial, "untrained_accuracy", lambda prompts: 0.0)
    monkeypatch.setattr(payback_trial.time, "process_time", tick)
    recipe = recipe_of("v0", 2, replace(base(8, 2e-4), steps=2), "none", 0)
    often, at_end = (payback_trial.train(recipe, every, 4)[0] for every in (1, 2))
    assert [point.step for point in often] == [0, 1, 2] and [point.step for point in at_end] == [0, 2]
    assert often[1].accuracy != often[2].accuracy == at_end[1].accuracy
    assert [point.samples for point in often] == [0, 8, 16]
    assert [point.cpu_seconds for point in often] == [0.0, 1.0, 2.0]
