"""Teachers by hand and by enumeration, the divergence and its gradient, and what the adaptive weight does."""

from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.functional.distillation import contrastive_teacher, mixed_teacher, reverse_kl, total_variation
from critica.objectives.align_distil import Distillation
from critica.objectives.base import Laws, TokenScores
from critica.records.arrays import Advantages
from critica.records.evidence import Evidence, View, Views

F64 = torch.float64


def laws(*rows):
    return torch.tensor(rows, dtype=F64)


REFERENCE = laws([0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25])
TAUGHT = laws([0.1, 0.3, 0.2, 0.4], [0.7, 0.1, 0.1, 0.1])
UPSIDE = laws([0.6, 0.2, 0.1, 0.1], [0.1, 0.3, 0.3, 0.3])


def test_reverse_kl_by_hand_and_its_gradient_against_autograd():
    policy = laws([0.5, 0.5], [0.9, 0.1]).log().requires_grad_()
    teacher = laws([0.25, 0.75], [0.9, 0.1]).log() + 3.0  # logits: a constant changes nothing
    found = reverse_kl(policy, teacher)
    assert found.tolist() == pytest.approx(
        [0.5 * torch.tensor(2.0).log().item() + 0.5 * torch.tensor(2 / 3).log().item(), 0.0]
    )
    torch.manual_seed(0)
    logits, other = torch.randn(50, 7, dtype=F64, requires_grad=True), torch.randn(50, 7, dtype=F64)
    assert torch.autograd.gradcheck(lambda z: reverse_kl(z, other), logits)
    plain = (logits.softmax(-1) * (logits.log_softmax(-1) - other.log_softmax(-1))).sum(-1)
    assert torch.allclose(reverse_kl(logits, other), plain)
    assert not torch.allclose(reverse_kl(logits, other), reverse_kl(other, logits.detach()))


def test_pieces_change_nothing(monkeypatch):
    torch.manual_seed(1)
    logits, other = torch.randn(23, 11), torch.randn(23, 11)
    whole = reverse_kl(logits, other)
    monkeypatch.setattr("critica.functional.distillation.CHUNK", 30)
    assert torch.allclose(whole, reverse_kl(logits, other))


def test_half_precision_is_read_in_fp32():
    logits = torch.randn(3, 5).bfloat16()
    assert reverse_kl(logits, logits).dtype == torch.float32


def test_a_banned_token_costs_nothing_where_the_policy_never_writes_it():
    policy = torch.tensor([[0.0, 0.0, -torch.inf]])
    assert reverse_kl(policy, torch.tensor([[0.0, 0.0, 5.0]])).isfinite().all()


def test_the_teacher_of_equal_models_is_the_model():
    logits = TAUGHT.log()
    teacher, weight = contrastive_teacher(logits, logits + 2.0, 15.0)
    assert weight.tolist() == pytest.approx([1e-3, 1e-3])
    assert torch.allclose(teacher.softmax(-1), TAUGHT)


def test_the_teacher_runs_from_its_opposite():
    teacher, weight = contrastive_teacher(TAUGHT.log(), UPSIDE.log(), 2.0)
    distance = [0.5 + 0.1 + 0.1 + 0.3, 0.6 + 3 * 0.2]
    assert total_variation(TAUGHT.log(), UPSIDE.log()).tolist() == pytest.approx(distance)
    assert weight.tolist() == pytest.approx([2 * d + 1e-3 for d in distance])
    exact = TAUGHT * (TAUGHT / UPSIDE) ** weight[:, None]
    assert torch.allclose(teacher.softmax(-1), exact / exact.sum(-1, keepdim=True))
    assert (teacher.softmax(-1)[0, 3] > TAUGHT[0, 3]) and (teacher.softmax(-1)[0, 0] < TAUGHT[0, 0])


def test_weight_one_in_the_theorem_is_the_model_itself_and_zero_the_reference():
    assert torch.allclose(mixed_teacher(TAUGHT.log(), REFERENCE.log(), 1.0).softmax(-1), TAUGHT)
    assert torch.allclose(mixed_teacher(TAUGHT.log(), REFERENCE.log(), 0.0).softmax(-1), REFERENCE)


def test_the_theorems_teacher_maximizes_reward_less_kl_at_every_state():
    """Four tokens, two states: no law found by search earns more of beta log(pi_d / ref) - strength KL(pi, ref)."""
    beta, strength = 0.1, 0.04
    reward = beta * (TAUGHT / REFERENCE).log()

    def worth(policy):
        return (policy * (reward - strength * (policy / REFERENCE).log())).sum(-1)

    logits = torch.zeros(2, 4, dtype=F64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=200, tolerance_grad=1e-13, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        total = -worth(logits.softmax(-1)).sum()
        total.backward()
        return total

    optimizer.step(loss)
    best = logits.detach().softmax(-1)
    closed = REFERENCE * (TAUGHT / REFERENCE) ** (beta / strength)
    closed = closed / closed.sum(-1, keepdim=True)
    assert torch.allclose(best, closed, atol=1e-4)
    assert torch.allclose(mixed_teacher(TAUGHT.log(), REFERENCE.log(), beta / strength).softmax(-1), closed)


def scene(dtype=F64):
    """One row of two sampled tokens whose models' logits are the laws above."""
    batch = token_batch(["css"], [0])
    states = torch.eye(2, dtype=dtype)

    def view(name, law):
        return View(name, states, batch.sampled_mask, lambda at, law=law: at @ law.log().to(dtype))

    teachers = Views((view("teacher", TAUGHT), view("anti_teacher", UPSIDE), view("reference", REFERENCE)))
    credit = Advantages(torch.zeros(1, 3), batch.sampled_mask, torch.tensor([False]), "none")
    return batch, Evidence(teachers), credit


def minimizer(objective):
    """The laws that minimize the objective's own loss, token by token."""
    batch, evidence, credit = scene()
    logits = torch.zeros(2, 4, dtype=F64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=300, tolerance_grad=1e-13, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )
    grid = torch.zeros(1, 3, dtype=F64)

    def loss():
        optimizer.zero_grad()
        scores = TokenScores(grid, grid, grid, laws=Laws(logits, torch.clone))
        (term,), _ = objective.terms(scores, batch, credit, evidence, told_batch(batch, [1.0]))
        total = term.values[term.mask].sum()
        total.backward()
        return total

    optimizer.step(loss)
    return logits.detach().softmax(-1)


def test_the_loss_ends_at_the_theorems_optimum():
    closed = REFERENCE * (TAUGHT / REFERENCE) ** 2.0
    found = minimizer(Distillation("theorem", beta=0.1, strength=0.05))
    assert torch.allclose(found, closed / closed.sum(-1, keepdim=True), atol=1e-4)


def test_the_loss_ends_at_the_contrastive_teacher():
    teacher, _ = contrastive_teacher(TAUGHT.log(), UPSIDE.log(), 1.5)
    assert torch.allclose(minimizer(Distillation("adaptive", slope=1.5)), teacher.softmax(-1), atol=1e-4)


def test_the_coefficient_is_beta_over_the_tokens_own_weight():
    batch, evidence, _ = scene()
    logits = torch.zeros(2, 4, dtype=F64)
    objective = Distillation("adaptive", beta=0.2, slope=15.0)
    loss, divergence = objective.losses(Laws(logits, torch.clone), evidence[Views], batch.sampled_mask)
    distance = total_variation(TAUGHT.log(), UPSIDE.log())
    assert torch.allclose(loss, 0.2 / (15.0 * distance + 1e-3) * divergence)
    same = Views(tuple(replace(evidence[Views]["teacher"], name=name) for name in ("teacher", "anti_teacher")))
    loss, divergence = objective.losses(Laws(logits, torch.clone), same, batch.sampled_mask)
    assert torch.allclose(loss, 0.2 / 1e-3 * divergence)
    assert torch.allclose(divergence, reverse_kl(logits, TAUGHT.log()))


def test_reading_the_laws_a_few_tokens_at_a_time_changes_nothing(monkeypatch):
    """64 tokens by 32: the same losses and the same gradient of the states as from all logits at once."""
    made = torch.Generator().manual_seed(3)
    states, head, other = (torch.randn(*shape, dtype=F64, generator=made) for shape in ((64, 5), (5, 9), (5, 9)))
    mask = torch.ones(4, 16, dtype=torch.bool)
    read = states.clone() * 0.7
    teachers = Views(tuple(
        View(name, read, mask, lambda at, head=matrix: at @ head)
        for name, matrix in (("teacher", other), ("anti_teacher", head + other))
    ))  # fmt: skip
    found = []
    for entries in (1 << 24, 1):
        monkeypatch.setattr("critica.functional.head.ENTRIES", entries)
        leaf = states.clone().requires_grad_()
        loss, _ = Distillation().losses(Laws(leaf, lambda at: at @ head), teachers, mask)
        loss.sum().backward()
        found.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(found[1], found[0])


def test_what_cannot_be_weighed_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        Distillation(beta=0.0)
    with pytest.raises(Exception, match="no view 'anti_teacher'"):
        Views(())["anti_teacher"]
