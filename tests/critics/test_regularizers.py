"""VRPO's regularizers: what they reduce to, where their gradients go, and whether they absorb noise."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from arrays import token_batch, told_batch
from critica.critics.base import CriticContext
from critica.critics.bodies import SharedTrunk
from critica.critics.bottleneck import Bottleneck, BottleneckLayer
from critica.critics.learned import LearnedCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.semantic import SemanticAnchor
from critica.critics.targets import MonteCarlo
from critica.functional.bottleneck import gaussian_kl, noisy_code
from critica.records.arrays import ValuePrediction, scatter_sampled
from critica.records.evidence import Evidence, HiddenStates
from fakes import BigramPolicy

TRUNK = SharedTrunk(detached=False)


def batch_and_states(policy):
    batch = token_batch(["csssss", "cssss."], [0, 1])
    ids = torch.randint(0, policy.vocabulary, batch.token_ids.shape, generator=torch.Generator().manual_seed(1))
    batch = replace(batch, token_ids=ids)
    states, ends = policy.sampled_and_final_states(batch)
    return batch, states, HiddenStates(states.detach().float(), ends.detach().float())


def live(part, policy, seed=0) -> LearnedCritic:
    made = part.build(CriticContext(policy, seed, 0.0, 1.0))
    assert isinstance(made, LearnedCritic)
    return made


def loss_terms(critic, batch, states):
    told = told_batch(batch, [1.0, 0.0])
    grid = torch.zeros(batch.token_ids.shape)
    values = ValuePrediction(grid, batch.sampled_mask, torch.zeros(batch.rows))
    targets = MonteCarlo().build(batch, told, values)
    return {term.name: term for term in critic.loss(states, batch, targets, values)}


def test_without_noise_and_weights_it_is_a_plain_two_layer_critic():
    """Shared weights, the log-variance at its floor: equal predictions bit for bit, losses up to the floor's noise."""
    policy = BigramPolicy()
    batch, states, evidence = batch_and_states(policy)
    part = ScalarCritic(TRUNK, hidden=4, regularizers=(SemanticAnchor(weight=0.0), Bottleneck(6, weight=0.0)))
    critic = live(part, policy)
    layer = critic.shapers[1]
    with torch.no_grad():
        layer.logvar.weight.zero_()
        layer.logvar.bias.fill_(-1e9)
        critic.head[2].weight.normal_(generator=torch.Generator().manual_seed(2))
    plain = nn.Sequential(layer.mean, *critic.head)
    expected = scatter_sampled(plain(evidence.states).squeeze(-1), batch.sampled_mask)
    told = told_batch(batch, [1.0, 0.0])
    critic._checked = True
    predicted = critic.predict(batch, told, Evidence(evidence))
    assert torch.equal(predicted.mean, expected.detach())
    terms = loss_terms(critic, batch, states.float())
    assert set(terms) == {"value"}
    outcome = torch.tensor([[1.0], [0.0]])
    wanted = (0.5 * (expected - outcome).square())[batch.sampled_mask]
    assert torch.allclose(terms["value"].values[batch.sampled_mask], wanted, atol=0.05)
    assert not torch.equal(terms["value"].values[batch.sampled_mask], wanted)  # the floor is exp(-5), not nothing


def test_the_head_of_the_policy_takes_no_gradient_and_certain_tokens_give_none():
    policy = BigramPolicy()
    batch, states, _ = batch_and_states(policy)
    critic = live(ScalarCritic(TRUNK, regularizers=(SemanticAnchor(weight=1.0, share=0.8),)), policy)
    states = states.detach().float().requires_grad_()
    term = loss_terms(critic, batch, states)["semantic"]
    assert 0 < term.mask.sum() < batch.sampled_mask.sum()
    (term.values * term.mask).sum().backward()
    assert all(weight.grad is None for weight in policy.model["head"].parameters())
    assert not list(critic.shapers.parameters())
    moved = states.grad.abs().sum(-1) > 0
    assert torch.equal(moved, term.mask[batch.sampled_mask])
    loss = torch.log_softmax(policy.logits(states.detach().double()), -1)
    ids = batch.token_ids[batch.sampled_mask]
    wanted = -loss.gather(-1, ids[:, None]).squeeze(-1) - (loss.exp() * loss).sum(-1)
    assert torch.allclose(term.values[batch.sampled_mask].double(), wanted, atol=1e-5)  # the token after its own state


def test_the_anchor_is_a_copy_of_the_first_policy():
    policy = BigramPolicy()
    batch, states, _ = batch_and_states(policy)
    critic = live(ScalarCritic(TRUNK, regularizers=(SemanticAnchor(),)), policy)
    before = loss_terms(critic, batch, states.float())["semantic"].values.clone()
    with torch.no_grad():
        policy.model["head"].weight.add_(1.0)
    assert torch.equal(loss_terms(critic, batch, states.float())["semantic"].values, before)


def test_the_bottleneck_is_noisy_in_training_only_and_cutting_a_batch_changes_no_draw():
    policy = BigramPolicy()
    batch, states, evidence = batch_and_states(policy)
    critic = live(ScalarCritic(TRUNK, regularizers=(Bottleneck(3, weight=0.5),)), policy, seed=4)
    with torch.no_grad():
        critic.head.weight.fill_(1.0)
    told = told_batch(batch, [1.0, 0.0])
    critic._checked = True
    first, second = (critic.predict(batch, told, Evidence(evidence)).mean for _ in range(2))
    assert torch.equal(first, second)
    layer = critic.shapers[0]
    whole = layer.noise(batch)
    parts = torch.cat([layer.noise(batch.select(torch.tensor([row]))) for row in range(2)])
    assert torch.equal(whole, parts) and whole.shape == (9, 3)
    assert abs(float(whole.mean())) < 1 and 0.5 < float(whole.std()) < 1.5
    terms = loss_terms(critic, batch, states.float())
    mean, logvar = layer.encode(states.float())
    assert torch.allclose(terms["bottleneck_kl"].values[batch.sampled_mask], gaussian_kl(mean, logvar))
    assert terms["bottleneck_kl"].weight == 0.5
    drawn = scatter_sampled(noisy_code(mean, logvar, whole).sum(-1), batch.sampled_mask)
    told_grid = torch.tensor([[1.0], [0.0]])
    assert torch.allclose(
        terms["value"].values[batch.sampled_mask], (0.5 * (drawn - told_grid).square())[batch.sampled_mask], atol=1e-5
    )


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="detached trunk"):
        ScalarCritic(SharedTrunk(), regularizers=(SemanticAnchor(),))
    with pytest.raises(ValueError, match="put it first"):
        ScalarCritic(regularizers=(Bottleneck(), SemanticAnchor()))
    with pytest.raises(ValueError, match="twice"):
        ScalarCritic(regularizers=(Bottleneck(), Bottleneck(4)))
    with pytest.raises(ValueError, match="latent"):
        Bottleneck(latent=0)
    with pytest.raises(ValueError, match="share"):
        SemanticAnchor(share=1.5)


def test_the_regularized_critic_is_saved_whole(tmp_path):
    policy = BigramPolicy()
    batch, _, evidence = batch_and_states(policy)
    part = ScalarCritic(TRUNK, hidden=4, regularizers=(SemanticAnchor(), Bottleneck(6)))
    critic, other = live(part, policy, seed=0), live(part, policy, seed=9)
    with torch.no_grad():
        critic.head[2].weight.fill_(0.1)
    critic.save(tmp_path)
    other.load(tmp_path)
    told = told_batch(batch, [1.0, 0.0])
    critic._checked = True
    means = [made.predict(batch, told, Evidence(evidence)).mean for made in (critic, other)]
    assert torch.equal(*means) and bool(means[0].any())


def absorbed(weight: float, flips: float, seed: int, noisy: bool = True) -> tuple[float, float]:
    """(error to the clean expectation on fresh data, share of the nuisance that a line can read from the code).

    Features are 4 directions of signal and 60 of nuisance; the outcome is a half-space of the signal, flipped with
    probability `flips`. 400 samples and 400 updates: a critic of this size can learn every flip by heart.
    """
    source = torch.Generator().manual_seed(seed)
    x, fresh = torch.randn(400, 64, generator=source), torch.randn(3000, 64, generator=source)
    told = (x[:, 0] + 0.7 * x[:, 1] - 0.5 * x[:, 3] > 0).float()
    told = torch.where(torch.rand(400, generator=source) < flips, 1 - told, told)
    layer = BottleneckLayer(Bottleneck(32, weight), seed, 64)
    head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    for part in (head[0], head[2]):
        nn.init.normal_(part.weight, std=32**-0.5, generator=source)
        nn.init.zeros_(part.bias)

    def code(states):
        mean, logvar = layer.encode(states)
        noise = torch.randn(mean.shape, generator=source)
        return (noisy_code(mean, logvar, noise) if noisy else mean), gaussian_kl(mean, logvar).mean()

    adam = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(400):
        z, cost = code(x)
        loss = 0.5 * (head(z).squeeze(-1) - told).square().mean() + weight * cost
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        truth = (fresh[:, 0] + 0.7 * fresh[:, 1] - 0.5 * fresh[:, 3] > 0).float() * (1 - 2 * flips) + flips
        error = (head(layer.settle(fresh)).squeeze(-1) - truth).square().mean().item()
        z = torch.cat([code(fresh)[0], torch.ones(3000, 1)], 1)
        line = torch.linalg.lstsq(z[:1500], fresh[:1500, 4:]).solution
        left = (fresh[1500:, 4:] - z[1500:] @ line).square().mean()
    return error, 1 - left.item()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_bottleneck_absorbs_flips(seed):
    """VRPO's claim on the synthetic task of the notes: measured at flips of .3, and the negative case without noise."""
    plain, nuisance = absorbed(0.0, 0.3, seed, noisy=False)
    shaped, left = zip(*(absorbed(weight, 0.3, seed) for weight in (1e-3, 1e-2)), strict=True)
    assert shaped[1] < 0.6 * plain and shaped[0] < plain
    assert nuisance > left[0] + 0.1 > left[1] + 0.1
    assert absorbed(1e-3, 0.0, seed)[0] <= absorbed(0.0, 0.0, seed, noisy=False)[0]
