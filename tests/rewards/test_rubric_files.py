"""Judges and rubrics by the short specs of the command line."""

import pytest

from critica.rewards.catalogue import RewardProblem, parse_reward
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_reward import JudgeReward
from critica.rewards.rubric_files import EXAMPLE, read_rubric


def test_a_judge_by_its_address_and_model():
    made = parse_reward("judge:http://127.0.0.1:9/v1#a/model")
    assert made == JudgeReward(HttpJudge("http://127.0.0.1:9/v1", "a/model"))
    assert parse_reward("judge:#m") == JudgeReward(HttpJudge("", "m"))
    with pytest.raises(RewardProblem, match="names no model"):
        parse_reward("judge:http://127.0.0.1:9/v1")
    with pytest.raises(RewardProblem, match="no user, password"):
        parse_reward("judge:http://me:word@127.0.0.1/v1#m")


def test_a_rubric_by_its_file(tmp_path):
    path = tmp_path / "rubric.toml"
    path.write_text(EXAMPLE)
    made = parse_reward(f"rubric:{path}")
    assert made == read_rubric(str(path)) and made.judge.model == "name-of-the-model"
    first, second = made.criteria
    assert (first.id, first.route, first.tier) == ("answer", "extract_then_verify", "essential")
    assert (second.id, second.tier, second.choices) == ("clear", "additional", ("no", "partly", "yes"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("colour = 1", "it has 'colour'"),
        ("[[criteria]]\nname = 'a'", "needs a text"),
        ("[[criteria]]\ntext = 'a'\nweight = -1", "weight -1"),
        ("= 1", "Invalid"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(text, why, tmp_path):
    path = tmp_path / "rubric.toml"
    path.write_text(text)
    with pytest.raises(RewardProblem, match=f"rubric.toml.*{why}"):
        parse_reward(f"rubric:{path}")
    with pytest.raises(RewardProblem, match="there is no file"):
        parse_reward("rubric:nowhere.toml")
