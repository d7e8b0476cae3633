"""The surprise critic: what it reads, that it learns to see slips, and what it refuses."""

from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.base import CriticContext
from critica.critics.surprise import SurpriseCritic
from critica.critics.targets import MonteCarlo
from critica.functional.reduce import denominator, reduce
from critica.records.evidence import Evidence, HiddenStates
from fakes import BigramPolicy

POLICY = BigramPolicy(width=4, dtype=torch.float32)


def built(**fields):
    return SurpriseCritic(**fields).build(CriticContext(POLICY, 3, 0.0, 1.0))


def evidence_for(batch, seed=1):
    generator = torch.Generator().manual_seed(seed)
    count = int(batch.sampled_mask.sum())
    return Evidence(
        HiddenStates(torch.randn(count, 4, generator=generator), torch.randn(batch.rows, 4, generator=generator))
    )


def test_it_starts_in_the_middle_and_reads_entropy_at_the_sampling_temperature():
    batch = token_batch(["csss", "cs"], [0, 0])
    hot = replace(batch, temperature=torch.full_like(batch.temperature, 2.0))
    evidence, critic = evidence_for(batch), built()
    values = critic.predict(batch, told_batch(batch, [1.0, 0.0]), evidence)
    torch.testing.assert_close(values.mean[batch.sampled_mask], torch.full((4,), 0.5))
    inputs, ends = critic.inputs(hot, evidence[HiddenStates])
    law = torch.softmax(POLICY.logits(evidence[HiddenStates].states) / 2, -1)
    torch.testing.assert_close(inputs[:, 3], -(law * law.log()).sum(-1).detach())
    last = torch.softmax(POLICY.logits(evidence[HiddenStates].bootstrap) / 2, -1)
    torch.testing.assert_close(ends[:, 3], -(last * last.log()).sum(-1).detach())
    torch.testing.assert_close(ends[:, 1], torch.tensor([1.5, 0.5]).log1p())  # every token was written at -log p = 0.5


def test_pieces_of_a_batch_learn_from_what_the_whole_noted():
    batch = token_batch(["csss", "cs", "css"], [0, 0, 1])
    critic = built(states=True)
    critic.predict(batch, told_batch(batch, [1.0, 0.0, 1.0]), evidence_for(batch))
    whole = critic.states(batch)
    pieces = torch.cat([critic.states(batch.select(torch.tensor(rows))) for rows in ([0], [1, 2])])
    assert torch.equal(whole, pieces) and whole.shape == (6, 7 + 4)
    torch.testing.assert_close(whole[:, 7:].mean(-1), torch.zeros(6), atol=1e-5, rtol=0)
    with pytest.raises(KeyError):
        critic.states(replace(batch, trajectory_ids=("a", "b", "c")))


def slips(seed, rows=256, length=6):
    """Answers that fail by tokens which the writer itself found unlikely: each slip leaves a third of the chance."""
    generator = torch.Generator().manual_seed(seed)
    batch = token_batch(["c" + "s" * length] * rows, list(range(rows)))
    slipped = torch.rand(rows, length, generator=generator) < 0.2
    logprobs = torch.zeros(batch.token_ids.shape)
    logprobs[:, 1:] = torch.where(slipped, -3.0, -0.1)
    truth = 0.9 * (1 / 3) ** torch.cat([torch.zeros(rows, 1), slipped.float().cumsum(-1)], -1)
    forecast = truth[:, :-1] * torch.tensor([(1 - 0.2 * 2 / 3) ** (length - t) for t in range(length)])
    won = torch.rand(rows, generator=generator) < truth[:, -1]
    return replace(batch, behavior_logprobs=logprobs), won.float(), forecast


def test_it_learns_what_a_slip_costs_and_nothing_from_silence():
    """The value of a path with slips is (1/3)^slips of one without; a critic that hears no surprise cannot know."""
    errors = {}
    for heard in (True, False):
        critic = built()
        optimizer = torch.optim.Adam([weight for _, weight in critic.trainable()], lr=3e-3)
        for step in range(120):
            batch, won, _ = slips(step)
            batch = batch if heard else replace(batch, behavior_logprobs=torch.zeros_like(batch.behavior_logprobs))
            told = told_batch(batch, won.tolist())
            same = Evidence(HiddenStates(torch.zeros(int(batch.sampled_mask.sum()), 4), torch.zeros(batch.rows, 4)))
            values = critic.predict(batch, told, same)
            targets = MonteCarlo().build(batch, told, values)
            optimizer.zero_grad()
            for term in critic.loss(critic.states(batch), batch, targets, values):
                reduce(term, denominator(term.mask, term.reduction)).backward()
            optimizer.step()
        batch, won, forecast = slips(10_000)
        heard_batch = batch if heard else replace(batch, behavior_logprobs=torch.zeros_like(batch.behavior_logprobs))
        said = critic.predict(heard_batch, told_batch(batch, won.tolist()), same).mean[:, 1:]
        errors[heard] = float((said - forecast).abs().mean())
    assert errors[True] < 0.05 and errors[False] > 0.15, errors


def test_it_says_what_it_cannot_do():
    with pytest.raises(TypeError, match="values a path"):
        built().expect(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="hidden layer"):
        SurpriseCritic(hidden=0)
