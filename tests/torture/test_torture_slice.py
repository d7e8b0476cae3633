"""A slice of `make torture`: every kind of run, killed twice at least, ends in the bits of one that was left alone."""

from pathlib import Path

import pytest

from critica.benches.torture import TortureSettings, torture
from critica.benches.torture_strikes import Plan, Standing, phase_of, plan_strike
from critica.benches.torture_table import torture_table
from critica.benches.torture_trial import SYSTEMS, recipe_of
from critica.store.run_folder import RunFolder

MACHINE = {"processor": "p", "cores": 2, "python": "3", "commit": "c", "versions": {"torch": "t"}}


@pytest.mark.slow
def test_killed_runs_end_in_the_same_bits(tmp_path: Path) -> None:
    settings = TortureSettings(kills=16, jobs=1, steps=8, every=2, kills_per_run=2)
    results = torture(settings, tmp_path).results
    for result in results.values():  # the first problem ends it, so that not every system has had its turn
        assert not result.problem and result.verdict.same and result.verdict.tensors > 100, result
    assert {result.system for result in results.values()} == {system.name for system in SYSTEMS}
    strikes = [strike for result in results.values() for strike in result.strikes]
    assert len(strikes) >= 10 and len({strike.phase for strike in strikes}) >= 3
    told = [result for result in results.values() if "chance" in result.system]
    assert sum(result.answers_kept for result in told) > 0, "no answer was ever journaled before a death"
    table = torture_table(MACHINE, settings.steps, settings.every, 1, list(results.values()))
    assert f"**{len(strikes)} signals in {len(results)} runs: 0 differing bits, 0 lost and 0 repeated" in table
    # What was compared has content: the undisturbed runs learned something, and some rewards were not 0.
    for run in tmp_path.glob("*-parity-undisturbed"):
        lines = list(RunFolder.open(run).metrics())
        assert len(lines) == settings.steps and {line["reward/clean"] for line in lines} - {0.0, 1.0}
        assert any(line.get("policy/grad_norm") > 0 for line in lines), run.name
    # A second call finds it all done.
    assert torture(settings, tmp_path).results == results


def test_moments_are_drawn_from_the_seed_alone_and_reach_every_phase() -> None:
    import random
    from collections import Counter

    plans = [plan_strike(random.Random(f"torture/{n}"), 4.0, 1.0, 17, 3) for n in range(400)]
    assert plans == [plan_strike(random.Random(f"torture/{n}"), 4.0, 1.0, 17, 3) for n in range(400)]
    aims, signals = Counter(plan.aim for plan in plans), Counter(plan.number.name for plan in plans)
    assert set(aims) == {"any time", "step", "save", "start"} and min(aims.values()) > 30
    assert signals["SIGKILL"] > 280 and min(signals["SIGTERM"], signals["SIGINT"]) > 15
    assert all(plan.number.name == "SIGKILL" for plan in plans if plan.aim == "save")
    assert all(isinstance(plan, Plan) and 0 <= plan.seconds <= 4 for plan in plans)


def test_what_a_run_was_doing_is_read_from_its_folder() -> None:
    saving = frozenset({(".tmp-step_4", 7)})
    start = Standing(True, 4, 4, frozenset(), True)

    def phase(after: Standing, before: Standing = start, resumed: bool = True) -> str:
        return phase_of(before, after, resumed, 10, 6)

    assert phase(Standing(False, 0, -1, frozenset(), False)) == "starting"
    assert phase(Standing(True, 4, 4, frozenset(), True)) == "resuming"
    assert phase(Standing(True, 5, 4, frozenset(), True)) == "critic pretraining"
    assert phase(Standing(True, 6, 4, frozenset(), True)) == "training"
    assert phase(Standing(True, 6, 4, saving, True)) == "saving"
    left = Standing(True, 4, 4, saving, True)  # left by the attempt before: this one is not saving
    assert phase(left, before=left) == "resuming"
    assert phase(Standing(True, 10, 10, frozenset(), True)) == "evaluation"
    assert phase(Standing(True, 0, 0, frozenset(), False), resumed=False) == "evaluation"


def test_every_system_is_one_that_the_issue_names() -> None:
    from critica.benches.torture_trial import Sizes

    recipes = [recipe_of(system, Sizes()) for system in SYSTEMS]
    assert {recipe.name for recipe in recipes} == {"ppo", "dvpo", "grpo", "vc_ppo"}
    assert {recipe.learner.critic_warmup_steps for recipe in recipes if recipe.name == "vc_ppo"} == {12}
    assert {recipe.checkpoint.background for recipe in recipes} == {True, False}
