"""A judge of pairs tells each answer how often it wins, also where its preferences go in circles."""

import json

import pytest
import torch

from critica.functional.preferences import gaps
from critica.records.supervision import Scale, Scored
from critica.rewards.judge_ranking import JudgeRanking
from rewards.judge_worlds import siblings
from rewards.test_judge_reward import source

BEATS = {("paper", "rock"), ("rock", "scissors"), ("scissors", "paper")}


def cyclic(sections):
    first, second = (s.content for s in sections if s.tag == "response")
    return json.dumps({"better": "tie" if first == second else 1 if (first, second) in BEATS else 2})


def test_the_share_of_pairs_won_is_told_as_it_is():
    live, _ = source(cyclic, JudgeRanking, compare="pairs", alone=0.0, told="wins")
    said = live.verdicts(siblings(["rock", "rock", "paper", "scissors"]) + siblings(["rock"], group="h"))
    assert live.scales == (Scale("judge_ranking", 0.0, 1.0),)
    shares = [one.total.value for one in said]
    assert shares == pytest.approx([0.5, 0.5, 2 / 3, 1 / 3, 0.5])  # rock ties once, loses once, wins once
    assert said[4].total == Scored(0.5)  # alone in its group


def test_no_score_orders_a_circle_and_wins_know_it():
    live, _ = source(cyclic, JudgeRanking, compare="pairs", alone=0.0, told="wins")
    even = torch.tensor([one.total.value for one in live.verdicts(siblings(["rock", "paper", "scissors"]))])
    assert not gaps(even).any()


@pytest.mark.parametrize("settings", [{"compare": "grid", "alone": 0.0}, {"compare": "pairs", "alone": 0.5}])
def test_wins_are_of_pairs_alone(settings):
    with pytest.raises(ValueError, match=r"reward\.compare=pairs and reward\.alone=0"):
        JudgeRanking(told="wins", **settings)
