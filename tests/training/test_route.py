"""Routing: regret by hand, records that tell policies apart, and what cannot be compared is refused."""

import json

import numpy as np
import pytest

from critica.cli.main import main
from critica.cli.route import read_prompts
from critica.environments.splits import normalize
from critica.training.route import (
    RoutePlan,
    RouteProblem,
    Told,
    choose,
    compare_ways,
    held_out_truths,
    is_held_out,
    judge,
    record_of,
    route,
)
from critica.training.run import train


def test_regret_by_hand_on_three_prompts():
    """Costs 1 and 3, so 1/3 and 1; beta one half: a success is worth .5, the cheap run saves 1/3."""
    plan = RoutePlan((1.0, 3.0), success_weight=0.5)
    truth = np.array([[1.0, 1.0], [0.0, 1.0], [0.2, 0.4]])
    score = 0.5 * truth + 0.5 * (1 - np.array([1 / 3, 1.0]))
    ways = {way.name: way for way in compare_ways(truth, score, np.array([0, 1, 1]), ["small", "large"], plan)}
    assert [way for way in ways] == ["router", "always small", "always large", "oracle"]
    best = [5 / 6, 0.5, 0.1 + 1 / 3]  # cheap, dear, cheap
    assert ways["oracle"].score == pytest.approx(sum(best) / 3) and ways["oracle"].regret == 0.0
    assert ways["router"].success == pytest.approx((1.0 + 1.0 + 0.4) / 3)
    assert ways["router"].cost == pytest.approx((1 / 3 + 1 + 1) / 3)
    lost = [0.0, 0.0, best[2] - 0.2]
    assert ways["router"].regret == pytest.approx(sum(lost) / 3)
    assert ways["router"].error == pytest.approx(np.std(lost, ddof=1) / 3**0.5)
    assert ways["always small"].regret == pytest.approx((0 + (0.5 - 1 / 3) + 0) / 3)
    assert ways["always large"].regret == pytest.approx((5 / 6 - 0.5 + 0 + best[2] - 0.2) / 3)


def world(sums: float, riddles: float, seed: int, steps: int = 30) -> tuple[Told, ...]:
    """A policy that solves sums and riddles at these rates; each prompt four times, eight prompts a step."""
    dice = np.random.default_rng(seed)
    told = []
    for step in range(1, steps + 1):
        for i in range(8):
            number = step * 8 + i
            prompt, rate = (f"{number} + 7 = ", sums) if i % 2 else (f"riddle {number}: who am I?", riddles)
            wins = float(dice.binomial(4, rate))
            told.append(Told(step, prompt, 4, wins, wins))
    return tuple(told)


def test_the_router_sends_each_kind_of_prompt_where_it_is_solved_for_its_price():
    cheap, dear = world(0.9, 0.05, 0), world(0.95, 0.9, 1)
    plan = RoutePlan((1.0, 4.0), success_weight=0.7)
    choices = choose(["3 + 9 = ", "riddle 999: who am I?"], [record_of(cheap), record_of(dear)], plan)
    assert [choice.run for choice in choices] == [0, 1]
    assert choices[0].rates[0] > 0.7 and choices[1].rates[0] < 0.3 < 0.7 < choices[1].rates[1]
    ways, count = judge([cheap, dear], ["cheap", "dear"], plan)
    by_name = {way.name: way for way in ways}
    assert count == sum(is_held_out(one.prompt, plan) for one in cheap) > 40
    others = [by_name["always cheap"].regret, by_name["always dear"].regret]
    assert by_name["router"].regret < 0.3 * min(others)
    thrifty, _ = judge([cheap, dear], ["cheap", "dear"], RoutePlan((1.0, 4.0), success_weight=0.0))
    assert {way.name: way.cost for way in thrifty}["router"] == 0.25  # all that counts is the price


def test_no_held_out_prompt_is_learned_from():
    """Held-out outcomes turned around change what is found, never what is chosen."""
    plan = RoutePlan((1.0, 4.0), success_weight=0.7)
    cheap, dear = world(0.9, 0.05, 0), world(0.95, 0.9, 1)
    turned = tuple(
        Told(one.step, one.prompt, 4, 4 - one.total, 4 - one.clean) if is_held_out(one.prompt, plan) else one
        for one in cheap
    )
    straight, around = (judge([one, dear], ["cheap", "dear"], plan)[0] for one in (cheap, turned))
    assert straight[0].cost == around[0].cost and straight[0].success != around[0].success


def test_truths_are_clean_and_by_text():
    plan = RoutePlan((1.0, 2.0))
    prompt = next(f"p {i}" for i in range(99) if is_held_out(f"p {i}", plan))
    other = next(f"p {i}" for i in range(99) if not is_held_out(f"p {i}", plan))
    told = (Told(1, prompt, 4, 4.0, 1.0), Told(2, prompt.upper() + " ", 2, 0.0, 2.0), Told(1, other, 4, 0.0, 0.0))
    assert held_out_truths(told, plan) == {normalize(prompt): 0.5}


def test_what_cannot_be_compared_is_refused():
    plan = RoutePlan((1.0, 2.0))
    with pytest.raises(RouteProblem, match="held-out prompts in common"):
        judge([world(0.5, 0.5, 0, 3), tuple(Told(1, f"x{i}", 1, 1.0, 1.0) for i in range(40))], ["a", "b"], plan)
    for costs in ((1.0,), (0.0, 0.0), (-1.0, 2.0)):
        with pytest.raises(RouteProblem, match="costs"):
            RoutePlan(costs)
    with pytest.raises(RouteProblem, match="weight"):
        RoutePlan((1.0, 2.0), success_weight=1.5)
    with pytest.raises(RouteProblem, match="one cost for each run"):
        route(["a", "b", "c"], [], plan)


def test_the_command_reads_run_folders(small, tmp_path, capsys):
    """Two runs of one seed are asked the same prompts; the text of digit sums tells little, the machinery all."""
    for name in ("v0", "rloo"):
        train(small(name, steps=12, noise=small("v0").noise), tmp_path / name)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "make 7"}\n{"prompt": "make 9"}\n')
    words = ["critic", "route", str(tmp_path / "v0"), str(tmp_path / "rloo"), "--costs", "1,3"]
    assert main([*words, "--prompts", str(tmp_path / "prompts.jsonl"), "--held-out", "0.7", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [choice["prompt"] for choice in said["choices"]] == ["make 7", "make 9"]
    assert all(len(choice["rates"]) == 2 for choice in said["choices"]) and said["judged_on"] >= 10
    ways = {way["name"]: way for way in said["ways"]}
    assert set(ways) == {"router", "always v0", "always rloo", "oracle"}
    assert ways["oracle"]["score"] >= max(way["score"] for way in ways.values())
    assert ways["always rloo"]["cost"] == 1.0 and ways["always v0"]["cost"] == pytest.approx(1 / 3)
    assert main([*words, "--held-out", "0.7"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["way", "success", "cost", "score", "regret"] and len(table) == 5
    assert main([*words[:-1], "1,x"]) == 2 and "numbers separated by commas" in capsys.readouterr().err
    assert main([*words[:-1], "1"]) == 2
    assert main(["critic", "route", str(tmp_path / "v0"), str(tmp_path / "v0"), "--costs", "1,3"]) == 2
    assert "named twice" in capsys.readouterr().err


def test_prompts_from_files(tmp_path):
    (tmp_path / "p.txt").write_text("one\n\ntwo\n")
    assert read_prompts(str(tmp_path / "p.txt")) == ("one", "two")
    for line in ("{}", "nonsense", '{"prompt": 3}'):
        (tmp_path / "p.jsonl").write_text(f"{line}\n")
        with pytest.raises(RouteProblem, match="line 1"):
            read_prompts(str(tmp_path / "p.jsonl"))
