"""Distillation from views: by hand on small laws, and through the learner what an empty or absent hint leaves alone."""

from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.outcome import Outcome
from critica.critics.counted import NoBaselineCritic
from critica.curricula.base import Stage
from critica.functional.distillation import divergence
from critica.objectives.alone import Alone
from critica.objectives.base import Laws, TokenScores
from critica.objectives.penalties import SampledCertainty
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.objectives.view_distillation import ViewDistillation
from critica.records.arrays import Advantages
from critica.records.evidence import Evidence, View, Views
from critica.records.losses import TokenMean
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson
from critica.training.optimizer import Optimizer
from critica.updaters.gradient import Adam
from fakes import BigramPolicy
from tabular import ANSWERS, PLACE, PREFIXES, TablePolicy, game, worth, written

F64 = torch.float64
TRAIN = Stage("train", policy=True, critic=False)
KINDS = ("forward_kl", "reverse_kl", "jsd", "sampled")


def small_batch(policy):
    batch = token_batch(["ccss", "csss", "cs"], [0, 0, 1])
    ids = torch.randint(0, policy.vocabulary, batch.token_ids.shape, generator=torch.Generator().manual_seed(3))
    heat = torch.tensor([1.0, 0.5, 2.0])[:, None].expand(3, 4).double()
    return replace(batch, token_ids=ids, temperature=heat, behavior_logprobs=batch.behavior_logprobs.double())


def view_of(policy, batch, covers=None, shift=0.0):
    """The policy's own reading, its states moved by `shift`."""
    covers = batch.sampled_mask if covers is None else covers
    states = policy.sampled_states(batch).detach()[covers[batch.sampled_mask]]
    return Views((View("gold", states + shift, covers, policy.logits),))


def updated(objective, views, tokens=10_000):
    """The weights after one update by plain descent, and what was reported."""
    policy = BigramPolicy(dtype=F64)
    batch = small_batch(policy)
    told = told_batch(batch, [1.0, 0.0, 1.0])
    told = replace(told, per_token=told.per_token.double(), outcome=told.outcome.double())
    evidence = Evidence(views(policy, batch))
    values = NoBaselineCritic().predict(batch, told, evidence)
    credit = Outcome("none").estimate(batch, told, values, evidence)
    optimizers = (Optimizer(policy.trainable(), Adam(1e-2, max_grad_norm=0.0)), None)
    learner = Learner(policy, NoBaselineCritic(), objective, optimizers, Schedule(1, 1, 1, tokens), 0)
    reports = learner.update(Lesson(batch, told, credit, None, values, evidence), TRAIN, 1)
    found = {metric.name: metric.value for metric in reports}
    return {name: weight.detach().clone() for name, weight in policy.trainable()}, found


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_hint_teaches_nothing(kind):
    _, reports = updated(Alone(ViewDistillation(divergence=kind, top=0)), view_of)
    assert abs(reports["policy/grad_norm"]) < 1e-12 and abs(reports["policy/view_divergence"]) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_matches_the_policy_loss_is_alone_to_the_bit(kind):
    def none(policy, batch):
        return view_of(policy, batch, batch.sampled_mask & False, 1.0)

    plain = PolicyLoss(PolicyGradient())
    both = PolicyLoss(PolicyGradient(), penalties=(ViewDistillation(divergence=kind),))
    bare, _ = updated(plain, none)
    found, reports = updated(both, none)
    assert all(torch.equal(found[name], bare[name]) for name in bare)
    assert reports["policy/view_covered"] == 0.0
    moved, _ = updated(both, lambda policy, batch: view_of(policy, batch, shift=1.0))
    assert not torch.equal(moved["head.weight"], bare["head.weight"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_value_is_the_divergence_of_the_heated_laws_where_the_view_speaks(kind):
    policy = BigramPolicy(dtype=F64)
    batch = small_batch(policy)
    covers = batch.sampled_mask.clone()
    covers[0, 3] = covers[2] = False
    views = view_of(policy, batch, covers, 0.7)
    logits = policy.logits(policy.sampled_states(batch))
    laws = torch.log_softmax(logits / batch.temperature[batch.sampled_mask][:, None], -1)
    chosen = laws.gather(-1, batch.token_ids[batch.sampled_mask][:, None]).squeeze(-1)
    grid = torch.zeros(3, 4, dtype=F64).masked_scatter(batch.sampled_mask, chosen)
    scores = TokenScores(
        grid, grid.detach(), grid.detach(), laws=Laws(policy.sampled_states(batch), policy.logits)
    )
    credit = Advantages(torch.zeros(3, 4, dtype=F64), batch.sampled_mask, torch.zeros(3, dtype=torch.bool), "none")
    part = ViewDistillation(divergence=kind, mix=0.3, top=3)
    values, (metric, share) = part.measured(scores, batch, credit, Evidence(views))
    heat = batch.temperature[covers][:, None]
    told = views["gold"].logits(covers) / heat
    if kind == "sampled":
        ids = batch.token_ids[covers][:, None]
        due = grid[covers] - torch.log_softmax(told, -1).gather(-1, ids).squeeze(-1)
    else:
        due = divergence(logits[covers[batch.sampled_mask]] / heat, told, kind, 0.3, 3)
    torch.testing.assert_close(values[covers], due)
    assert values[~covers].abs().sum() == 0
    assert metric.value == pytest.approx(float(due.detach().mean())) and share.value == pytest.approx(4 / 6)


def test_the_sampled_token_teaches_its_log_ratio_times_its_score():
    policy = BigramPolicy(dtype=F64)
    batch = small_batch(policy)
    grid = torch.full((3, 4), -1.0, dtype=F64).where(batch.sampled_mask, 0.0).requires_grad_()
    scores = TokenScores(grid, grid, grid)
    credit = Advantages(torch.zeros(3, 4, dtype=F64), batch.sampled_mask, torch.zeros(3, dtype=torch.bool), "none")
    values, _ = ViewDistillation(divergence="sampled").measured(
        scores, batch, credit, Evidence(view_of(policy, batch, shift=0.5))
    )
    values.sum().backward()
    torch.testing.assert_close(grid.grad[batch.sampled_mask], values.detach()[batch.sampled_mask])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [1, 5])
def test_cutting_the_batch_or_its_laws_changes_nothing(kind, tokens, monkeypatch):
    objective = Alone(ViewDistillation(divergence=kind, top=3), TokenMean())

    def some(policy, batch):
        covers = batch.sampled_mask.clone()
        covers[1, 2] = False
        return view_of(policy, batch, covers, 0.4)

    whole, said = updated(objective, some)
    monkeypatch.setattr("critica.functional.head.ENTRIES", 7)
    monkeypatch.setattr("critica.functional.head.LEAST_TOKENS", 1)
    cut, cut_said = updated(objective, some, tokens)
    for name in ("policy/view_divergence", "policy/view_covered", "loss/view_distillation", "policy/grad_norm"):
        assert said[name] == pytest.approx(cut_said[name], abs=1e-12)
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, atol=1e-9, rtol=0)


def test_the_price_on_certainty_lowers_what_is_surprising_and_does_nothing_on_average():
    grid = torch.tensor([[0.5, 0.3, 0.2]], dtype=F64).log().requires_grad_()
    scores = TokenScores(grid, grid, grid)
    assert torch.equal(SampledCertainty().values(scores, Evidence()), -grid)
    logits = torch.tensor([0.5, 0.3, 0.2], dtype=F64).log().requires_grad_()
    logs = torch.log_softmax(logits, -1)
    (logs.exp().detach() * -logs).sum().backward()  # over all tokens with their probabilities
    assert logits.grad.abs().max() < 1e-12
    with pytest.raises(ValueError, match="at least 0"):
        SampledCertainty(-0.1)


def test_what_an_objective_asks_for_is_what_its_penalties_ask_for():
    whole, token = ViewDistillation(), ViewDistillation(divergence="sampled")
    for part in (whole, token):
        for objective in (Alone(part), PolicyLoss(PolicyGradient(), penalties=(part,))):
            assert objective.views == part.views and objective.needs == {Views} and not objective.reads_laws
    for wrong in (dict(mix=0.0), dict(mix=1.0), dict(weight=-1.0), dict(top=-1)):
        with pytest.raises(ValueError, match=r"mix is|at least 0"):
            ViewDistillation(**wrong)


def on_the_way(batch, gold):
    """The tokens written where everything before them was right."""
    written = batch.token_ids[:, 1:]
    kept = (written == torch.tensor(gold)).long().cumprod(-1).bool()
    start = torch.ones(len(kept), 1, dtype=torch.bool)
    return torch.cat((start & False, start, kept[:, :-1]), -1)


def worth_after(objective, seed, steps=25, rows=8):
    """The exact worth of a table policy after these steps; the teacher is told the next letter of one right answer."""
    policy, outcome, generator = TablePolicy(), game(seed), torch.Generator().manual_seed(seed)
    gold = next(answer for answer in ANSWERS if outcome[answer])
    told_more = torch.zeros(len(PREFIXES), 3)
    for t, letter in enumerate(gold):
        told_more[PLACE[gold[:t]], letter] = 4.0
    learner = Learner(
        policy, NoBaselineCritic(), objective, (Optimizer(policy.trainable(), Adam(0.05, max_grad_norm=0.0)), None),
        Schedule(1, 1, 1, 2**20), seed,
    )  # fmt: skip
    rates = []
    for step in range(1, steps + 1):
        batch, told = written(policy, outcome, rows, generator)
        covers = on_the_way(batch, gold)
        states = policy.sampled_states(batch).detach()[covers[batch.sampled_mask]]
        table = policy.logits(states).detach() + states @ told_more
        evidence = Evidence(Views((View("gold", table, covers, lambda at: at),)))
        values = NoBaselineCritic().predict(batch, told, evidence)
        credit = Outcome("batch").estimate(
            batch, told, replace(values, mean=values.mean + told.outcome.mean()), evidence
        )
        reports = learner.update(Lesson(batch, told, credit, None, values, evidence), TRAIN, step)
        rates += [metric.value for metric in reports if metric.name == "policy/view_covered"]
    return worth(policy, outcome), rates


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_right_way_is_learned_faster_with_its_next_action_told_to_the_teacher(kind):
    part = ViewDistillation(divergence=kind, top=0, weight=1.0)
    plain, both = PolicyLoss(PolicyGradient()), PolicyLoss(PolicyGradient(), penalties=(part,))
    gains = []
    for seed in (1, 2):
        alone, _ = worth_after(plain, seed)
        helped, covered = worth_after(both, seed)
        gains.append(helped - alone)
        assert covered[0] < covered[-1]  # more and more of its states are on the way
    assert sum(gains) / 2 > 0.05


def test_distillation_alone_finds_the_way_without_any_outcome():
    found, covered = worth_after(Alone(ViewDistillation(divergence="reverse_kl", top=0, weight=1.0)), 1, steps=40)
    assert found > 0.6 and covered[-1] > 0.6
