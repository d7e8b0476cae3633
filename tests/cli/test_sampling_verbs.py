"""Verbs that go on from prefixes: VinePPO on every game, and critical sampling beside plain sampling."""

import json
import os

import numpy as np
import pyarrow.parquet as parquet
import pytest

from critica.cli.main import main
from critica.evaluation.outcome import evaluate_policy
from critica.rollout.critical_sampling import CriticalSampling
from critica.training.critical import evaluate_critical
from critica.training.held_out import load_target

SMALL = ["--steps", "1", "--seed", "1", "--set", "threads=1", "--set", "held_out.prompts=0", "--set",
         "sampling.prompts_per_step=2", "--set", "sampling.samples_per_prompt=3"]  # fmt: skip


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Verbs take every core that they see."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})


@pytest.mark.parametrize("game", ("digit_sum", "chain", "two_branch", "binary_tree"))
def test_vine_ppo_trains_on_a_game_and_its_values_are_means_of_continuations(game, tmp_path, capsys):
    """pico wins no game, so that a reward of our own tells its answers apart: whether their length is even."""
    (tmp_path / "even.py").write_text(
        "def even(completions, **columns):\n    return [float(len(c) % 2 == 0) for c in completions]\n"
    )
    run = tmp_path / "run"
    words = ["train", "vine_ppo", "--environment", game, "--reward", f"{tmp_path}/even.py:even", "--run", str(run)]
    assert main([*words, "--json", *SMALL]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 6
    (line,) = (json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines())
    assert line["continuations/samples"] == 4 * line["continuations/states"] > 0
    table = parquet.read_table(run / "rollouts" / "step_000001.parquet")
    values = np.concatenate([np.asarray(row, dtype=float) for row in table["value_mean"].to_pylist()])
    values = values[np.isfinite(values)]
    assert set((4 * values).round(6)) <= {0.0, 1.0, 2.0, 3.0, 4.0} and len(set(values)) > 1
    assert any(abs(number) > 0 for row in table["advantage"].to_pylist() for number in row)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One step of CodeRL, whose critic tells prefixes apart."""
    place = tmp_path_factory.mktemp("critical") / "run"
    assert main(["train", "code_rl", "--run", str(place), *SMALL]) == 0
    return place


def test_the_plain_side_is_pass_at_k_and_the_resumed_one_begins_with_the_same_answers(run):
    part = CriticalSampling(samples=2, rounds=2, seeds=1)
    found = evaluate_critical(run, run, part, prompts=4, seed=3)
    policy, recipe = load_target(run)
    where = recipe.environment.build(0)
    limit = recipe.sampling.max_new_tokens or where.max_new_tokens
    plain, first = (evaluate_policy(policy, where, 4, k, 1.0, 3, max_new_tokens=limit).prompts for k in (6, 2))
    solved, begun = ([prompt.correct > 0 for prompt in prompts] for prompts in (plain, first))
    assert found.plain.estimate == sum(solved) / 4 and found.plain_tokens == sum(p.tokens for p in plain) / 4
    assert found.resumed.estimate >= sum(begun) / 4
    assert found.difference.estimate == pytest.approx(found.resumed.estimate - found.plain.estimate)
    assert sum(p.tokens for p in first) / 4 < found.resumed_tokens
    untested = evaluate_critical(run, run, part, tested=False, prompts=4, seed=3)
    assert untested.plain.estimate <= found.plain.estimate and untested.plain_tokens == found.plain_tokens


def test_critical_sampling_from_the_command_line(run, capsys):
    words = ["evaluate", str(run), "--critical-sampling", str(run), "--samples", "2", "--prompts", "3"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answers"] == 4 and found["prompts"] == 3 and found["tested"] is True
    assert found["part"] == {"samples": 2, "rounds": 1, "seeds": 2}
    assert main([*words, "--untested", "--rounds", "2"]) == 0
    page = capsys.readouterr().out
    assert "2 answers and 2 x 2 resumed" in page and "6 plain answers" in page and "the critic chose" in page


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--critical-sampling {run}", "as --samples 8"),
        ("--critical-sampling {run} --samples 4 --temperature 0", "would write the same answer"),
        ("--critical-sampling {run} --resumed 1 --temperature 0", "resume an answer as it was"),
        ("--critical-sampling {run} --guide {run} --samples 4", "name one of them"),
        ("--critical-sampling nowhere --samples 4", "holds no critic"),
        ("--rounds 3", "belong to --critical-sampling"),
    ],
)
def test_wrong_use_is_refused_by_a_sentence(words, part, run, capsys):
    assert main(["evaluate", str(run), *words.format(run=run).split()]) == 2
    captured = capsys.readouterr()
    assert part in captured.err and "Traceback" not in captured.err and captured.out == ""


def test_a_critic_with_one_value_an_answer_is_refused(tmp_path, capsys):
    place = str(tmp_path / "run")
    assert main(["train", "grpo", "--run", place, *SMALL]) == 0
    capsys.readouterr()
    assert main(["evaluate", place, "--critical-sampling", place, "--samples", "2", "--prompts", "2"]) == 2
    assert "one value for a whole answer" in capsys.readouterr().err


def test_a_player_is_taught_the_games_of_the_benchmarks(tmp_path, capsys, monkeypatch):
    """What it is taught is tested by the bench that plays with it; here, that the command asks for just that."""
    asked = []
    monkeypatch.setattr("critica.benches.critics_player.player", lambda *given: asked.append(given))
    place = tmp_path / "player"
    assert main(["policy", "make", "player", "--out", str(place), "--steps", "7", "--seed", "3"]) == 0
    ((folder, taught, lessons),) = asked
    assert folder == place and (lessons.updates, lessons.seed) == (7, 3)
    assert set(taught) >= {"digit_sum", "chain", "two_branch", "binary_tree"} and taught["chain"].length == 8
    assert f"--policy {place} --environment chain" in capsys.readouterr().err
    (place / "config.json").parent.mkdir()
    (place / "config.json").write_text("{}")
    assert main(["policy", "make", "player", "--out", str(place)]) == 2 and len(asked) == 1
    assert "is not empty" in capsys.readouterr().err
