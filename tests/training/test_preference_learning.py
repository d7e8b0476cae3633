"""Objectives that see pairs, groups or logits, through the real learner: cuts change nothing, and known limits hold."""

from dataclasses import dataclass, replace

import pytest
import torch

from critica.advantages.outcome import Outcome
from critica.functional.groups import leave_one_out_mean
from critica.objectives.pair_rules import Logistic, SoftLogistic, SquaredGap
from critica.objectives.pair_weights import Tilt, WorstMix
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.preference import PairLoss
from critica.objectives.regression import GroupRegression
from critica.objectives.surrogates import ClippedRatio, PolicyGradient
from critica.objectives.unlearning import Unlearning
from critica.records.losses import SequenceMeanOfTokenSums
from critica.training.learner import Schedule
from training.test_learner import moved

OBJECTIVES = [
    (PairLoss(Logistic(0.3)), "pairs"),
    (PairLoss(SquaredGap(0.3), initial_share=0.4), "pairs"),
    (PairLoss(SoftLogistic(0.3), initial_share=0.0, compare="wins"), "pairs"),
    (PairLoss(Logistic(0.3), weights=WorstMix("kl", 0.2)), "pairs"),
    (PairLoss(Logistic(0.3), weights=Tilt(-0.7)), "pairs"),
    (GroupRegression(0.3, 0.5), "regression"),
    (Unlearning(PolicyLoss(ClippedRatio())), "policy"),
]


@dataclass(frozen=True, slots=True)
class LeftOut(Outcome):
    """Credit against the mean of the siblings, without a critic."""

    def estimate(self, batch, told, values, evidence):
        credit = Outcome.estimate(self, batch, told, values, evidence)
        mean, _ = leave_one_out_mean(told.total, told.all_known, batch.group_index)
        return replace(credit, advantage=(credit.advantage - mean[:, None]).where(credit.mask, 0.0))


@pytest.mark.parametrize(("objective", "name"), OBJECTIVES)
def test_cutting_the_batch_changes_nothing(objective, name):
    schedule = Schedule(2, 1, 1, 10_000)  # two passes: the second sees ratios that are not 1
    whole, said = moved(objective, 10_000, advantage=LeftOut("none"), schedule=schedule)
    for tokens in (1, 7):
        cut, cut_said = moved(
            objective, tokens, advantage=LeftOut("none"), schedule=replace(schedule, tokens_per_microbatch=tokens)
        )
        for key, value in whole.items():
            torch.testing.assert_close(cut[key], value, atol=1e-12, rtol=0)
        assert said[f"loss/{name}"] == pytest.approx(cut_said[f"loss/{name}"], abs=1e-12)
    once, _ = moved(objective, 10_000, advantage=LeftOut("none"))
    assert not torch.equal(once["embed.weight"], whole["embed.weight"])


def change(objective):
    """What one update of plain descent at rate 1 does: minus the gradient."""
    still, _ = moved(PairLoss(margin=100.0), 10_000)
    after, _ = moved(objective, 10_000, advantage=LeftOut("none"))
    return {name: after[name] - value for name, value in still.items()}


def test_group_regression_from_where_the_step_began_is_beta_times_rloo():
    rloo = change(PolicyLoss(PolicyGradient(), SequenceMeanOfTokenSums(), mismatch=()))
    regression = change(GroupRegression(0.3, 0.0))
    assert any(bool((value.abs() > 1e-3).any()) for value in rloo.values())
    for name, value in rloo.items():
        torch.testing.assert_close(regression[name], 0.3 * value, atol=1e-12, rtol=0)


def test_every_rule_begins_as_a_policy_gradient_over_pairs():
    """Where policy and anchor agree, DPO's gradient is beta / 2 times, IPO's 1 / beta times, that of the gap."""
    dpo, ipo = change(PairLoss(Logistic(0.4))), change(PairLoss(SquaredGap(0.4)))
    dno = change(PairLoss(SoftLogistic(0.4), initial_share=0.0))
    label = torch.sigmoid(torch.tensor(1.0, dtype=torch.float64))  # outcomes 1 and 0
    for name, value in dpo.items():
        torch.testing.assert_close(ipo[name], value * (1 / 0.4) / (0.4 / 2), atol=1e-12, rtol=0)
        torch.testing.assert_close(dno[name], value * (label - 0.5) / 0.5, atol=1e-6, rtol=0)
