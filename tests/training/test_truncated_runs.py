"""Training on truncated samples: sampler and trainer agree, the file says what was kept, and misfits are refused."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch

from critica.critics.counted import GroupMean
from critica.objectives.penalties import ReferenceKl
from critica.recipes.catalogue import RECIPES
from critica.records.words import StopReason
from critica.rewards.catalogue import parse_reward
from critica.training import learner
from critica.training.run import train


def truncated(recipe, **more):
    return replace(recipe, sampling=replace(recipe.sampling, top_p=0.9, top_k=40, min_p=0.01, **more))


def metrics_of(run, *names):
    import json

    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [[line[name] for name in names] for line in lines]


@pytest.mark.parametrize("name", ("ppo", "grpo"))
def test_sampler_and_trainer_speak_of_one_law(name, small, tmp_path) -> None:
    recipe = truncated(small(name, steps=2))
    recipe = replace(recipe, learner=replace(recipe.learner, updates_per_epoch=2))
    train(recipe, tmp_path / "run")
    for gap, _ in metrics_of(tmp_path / "run", "mismatch/mean_abs_logratio", "policy/kl_behavior"):
        assert gap < 1e-4
    table = pq.read_table(tmp_path / "run" / "rollouts" / "step_000001.parquet").to_pylist()
    for row in table:
        for token, sampled, kept in zip(row["token_ids"], row["sampled_mask"], row["kept_ids"], strict=True):
            assert (token in kept) if sampled else not kept
            assert len(kept) <= 40


def test_without_the_kept_sets_they_would_not(small, tmp_path, monkeypatch) -> None:
    """The pitfall itself: over the whole vocabulary the log-ratio is the log of the mass that was kept."""
    monkeypatch.setattr(learner.KeptLaws, "of", classmethod(lambda cls, batch, device: None))
    recipe = truncated(small("grpo", steps=1))
    train(replace(recipe, safety=replace(recipe.safety, rehearsal=False)), tmp_path / "run")
    ((gap,),) = metrics_of(tmp_path / "run", "mismatch/mean_abs_logratio")
    assert gap > 0.01


def test_the_distance_to_the_reference_begins_at_zero(small, tmp_path) -> None:
    recipe = truncated(small("grpo", steps=1))
    recipe = replace(recipe, objective=replace(recipe.objective, penalties=(ReferenceKl(0.1),)))
    train(recipe, tmp_path / "run")
    ((apart,),) = metrics_of(tmp_path / "run", "policy/kl_reference")
    assert abs(apart) < 1e-6


def test_off_writes_no_column_and_a_stop_string_is_no_truncation(small, tmp_path) -> None:
    recipe = small("grpo", steps=1)
    letters = tuple("etaoinshr0123456789")
    stopped = replace(recipe, sampling=replace(recipe.sampling, stop=letters, max_new_tokens=40))
    train(stopped, tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "rollouts" / "step_000001.parquet")
    assert "kept_ids" not in table.column_names
    rows = table.select(["text", "stop"]).to_pylist()
    ended = [row for row in rows if row["stop"] == StopReason.STOP_STRING]
    assert ended and all(row["text"][-1] in letters and not set(row["text"][:-1]) & set(letters) for row in ended)
    ((share,),) = metrics_of(tmp_path / "run", "length/limit_share")
    assert share == sum(row["stop"] == StopReason.TOKEN_LIMIT for row in rows) / len(rows)


def test_objectives_on_whole_laws_are_refused() -> None:
    whole = [name for name, recipe in RECIPES.items() if recipe.objective.reads_laws or recipe.objective.views]
    assert whole
    for name in whole:
        with pytest.raises(ValueError, match=r"sampling\.top_p=1"):
            truncated(RECIPES[name])


def test_three_objectives_of_one_answer(small, tmp_path) -> None:
    """Right, well formed and short, each with a scale of its own."""
    recipe = replace(small("grpo", steps=1, noise=RECIPES["grpo"].noise), critic=GroupMean())
    train(replace(recipe, reward=parse_reward("answer:environment + format:partial + length:6:4")), tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "rollouts" / "step_000001.parquet").to_pylist()
    told = torch.tensor([row["reward_told"] for row in table])
    lengths = torch.tensor([sum(row["sampled_mask"]) for row in table])
    assert torch.allclose(told, -((lengths - 2) / 4).clamp(0, 1).to(told.dtype)), "nothing is right nor has a tag"
