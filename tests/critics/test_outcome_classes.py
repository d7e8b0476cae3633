"""CodeRL's critic and credit: chances of endings, by hand and against counting; equal outcomes teach nothing."""

from dataclasses import replace

import pytest
import torch

from critica.advantages.outcome_confidence import OutcomeConfidence
from critica.critics.base import CriticContext
from critica.critics.bodies import SharedTrunk
from critica.critics.outcome_classes import OutcomeClasses, class_of
from critica.functional.reduce import reduce
from critica.records.arrays import Scalar
from critica.records.evidence import Evidence, HiddenStates
from critica.records.supervision import Reward, Scored
from critica.rewards.program_outcome import ProgramOutcome
from critica.rewards.verdicts import Report, Verdict
from critica.rollout.place import Placement, place
from fakes import BigramPolicy
from policies.policies_fixtures import token_batch

ENDINGS = (-1.0, -0.6, -0.3, 1.0)


class Anything:
    low, high = -1.0, 1.0


def lesson(outcomes, tokens=((1, 2, 3), (1, 4), (5, 6, 2), (3, 3))):
    rows = [[(0, "c"), *((t, "s") for t in row)] for row in tokens]
    batch = token_batch(rows, [0, 0, 1, 1], [1] * 4)
    rewards = tuple(
        Reward("r", name, Scored(value)) for name, value in zip(batch.trajectory_ids, outcomes, strict=True)
    )
    return batch, place(rewards, batch, Evidence(), Placement(), Anything())


def built(**settings):
    policy = BigramPolicy()
    return policy, OutcomeClasses(body=SharedTrunk(), **settings).build(CriticContext(policy, 0, -1.0, 1.0))


def evidence_of(policy, batch):
    with torch.no_grad():
        return Evidence(HiddenStates(*policy.sampled_and_final_states(batch)))


def test_it_starts_at_equal_chances():
    policy, critic = built()
    batch, told = lesson((1.0, -0.6, -1.0, -0.3))
    values = critic.predict(batch, told, evidence_of(policy, batch))
    assert torch.allclose(values.mean[batch.sampled_mask], torch.tensor(-0.225).expand(10).to(values.mean))
    assert torch.allclose(values.law.probs[batch.sampled_mask], torch.tensor(0.25).to(values.mean))


def test_it_converges_to_the_share_of_each_ending_after_each_token():
    """The policy's states are those of the last token alone, so the truth is counted: endings among rows, by token."""
    policy, critic = built()
    batch, told = lesson((1.0, -0.6, -1.0, -1.0), tokens=((1, 2, 3), (1, 4, 4), (5, 2, 2), (1, 2, 3)))
    states, targets = policy.sampled_states(batch).detach(), told.total[:, None].expand(4, 4)
    taught = Scalar(targets.where(batch.sampled_mask, 0.0), batch.sampled_mask)
    values = critic.predict(batch, told, evidence_of(policy, batch))
    optimizer = torch.optim.LBFGS(critic.head.parameters(), max_iter=400, tolerance_grad=1e-9)

    def closure():
        optimizer.zero_grad()
        (term,) = critic.loss(states, batch, taught, values)
        loss = reduce(term, float(batch.sampled_mask.sum()))
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    found = critic.predict(batch, told, evidence_of(policy, batch)).law.probs[batch.sampled_mask][:, 0]
    before = batch.token_ids[:, :-1][batch.sampled_mask[:, 1:]]
    rows = batch.sampled_mask.nonzero()[:, 0]
    ended = class_of(told.total, torch.tensor(ENDINGS))[rows]
    for token in before.unique():
        here = ended[before == token]
        wanted = torch.bincount(here, minlength=4).double() / len(here)
        assert torch.allclose(found[before == token].double(), wanted.expand(len(here), 4), atol=0.02)


def test_the_pooled_loss_is_that_of_the_largest_logits_of_the_answer():
    policy, critic = built(pooling="max")
    with torch.no_grad():
        critic.head.weight.normal_(generator=torch.Generator().manual_seed(1))
    batch, told = lesson((1.0, -0.6, -1.0, -0.3))
    taught = Scalar(told.total[:, None].expand_as(batch.token_ids).where(batch.sampled_mask, 0.0), batch.sampled_mask)
    states = policy.sampled_states(batch).detach()
    values = critic.predict(batch, told, evidence_of(policy, batch))
    (term,) = critic.loss(states, batch, taught, values)
    row = batch.sampled_mask.nonzero()[:, 0]
    logits = critic.head(states.float())
    for n, label in enumerate((3, 1, 0, 2)):
        by_hand = -logits[row == n].amax(0).log_softmax(-1)[label]
        assert torch.allclose(term.values[n][batch.sampled_mask[n]], by_hand.to(term.values))


def test_a_reward_between_the_classes_is_an_error():
    with pytest.raises(ValueError, match=r"critic\.rewards"):
        class_of(torch.tensor([0.2]), torch.tensor(ENDINGS))
    with pytest.raises(ValueError, match="higher than the one before"):
        OutcomeClasses(rewards=(1.0, 0.0))


def credit(outcomes, sharp=True):
    policy, critic = built()
    if sharp:
        with torch.no_grad():
            critic.head.weight.normal_(generator=torch.Generator().manual_seed(2))
    batch, told = lesson(outcomes)
    evidence = evidence_of(policy, batch)
    values = critic.predict(batch, told, evidence)
    return batch, OutcomeConfidence().estimate(batch, told, values, evidence).advantage, policy, critic


def test_credit_is_the_chance_after_the_token_of_what_came_times_the_relative_outcome():
    batch, advantage, policy, critic = credit((1.0, -0.6, -1.0, -0.3))
    relative = torch.tensor([1.6, -1.6, -0.7, 0.7])
    for n, own in enumerate((3, 1, 0, 2)):
        ids = batch.token_ids[n][batch.sampled_mask[n]]
        after = critic.head(policy.model["embed"](ids).float()).softmax(-1)[:, own]
        assert torch.allclose(advantage[n][batch.sampled_mask[n]].float(), (relative[n] * after).float(), atol=1e-5)


def test_equal_outcomes_teach_nothing():
    assert float(credit((1.0, 1.0, -0.6, -0.6))[1].abs().max()) == 0.0


def test_the_worst_ending_of_a_program_decides():
    endings = ProgramOutcome()
    broken = Verdict("error", "exit status 1: SyntaxError: invalid syntax")
    raised, wrong, passed = Verdict("error", "raised ZeroDivisionError"), Verdict("wrong"), Verdict("passed")
    cases = {
        (passed, passed): 1.0, (passed, wrong): -0.3, (wrong, raised): -0.6, (broken, broken): -1.0,
        (passed, Verdict("timeout", "5 s"), Verdict("not_run")): -0.6, (Verdict("memory"),): -0.6,
        (Verdict("error", "raised SyntaxError: from eval"),): -0.6,
        (Verdict("error", "the program contains a null character"),): -1.0,
    }  # fmt: skip
    assert [endings.value(Report(verdicts)) for verdicts in cases] == list(cases.values())
    with pytest.raises(ValueError, match="worst case"):
        ProgramOutcome(tests=replace(ProgramOutcome().tests, partial=True))
