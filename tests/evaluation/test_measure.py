"""The panel against numbers worked out by hand on three rows."""

import math
from dataclasses import replace

import pytest
import torch

from critica.evaluation.measure import clean_outcomes, measure
from critica.records.arrays import Advantages, Metric, Quantiles, RewardBatch, TokenBatch, ValuePrediction
from critica.records.metrics import GLOSSARY, UndeclaredMetric, definition
from critica.records.run import LedgerEntry
from critica.records.supervision import Abstained, Failed, Reward, Scored, Tampering
from critica.records.words import StopReason

# Row a: told 0, clean 1 (flipped); row b: told 1, clean 1; row c: no outcome.  One prompt token, then sampled ones.
SAMPLED = torch.tensor([[0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 0, 0]]).bool()
VALID = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]]).bool()
VALUES = torch.tensor([[9.0, 0.25, 0.5, 9.0], [9.0, 0.5, 0.75, 1.0], [9.0, 0.5, 9.0, 9.0]])  # 9: never looked at


def batch() -> TokenBatch:
    zeros, rows = torch.zeros(3, 4), torch.zeros(3, dtype=torch.long)
    return TokenBatch(
        torch.ones(3, 4, dtype=torch.long), VALID, SAMPLED, rows[:, None].expand(3, 4), rows[:, None].expand(3, 4) - 1,
        zeros + 1, zeros, rows + 1, rows, rows, rows, rows - 1, torch.arange(3), rows,
        (StopReason.END_OF_TEXT, StopReason.TOKEN_LIMIT, StopReason.END_OF_TEXT), ("a", "b", "c"),
    )  # fmt: skip


REWARDS = (
    Reward("verifier", "b", Scored(1.0)),
    Reward("verifier", "a", Scored(0.0), tampering=Tampering("flip", 1.0, True)),
    Reward("verifier", "c", Failed("timed out")),
)


def told(low: float = 0.0, high: float = 1.0) -> RewardBatch:
    outcome = torch.tensor([[0.0], [1.0], [math.nan]])
    known = torch.tensor([[True], [True], [False]])
    return RewardBatch(("verifier",), outcome, known, torch.ones(3, 1), torch.zeros(3, 4, 1), (low,), (high,))


def panel(**changes: object):
    values = ValuePrediction(
        VALUES,
        changes.pop("mask", SAMPLED),
        torch.zeros(3),
        changes.pop("law", Quantiles(torch.tensor([0.1, 0.9]), torch.zeros(3, 4, 1, 2))),
    )
    mask = SAMPLED & torch.tensor([True, True, False])[:, None]
    advantage = torch.where(mask, torch.tensor([[0, 1.0, -1, 0], [0, 2, 2, 1], [0, 0, 0, 0]]), torch.zeros(()))
    credit = Advantages(advantage, mask, torch.tensor([False, False, True]), "gae")
    arguments = {"rewards": REWARDS, "told": told(), "reports": ()} | changes
    return measure(batch(), values=values, credit=credit, **arguments)


def test_rewards_told_and_clean() -> None:
    found = panel()
    assert found["reward/told"] == 0.5
    assert found["reward/told_std"] == 0.5
    assert found["reward/clean"] == 1.0
    assert found["reward/unknown"] == pytest.approx(1 / 3)
    assert found["accuracy/sampled"] == 1.0
    assert found["noise/flipped_share"] == pytest.approx(1 / 3)


def test_clean_outcomes_are_matched_by_name_not_by_place() -> None:
    clean, flipped = clean_outcomes(batch(), REWARDS)
    assert clean[:2].tolist() == [1.0, 1.0] and math.isnan(clean[2])
    assert flipped.tolist() == [True, False, False]
    clean, _ = clean_outcomes(batch(), (*REWARDS, Reward("style", "a", Scored(0.5)), Reward("x", "b", Abstained("no"))))
    assert clean[0] == 1.5 and math.isnan(clean[1])  # several sources add up; one that is missing is not zero


def test_the_critic_against_the_told_outcome() -> None:
    # values .25 .5 | .5 .75 1 against 0 0 | 1 1 1: errors value - told = .25 .5 -.5 -.25 0
    found = panel()
    assert found["critic/bias"] == pytest.approx(0.0)
    assert found["critic/brier"] == pytest.approx((0.0625 + 0.25 + 0.25 + 0.0625) / 5)
    # Var(told) = .6 * .4 = .24; Var(told - value) = mean of squares - 0 = .125
    assert found["critic/explained_variance"] == pytest.approx(1 - 0.125 / 0.24)
    # bins [.2,.3): .25 -> 0; [.5,.6): .5,.5 -> .5; [.7,.8): .75 -> 1; last: 1 -> 1
    assert found["critic/ece"] == pytest.approx((0.25 + 0.0 + 0.25 + 0.0) / 5)
    # ranks 1 2.5 2.5 4 5 against 1.5 1.5 4 4 4: covariance 6.25 (sum of products 51.25 - 45), squares 9.5 and 7.5
    assert found["critic/rank_correlation"] == pytest.approx(6.25 / math.sqrt(9.5 * 7.5))


def test_the_critic_against_the_clean_outcome() -> None:
    found = panel()
    assert math.isnan(found["critic/explained_variance_clean"])  # everything is right: there is nothing to explain
    assert found["critic/bias_clean"] == pytest.approx(-(0.75 + 0.5 + 0.5 + 0.25 + 0) / 5)
    assert found["critic/brier_clean"] == pytest.approx((0.5625 + 0.25 + 0.25 + 0.0625) / 5)
    assert found["critic/ece_clean"] == pytest.approx((0.75 + 2 * 0.5 + 0.25) / 5)


def test_calibration_error_is_in_units_of_reward_whatever_the_declared_range() -> None:
    # range [-1, 3]: bins of width .4; .25 | .5 .5 | .75 | 1.0 fall apart at -1 + .4 n = .2, .6, 1.0
    found = panel(told=told(-1.0, 3.0))
    # [.2,.6): mean value (.25 + .5 + .5)/3 against 1/3; [.6,1): .75 against 1; [1,1.4): 1 against 1
    assert found["critic/ece"] == pytest.approx((3 * abs(1.25 / 3 - 1 / 3) + 0.25) / 5, abs=1e-6)


def test_values_of_the_first_and_last_token_and_of_all() -> None:
    found = panel()
    assert found["critic/value_first"] == pytest.approx((0.25 + 0.5 + 0.5) / 3)
    assert found["critic/value_last"] == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert found["critic/value_mean"] == pytest.approx(3.5 / 6)


def test_only_tokens_with_a_value_count() -> None:
    mask = SAMPLED.clone()
    mask[1] = False
    assert panel(mask=mask)["critic/bias"] == pytest.approx((0.25 + 0.5) / 2)
    assert panel(mask=VALID)["critic/bias"] == panel()["critic/bias"]  # a value at the prompt is not judged


def test_law_metrics() -> None:
    curves = torch.zeros(3, 4, 2, 2)
    curves[..., 0, :], curves[..., 1, :] = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 4.0])
    found = panel(law=Quantiles(torch.tensor([0.1, 0.9]), curves))
    assert found["critic/quantile_spread"] == pytest.approx(2.0)
    assert found["critic/disagreement"] == pytest.approx(2.0 / math.sqrt(2))  # means .5 and 2.5, ddof 1


def test_credit_lengths_and_counts() -> None:
    ledger = (
        LedgerEntry("a", "t", "trained"), LedgerEntry("b", "t", "trained"), LedgerEntry("c", "t", "failed", "late"),
        LedgerEntry("d", "u", "filtered", "too easy"), LedgerEntry("", "t", "trained"),
    )  # fmt: skip
    found = panel(ledger=ledger, sources=("x", "y", "y"))
    assert found["advantage/mean"] == pytest.approx(1.0)
    assert found["advantage/std"] == pytest.approx(math.sqrt((0 + 4 + 1 + 1 + 0) / 5))
    assert found["advantage/max_abs"] == 2.0
    assert found["samples/zero_variance"] == 1
    assert (found["tokens/sampled"], found["tokens/prompt"], found["tokens/trained"]) == (6, 3, 5)
    assert found["tokens/padding"] == pytest.approx(3 / 12)
    assert (found["length/mean"], found["length/max"]) == (2, 3)
    assert found["length/correct"] == 2.5 and math.isnan(found["length/wrong"])
    assert found["length/limit_share"] == pytest.approx(1 / 3)
    assert [found[f"samples/{s}"] for s in ("trained", "masked", "filtered", "failed")] == [2, 0, 1, 1]
    assert found["prompts/trained"] == 1
    assert found["accuracy/source/x"] == 1.0 and found["accuracy/source/y"] == 1.0


def test_padding_changes_nothing() -> None:
    wide = {
        name: torch.nn.functional.pad(getattr(batch(), name), (0, 3), value=0)
        for name in (
            "token_ids", "valid_mask", "sampled_mask", "turn_index", "node_index", "temperature", "behavior_logprobs",
        )
    }  # fmt: skip
    values = ValuePrediction(torch.nn.functional.pad(VALUES, (0, 3)), wide["sampled_mask"], torch.zeros(3))
    credit = Advantages(torch.zeros(3, 7), wide["sampled_mask"], torch.zeros(3).bool(), "gae")
    padded = measure(replace(batch(), **wide), REWARDS, told(), values, credit)
    for item in panel().metrics:
        if item.name.startswith(("critic/explained", "critic/b", "critic/ece", "critic/rank", "length", "reward")):
            assert padded[item.name] == pytest.approx(item.value, nan_ok=True), item.name


def test_reports_of_one_name_are_merged_and_undeclared_ones_refused() -> None:
    reports = (Metric("policy/entropy", 2.0, 4.0), Metric("policy/entropy", 1.0, 1.0))
    assert panel(reports=reports)["policy/entropy"] == pytest.approx(3 / 5)
    with pytest.raises(UndeclaredMetric, match="'policy/entropy'"):
        panel(reports=(Metric("policy/entropi", 1.0, 1.0),))


def test_every_definition_is_a_sentence_with_a_unit() -> None:
    for item in GLOSSARY.values():
        assert item.unit and item.sentence[0].isupper() | item.sentence[0].isdigit() and item.sentence.endswith("."), (
            item
        )
    assert definition("loss/policy").name == "loss/*"
    for bad in ("loss/", "loss/*", "reward", "policy/entropy/x"):
        with pytest.raises(UndeclaredMetric):
            definition(bad)
