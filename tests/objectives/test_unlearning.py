"""The pull of unlearning by hand, what it is a gradient of, and which tokens a policy loss hands over to it."""

import math

import pytest
import torch

from arrays import token_batch, told_batch
from critica.functional.logprobs import token_logprobs
from critica.functional.unlearning import unlearning_losses
from critica.objectives.base import Laws, TokenScores
from critica.objectives.mismatch import Truncated
from critica.objectives.penalties import Entropy
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.objectives.unlearning import Unlearning
from critica.records.arrays import Advantages, scatter_sampled
from critica.records.evidence import Evidence

F64 = torch.float64


def slope(logits, token):
    logits = logits.clone().requires_grad_()
    unlearning_losses(logits[None], torch.tensor([token])).sum().backward()
    return logits.grad


@pytest.mark.parametrize("chance", [0.999, 0.5, 0.001])
def test_the_pull_is_the_tokens_own_probability_and_goes_to_the_others(chance):
    law = torch.tensor([0.5 * (1 - chance), chance, 0.3 * (1 - chance), 0.2 * (1 - chance)], dtype=F64)
    found = slope(law.log() + 2.0, 1)
    assert found.tolist() == pytest.approx([-0.5 * chance, chance, -0.3 * chance, -0.2 * chance])
    assert float(found.sum()) == pytest.approx(0.0, abs=1e-15)
    logits = law.log().requires_grad_()
    token_logprobs(logits[None], torch.tensor([1]), torch.ones(1, dtype=F64)).sum().backward()
    assert float(logits.grad[1]) == pytest.approx(1 - chance)  # gradient ascent on the loss: the other way round


def test_the_value_by_hand():
    law = torch.tensor([0.5, 0.25, 0.25], dtype=F64)
    found = unlearning_losses(law.log()[None], torch.tensor([0]))
    assert float(found) == pytest.approx(math.log(4))  # half of either quarter
    found = unlearning_losses(law.log()[None], torch.tensor([1]))
    assert float(found) == pytest.approx(-(2 / 3) * math.log(0.5) - (1 / 3) * math.log(0.25))


def test_it_is_the_gradient_of_unlikelihood_by_differences():
    torch.manual_seed(0)
    logits, tokens = torch.randn(5, 7, dtype=F64), torch.tensor([0, 3, 6, 3, 1])

    def unlikelihood(z):
        return -torch.log1p(-torch.softmax(z, -1)[torch.arange(5), tokens])

    own = logits.clone().requires_grad_()
    unlearning_losses(own, tokens).sum().backward()
    step = 1e-6
    for row in range(5):
        for v in range(7):
            shift = torch.zeros_like(logits)
            shift[row, v] = step
            change = (unlikelihood(logits + shift) - unlikelihood(logits - shift)).sum() / (2 * step)
            assert float(own.grad[row, v]) == pytest.approx(float(change), abs=1e-8)


def test_a_sure_token_is_pushed_with_full_force_in_single_precision():
    found = slope(torch.tensor([30.0, 0.0, 0.0]), 0)
    assert found.tolist() == pytest.approx([1.0, -0.5, -0.5])


def test_pieces_change_nothing_and_half_precision_is_read_in_single(monkeypatch):
    torch.manual_seed(1)
    logits, tokens = torch.randn(23, 11), torch.randint(0, 11, (23,))
    whole = unlearning_losses(logits, tokens)
    monkeypatch.setattr("critica.functional.unlearning.CHUNK", 30)
    assert torch.allclose(whole, unlearning_losses(logits, tokens))
    assert unlearning_losses(logits.bfloat16(), tokens).dtype == torch.float32


def test_where_nothing_else_is_possible_nothing_is_pulled():
    banned = torch.tensor([0.0, -torch.inf, -torch.inf])
    assert float(unlearning_losses(banned[None], torch.tensor([0]))) == 0.0 and not slope(banned, 0).any()
    half = torch.tensor([0.0, 0.0, -torch.inf])
    assert slope(half, 0).tolist() == pytest.approx([0.5, -0.5, 0.0])


# As half of a policy loss.


def scene(advantage, logits, proximal=None, behavior=None, temperature=1.0):
    """Two rows of two tokens: ids 0, 1 and 2, 0 of three."""
    batch = token_batch(["css", "css"], [0, 0])
    batch.token_ids[:, 1:] = torch.tensor([[0, 1], [2, 0]])
    batch.temperature[:] = temperature
    told = told_batch(batch, [1.0, 0.0])
    grid = torch.zeros(2, 3)
    grid[:, 1:] = torch.tensor(advantage)
    credit = Advantages(grid, batch.sampled_mask, torch.tensor([False, False]), "test")
    mask = batch.sampled_mask
    heat = torch.full((4,), temperature, dtype=logits.dtype)
    policy = scatter_sampled(token_logprobs(logits, batch.token_ids[mask], heat), mask)
    proximal = policy.detach() if proximal is None else policy.detach() - proximal
    batch.behavior_logprobs[mask] = (proximal if behavior is None else proximal - behavior)[mask].float()
    scores = TokenScores(policy, proximal, torch.zeros_like(policy), laws=Laws(logits, torch.clone))
    return scores, batch, credit, Evidence(), told


def logits_of(seed=0):
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=F64).requires_grad_()


def policy_values(objective, made):
    terms, metrics = objective.terms(*made)
    return next(term for term in terms if term.name == "policy").values, {m.name: m.value for m in metrics}, terms


def test_good_tokens_are_left_to_the_policy_loss():
    made = scene([[1.0, 0.5], [0.0, 2.0]], logits_of())
    inner = PolicyLoss(PolicyGradient(), mismatch=())
    found, _, _ = policy_values(Unlearning(inner), made)
    assert torch.equal(found, policy_values(inner, made)[0])
    found = found.detach()
    assert float(found[1, 2]) == pytest.approx(
        -2.0 * float(made[0].policy_logprobs[1, 2].detach())
    )  # imitation, weighted


def test_bad_tokens_are_unlearned_in_proportion_to_how_bad_they_are():
    logits = logits_of()
    made = scene([[1.0, -0.5], [-2.0, 0.25]], logits)
    objective = Unlearning(PolicyLoss(PolicyGradient(), mismatch=()), spare_sure=False)
    found, metrics, _ = policy_values(objective, made)
    found.sum().backward()
    law = torch.softmax(logits.detach(), -1)
    rest = law[1] / (1 - law[1, 1])
    expected = torch.stack((-0.5 * law[1, 1] * rest[0], 0.5 * law[1, 1], -0.5 * law[1, 1] * rest[2]))
    assert torch.allclose(logits.grad[1], expected)
    assert float(logits.grad[2, 2]) == pytest.approx(2.0 * float(law[2, 2]))
    assert float(logits.grad[0, 0]) == pytest.approx(-(1 - float(law[0, 0])))  # A = 1: plain policy gradient
    assert metrics["policy/unlearning_force"] == pytest.approx(float(law[1, 1] + law[2, 2]) / 2)


def pushes(chance, **settings):
    """The force on a token of this probability, told A = 1 and told A = -1."""
    found = []
    for advantage in (1.0, -1.0):
        law = torch.tensor([[chance, 0.7 * (1 - chance), 0.3 * (1 - chance)]] * 4, dtype=F64)
        logits = law.log().requires_grad_()
        made = scene([[advantage, 0.0], [0.0, 0.0]], logits)
        policy_values(Unlearning(PolicyLoss(PolicyGradient(), mismatch=()), **settings), made)[0].sum().backward()
        found.append(-float(logits.grad[0, 0]))
    return found


@pytest.mark.parametrize("chance", [0.05, 0.5, 0.9])
def test_a_token_that_decides_nothing_drifts_to_a_half_unless_sure_ones_are_spared(chance):
    up, down = pushes(chance, spare_sure=False)
    assert (up, down) == (pytest.approx(1 - chance), pytest.approx(-chance))  # they add to 1 - 2 p
    up, down = pushes(chance)
    assert (up, down) == (pytest.approx(1 - chance), pytest.approx(-min(chance, 1 - chance)))


def test_a_token_that_fell_enough_is_left_alone():
    fallen = torch.zeros(2, 3, dtype=F64)
    fallen[0, 2], fallen[1, 1] = math.log(0.79), math.log(0.81)  # log-ratios
    logits = logits_of()
    made = scene([[-1.0, -1.0], [-1.0, -1.0]], logits, fallen)
    policy_values(Unlearning(PolicyLoss(PolicyGradient(), mismatch=()), low=0.2), made)[0].sum().backward()
    assert not logits.grad[1].any() and all(bool(logits.grad[i].any()) for i in (0, 2, 3))


def test_mismatch_weights_and_penalties_are_those_of_the_positive_half():
    gap = torch.zeros(2, 3, dtype=F64)
    gap[0, 1], gap[0, 2] = math.log(0.5), math.log(8.0)
    inner = PolicyLoss(PolicyGradient(), mismatch=(Truncated(2.0),), penalties=(Entropy(0.1),))
    made = scene([[-1.0, -1.0], [-1.0, -1.0]], logits_of(), None, gap)
    found, _, terms = policy_values(Unlearning(inner), made)
    plain, _, _ = policy_values(Unlearning(PolicyLoss(PolicyGradient(), mismatch=())), made)
    ratio = (found / plain)[:, 1:].flatten().tolist()
    assert ratio == pytest.approx([0.5, 2.0, 1.0, 1.0], rel=1e-5)
    assert [term.name for term in terms] == ["policy", "entropy"]


def test_the_law_is_that_at_the_temperature_of_sampling():
    logits = logits_of()
    made = scene([[-1.0, 0.0], [0.0, 0.0]], logits, temperature=2.0)
    objective = Unlearning(PolicyLoss(PolicyGradient(), mismatch=()), spare_sure=False)
    policy_values(objective, made)[0].sum().backward()
    assert float(logits.grad[0, 0]) == pytest.approx(float(torch.softmax(logits.detach()[0] / 2, -1)[0]) / 2)


def test_it_reads_logits_and_refuses_a_bound_that_means_nothing():
    assert Unlearning().reads_laws and not Unlearning().couples_rows
    with pytest.raises(ValueError, match="no bound"):
        Unlearning(low=0.0)
