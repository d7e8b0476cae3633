"""Supervised fine-tuning: hand-computed losses, who counts, and what it reduces to."""

import math
from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.counted import NoBaselineCritic
from critica.curricula.base import Stage
from critica.functional import head
from critica.objectives.cross_entropy import CrossEntropyLoss
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.records.arrays import Advantages
from critica.records.evidence import Evidence
from critica.records.losses import SequenceMeanOfTokenMeans
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson
from critica.training.optimizer import Optimizer
from critica.updaters.gradient import Adam
from fakes import BigramPolicy

STAGE = Stage("train", policy=True, critic=True)
ROWS = ["cssss", "css..", "ccss.", "csss."]


def lesson_of(worth, advantage=None):
    batch = token_batch(ROWS, [0, 1, 2, 3])
    ids = torch.randint(0, 7, batch.token_ids.shape, generator=torch.Generator().manual_seed(0))
    batch = replace(batch, token_ids=ids, behavior_logprobs=batch.behavior_logprobs.double())
    told = told_batch(batch, worth)
    told = replace(told, per_token=told.per_token.double(), outcome=told.outcome.double())
    mask = batch.sampled_mask & told.all_known[:, None]
    credit = torch.where(mask, told.total.nan_to_num(0.0)[:, None].double(), 0.0)
    flat = torch.zeros(len(ROWS), dtype=torch.bool)
    values = NoBaselineCritic().predict(batch, told, Evidence())
    return Lesson(batch, told, Advantages(credit, mask, flat, "test"), None, values, Evidence())


def moved(lesson, objective, tokens=10_000, policy=None):
    """(metrics by name, gradients by name) of one update."""
    policy = policy or BigramPolicy()
    seen = {}

    class Reads(Optimizer):
        def clip(self):
            seen.update({n: p.grad.clone() for n, p in zip(self.names, self.parameters, strict=True)})
            return super().clip()

    optimizer = Reads(policy.trainable(), Adam(1e-3, max_grad_norm=0.0))
    learner = Learner(policy, NoBaselineCritic(), objective, (optimizer, None), Schedule(1, 1, 1, tokens), 0)
    return {metric.name: metric for metric in learner.update(lesson, STAGE, 1)}, seen


def surprises(lesson, row):
    """-log softmax of each imitated token of a row, one by one."""
    policy, ids = BigramPolicy(), lesson.batch.token_ids[row]
    places = lesson.batch.sampled_mask[row].nonzero()[:, 0].tolist()
    with torch.no_grad():
        laws = [torch.log_softmax(policy.logits(policy.model["embed"](ids[t - 1])), -1) for t in places]
    return [-law[ids[t]] for law, t in zip(laws, places, strict=True)], laws


def test_the_loss_is_the_mean_surprise_of_the_answers_tokens():
    lesson = lesson_of([1.0, 1.0, 1.0, 1.0])
    told, _ = moved(lesson, CrossEntropyLoss())
    every = [float(x) for row in range(4) for x in surprises(lesson, row)[0]]
    assert len(every) == 11  # nothing of any prompt
    assert told["loss/cross_entropy"].value == pytest.approx(sum(every) / 11, abs=1e-9)
    assert told["imitation/nats"].value == pytest.approx(sum(every) / 11, abs=1e-9)


def test_weights_scale_a_row_and_worthless_or_unknown_rows_do_not_count():
    lesson = lesson_of([0.5, 0.0, None, 1.0])
    told, _ = moved(lesson, CrossEntropyLoss())
    first, last = (sum(map(float, surprises(lesson, row)[0])) for row in (0, 3))
    assert told["loss/cross_entropy"].value == pytest.approx((0.5 * first + last) / 7, abs=1e-9)
    assert told["imitation/nats"].count == 7
    by_row, _ = moved(lesson, CrossEntropyLoss(reduction=SequenceMeanOfTokenMeans()))
    assert by_row["loss/cross_entropy"].value == pytest.approx((0.5 * first / 4 + last / 3) / 2, abs=1e-9)


def test_smoothing_spreads_a_share_of_the_target_over_the_vocabulary():
    lesson = lesson_of([1.0, 0.0, 0.0, 0.0])
    told, _ = moved(lesson, CrossEntropyLoss(smoothing=0.3))
    surprise, laws = surprises(lesson, 0)
    wanted = sum(0.7 * float(s) + 0.3 * float(-law.mean()) for s, law in zip(surprise, laws, strict=True)) / 4
    assert told["loss/cross_entropy"].value == pytest.approx(wanted, abs=1e-9)
    assert told["imitation/nats"].value == pytest.approx(sum(map(float, surprise)) / 4, abs=1e-9)  # unsmoothed


def test_smoothing_is_torchs():
    lesson = lesson_of([1.0, 1.0, 1.0, 1.0])
    policy, mask = BigramPolicy(), lesson.batch.sampled_mask
    with torch.no_grad():
        logits = policy.logits(policy.sampled_states(lesson.batch))
        wanted = torch.nn.functional.cross_entropy(logits, lesson.batch.token_ids[mask], label_smoothing=0.2)
    told, _ = moved(lesson, CrossEntropyLoss(smoothing=0.2))
    assert told["loss/cross_entropy"].value == pytest.approx(float(wanted), abs=1e-9)


def test_perplexity_is_of_answers_and_accuracy_of_tokens():
    lesson = lesson_of([1.0, 1.0, 0.0, 1.0])
    told, _ = moved(lesson, CrossEntropyLoss())
    means = [sum(map(float, surprises(lesson, row)[0])) / len(surprises(lesson, row)[0]) for row in (0, 1, 3)]
    assert told["imitation/perplexity"].value == pytest.approx(sum(map(math.exp, means)) / 3, abs=1e-9)
    right = [
        int(law.argmax()) == int(token)
        for row in (0, 1, 3)
        for law, token in zip(
            surprises(lesson, row)[1], lesson.batch.token_ids[row][lesson.batch.sampled_mask[row]], strict=True
        )
    ]
    assert told["imitation/token_accuracy"].total == sum(right) and told["imitation/token_accuracy"].count == 9


@pytest.mark.parametrize("worth", [[1.0, 1.0, 1.0, 1.0], [0.5, 0.25, 1.0, 0.75]])
def test_it_is_reinforce_with_the_worth_as_advantage(worth):
    lesson = lesson_of(worth)
    _, ours = moved(lesson, CrossEntropyLoss())
    _, theirs = moved(lesson, PolicyLoss(PolicyGradient(), mismatch=()))
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-12, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cutting_the_batch_or_the_vocabularys_logits_changes_nothing(monkeypatch, smoothing):
    lesson = lesson_of([0.5, 1.0, 1.0, 0.25])
    whole_told, whole = moved(lesson, CrossEntropyLoss(smoothing))
    monkeypatch.setattr(head, "ENTRIES", 14)  # two tokens of seven entries at once
    monkeypatch.setattr(head, "LEAST_TOKENS", 1)
    told, cut = moved(lesson, CrossEntropyLoss(smoothing), tokens=5)
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, atol=1e-12, rtol=0)
    for name in ("loss/cross_entropy", "imitation/perplexity", "imitation/token_accuracy"):
        assert told[name].value == pytest.approx(whole_told[name].value, abs=1e-12)


def test_shares_that_are_none_are_refused():
    for wrong in (-0.1, 1.0):
        with pytest.raises(ValueError, match="no share of the target"):
            CrossEntropyLoss(smoothing=wrong)
