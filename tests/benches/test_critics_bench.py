"""The critics bench: numbers worked by hand, verdicts that flip with them, and a run that goes on where it was."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from critica.benches import critics_trial
from critica.benches.base import Order
from critica.benches.critics import Study, run_critics
from critica.benches.critics_entries import Absent, code_digest, read_entry, with_past
from critica.benches.critics_fields import FIELDS
from critica.benches.critics_lesson import Effort, Moment
from critica.benches.critics_probe import cross_validated
from critica.benches.critics_score import movement, ratio, readings
from critica.benches.critics_settings import CriticsSettings
from critica.benches.critics_states import States
from critica.benches.critics_trial import Budget, Said, run_entry
from critica.benches.critics_verdicts import Row, many_good, not_collapsed, paper_order, verdicts
from critica.benches.critics_world import Sizes, World
from critica.critics.targets import LambdaMixture, LambdaReturn
from critica.evaluation.critic_panel import AuditedStates, Predicted
from critica.recipes.config import apply_sets

SMALL = (
    'fields=["chain_sum"]', "sizes.prompts=4", "sizes.samples=4", "sizes.answers=2",
    "sizes.positions=3", "sizes.pool=8",
    "continuations=4", "references=2", "budget.past=64", "budget.seconds=1000", "effort.epochs=1",
    'entries=["leave_one_out","scalar:body=shared,hidden=8","no_such_critic"]', "curve.entries=[]",
)  # fmt: skip


def coins(prompt, truth, outcomes=None) -> AuditedStates:
    """States whose law is known, or was sampled as these outcomes."""
    n, truth = len(prompt), np.array(truth, dtype=float)
    sampled = outcomes is not None
    if outcomes is None:
        outcomes, weights = np.tile([0.0, 1.0], (n, 1)), np.stack([1 - truth, truth], 1)
    else:
        outcomes = np.array(outcomes, dtype=float)
        weights = np.full(outcomes.shape, 1 / outcomes.shape[1])
    line = np.arange(n)
    return AuditedStates(np.array(prompt), line, line / n, line + 1, np.zeros(n), outcomes, weights, sampled, 0.0, 1.0)


def test_the_ratio_inside_prompts_is_the_one_worked_by_hand() -> None:
    """Inside prompts the truth is -.2, .2 twice; the critic says -.1, .1 (errors .1) and .2, -.2 (errors .4)."""
    states = coins([0, 0, 1, 1], [0.2, 0.6, 0.5, 0.9])
    group = np.array([0.4, 0.4, 0.1, 0.1])
    critic = np.array([0.3, 0.5, 0.9, 0.5])
    found = ratio([(states, critic, group)])
    assert found.value == pytest.approx((0.2 + 0.8) / (0.4 + 0.4))
    assert (found.low, found.high) == pytest.approx((0.5, 2.0)), "a resample of one prompt alone reads .5 or 2"
    assert found.floor == 0.0
    shifted = ratio([(states, critic + np.array([5, 5, -3, -3]), group)])
    assert shifted.value == pytest.approx(found.value), "a shift of a whole prompt is no error inside it"
    assert ratio([(states, group + 0.3, group)]).value == pytest.approx(1.0)
    assert ratio([(states, states.truth, group)]).value == pytest.approx(0.0)


def test_a_prompt_with_one_state_says_nothing_and_seeds_are_pooled() -> None:
    lone = coins([0, 0, 1], [0.2, 0.6, 0.9])
    value, group = np.array([0.3, 0.5, 0.0]), np.array([0.4, 0.4, 0.9])
    assert ratio([(lone, value, group)]).value == pytest.approx(0.5)
    pair = coins([0, 0], [0.0, 1.0])  # errors 1.0 of the group's 1.0 in sum
    both = ratio([(lone, value, group), (pair, np.array([0.5, 0.5]), np.array([0.2, 0.2]))])
    assert both.value == pytest.approx((0.2 + 1.0) / (0.4 + 1.0))


def test_the_floor_is_what_a_knowing_critic_reads() -> None:
    """Half of the difference of the halves: (1 - 0) / 2 and 0, so inside the prompt .25 each."""
    states = coins([0, 0], [0, 0], [[1, 0, 1, 0], [1, 1, 1, 1]])
    assert states.gap == pytest.approx([0.5, 0.0])
    group = np.array([0.0, 0.0])  # |.5 - .75| + |1 - .75|
    assert ratio([(states, group, group)]).floor == pytest.approx((0.25 + 0.25) / (0.25 + 0.25))


def test_a_mean_is_read_as_a_coin_and_a_law_as_itself() -> None:
    """W1 of coins .3 and .7 is .4; the law that is sure of .3 is .3 * 0.3 + .7 * 0.7 = .58 away from a coin of .7."""
    states = coins([0, 1], [0.7, 0.7])
    value = np.array([0.3, 0.3])
    assert readings(states, Predicted.of_points("", "", value))["w1"] == pytest.approx(0.4)
    sure = Predicted("", "", value, np.array([[0.3, 0.3]] * 2), np.full((2, 2), 0.5))
    assert readings(states, sure)["w1"] == pytest.approx(0.58)
    assert readings(states, sure)["mae"] == pytest.approx(0.4) and readings(states, sure)["rmse"] == pytest.approx(0.4)


def test_movement_is_the_spread_and_the_slope_inside_prompts() -> None:
    states = coins([0, 0, 1, 1], [0.2, 0.6, 0.5, 0.9])
    spread, slope = movement(states, np.array([0.1, 0.2, 0.6, 0.7]))
    assert spread == pytest.approx(0.25) and slope == pytest.approx(4.0)
    assert movement(states, -states.truth)[1] == pytest.approx(-1.0)
    spread, slope = movement(states, np.array([0.3, 0.3, 0.7, 0.7]))
    assert spread == 0.0 and math.isnan(slope)


def row(spec, field, value, mae=0.1, condition="data", explained=0.5, moves=0.5, floor=0.1, own=False) -> Row:
    name = spec.partition(":")[0]
    return Row(
        spec, name, field, condition, value, value, value, floor, {"mae": mae, "within_explained": explained},
        {"mae": 0.0}, 3, 1.0, 1.0, 1.0, 0.0, False, own, moves, 1.0,
    )  # fmt: skip


def test_three_critics_are_three_parts_over_all_fields() -> None:
    fields = ("a", "b")
    rows = [row(s, f, v) for s, v in (("scalar", 0.6), ("quantile", 0.65), ("gaussian", 0.72)) for f in fields]
    assert many_good(rows).met is False
    assert many_good([*rows, *(row("gaussian:hidden=9", f, 0.7) for f in fields)]).met is True
    assert many_good([*rows, *(row("scalar:hidden=9", f, 0.1) for f in fields)]).met is False, "a variant is no third"
    assert many_good([*rows, *(row("mcs@8", f, 0.1) for f in fields)]).met is False, "a reference is no critic"
    assert many_good([*rows, row("bounded", "a", 0.1)]).met is False, "one field of two is not all"
    peeking = [row("prefix_tree", f, 0.1, own=True) for f in fields]
    assert many_good([*rows, *peeking]).met is False, "who has seen the outcome does not foretell it"
    assert many_good([*rows, *(replace(item, own=False) for item in peeking)]).met is True
    assert many_good([replace(item, condition="time") for item in rows]).met is False


def test_a_critic_that_stands_still_has_collapsed_unless_nothing_could_teach_it() -> None:
    assert not_collapsed([row("scalar", "a", 0.6)], {}).met is True
    still = row("scalar", "b", 1.0, moves=0.05)
    assert not_collapsed([row("scalar", "a", 0.6), still], {"b": 0.7}).met is False
    assert not_collapsed([row("scalar", "a", 0.6), still], {}).met is False, "no regression, no reason"
    assert not_collapsed([row("scalar", "a", 0.6), still], {"b": 1.02}).met is True
    wrong = not_collapsed([row("scalar", "a", 1.2, explained=-0.1, moves=0.8)], {"a": 0.5})
    assert wrong.met is True and "errs" in wrong.because
    assert not_collapsed([row("scalar", "a", 1.2, explained=-0.1, moves=0.3)], {"a": 0.5}).met is False
    assert not_collapsed([row("quantile", "a", 0.6)], {}).met is None


def test_the_papers_order_flips_with_the_errors() -> None:
    where = {"numbers": frozenset({"n"}), "shared": frozenset({"s"})}

    def judged(numca, hista, group, tempo, flat):
        rows = [row("number_sets", "n", 1.0, numca), row("hidden_neighbors:most=3", "n", 1.0, hista)]
        rows += [
            row("group_mean", "n", 1.0, group),
            row("prefix_tree", "s", 1.0, tempo),
            row("group_mean", "s", 1.0, flat),
        ]
        return [verdict.met for verdict in paper_order(rows, where)]

    assert judged(0.1, 0.2, 0.3, 0.1, 0.2) == [True, True]
    assert judged(0.2, 0.1, 0.3, 0.1, 0.2) == [False, True]
    assert judged(0.1, 0.3, 0.2, 0.3, 0.2) == [False, False]
    assert [verdict.met for verdict in paper_order([row("group_mean", "n", 1.0)], where)] == [None, None]
    assert verdicts([row("scalar", "n", 0.5, floor=math.nan)], where, {})[-1].met is False


def test_fields_that_keep_the_papers_order_are_named_though_the_mean_does_not() -> None:
    where = {"numbers": frozenset({"few", "many"}), "shared": frozenset()}
    rows = [
        row(name, field, 1.0, error)
        for field, errors in {"few": (0.1, 0.2, 0.3), "many": (0.5, 0.1, 0.6)}.items()
        for name, error in zip(("number_sets", "hidden_neighbors", "group_mean"), errors, strict=True)
    ]
    verdict = paper_order(rows, where)[0]
    assert verdict.met is False and verdict.because.endswith("Field by field in that order: few.")


def test_a_spec_says_critic_target_and_data() -> None:
    entry = read_entry("scalar:hidden=32,target=lambda_return,target.decay=0.5,optimizer.learning_rate=1e-4", 1_000_000)
    assert entry.choice.critic.hidden == 32 and entry.choice.target == LambdaReturn(1.0, 0.5)
    assert entry.choice.optimizer.learning_rate == 1e-4
    plain = read_entry("quantile", 1_000_000)
    assert plain.choice.target == LambdaMixture() and plain.choice.optimizer.learning_rate == 6e-4
    fewer = with_past(plain, 128)
    assert fewer.choice.past == 128 and fewer.stem != plain.stem
    assert fewer.choice == read_entry(fewer.spec, 1_000_000).choice
    with pytest.raises(Absent, match="no critic 'genac_of_tomorrow'"):
        read_entry("genac_of_tomorrow", 1)
    with pytest.raises(ValueError, match="targets are laws"):
        read_entry("scalar:target=lambda_mixture", 1)


def test_a_linear_truth_is_found_in_the_states_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    features, prompt = rng.normal(size=(240, 6)), np.repeat(np.arange(40), 6)
    truth = features @ np.array([1.0, -2.0, 0, 0, 0.5, 0])
    assert cross_validated(features, truth, prompt, 0) == pytest.approx(truth, abs=0.02)
    other = rng.normal(size=240)
    assert np.corrcoef(cross_validated(features, other, prompt, 0), other)[0, 1] < 0.3


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("critics")
    order = Order(folder / "out", folder / "work", 1, SMALL)
    return order, run_critics(order)


def test_a_run_writes_its_page_and_goes_on_without_asking_again(measured, monkeypatch, capsys) -> None:
    order, page = measured
    before = json.loads((order.out / "critics.json").read_text())
    assert {item["spec"] for item in before["rows"]} > {"group_mean", "leave_one_out", "mcs@1", "mcs@2", "probe"}
    assert before["missing"][0] == "the catalogue has no critic 'no_such_critic'"
    assert before["missing"][0] in page.read_text()
    assert any(line.startswith("`stated_value`: needs a language model") for line in before["missing"])
    assert not any("`quantile`" in line for line in before["missing"]), "it was left out by the order, not by the bench"
    assert (order.out / "critics.svg").read_text().startswith("<svg")
    monkeypatch.setattr(World, "_sample", lambda *given: pytest.fail("it sampled again"))
    monkeypatch.setattr("critica.benches.critics.run_entry", lambda *given: pytest.fail("it measured again"))
    run_critics(order)
    assert json.loads((order.out / "critics.json").read_text())["rows"] == before["rows"]
    assert "4 trials, 4 done before" in capsys.readouterr().err


def test_what_is_missing_is_done_and_what_fails_is_named(measured, monkeypatch) -> None:
    order, _ = measured
    more = replace(order, settings=(*SMALL, 'also=["prefix_tree"]'))

    def broken(entry, *rest):
        assert entry.spec == "prefix_tree", "the others are there"
        raise RuntimeError("no luck")

    monkeypatch.setattr("critica.benches.critics.run_entry", broken)
    run_critics(more)
    told = json.loads((order.out / "critics.json").read_text())
    assert told["missing"][-1] == "`prefix_tree` on chain_sum: RuntimeError: no luck"
    assert all(item["spec"] != "prefix_tree" for item in told["rows"])


def test_older_code_is_measured_again_and_shown_until_then(measured, monkeypatch) -> None:
    order, _ = measured
    study = Study(order, apply_sets(CriticsSettings(), SMALL, {}))
    assert study.waiting("chain_sum", 0) == []
    monkeypatch.setattr("critica.benches.critics_entries.code_digest", lambda source: "changed")
    assert [entry.spec for entry in study.waiting("chain_sum", 0) if entry] == [e.spec for e in study.entries]
    (heard,) = study.heard()
    assert heard.older == {entry.spec for entry in study.entries} and ("group_mean", "data") in heard.said


def test_docstrings_and_comments_are_no_code() -> None:
    plain = "class A:\n    def f(self):\n        return 1\n"
    told = '"""Says."""\nclass A:\n    """It is."""\n\n    def f(self):  # one\n        "Gives."\n        return 1\n'
    assert code_digest(plain) == code_digest(told) != code_digest(plain.replace("1", "2"))


def states_of(order):
    study = Study(order, CriticsSettings())
    sizes = Sizes(**json.loads((order.out / "critics.json").read_text())["settings"]["sizes"])
    study.settings = replace(study.settings, sizes=sizes, continuations=4, references=2)
    world = World(FIELDS["chain_sum"], 0, sizes, study.pico, study.folder("chain_sum", 0))
    return States(world, 4, 2), study


def test_equal_time_buys_siblings_and_too_little_time_buys_none(measured) -> None:
    states, study = states_of(measured[0])
    entry = study.entries[0]
    rich, poor = (run_entry(entry, states, Budget(64, seconds), Effort(1)) for seconds in (1e9, 0.0))
    told = states.world.pool.told.total.view(4, 8)
    assert [item.samples for item in rich] == [4, 8] and [item.samples for item in poor] == [4, 4]
    of_prompt = torch.stack([told[:, :4].mean(1), told.mean(1)])[:, states.prompt]
    for item, wanted in zip(rich, of_prompt, strict=True):
        assert item.predicted.value == pytest.approx(wanted.numpy(), abs=1e-6)
    own = states.truth().own
    assert own == pytest.approx(told[states.prompt, states.answer].numpy())


def test_the_best_judged_moment_counts_and_only_moments_in_time_count_there(measured, monkeypatch) -> None:
    states, study = states_of(measured[0])
    course = [Moment(1, 1.0, 0.3, 0.3), Moment(2, 2.0, 0.2, 0.2), Moment(3, 50.0, 0.1, 0.1), Moment(4, 60.0, 0.4, 0.0)]
    entry = next(item for item in study.entries if item.name == "scalar")
    now = SimpleNamespace(updates=0)

    def taught(*given):
        for moment in course:
            now.updates = moment.updates
            yield moment

    def read(values, *rest):
        return Predicted.of_points("", "point", np.full(len(states.places), float(now.updates))), 0.0

    monkeypatch.setattr(critics_trial, "taught", taught)
    monkeypatch.setattr(critics_trial, "read", read)
    paid = sum(part.seconds for part in states.world.rounds(64))
    said: dict[str, Said] = {s.condition: s for s in run_entry(entry, states, Budget(64, paid + 20.0), Effort())}
    assert said["data"].predicted.value[0] == 3 and said["time"].predicted.value[0] == 2
    assert said["data"].seconds == pytest.approx(paid + 60.0) and said["time"].seconds < paid + 20.0
    assert said["data"].course == tuple(course) and said["data"].samples == 0
