"""Lengths of prompts: counted in the policy's tokens before anything is trained; what cannot fit is refused in time."""

import json
from dataclasses import replace

import pytest

from critica.cli.main import main
from critica.environments.digit_sum import DigitSum
from critica.environments.files import TaskFile
from critica.policies.language_model import LanguagePolicy
from critica.recipes.base import HeldOut
from critica.store.run_folder import RunFolder
from critica.training.prompt_lengths import PromptsTooLong, planned_lengths, prompt_lengths, unweighted
from critica.training.run import resume, train


@pytest.fixture
def path(tmp_path):
    """One hundred prompts of 1 to 100 characters: in the tiny policy a character is a token."""
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps({"prompt": "x" * (i + 1), "answer": "a"}) + "\n" for i in range(100)))
    return str(file)


def characters(messages):
    return [0] * len(messages[0].content)


def test_median_and_share_are_those_of_the_sorted_list(path):
    environment = TaskFile(path).build(0)
    found = prompt_lengths(environment, characters, 90)
    assert (found.measured, found.total) == (100, 100)
    assert (found.median, found.most, found.longest, found.too_long) == (50, 95, 100, 10)
    assert found.longest_task == f"{environment.name}/100"
    assert "100: median 50 tokens, 95% at most 95, longest 100; 10 of them do not fit into the 90" in found.sentence()


def test_an_endless_source_is_tried(path):
    found = prompt_lengths(DigitSum().build(0), characters, 90, tried=7)
    assert (found.measured, found.total, found.too_long) == (7, 0, 0)
    assert "drawn at random" in found.sentence() and "all fit" in found.sentence()


def test_a_large_source_is_measured_in_part(path, monkeypatch):
    monkeypatch.setattr("critica.training.prompt_lengths.MEASURED", 20)
    found = prompt_lengths(TaskFile(path).build(0), characters, 90)
    assert 18 <= found.measured <= 20 and found.total == 100 and "of 100:" in found.sentence()


def test_a_policy_without_weights_reads_as_the_policy_does(tiny_folder):
    whole, bare = LanguagePolicy.load(str(tiny_folder)), unweighted(str(tiny_folder))
    task = DigitSum().build(0).candidate(3)
    assert bare.encode(task.messages) == whole.encode(task.messages)
    assert bare.context_length == whole.context_length
    assert all(weight.is_meta for _, weight in bare.trainable())


def test_too_long_prompts_are_refused_before_there_is_a_run_and_left_out_if_asked(small, path, tmp_path):
    """The context is 256 tokens: beside an answer of 200 there is room for prompts of 56."""
    task_file = TaskFile(path, max_new_tokens=200)
    recipe = small("grpo", steps=1)
    recipe = replace(recipe, environment=task_file, sampling=replace(recipe.sampling, max_new_tokens=0))
    tasks = task_file.build(3)
    trained = sum(len(task.prompt) > 56 for task in tasks.held_out(tasks.size("train"), "train"))
    with pytest.raises(PromptsTooLong, match=rf"{trained} of .*longer than 56 tokens.*keep=prompt_tokens<=56'"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    found, _ = planned_lengths(recipe)
    assert found.too_long == 44 and found.room == 56
    shorter = replace(task_file, keep=("prompt_tokens<=56",))
    recipe = replace(recipe, environment=shorter, held_out=HeldOut(prompts=3))
    said = []
    train(recipe, tmp_path / "run", notify=said.append)
    assert any("44 tasks do not meet 'prompt_tokens<=56' and are left out" in line for line in said)
    assert any(line.startswith("prompts: 56: median") and "all fit" in line for line in said)
    resume(tmp_path / "run", steps=2)
    run = RunFolder.open(tmp_path / "run")
    assert all(len(row["prompt"]) <= 56 for step in (1, 2) for row in run.rollouts(step).to_pylist())


def test_the_plan_says_them(path, tiny_folder, capsys):
    words = ["plan", "grpo", "--policy", str(tiny_folder), "--environment", path]
    assert main([*words, "--set", "environment.keep=prompt_tokens<=10"]) == 0
    shown = capsys.readouterr().out
    assert "prompts                10: median 5 tokens, 95% at most 10, longest 10; all fit" in shown
    assert "90 tasks do not meet 'prompt_tokens<=10'" in shown
    assert main([*words, "--set", "environment.max_new_tokens=156", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["prompts"]["median"] == 50 and found["prompts"]["room"] == 100 and found["warnings"] == []
