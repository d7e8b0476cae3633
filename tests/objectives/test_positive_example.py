"""VAPO's positive-example loss: who is imitated, what it is divided by, and that without positives it is not there."""

from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.counted import NoBaselineCritic
from critica.curricula.base import Stage
from critica.functional.logprobs import token_logprobs
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.positive_example import PositiveExamples
from critica.objectives.surrogates import PolicyGradient
from critica.records.arrays import Advantages
from critica.records.evidence import Evidence
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson
from critica.training.optimizer import Optimizer
from critica.updaters.gradient import Adam
from fakes import BigramPolicy

STAGE = Stage("train", policy=True, critic=True)


def lesson_of(outcomes, credit=0.0):
    batch = token_batch(["cssss", "css..", "csss."], [0, 1, 2])
    ids = torch.randint(0, 7, batch.token_ids.shape, generator=torch.Generator().manual_seed(0))
    batch = replace(batch, token_ids=ids, behavior_logprobs=batch.behavior_logprobs.double())
    told = told_batch(batch, outcomes)
    flat = torch.zeros(3, dtype=torch.bool)
    advantage = torch.where(batch.sampled_mask, credit, 0.0).double()
    values = NoBaselineCritic().predict(batch, told, Evidence())
    return Lesson(batch, told, Advantages(advantage, batch.sampled_mask, flat, "test"), None, values, Evidence())


def moved(lesson, penalties, tokens=10_000):
    """(loss by name, gradient step) of one update without momentum."""
    policy = BigramPolicy()
    before = {name: weight.detach().clone() for name, weight in policy.trainable()}
    objective = PolicyLoss(PolicyGradient(), mismatch=(), penalties=penalties)
    optimizer = Optimizer(policy.trainable(), Adam(1e-3, max_grad_norm=0.0))
    learner = Learner(policy, NoBaselineCritic(), objective, (optimizer, None), Schedule(1, 1, 1, tokens), 0)
    losses = {metric.name: metric.value for metric in learner.update(lesson, STAGE, 1)}
    return losses, {name: weight.detach() - before[name] for name, weight in policy.trainable()}


def test_the_loss_is_the_mean_over_positive_tokens_alone():
    lesson = lesson_of([1.0, 0.0, 0.5])
    losses, _ = moved(lesson, (PositiveExamples(weight=0.1),))
    policy, mask = BigramPolicy(), lesson.batch.sampled_mask
    logs = token_logprobs(
        policy.logits(policy.sampled_states(lesson.batch)), lesson.batch.token_ids[mask], torch.ones(int(mask.sum()))
    )
    rows = mask.nonzero()[:, 0]
    wanted = -float(logs.detach()[rows != 1].mean())  # over 4 + 3 tokens, not 9
    assert losses["loss/positive_examples"] == pytest.approx(wanted)


def test_cutting_the_step_into_pieces_changes_nothing():
    lesson = lesson_of([1.0, None, 0.5], credit=0.3)
    whole, cut = (moved(lesson, (PositiveExamples(),), tokens) for tokens in (10_000, 4))
    assert whole[0]["loss/positive_examples"] == pytest.approx(cut[0]["loss/positive_examples"], rel=1e-9)
    assert all(torch.allclose(whole[1][name], cut[1][name], atol=1e-12) for name in whole[1])


def test_without_positives_or_weight_it_is_not_there_bit_for_bit():
    wrong = lesson_of([0.0, None, 0.0], credit=0.7)
    plain, shaped = moved(wrong, ()), moved(wrong, (PositiveExamples(),))
    assert all(torch.equal(plain[1][name], shaped[1][name]) for name in plain[1])
    right = lesson_of([1.0, 1.0, 1.0], credit=0.7)
    assert all(torch.equal(*pair) for pair in zip(
        moved(right, ())[1].values(), moved(right, (PositiveExamples(weight=0.0),))[1].values(), strict=True
    ))  # fmt: skip
    assert not all(torch.equal(*pair) for pair in zip(
        moved(right, ())[1].values(), moved(right, (PositiveExamples(),))[1].values(), strict=True
    ))  # fmt: skip


def test_it_makes_right_answers_likelier():
    lesson = lesson_of([1.0, 0.0, 0.0])
    _, step = moved(lesson, (PositiveExamples(weight=1.0),))
    policy = BigramPolicy()
    mask = lesson.batch.sampled_mask

    def score():
        logits = policy.logits(policy.sampled_states(lesson.batch))
        logs = token_logprobs(logits, lesson.batch.token_ids[mask], torch.ones(int(mask.sum())))
        return float(logs.detach()[mask.nonzero()[:, 0] == 0].sum())

    before = score()
    with torch.no_grad():
        for name, weight in policy.trainable():
            weight.add_(step[name])
    assert score() > before


def test_a_threshold_and_an_unknown_outcome():
    told = lesson_of([1.0, None, 0.5]).told
    assert PositiveExamples().rows(told).tolist() == [True, False, True]
    assert PositiveExamples(above=0.6).rows(told).tolist() == [True, False, False]
    with pytest.raises(ValueError, match="negative"):
        PositiveExamples(weight=-1.0)
