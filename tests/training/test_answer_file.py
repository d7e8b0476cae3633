"""Scored answers from anywhere: read as what they are, refused by line, and enough to fit a critic on."""

import json

import pytest
import torch

from critica.environments.files import TaskFile
from critica.environments.rows import TaskFileProblem
from critica.policies.language_model import LanguagePolicy
from critica.recipes.base import Sampling
from critica.rewards.unasked import Unasked
from critica.rollout.given import Given
from critica.store.run_folder import RunFolder
from critica.training.answer_file import read_answers
from critica.training.critic_data import NoRollouts, batch_of
from critica.training.critic_fit import CannotFit, FitPlan, constant_error, fit_critic
from critica.training.run import train


@pytest.fixture
def policy(tiny_folder):
    return LanguagePolicy.load(str(tiny_folder))


def written(folder, rows):
    file = folder / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def rows_of(prompts):
    """Answers that begin with `r` are right, those with `w` wrong."""
    return [
        {"prompt": f"say {number}: ", "completion": f"{letter}{number}", "reward": float(letter == "r"), "by": "me"}
        for number in range(prompts) for letter in "rw"
    ]  # fmt: skip


def test_tokens_masks_rewards_and_log_probs_are_those_of_the_line(policy, tmp_path):
    rows = [
        {"prompt": "ab", "completion": "xyz", "reward": 0.5},
        {"prompt": "ab", "completion": "q", "reward": 0, "cut": True},
        {"prompt": "ab", "completion": "unknown", "reward": None},
        {"prompt": [{"role": "user", "content": "cd"}], "completion": "x", "reward": 2},
    ]
    share = next(s for s in (0.5, 0.3, 0.7, 0.2, 0.8) if not isinstance(attempt(policy, tmp_path, rows, s), NoRollouts))
    data = attempt(policy, tmp_path, rows, share)
    groups = {members[0].prompt: members for members in (*data.train, *data.held_out)}
    assert (data.low, data.high, data.rows) == (0.0, 2.0, 3) and len(groups["ab"]) == 2
    whole, cut = groups["ab"]
    assert whole.token_ids == (*policy.encode_text("ab"), *policy.encode_text("xyz"), policy.end_ids[0])
    assert whole.sampled == (False, False, True, True, True, True) and whole.rewards == (0.0,) * 5 + (0.5,)
    assert cut.token_ids == (*policy.encode_text("abq"),) and cut.stop == "token_limit" and whole.stop == "end_of_text"
    logits = policy.model(torch.tensor([whole.token_ids])).logits[0].log_softmax(-1)
    wanted = [float(logits[t - 1, whole.token_ids[t]]) for t in range(2, 6)]
    assert whole.logprobs[2:] == pytest.approx(wanted, abs=1e-4) and whole.logprobs[:2] == (0.0, 0.0)


def attempt(policy, folder, rows, share):
    try:
        return read_answers(written(folder, rows), policy, share, 0, 4096)
    except NoRollouts as error:
        return error


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a", "completion": "b"}, "no column 'reward'"),
        ({"prompt": "a", "completion": "b", "reward": "1"}, "a number, or null"),
        ({"prompt": "a", "reward": 1}, "'completion'"),
        ({"completion": "b", "reward": 1}, "'prompt'"),
        ({"prompt": "a", "completion": "b", "reward": 1, "cut": "yes"}, "true or false"),
    ],
)
def test_a_line_that_says_too_little_is_named(row, said, policy, tmp_path):
    file = written(tmp_path, [{"prompt": "z", "completion": "b", "reward": 1}, row])
    with pytest.raises(TaskFileProblem, match=f"line 2.*{said}"):
        read_answers(file, policy, 0.5, 0, 4096)


def test_rewards_that_are_all_alike_teach_nothing(policy, tmp_path):
    rows = [{**row, "reward": 1} for row in rows_of(12)]
    assert "nothing to tell apart" in str(attempt(policy, tmp_path, rows, 0.5))


def test_a_critic_learns_to_tell_right_from_wrong_answers(tiny_folder, tmp_path):
    file = written(tmp_path, rows_of(40))
    plan = FitPlan(updates=60, groups=8, judge_every=20, patience=9, held_out=0.3, seed=1)
    settings = ["learner.critic.learning_rate=0.003", "threads=1"]
    folder = fit_critic(file, tmp_path / "critic", "scalar", str(tiny_folder), plan, settings)
    policy = LanguagePolicy.load(str(tiny_folder))
    data = read_answers(file, policy, 0.3, 1, 4096)
    batch, _ = batch_of([row for members in data.held_out for row in members], data.low, data.high)
    assert batch.rows == 2 * len(data.held_out)
    assert folder.manifest.best_error < 0.5 * constant_error(data)


def test_without_a_run_the_critic_must_be_named(tiny_folder, tmp_path):
    with pytest.raises(CannotFit, match="--critic"):
        fit_critic(written(tmp_path, rows_of(9)), tmp_path / "critic", "", str(tiny_folder))


def test_the_same_file_trains_a_policy_without_sampling(small, tmp_path):
    """Each answer weighs what its reward says, and the policy comes to write the better one."""
    file = tmp_path / "answers.jsonl"
    rows = [
        {"prompt": f"{a}+{b}=", "completion": text, "reward": reward}
        for a in range(4) for b in range(6) for text, reward in ((str(a + b), 1.0), ("?", 0.25))
    ]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = small(
        "sft", environment=TaskFile(str(file)), protocol=Given(("completion",), weight="reward"), reward=Unasked(),
        sampling=Sampling(8, 1, 1.0, 6), steps=12,
    )  # fmt: skip
    train(recipe, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    scores = {1.0: [], 0.25: []}
    for step in (1, 2, 11, 12):
        for row in folder.rollouts(step).to_pylist():
            assert {"prompt": row["prompt"], "completion": row["text"], "reward": row["reward_told"]} in rows
            written = [p for p, wrote in zip(row["behavior_logprobs"], row["sampled_mask"], strict=True) if wrote]
            scores[row["reward_told"]].append((step, sum(written) / len(written)))
    gained = {told: last_of(found) - first_of(found) for told, found in scores.items()}
    assert gained[1.0] > 0.1


def first_of(found):
    early = [score for step, score in found if step <= 2]
    return sum(early) / len(early)


def last_of(found):
    late = [score for step, score in found if step > 2]
    return sum(late) / len(late)
