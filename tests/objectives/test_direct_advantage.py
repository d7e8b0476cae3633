"""The quadratic loss on a three-armed bandit whose minimizers are known, and what must leave the policy alone."""

from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.step_tilt import StepTilt
from critica.functional.reduce import denominator, reduce
from critica.functional.tilting import log_partition
from critica.objectives.base import TokenScores
from critica.objectives.direct_advantage import LogRatioRegression
from critica.records.arrays import Advantages, ValuePrediction
from critica.records.evidence import Evidence, ReferenceLogprobs

REFERENCE = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
TILT = torch.tensor([0.8, -0.2, -0.4], dtype=torch.float64)  # A / beta of each arm
ARMS = torch.tensor([0] * 2 + [1] * 5 + [2] * 3)  # ten draws in exactly the reference's proportions


def draws():
    """One token an answer; the value before it is 0, so that an outcome is an advantage."""
    batch = token_batch(["cs"] * len(ARMS), [0] * len(ARMS))
    token_ids = torch.stack((torch.full_like(ARMS, 7), ARMS), -1)
    logs = torch.zeros(len(ARMS), 2)
    logs[:, 1] = REFERENCE[ARMS].log().float()
    return replace(batch, token_ids=token_ids, behavior_logprobs=logs)


def reference(batch):
    logs = torch.zeros(batch.rows, 2, dtype=torch.float64)
    logs[:, 1] = REFERENCE[batch.token_ids[:, 1]].log()
    return Evidence(ReferenceLogprobs("initial", logs))


def estimated(partition, advantages, beta=0.5):
    """Credit by the rule itself, from outcomes that are these advantages."""
    batch = draws()
    told = told_batch(batch, [float(advantages[arm]) for arm in ARMS])
    nothing = torch.zeros(batch.rows, 2)
    values = ValuePrediction(nothing, batch.sampled_mask, nothing[:, 0], nodes=batch.node_index)
    return batch, told, StepTilt(beta, partition).estimate(batch, told, values, reference(batch))


def fitted(batch, told, credit):
    """The policy that minimizes the objective's own reduced loss, by Newton-like steps to convergence."""
    logits = REFERENCE.log().clone().requires_grad_()
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        logs = torch.zeros(batch.rows, 2, dtype=torch.float64)
        chosen = torch.log_softmax(logits, -1)[batch.token_ids[:, 1]]
        logs = torch.cat((logs[:, :1], chosen[:, None]), 1)
        scores = TokenScores(logs, logs.detach(), torch.zeros_like(logs))
        (term,), _ = LogRatioRegression().terms(scores, batch, credit, reference(batch), told)
        total = reduce(term, denominator(term.mask, term.reduction))
        total.backward()
        return total

    optimizer.step(loss)
    return torch.softmax(logits.detach(), -1)


def tilted():
    made = REFERENCE * TILT.exp()
    return made / made.sum()


def test_without_the_partition_the_minimizer_is_close_to_the_tilt_but_not_it():
    found = fitted(*estimated("none", 0.5 * TILT))
    assert found.tolist() == pytest.approx([0.4084, 0.3959, 0.1956], abs=1e-4)
    # its own condition, derived by hand: log(pi / ref) - A / beta is proportional to pi / ref
    ratio = found / REFERENCE
    constants = (ratio.log() - TILT) / ratio
    assert constants.tolist() == pytest.approx([float(constants[0])] * 3, abs=1e-5)


def test_with_the_partition_it_is_the_tilt_exactly():
    assert tilted().tolist() == pytest.approx([0.4217, 0.3878, 0.1905], abs=1e-4)
    found = fitted(*estimated("siblings", 0.5 * TILT))
    assert torch.allclose(found, tilted(), atol=1e-5)


@pytest.mark.parametrize("partition", ["none", "siblings"])
def test_no_advantage_leaves_the_reference_as_it_is(partition):
    assert torch.allclose(fitted(*estimated(partition, 0 * TILT)), REFERENCE, atol=1e-6)


def test_a_constant_is_absorbed_only_by_the_partition():
    plain, moved = (fitted(*estimated("none", 0.5 * TILT + shift)) for shift in (0.0, 0.5))
    assert (plain - moved).abs().max() > 0.01
    plain, moved = (fitted(*estimated("siblings", 0.5 * TILT + shift)) for shift in (0.0, 0.5))
    assert torch.allclose(plain, moved, atol=1e-5)


def test_a_larger_beta_asks_for_less():
    _, _, credit = estimated("none", 0.5 * TILT, beta=0.5)
    _, _, less = estimated("none", 0.5 * TILT, beta=1.0)
    assert torch.allclose(credit.advantage, 2 * less.advantage)
    assert credit.advantage[:, 1].tolist() == pytest.approx(TILT[ARMS].tolist())


def test_the_partition_weighs_draws_from_another_policy_back_to_the_reference():
    behavior = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    arms = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    away = (REFERENCE / behavior).log()[arms]
    found = log_partition(TILT[arms], away, torch.zeros(10, dtype=torch.long))
    assert found.tolist() == pytest.approx([float((REFERENCE * TILT.exp()).sum().log())] * 10)


def test_a_state_seen_once_has_no_partition():
    tilt, state = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4, 9, 9])
    found = log_partition(tilt, torch.zeros(3), state)
    assert found[0] == 0.0
    assert float(found[1]) == pytest.approx(float(((tilt[1:].exp()).mean()).log()))


def two_steps(per_token):
    """A row of a two-token and a three-token step with known log-ratios."""
    batch = token_batch(["csscsss"], [0])
    told = told_batch(batch, [1.0])
    nodes = torch.tensor([[-1, 0, 0, -1, 1, 1, 1]])
    target = torch.tensor([[0.0, 2.0, 2.0, 0.0, -1.0, -1.0, -1.0]])
    credit = Advantages(target, batch.sampled_mask, torch.tensor([False]), "test", nodes)
    logs = torch.tensor([[0.0, -1.0, -2.0, 0.0, -1.0, -1.0, -1.0]])
    ref = torch.tensor([[0.0, -1.5, -2.5, 0.0, -1.0, -2.0, -1.0]])
    scores = TokenScores(logs, logs, torch.zeros_like(logs))
    evidence = Evidence(ReferenceLogprobs("initial", ref))
    (term,), metrics = LogRatioRegression(per_token).terms(scores, batch, credit, evidence, told)
    return term, {metric.name: metric.value for metric in metrics}


def test_a_step_counts_once_with_the_sum_of_its_tokens():
    term, metrics = two_steps(per_token=False)
    assert term.mask.nonzero().tolist() == [[0, 1], [0, 4]]
    assert term.values[0, 1] == (1.0 - 2.0) ** 2 and term.values[0, 4] == (1.0 + 1.0) ** 2
    assert metrics["policy/step_log_ratio"] == pytest.approx(1.0)
    term, _ = two_steps(per_token=True)
    assert term.values[0, 1] == pytest.approx(0.25) and term.values[0, 4] == pytest.approx(4 / 9)


def test_the_credit_of_a_step_is_what_the_value_did_there():
    batch = token_batch(["cssss"], [0])
    nodes = torch.tensor([[-1, 0, 0, 1, 1]])
    mean = torch.tensor([[0.0, 0.25, 0.25, 0.5, 0.5]])
    values = ValuePrediction(mean, batch.sampled_mask, torch.tensor([0.9]), nodes=nodes)
    credit = StepTilt(0.1).estimate(batch, told_batch(batch, [1.0]), values, Evidence())
    assert credit.advantage[0].tolist() == pytest.approx([0.0, 2.5, 2.5, 5.0, 5.0])
    assert torch.equal(credit.nodes, nodes)
    unknown = StepTilt(0.1).estimate(batch, told_batch(batch, [None]), values, Evidence())
    assert not unknown.mask.any()


def test_beta_is_positive():
    with pytest.raises(ValueError, match="beta"):
        StepTilt(0.0)
