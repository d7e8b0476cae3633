"""The noise bench: what is run in which order, under which signature, measured how, and resumed from where."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from critica.benches import noise, noise_arms, noise_store, noise_trial, noise_tuning
from critica.benches.base import Order
from critica.benches.jobs import keep_line
from critica.benches.noise import NOISE, run_noise
from critica.benches.noise_arms import ARMS, CORE_ARMS, Lengths, Run, recipe_of, variant
from critica.benches.noise_mechanism import Mechanism, Seen, centered, mechanism_of
from critica.benches.noise_mixes import BENCH_MIXES, CLAIM_MIX, MIXES, TUNING_MIX
from critica.benches.noise_settings import CONTROLS, CORE_NOISES, NoiseSettings, every_run, runs_of
from critica.benches.noise_store import essence, kept_trials, signature
from critica.benches.noise_trial import Point, Trial
from critica.benches.noise_tuning import NOISE_TUNING, TuningSettings, best_rates, read_rates, run_tuning
from critica.environments.arithmetic import Arithmetic
from critica.recipes.catalogue import RECIPES
from critica.recipes.config import apply_sets

RUN = Run("worked", "flip:0.2:sample", "grpo", 1, 2e-4)


def made(run: Run, name: str, final: float = 0.7) -> Trial:
    """A run that goes from .3 over .5 to `final`."""
    points = (Point(0, 0, 0.0, 0.3), Point(1, 64, 1.0, 0.5, Mechanism(0.1, None, 0.5, 0.2)), Point(2, 128, 2.0, final))
    return Trial(
        noise_trial.EDITION,
        name,
        run.mix,
        run.noise,
        run.arm,
        run.seed,
        run.learning_rate,
        points,
        final + 0.1,
        False,
        "abc",
    )


def test_wrong_settings_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no arms grp;"):
        NoiseSettings(arms=("grp",))
    with pytest.raises(ValueError, match="no mixes gym;"):
        NoiseSettings(mixes=("gym",))
    with pytest.raises(ValueError, match="grid"):
        apply_sets(NoiseSettings(), ("grid=whole",), {})
    with pytest.raises(ValueError, match="one noise, one name"):
        NoiseSettings(noises=("flip:0.20:sample",))
    with pytest.raises(ValueError, match="kind of noise"):
        NoiseSettings(noises=("flop:0.2",))
    with pytest.raises(ValueError, match="compare siblings"):
        Lengths(samples_per_prompt=1)
    with pytest.raises(ValueError, match="search on other tasks"):
        TuningSettings(mix="worked")
    with pytest.raises(ValueError, match="tune ppo"):
        TuningSettings(arms=("ppo_decay_0.8",))
    for settings in (
        apply_sets(NoiseSettings(), NOISE.quick, {}),
        apply_sets(NoiseSettings(), ("lengths.steps=9",), {}),
    ):
        assert settings != NoiseSettings()


def test_the_core_is_six_noises_by_eight_arms_and_whole_seeds_come_first() -> None:
    runs = runs_of(5, NoiseSettings(), {"ppo": 1e-4})
    assert len(runs) == 6 * 8 * 5 == len(set(runs)) and {run.mix for run in runs} == {"worked"}
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)
    assert tuple(dict.fromkeys(run.noise for run in runs)) == CORE_NOISES
    assert {run.learning_rate for run in runs if run.arm == "ppo"} == {1e-4}
    assert {run.learning_rate for run in runs if run.arm == "grpo"} == {2e-4}
    every = every_run(5, NoiseSettings(), {})
    assert set(runs_of(5, NoiseSettings(), {})) <= set(every) and set(CONTROLS) <= {run.noise for run in every}
    assert {run.mix for run in every} == set(BENCH_MIXES) and TUNING_MIX not in BENCH_MIXES
    fresh = runs_of(2, NoiseSettings(mixes=(CLAIM_MIX,), first_seed=100), {})
    assert {run.seed for run in fresh} == {100, 101} and {run.mix for run in fresh} == {CLAIM_MIX}
    rates = {run.arm: run.learning_rate for run in runs_of(1, NoiseSettings(grid="sweep"), {"ppo": 5e-4})}
    assert rates["ppo_decay_0.8"] == 5e-4 and rates["dvpo_no_tails"] == 2e-4, "a variant takes its parent's rate"


def test_arms_keep_their_own_parts_and_share_sizes() -> None:
    lengths = Lengths(steps=48)
    for name, arm in ARMS.items():
        recipe = recipe_of(replace(RUN, arm=name), lengths)
        for part in ("critic", "target", "advantage", "objective", "admission", "placement", "budget", "control"):
            assert getattr(recipe, part) == getattr(arm.recipe, part)
        assert (recipe.sampling.prompts_per_step, recipe.sampling.samples_per_prompt, recipe.steps) == (8, 8, 48)
        assert recipe.learner.policy.learning_rate == 2e-4 and recipe.learner.critic == arm.recipe.learner.critic
        assert recipe.noise.name == "flip:0.2:sample" and recipe.seed == 1
    assert recipe_of(replace(RUN, arm="vc_ppo"), lengths).learner.critic_warmup_steps == 6, "50 would be all of the run"
    assert recipe_of(replace(RUN, arm="ppo"), lengths).learner.critic_warmup_steps == 0
    assert ARMS["dvpo_no_tails"].recipe.critic != RECIPES["dvpo"].critic
    assert variant("x", "grpo", "no clip", objective=RECIPES["rloo"].objective).tuned_as == "grpo"


def test_the_mixes_are_different_tasks() -> None:
    """The same three families, and no family of the same lengths in two mixes."""
    entries = {name: {entry.name: dict(entry.config) for entry in mix().entries} for name, mix in MIXES.items()}
    assert {TUNING_MIX, CLAIM_MIX}.isdisjoint(BENCH_MIXES) and len({TUNING_MIX, CLAIM_MIX, *BENCH_MIXES}) == len(MIXES)
    for one in MIXES:
        assert len(entries[one]) == 3
        for other in MIXES:
            assert one == other or all(entries[one][family] != entries[other][family] for family in entries[one])


def test_the_signature_follows_what_decides_the_numbers_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = Lengths()
    plain = signature(RUN, lengths)
    assert signature(replace(RUN), Lengths()) == plain
    others = [
        signature(replace(RUN, seed=2), lengths), signature(replace(RUN, mix="short"), lengths),
        signature(replace(RUN, noise="flip:0.2:group"), lengths), signature(replace(RUN, arm="rloo"), lengths),
        signature(replace(RUN, learning_rate=1e-4), lengths), signature(RUN, Lengths(steps=47)),
        signature(RUN, Lengths(every=5)), signature(RUN, Lengths(held_out=8)),
        signature(RUN, Lengths(prompts_per_step=4)),
    ]  # fmt: skip
    assert len({plain, *others}) == 10
    monkeypatch.setattr(noise_store, "EDITION", 2)
    assert signature(RUN, lengths) != plain


def test_runs_of_another_edition_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "runs.jsonl"
    keep_line(journal, asdict(made(RUN, "a")))
    assert kept_trials(journal, tmp_path / "none.json") == {"a": made(RUN, "a")}
    monkeypatch.setattr(noise_store, "EDITION", 2)
    assert kept_trials(journal, tmp_path / "none.json") == {}


def test_a_part_that_gains_a_field_at_its_default_keeps_its_runs() -> None:
    recipe = recipe_of(RUN, Lengths())
    said = essence(recipe)
    assert "correction" not in said and "control" not in said and said["learner"]["policy"]["learning_rate"] == 2e-4
    assert essence(replace(recipe, steps=5)) != said
    assert essence(replace(recipe, paper=RECIPES["ppo"].paper)) == said
    names = {essence(recipe_of(replace(RUN, arm=name), Lengths()))["name"] for name in CORE_ARMS}
    assert len(names) == len(CORE_ARMS)


def faked(monkeypatch: pytest.MonkeyPatch, module, stop_at: int = 0) -> list[Run]:
    """Runs that take no time: final accuracy .6 and a hundredth for each seed. The `stop_at`-th is cut off."""
    asked: list[Run] = []

    def fake(signed: tuple[Run, str], lengths: Lengths, commit: str) -> Trial:
        asked.append(signed[0])
        if len(asked) == stop_at:
            raise KeyboardInterrupt
        return made(signed[0], signed[1], 0.6 + signed[0].seed / 100 + 100 * signed[0].learning_rate)

    monkeypatch.setattr(module, "trial_of", fake)
    monkeypatch.setattr(module, "warm_up", lambda: None)
    return asked


SMALL = ('noises=["none","flip:0.2:sample"]', 'arms=["grpo","ppo"]', "jobs=1")


def test_a_cut_off_bench_goes_on_from_its_journal_and_then_from_the_committed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = faked(monkeypatch, noise, stop_at=4)
    order = Order(tmp_path / "out", tmp_path / "work", 2, SMALL)
    with pytest.raises(KeyboardInterrupt):
        run_noise(order)
    (journal,) = (tmp_path / "work").rglob("runs.jsonl")
    with journal.open("a") as file:
        file.write('{"signature": "x", "mi')  # killed while writing
    run_noise(order)
    runs = runs_of(2, apply_sets(NoiseSettings(), SMALL, {}), {})
    assert asked == [*runs[:4], *runs[3:]], "three were kept, the fourth was cut off"
    journal.unlink()
    page = run_noise(order)
    assert len(asked) == 9, "all eight are in the committed file"
    content = json.loads((tmp_path / "out" / "noise.json").read_text(), parse_constant=pytest.fail)
    assert len(content["runs"]) == 8 and content["runs"][0]["points"][1]["mechanism"]["explained"] == 0.1
    text = page.read_text()
    assert "runs made at commit abc" in text and "Not searched for, at 0.0002: grpo, ppo." in text
    assert (tmp_path / "out" / "noise_worked.svg").read_text().count("<polyline") == 4
    run_noise(replace(order, settings=(*SMALL, 'noises=["inverse"]')))
    assert len(asked) == 9 + 4
    content = json.loads((tmp_path / "out" / "noise.json").read_text())
    assert len(content["runs"]) == 12, "another occasion adds to the page"
    run_noise(replace(order, settings=(*SMALL, "lengths.steps=12")))
    assert len(asked) == 13 + 8, "runs of another length are other runs"
    content = json.loads((tmp_path / "out" / "noise.json").read_text())
    assert len(content["runs"]) == 20 and {len(board["cells"]) for board in content["boards"]} == {4}


def test_the_search_takes_the_best_rate_and_the_bench_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = faked(monkeypatch, noise_tuning)
    order = Order(tmp_path / "out", tmp_path / "work", 1, ('arms=["grpo","ppo"]', "jobs=1"))
    page = run_tuning(order).read_text()
    assert len(asked) == 2 * 3 * 2 and {run.mix for run in asked} == {TUNING_MIX}
    assert read_rates(tmp_path / "out" / "noise_tuning.json") == {"grpo": 4e-4, "ppo": 4e-4}
    assert page.count("| 0.0004 |") == 2
    run_tuning(order)
    assert len(asked) == 12, "searched once"
    run_tuning(replace(order, settings=('arms=["rloo"]', "jobs=1")))
    rates = read_rates(tmp_path / "out" / "noise_tuning.json")
    assert rates == {"rloo": 4e-4, "grpo": 4e-4, "ppo": 4e-4} and len(asked) == 18, "one more arm forgets no other"
    ran = faked(monkeypatch, noise)
    text = run_noise(Order(tmp_path / "out", tmp_path / "work", 1, (*SMALL, 'arms=["grpo","dvpo"]'))).read_text()
    assert {(run.arm, run.learning_rate) for run in ran} == {("grpo", 4e-4), ("dvpo", 2e-4)}
    assert "Not searched for, at 0.0002: dvpo." in text
    assert read_rates(tmp_path / "nowhere.json") == {} and NOISE_TUNING.settings is TuningSettings


def test_the_best_rate_by_hand() -> None:
    """Mean of the last three points over both noises: .5, .6, .6: of equals the lower; an unfinished arm has none."""
    settings = TuningSettings(arms=("grpo", "ppo"))
    trials = []
    for rate, levels in ((1e-4, (0.6, 0.4)), (2e-4, (0.8, 0.4)), (4e-4, (0.7, 0.5))):
        for kind, value in zip(settings.noises, levels, strict=True):
            accuracies = (0.3, 0.9, value - 0.1, value, value + 0.1)
            points = tuple(Point(i, 64 * i, 0.0, a) for i, a in enumerate(accuracies))
            trials.append(replace(made(Run("long", kind, "grpo", 1000, rate), "s"), points=points))
    trials.append(replace(trials[0], arm="ppo"))
    assert best_rates(trials, settings) == {"grpo": 2e-4}


def seen(value, outcome, group, credit) -> Seen:
    arrays = [np.array(item, dtype=float) for item in (value, outcome, credit)]
    groups = np.array(group)
    return Seen(arrays[0], arrays[1], groups, arrays[2], arrays[1], groups, 0.25)


def test_the_mechanism_by_hand() -> None:
    """Two prompts: all of the first is right, of the second a half. A value that knows the prompts alone (1 and .5)
    explains 1 - .125 / .1875 of all variance and nothing inside; credit that is the outcome minus the prompt's mean is
    aligned, its opposite is against."""
    outcome, group = [1, 1, 1, 0], [0, 0, 1, 1]
    prompt_mean = [1, 1, 0.5, 0.5]
    centered_outcome = [0, 0, 0.5, -0.5]
    found = mechanism_of([seen(prompt_mean, outcome, group, centered_outcome)])
    assert found.explained == pytest.approx(1 / 3) and found.within == pytest.approx(0.0)
    assert found.alignment == pytest.approx(1.0) and found.changed == 0.25
    knowing = mechanism_of([seen(outcome, outcome, group, [0, 0, -3, 3])])
    assert knowing.within == pytest.approx(1.0) and knowing.alignment == pytest.approx(-1.0)
    wrong = mechanism_of([seen([1, 1, 0, 1], outcome, group, [5, 5, 5, 5])])
    assert wrong.within == pytest.approx(-3.0) and wrong.alignment is None
    mixed = mechanism_of([seen(outcome, outcome, group, credit) for credit in (centered_outcome, [0, 0, -1, 1])])
    assert mixed.alignment == pytest.approx(0.0), "step by step, each with a scale of its own"
    silent = mechanism_of([seen([1, 1], [1, 1], [0, 0], [1, 1])])
    assert silent == Mechanism(None, None, None, 0.25) and mechanism_of([]) == Mechanism()
    assert centered(np.array([1.0, 3.0, 10.0]), np.array([4, 4, 7])).tolist() == [-1.0, 1.0, 0.0]


def test_the_area_under_the_curve_is_over_samples() -> None:
    """.3 to .5 over 64 samples, .5 to .7 over 192: (64 * .4 + 192 * .6) / 256."""
    trial = made(RUN, "s")
    trial = replace(trial, points=(*trial.points[:2], replace(trial.points[2], samples=256)))
    assert trial.area == pytest.approx((64 * 0.4 + 192 * 0.6) / 256) and trial.final == 0.7


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs on a few sums, which pico mostly gets wrong, and measured by a constant."""
    for module in (noise_arms, noise_trial):
        monkeypatch.setattr(module, "MIXES", {"worked": lambda: Arithmetic(1)})
    monkeypatch.setattr(noise_trial, "held_out_accuracy", lambda policy, tasks, temperature: 0.5)
    monkeypatch.setattr(noise_trial, "untrained_accuracy", lambda mix, held_out: 0.25)


def test_a_real_run_counts_every_sample_and_stops_when_they_are_drawn(sums: None) -> None:
    """24 samples in four steps of six at least: DAPO, which draws again, gets there in fewer steps."""
    lengths = Lengths(steps=4, prompts_per_step=2, samples_per_prompt=3, every=2, held_out=4)
    plain = noise_trial.trial_of((replace(RUN, noise="wrong_labels:0.4", arm="vc_ppo"), "p"), lengths, "c")
    assert [(point.step, point.samples) for point in plain.points] == [(0, 0), (2, 12), (4, 24)]
    again = noise_trial.trial_of((replace(RUN, arm="dapo"), "d"), lengths, "c")
    assert again.points[-1].samples >= 24 and again.points[-1].step < 4
    for trial in (plain, again):
        assert trial.points[0].accuracy == 0.25 and trial.final == trial.greedy == 0.5 and trial.idle_after is None
        for point in trial.points[1:]:
            assert all(value is None or math.isfinite(value) for value in vars_of(point.mechanism))
    assert again.own_outcome and not plain.own_outcome


def test_a_recipe_that_finds_nothing_to_learn_from_stays_as_it_was(sums: None) -> None:
    """Every answer is told right, so that DAPO turns every group away."""
    lengths = Lengths(steps=2, prompts_per_step=2, samples_per_prompt=2, every=1, held_out=4)
    trial = noise_trial.trial_of((replace(RUN, noise="random:1", arm="dapo"), "d"), lengths, "c")
    assert [(point.step, point.samples) for point in trial.points] == [(0, 0), (0, 8)] and trial.final == 0.5
    assert trial.idle_after == 0


def vars_of(mechanism: Mechanism) -> tuple[float | None, ...]:
    return mechanism.explained, mechanism.within, mechanism.alignment, mechanism.changed
