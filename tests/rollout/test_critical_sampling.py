"""Critical sampling: where answers are cut, what is resumed, and that it finds what plain sampling does not."""

from dataclasses import replace

import pytest
import torch

from critica.critics.base import CriticContext, ValueCritic
from critica.critics.counted import GroupMean
from critica.policies.base import SampleLimits
from critica.records.arrays import ValuePrediction, scatter_sampled
from critica.records.evidence import Groups
from critica.records.words import Message, StopReason, Task
from critica.rollout.critical_sampling import (
    Asked,
    Candidate,
    CannotRepair,
    CriticalSampling,
    chosen,
    critical_sample,
    plain_sample,
    seeds_of,
)
from fakes import BigramPolicy

LIMITS = SampleLimits(4)
WANTED = (2, 5, 1, 3)


def candidate(values, passes=False, round_=0):
    ids = tuple(range(len(values) - 1))
    return Candidate(ids, (0.0,) * len(ids), StopReason.TOKEN_LIMIT, "", passes, tuple(values), round_)


class Knows(ValueCritic):
    """V of a prefix: how many of its first tokens are right, if all are; `sign` -1 has it backwards."""

    def __init__(self, sign=1.0):
        self.sign = sign

    def predict(self, batch, told, evidence):
        flat, ends = [], []
        for row in range(batch.rows):
            ids = batch.token_ids[row][batch.sampled_mask[row]].tolist()
            after = [self._value(ids[: t + 1]) for t in range(len(ids))]
            flat += [self._value([]), *after[:-1]]
            ends.append(after[-1])
        mean = scatter_sampled(torch.tensor(flat), batch.sampled_mask)
        return ValuePrediction(mean, batch.sampled_mask, bootstrap=torch.tensor(ends))

    def _value(self, ids):
        right = 0
        while right < len(ids) and ids[right] == WANTED[right]:
            right += 1
        return self.sign * (right / 4 if right == len(ids) else 0.5 * right / 4)


def task(name):
    return Task(name, "words", (Message("user", name),), "", {}, 0)


def passes(asked, text):
    return text == "".join(chr(97 + i) for i in WANTED)


def test_the_cut_is_where_the_critic_believes_most_and_never_at_the_end():
    assert candidate([0.1, 0.6, 0.6, 0.9]).cut == 1
    assert candidate([0.7, 0.6, 0.6, 0.1]).cut == 0
    assert candidate([0.2, 0.3, 0.4, 0.1]).cut == 2
    assert candidate([0.3, 0.9]).cut == 0


def test_what_passes_is_refined_and_only_without_it_the_best_failures_are_resumed():
    low, mid, high = candidate([0.1, 0.2]), candidate([0.5, 0.2]), candidate([0.9, 0.2])
    plan = CriticalSampling(samples=4, seeds=2)
    assert seeds_of(plan, [low, mid, high]) == (high, mid)
    won = candidate([0.05, 0.1], passes=True)
    assert seeds_of(plan, [low, won, high]) == (won,)
    assert chosen([high, won, low]) is won
    assert chosen([low, replace(mid, values=(0.5, 0.3))]).values[-1] == 0.3


PLAN = CriticalSampling(samples=12, rounds=4, seeds=2)


def solved(critic, tasks=24, plan=PLAN):
    policy = BigramPolicy()
    found = critical_sample(plan, Asked(policy, critic, passes, LIMITS, 5), [task(f"word {i}") for i in range(tasks)])
    assert all(len(row) == plan.plain for row in found)
    return policy, found


def test_every_continuation_keeps_its_seeds_tokens_to_the_cut_and_is_written_by_the_policy_after():
    policy, found = solved(Knows())
    for row in found:
        for made in row:
            assert len(made.token_ids) == 4
            if made.round:
                earlier = [c for c in row if c.round < made.round]
                assert any(
                    c.token_ids[: made.kept] == made.token_ids[: made.kept] and c.cut == made.kept for c in earlier
                )
            before = (policy.encode([Message("user", "word 0")])[-1], *made.token_ids[:-1])
            if row is found[0]:
                logits = policy.logits(policy.model["embed"](torch.tensor(before)))
                logprobs = logits.log_softmax(-1)[range(4), list(made.token_ids)]
                assert torch.allclose(logprobs, torch.tensor(made.logprobs, dtype=logprobs.dtype), atol=1e-6)


def test_with_a_critic_that_knows_it_solves_what_as_many_plain_answers_do_not():
    """One answer in 7^4 or so is right; four resumed rounds from the longest right prefix find most of them."""
    _, found = solved(Knows())
    _, backwards = solved(Knows(sign=-1.0))
    plain = CriticalSampling(samples=60, rounds=1, seeds=1)
    _, many = solved(Knows(), plan=plain)
    share = [sum(chosen(row[:60]).passes for row in rows) / len(rows) for rows in (found, backwards, many)]
    assert share[0] > 0.25
    assert share[1] <= share[0] / 3 and share[2] <= share[0] / 3


def test_it_says_the_same_again_and_refuses_what_it_cannot_ask():
    assert solved(Knows(), tasks=3)[1] == solved(Knows(), tasks=3)[1]
    needy = Knows()
    needy.needs = frozenset({Groups})
    with pytest.raises(CannotRepair, match="more than an answer's tokens"):
        solved(needy)
    counted = GroupMean().build(CriticContext(BigramPolicy(), 0, 0.0, 1.0))
    with pytest.raises(CannotRepair, match="before its outcome is known"):
        solved(counted)
    with pytest.raises(ValueError, match="not so many"):
        CriticalSampling(samples=2, seeds=3)


def test_a_tasks_candidates_do_not_depend_on_the_tasks_beside_it_and_begin_like_plain_answers(monkeypatch):
    """Also where tasks come in waves, and whatever room the seeds leave."""
    plan, asked = CriticalSampling(samples=3, rounds=2, seeds=2), Asked(BigramPolicy(), Knows(), passes, LIMITS, 5)
    tasks = [task(f"word {i}") for i in range(7)]
    together = critical_sample(plan, asked, tasks)
    alone = tuple(critical_sample(plan, asked, [one])[0] for one in tasks)
    monkeypatch.setattr("critica.rollout.critical_sampling.TOGETHER", 3)
    assert together == alone == critical_sample(plan, asked, tasks)
    plain = plain_sample(plan.plain, asked, tasks)
    assert all(len(row) == 9 and row[:3] == made[:3] for row, made in zip(plain, together, strict=True))
    assert len({made.kept for row in together for made in row if made.round}) > 1
