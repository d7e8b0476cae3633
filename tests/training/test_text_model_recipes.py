"""CME, TRACE and CorVer as recipes: small runs on the tiny policy, and the token ablation of CorVer."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.advantages.outcome import Outcome
from critica.advantages.token_reward import TokenReward
from critica.critics.counted import GroupMeanCritic
from critica.functional.trace import LABELS
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.config import apply_sets
from critica.records.arrays import RewardBatch, TokenBatch
from critica.records.evidence import Evidence
from critica.records.supervision import Reward, Scale, Scored, SpanScore
from critica.rewards.corver import CorVer
from critica.rewards.cross_entropy_source import CrossEntropy
from critica.rewards.noise import NoNoise
from critica.rewards.trace_source import Trace
from critica.rewards.verifiers import EnvironmentScorer
from critica.rollout.place import Placement, place
from critica.store.run_folder import RunFolder
from critica.training.run import train
from policies.policies_fixtures import token_batch
from rewards.tiny_judges import tiny_folder as judge_folder


def batch_of_four() -> TokenBatch:
    """Two prompts, two answers each, of 3, 4, 2 and 3 sampled tokens."""
    sizes = (3, 4, 2, 3)
    rows = [[(5, "c"), *[(6, "s")] * size] for size in sizes]
    return token_batch(rows, [0, 0, 1, 1], [1, 1, 1, 1])


class Ranges:
    low, high = -1.3, 2.1
    scales = (Scale("judge", -1.0, 2.0), Scale("facts", -0.3, 0.1))


def told_of(batch: TokenBatch, spans: bool) -> RewardBatch:
    """Each token of row n is worth WORTH[n][t]; the facts are their mean, shared out or not."""
    rewards = []
    for n, name in enumerate(batch.trajectory_ids):
        worths = WORTHS[n]
        shares = tuple(SpanScore(1 + t, 2 + t, worth / len(worths)) for t, worth in enumerate(worths)) if spans else ()
        rewards.append(Reward("judge", name, Scored(JUDGED[n])))
        rewards.append(Reward("facts", name, Scored(sum(worths) / len(worths)), spans=shares))
    return place(tuple(rewards), batch, Evidence(), Placement(), Ranges())


JUDGED = (2.0, -1.0, 2.0, 2.0)
WORTHS = ((0.1, -0.3, 0.1), (0.1, 0.1, 0.0, 0.0), (-0.3, 0.1), (-0.1, -0.1, -0.1))


def test_tokens_and_the_scalar_have_the_same_mass_and_only_tokens_know_where():
    """A_t = (judge + worth_t - mean of R) / (std of R + 1e-4); its mean over an answer is the scalar's advantage.

    The second prompt's answers are worth the same, one with a good and a bad sentence.
    """
    batch = batch_of_four()
    fine, coarse = told_of(batch, True), told_of(batch, False)
    assert torch.allclose(fine.total, coarse.total) and torch.allclose(fine.paid.sum(-1), coarse.paid.sum(-1))
    values = GroupMeanCritic().predict(batch, fine, Evidence())
    tokens = TokenReward("facts").estimate(batch, fine, values, Evidence())
    scalar = Outcome("group", 1e-4).estimate(batch, coarse, values, Evidence())
    returns = [judged + sum(worths) / len(worths) for judged, worths in zip(JUDGED, WORTHS, strict=True)]
    for n in range(4):
        pair = torch.tensor(returns[n // 2 * 2 : n // 2 * 2 + 2], dtype=torch.float64)
        scale = float(pair.std()) + 1e-4 if n < 2 else 1.0  # the second prompt's answers have one R: not scaled
        expected = [(JUDGED[n] + worth - float(pair.mean())) / scale for worth in WORTHS[n]]
        own = tokens.advantage[n][batch.sampled_mask[n]]
        assert own.tolist() == pytest.approx(expected, abs=1e-4)
        assert float(own.mean()) == pytest.approx(float(scalar.advantage[n][batch.sampled_mask[n]].mean()), abs=1e-4)
    assert scalar.advantage[0][batch.sampled_mask[0]].unique().numel() == 1
    assert float(tokens.advantage[0, 2]) < float(tokens.advantage[0, 1])  # the sentence that nobody wrote before
    outside = ~batch.sampled_mask
    assert not bool(tokens.advantage[outside].any()) and torch.equal(tokens.mask, batch.sampled_mask)
    with pytest.raises(ValueError, match="judge, facts"):
        TokenReward("truth").estimate(batch, fine, values, Evidence())


def weights(run, step):
    return load_file(run / "checkpoints" / f"step_{step}" / "policy" / "model.safetensors")


def classifier_folder(folder):
    """A random sentence classifier: what an untrained policy writes has no phrase of the list, and all alike."""
    judge_folder(folder, family="Bert", labels=8)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(i): name for i, name in enumerate(LABELS)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


CHANGES = {
    "cme": lambda folder, here: CrossEntropy(str(folder), low=-40.0),
    "trace": lambda folder, here: Trace(classifier=str(classifier_folder(here))),
    "corver": lambda folder, here: CorVer(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_recipe_moves_the_policy_and_tells_what_its_source_says(name, small, tiny_folder, tmp_path):
    recipe = small(name, reward=CHANGES[name](tiny_folder, tmp_path / "other"), noise=NoNoise(), steps=2)
    train(recipe, tmp_path / "run")
    start = load_file(tiny_folder / "model.safetensors")
    end = weights(tmp_path / "run", 2)
    assert any(not torch.equal(start[key], end[key]) for key in start if key in end)
    table = RunFolder.open(tmp_path / "run").rollouts(2).to_pylist()
    assert len(table) == 12
    told = [row["reward_told"] for row in table]
    if name == "cme":
        assert all(-40.0 <= value <= 40.0 for value in told) and len(set(told)) > 3


def test_cme_writes_what_the_other_model_expects(small, tmp_path):
    """Another random model's likelihood of the answers rises, from the mean of the first steps to that of the last."""
    other = judge_folder(tmp_path / "other", kind="ForCausalLM", seed=9)
    train(small("cme", reward=CrossEntropy(str(other), low=-60.0), noise=NoNoise(), steps=24), tmp_path / "run")
    store = RunFolder.open(tmp_path / "run")
    told = [[row["reward_told"] for row in store.rollouts(step).to_pylist()] for step in (1, 2, 3, 4, 21, 22, 23, 24)]
    first, last = (sum(sum(rows) for rows in part) / 48 for part in (told[:4], told[4:]))
    assert last > first + 0.5


SETTINGS = ["reward=reward_model", "reward.path=rewards/mine", "reward.level=token"]


def test_parts_are_named_and_settings_are_read():
    recipe = apply_sets(RECIPES["corver"], ["reward.corpus=facts.txt", "reward.judge_weight=0.3"], PARTS)
    assert recipe.reward == replace(CorVer(), corpus="facts.txt", judge_weight=0.3)
    recipe = apply_sets(
        RECIPES["grpo"], ["reward=reward_model", "reward.path=rewards/mine", "reward.level=token"], PARTS
    )
    assert (recipe.reward.path, recipe.reward.level, recipe.reward.squash) == ("rewards/mine", "token", "sigmoid")
    assert RECIPES["trace"].placement.combination.weights == (1.0, 0.3)
    assert RECIPES["trace"].reward.then == EnvironmentScorer()
    for name in CHANGES:
        assert RECIPES[name].wing == "supervision" and "reward" in str(RECIPES[name].provenance)
