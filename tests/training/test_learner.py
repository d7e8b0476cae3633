"""The learner against exact gradients: however a batch is cut, packed or ordered, the update is the same."""

import itertools
from dataclasses import dataclass, replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.gae import Gae
from critica.advantages.outcome import Outcome
from critica.critics.base import CriticContext
from critica.critics.bodies import SharedTrunk
from critica.critics.counted import NoBaselineCritic
from critica.critics.quantile import QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import LambdaMixture, MonteCarlo
from critica.curricula.base import Stage
from critica.objectives.base import Objective
from critica.objectives.mismatch import Truncated
from critica.objectives.penalties import Entropy, ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio, PolicyGradient
from critica.policies.batching import microbatches
from critica.policies.kept import KeptStates
from critica.records.checks import NonFiniteNumbers
from critica.records.evidence import ReferenceLogprobs
from critica.records.losses import Constant, LossTerm, SequenceMeanOfTokenMeans, SequenceMeanOfTokenSums, TokenMean
from critica.training.batching import update_rows
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson
from critica.training.observe import Observer
from critica.training.optimizer import Optimizer
from critica.updaters.gradient import Adam
from fakes import BigramPolicy

TRAIN = Stage("train", policy=True, critic=True)
ROWS = ["ccsss", "ccs", "ccssssss", "cssss", "css", "csssss"]
OUTCOMES = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]


class Descent(Optimizer):
    """Plain gradient descent, so that a test can read the gradient off the weights."""

    def clip(self):
        return 0.0

    def apply(self):
        with torch.no_grad():
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter -= parameter.grad
        self.updates += 1
        self.forget_gradients()


def filled_batch(policy):
    batch = token_batch(ROWS, [0, 0, 0, 1, 1, 1])
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(0, policy.vocabulary, batch.token_ids.shape, generator=generator)
    batch = replace(batch, token_ids=ids, prefix_length=torch.tensor([2, 2, 2, 1, 1, 1]))
    ids[1], ids[2, :2] = ids[1], ids[0, :2]
    ids[1, :2], ids[4, 0], ids[5, 0] = ids[0, :2], ids[3, 0], ids[3, 0]
    grid = torch.zeros(batch.token_ids.shape, dtype=torch.float64)
    return replace(batch, behavior_logprobs=grid.where(~batch.sampled_mask, -1.5), temperature=torch.ones_like(grid))


def moved(objective, tokens, critic_part=None, target=None, advantage=None, schedule=None, keep=False):
    """The weights after one update, and the reports."""
    policy = BigramPolicy(dtype=torch.float64)
    batch = filled_batch(policy)
    told = told_batch(batch, OUTCOMES)
    told = replace(told, per_token=told.per_token.double(), outcome=told.outcome.double())
    needs = objective.needs
    critic = NoBaselineCritic()
    if critic_part is not None:
        critic = critic_part.build(CriticContext(policy, 1, 0.0, 1.0))
        critic.head.double()
        needs = needs | critic.needs
    observer = Observer(policy, needs, tokens)
    observer.kept.tokens = tokens if keep else 0
    evidence = observer.observe((), batch)
    if critic_part is not None:
        critic._checked = True
    values = critic.predict(batch, told, evidence)
    credit = (advantage or Outcome("none")).estimate(batch, told, values, evidence)
    targets = target.build(batch, told, values) if target else None
    optimizers = (
        Descent(policy.trainable(), Adam(1.0)),
        Descent(critic.trainable(), Adam(1.0)) if critic_part is not None else None,
    )
    learner = Learner(
        policy, critic, objective, optimizers, schedule or Schedule(1, 1, 1, tokens), seed=0, kept=observer.kept
    )
    reports = learner.update(Lesson(batch, told, credit, targets, values, evidence), TRAIN, step=1)
    weights = {name: value.detach().clone() for name, value in policy.trainable()}
    if critic_part is not None:
        weights |= {f"critic.{name}": value.detach().clone() for name, value in critic.trainable()}
    return weights, {metric.name: metric.value for metric in reports}


@pytest.mark.parametrize(
    "reduction", [TokenMean(), SequenceMeanOfTokenMeans(), SequenceMeanOfTokenSums(), Constant(tokens=9)]
)
@pytest.mark.parametrize("tokens", [1, 7, 12, 20])
def test_cutting_the_batch_changes_nothing(reduction, tokens):
    objective = PolicyLoss(
        ClippedRatio(),
        reduction=reduction,
        penalties=(ReferenceKl(0.3, "k2"), Entropy(0.05)),
        mismatch=(Truncated(2.0),),
    )
    whole, said = moved(objective, 10_000)
    cut, cut_said = moved(objective, tokens)
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, atol=1e-12, rtol=0)
    assert said["loss/policy"] == pytest.approx(cut_said["loss/policy"], abs=1e-12)
    assert said["policy/entropy"] == pytest.approx(cut_said["policy/entropy"], abs=1e-12)


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize(
    ("part", "target"),
    [
        (lambda body: ScalarCritic(body=body, clip=0.2), MonteCarlo()),
        (lambda body: QuantileCritic(2, 4, 3, body=body), LambdaMixture(1.0, 0.9)),
    ],
)
def test_cutting_changes_no_critic_and_a_detached_trunk_feels_nothing(part, target, detached):
    body = SharedTrunk(detached=detached, weight=0.5)
    objective = PolicyLoss(PolicyGradient())
    whole, _ = moved(objective, 10_000, part(body), target, Gae(1.0, 0.9))
    cut, _ = moved(objective, 6, part(body), target, Gae(1.0, 0.9))
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, atol=1e-12, rtol=0)
    start, _ = moved(objective, 10_000)
    heads = [name for name in whole if name.startswith("critic.")]
    assert any(bool((whole[name] != 0).any()) for name in heads)
    if detached and isinstance(part(body), ScalarCritic):
        # zero head: values are 0, so the policy's update is REINFORCE's with discounted credit, untouched by the critic
        alone, _ = moved(objective, 10_000, part(replace(body, weight=50.0)), target, Gae(1.0, 0.9))
        torch.testing.assert_close(alone["embed.weight"], whole["embed.weight"])
    assert set(start) == {name for name in whole if not name.startswith("critic.")}


def test_expected_reinforce_update_is_the_gradient_of_the_expected_reward():
    """Every sequence of two tokens over three symbols, weighted by its probability: the update is exact."""
    policy = BigramPolicy(vocabulary=3, width=2, seed=4)
    reward = torch.rand(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def law():
        logp = torch.log_softmax(policy.model["head"](policy.model["embed"].weight), -1)
        return logp[0][:, None] + logp

    expected = (law().exp() * reward).sum()
    exact = torch.autograd.grad(expected, [weight for _, weight in policy.trainable()])
    start = [weight.detach().clone() for _, weight in policy.trainable()]
    probability = law().exp().detach()
    total = [torch.zeros_like(weight) for weight in start]
    for first, second in itertools.product(range(3), repeat=2):
        batch = token_batch(["css"], [0])
        grid = batch.behavior_logprobs.double()
        batch = replace(
            batch,
            token_ids=torch.tensor([[0, first, second]]),
            behavior_logprobs=grid,
            temperature=torch.ones_like(grid),
        )
        told = told_batch(batch, [float(reward[first, second])])
        told = replace(told, per_token=told.per_token.double(), outcome=told.outcome.double())
        told.per_token[0, 2, 0] = reward[first, second]
        observer = Observer(policy, frozenset(), 100)
        evidence = observer.observe((), batch)
        values = NoBaselineCritic().predict(batch, told, evidence)
        credit = Outcome("none").estimate(batch, told, values, evidence)
        objective = PolicyLoss(PolicyGradient(), SequenceMeanOfTokenSums(), mismatch=())
        learner = Learner(
            policy,
            NoBaselineCritic(),
            objective,
            (Descent(policy.trainable(), Adam(1.0)), None),
            Schedule(1, 1, 1, 99),
            0,
        )
        learner.update(Lesson(batch, told, credit, None, values, evidence), TRAIN, 1)
        with torch.no_grad():
            for sum_, begin, (_, weight) in zip(total, start, policy.trainable(), strict=True):
                sum_ += probability[first, second] * (weight - begin)
                weight.copy_(begin)
    for sum_, gradient in zip(total, exact, strict=True):
        torch.testing.assert_close(sum_, gradient, atol=1e-12, rtol=0)


@dataclass(frozen=True, slots=True)
class SpreadOfSiblings(Objective):
    """Half the squared gaps between the log-probs of all pairs of siblings: no sum over rows."""

    @property
    def needs(self):
        return frozenset()

    @property
    def couples_rows(self):
        return True

    def masks(self, credit, told):
        return {"gaps": credit.mask}

    def terms(self, scores, batch, credit, evidence, told):
        totals = (scores.policy_logprobs * credit.mask).sum(-1)
        gaps = totals[:, None] - totals[None, :]
        apart = batch.group_index[:, None] == batch.group_index[None, :]
        return (LossTerm("gaps", gaps.square() / 2, apart, 1.0, TokenMean()),), ()


@pytest.mark.parametrize("tokens", [1, 7, 12])
def test_a_loss_that_couples_rows_does_not_feel_the_cuts(tokens):
    whole, said = moved(SpreadOfSiblings(), 10_000)
    cut, cut_said = moved(SpreadOfSiblings(), tokens)
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, atol=1e-12, rtol=0)
    start = {name: weight.detach() for name, weight in BigramPolicy(dtype=torch.float64).trainable()}
    assert not torch.equal(whole["embed.weight"], start["embed.weight"])
    assert said["loss/gaps"] == pytest.approx(cut_said["loss/gaps"], abs=1e-12)
    assert said["loss/gaps"] > 0


def test_several_updates_use_the_log_probs_from_before_the_first():
    objective = PolicyLoss(ClippedRatio(low=0.2, high=0.2), mismatch=())
    _, once = moved(objective, 10_000)
    assert once["policy/clip_fraction"] == 0.0  # on-policy: the ratio is 1


def test_pieces_keep_siblings_together_and_cover_every_row_once():
    batch = token_batch(ROWS, [0, 0, 0, 1, 1, 1])
    for tokens in (1, 5, 9, 14, 1000):
        pieces = microbatches(batch, torch.arange(6), tokens)
        assert sorted(torch.cat(pieces).tolist()) == list(range(6))
    assert [piece.tolist() for piece in microbatches(batch, torch.arange(6), 1000)] == [list(range(6))]
    dealt = update_rows(batch, 2, torch.Generator().manual_seed(0))
    assert sorted(tuple(rows.tolist()) for rows in dealt) == [(0, 1, 2), (3, 4, 5)]


def test_a_gradient_that_is_not_finite_moves_nothing():
    policy = BigramPolicy(dtype=torch.float32)
    optimizer = Optimizer(policy.trainable(), Adam(0.1))
    before = [weight.detach().clone() for weight in optimizer.parameters]
    for weight in optimizer.parameters:
        weight.grad = torch.full_like(weight, float("nan"))
    with pytest.raises(NonFiniteNumbers, match=r"the gradient of embed\.weight and 2 others"):
        optimizer.clip()
    assert optimizer.updates == 0
    assert all(torch.equal(a, b) for a, b in zip(before, optimizer.parameters, strict=True))


def test_optimizer_state_round_trips_bit_for_bit():
    policies = [BigramPolicy(dtype=torch.float32) for _ in range(2)]
    optimizers = [Optimizer(policy.trainable(), Adam(0.05, warmup_steps=4)) for policy in policies]

    def advance(policy, optimizer, steps):
        for i in range(steps):
            (policy.model["head"](policy.model["embed"].weight).square().sum() * (i + 1)).backward()
            optimizer.clip()
            optimizer.apply()

    advance(policies[0], optimizers[0], 3)
    policies[1].model.load_state_dict(policies[0].model.state_dict())
    optimizers[1].load_tensors(optimizers[0].tensors())
    for pair in zip(policies, optimizers, strict=True):
        advance(*pair, 2)
    assert optimizers[0].rate == optimizers[1].rate
    for first, second in zip(policies[0].trainable(), policies[1].trainable(), strict=True):
        assert torch.equal(first[1], second[1])


def test_reference_logprobs_stay_where_the_run_began():
    policy = BigramPolicy(dtype=torch.float64)
    batch = filled_batch(policy)
    observer = Observer(policy, frozenset({ReferenceLogprobs}), 8)
    before = observer.observe((), batch)[ReferenceLogprobs].logprobs
    with torch.no_grad():
        policy.model["head"].weight.add_(1.0)
    assert torch.equal(observer.observe((), batch)[ReferenceLogprobs].logprobs, before)


@pytest.mark.parametrize("detached", [True, False])
def test_a_forward_pass_kept_from_the_prediction_gives_the_same_update(detached):
    part, target = ScalarCritic(body=SharedTrunk(detached=detached, weight=0.5)), MonteCarlo()
    objective = PolicyLoss(PolicyGradient(), penalties=(Entropy(0.1),))
    anew, _ = moved(objective, 10_000, part, target, Gae(1.0, 0.9))
    kept, _ = moved(objective, 10_000, part, target, Gae(1.0, 0.9), keep=True)
    for name, value in anew.items():
        torch.testing.assert_close(kept[name], value, atol=1e-13, rtol=0)


def test_kept_states_belong_to_one_batch_and_are_taken_once():
    store, batch, other = KeptStates(), token_batch(["cs"], [0]), token_batch(["cs"], [0])
    store.keep(batch, torch.ones(1, 2))
    assert store.take(other) is None and store.take(batch) is None
    store.keep(batch, torch.ones(1, 2))
    assert torch.equal(store.take(batch), torch.ones(1, 2)) and store.take(batch) is None
