"""Selective fine-tuning: which tokens are left alone, hand-computed terms, its ends, the released code's defects."""

import math
from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.critics.counted import NoBaselineCritic
from critica.functional.selection import most_of_each_row
from critica.objectives.cross_entropy import CrossEntropyLoss
from critica.objectives.eksft import SelectiveCrossEntropy
from critica.records.arrays import Advantages
from critica.records.evidence import Evidence, View, Views
from critica.records.losses import SequenceMeanOfTokenMeans
from critica.training.lesson import Lesson
from fakes import BigramPolicy
from objectives.test_cross_entropy import moved

ROWS = ["csssss", "csss..", "ccssss"]
V = 7


def lesson_of(reference, worth=(1.0, 1.0, 1.0), rows=ROWS, ids=None):
    batch = token_batch(rows, list(range(len(rows))))
    if ids is None:
        ids = torch.randint(0, V, batch.token_ids.shape, generator=torch.Generator().manual_seed(0))
    batch = replace(batch, token_ids=ids, behavior_logprobs=batch.behavior_logprobs.double())
    told = told_batch(batch, list(worth))
    flat = torch.zeros(len(rows), dtype=torch.bool)
    values = NoBaselineCritic().predict(batch, told, Evidence())
    states = reference.sampled_states(batch).detach()
    view = View("reference", states, batch.sampled_mask, reference.logits)
    credit = Advantages(torch.zeros(batch.token_ids.shape).double(), batch.sampled_mask, flat, "test")
    return Lesson(batch, told, credit, None, values, Evidence(Views((view,))))


def by_token(policy, reference, lesson):
    """(CE, H, KL) of every sampled token by row, from the definitions."""
    found = []
    for row in range(lesson.batch.rows):
        places = lesson.batch.sampled_mask[row].nonzero()[:, 0].tolist()
        ids = lesson.batch.token_ids[row]
        with torch.no_grad():
            p = [torch.softmax(policy.logits(policy.model["embed"](ids[t - 1])), -1) for t in places]
            q = [torch.softmax(reference.logits(reference.model["embed"](ids[t - 1])), -1) for t in places]
        found.append(
            [
                (-math.log(a[ids[t]]), -float((a * a.log()).sum()), float((a * (a / b).log()).sum()))
                for a, b, t in zip(p, q, places, strict=True)
            ]
        )
    return found


def highest(numbers, count):
    """Places of the greatest, earlier ones first among equals."""
    return set(sorted(range(len(numbers)), key=lambda i: (-round(numbers[i], 6), i))[:count])


def mean(numbers):
    return sum(numbers) / len(numbers) if numbers else 0.0


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.4, 0.75, 1.0])
def test_every_term_is_the_one_computed_by_hand(ratio):
    policy, reference = BigramPolicy(V, seed=1), BigramPolicy(V, seed=2)
    lesson = lesson_of(reference)
    told, _ = moved(lesson, SelectiveCrossEntropy(ratio), policy=BigramPolicy(V, seed=1))
    surprise, entropy, divergence, left = [], [], [], 0
    for row in by_token(policy, reference, lesson):
        count = math.floor(ratio * len(row) + 1e-9)
        unsure, far = highest([h for _, h, _ in row], count), highest([k for _, _, k in row], count)
        surprise.append(mean([row[i][0] for i in range(len(row)) if i not in unsure | far]))
        entropy.append(mean([row[i][1] for i in unsure]) / math.log(V))
        divergence.append(mean([row[i][2] for i in far]))
        left += len(unsure | far)
    assert told["loss/cross_entropy"].value == pytest.approx(mean(surprise), abs=1e-9)
    assert told["loss/uncertainty"].value == pytest.approx(-mean(entropy), abs=1e-9)
    assert told["loss/reference_kl"].value == pytest.approx(mean(divergence), abs=1e-9)
    assert told["imitation/left_out"].total == left


def test_without_a_share_it_is_sft_and_with_all_of_it_no_cross_entropy_is_left():
    reference = BigramPolicy(V, seed=2)
    lesson = lesson_of(reference, (1.0, 0.5, 0.25))
    told, none = moved(lesson, SelectiveCrossEntropy(0.0))
    _, sft = moved(lesson, CrossEntropyLoss(reduction=SequenceMeanOfTokenMeans()))
    for name, gradient in none.items():
        torch.testing.assert_close(gradient, sft[name], atol=1e-12, rtol=0)
    told, _ = moved(lesson, SelectiveCrossEntropy(1.0))
    assert told["loss/cross_entropy"].value == 0.0 and told["imitation/left_out"].value == 1.0


def test_the_gradient_is_that_of_the_three_terms():
    """Against autograd through plain softmaxes, with the sets held still."""
    reference, policy = BigramPolicy(V, seed=2), BigramPolicy(V, seed=1)
    lesson = lesson_of(reference, (1.0, 0.5, 1.0))
    _, ours = moved(lesson, SelectiveCrossEntropy(0.4, 0.3, 0.7), policy=BigramPolicy(V, seed=1))
    total = torch.zeros((), dtype=torch.float64)
    for row, numbers in enumerate(by_token(policy, reference, lesson)):
        places = lesson.batch.sampled_mask[row].nonzero()[:, 0].tolist()
        ids, count = lesson.batch.token_ids[row], math.floor(0.4 * len(numbers) + 1e-9)
        unsure, far = highest([n[1] for n in numbers], count), highest([n[2] for n in numbers], count)
        logs = [torch.log_softmax(policy.logits(policy.model["embed"](ids[t - 1])), -1) for t in places]
        with torch.no_grad():
            others = [torch.log_softmax(reference.logits(reference.model["embed"](ids[t - 1])), -1) for t in places]
        kept = [-logs[i][ids[places[i]]] for i in range(len(places)) if i not in unsure | far]
        ce = torch.stack(kept).mean() if kept else 0.0
        h = torch.stack([-(logs[i].exp() * logs[i]).sum() for i in unsure]).mean() / math.log(V)
        kl = torch.stack([(logs[i].exp() * (logs[i] - others[i])).sum() for i in far]).mean()
        total = total + (1.0, 0.5, 1.0)[row] * (ce - 0.3 * h + 0.7 * kl) / 3
    names, weights = zip(*policy.trainable(), strict=True)
    for name, gradient in zip(names, torch.autograd.grad(total, weights), strict=True):
        torch.testing.assert_close(ours[name], gradient, atol=1e-12, rtol=0)


def test_ties_go_to_the_earlier_token_and_rows_choose_for_themselves():
    values = torch.tensor([[5.0, 1.0, 1.0, 1.0, 9.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True, True, False], [False, True, True, True, True]])
    chosen = most_of_each_row(values, mask, 0.5)
    assert chosen.tolist() == [[True, True, False, False, False], [False, True, True, False, False]]
    assert most_of_each_row(values, mask, 0.2 * 5 / 4).sum().item() == 2  # one of four each, not none by rounding


def test_at_the_start_the_divergence_and_its_gradient_are_zero_and_ties_do_not_hang_on_rounding():
    policy = BigramPolicy(V, seed=1)
    lesson = lesson_of(policy.frozen_copy())
    far = SelectiveCrossEntropy(0.4, entropy_weight=0.0, kl_weight=1.0)
    told, ours = moved(lesson, far, policy=BigramPolicy(V, seed=1))
    assert abs(told["loss/reference_kl"].value) < 1e-12
    _, without = moved(lesson, replace(far, kl_weight=0.0), policy=BigramPolicy(V, seed=1))
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, without[name], atol=1e-12, rtol=0)
    numbers = by_token(policy, policy, lesson)
    kept = []
    for row in numbers:
        count = math.floor(0.4 * len(row) + 1e-9)
        out = highest([n[1] for n in row], count) | set(range(count))  # all divergences tie: the first ones
        kept.append(mean([row[i][0] for i in range(len(row)) if i not in out]))
    assert told["loss/cross_entropy"].value == pytest.approx(mean(kept), abs=1e-9)


def test_cutting_into_micro_batches_changes_nothing():
    lesson = lesson_of(BigramPolicy(V, seed=2), (1.0, 0.5, 0.25))
    whole_told, whole = moved(lesson, SelectiveCrossEntropy(0.4))
    told, cut = moved(lesson, SelectiveCrossEntropy(0.4), tokens=6)
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, atol=1e-12, rtol=0)
    for name in ("loss/cross_entropy", "loss/uncertainty", "loss/reference_kl"):
        assert told[name].value == pytest.approx(whole_told[name].value, abs=1e-12)


def test_the_released_divergence_is_not_zero_between_equal_models():
    """It subtracts the reference's log-probs from probabilities: sum p (p - log q), not sum p (log p - log q)."""
    logits = torch.tensor([1.0, 0.2, -0.5], dtype=torch.float64, requires_grad=True)
    p = torch.softmax(logits, -1)
    q = p.detach()
    released = (p * (p - q.log())).sum()
    assert released.item() > 1.0  # although nothing has moved
    assert float(torch.autograd.grad(released, logits)[0].abs().max()) > 0.05  # and it pulls away from the reference
    policy = BigramPolicy(V, seed=1)
    told, _ = moved(lesson_of(policy.frozen_copy()), SelectiveCrossEntropy(0.4), policy=policy)
    assert abs(told["loss/reference_kl"].value) < 1e-12


def test_the_released_choice_is_one_token_late():
    """The law at t-1 that is unsure predicts token t: that label is left out, not the one at t-1."""
    policy = BigramPolicy(V, seed=1)
    with torch.no_grad():  # after token 3 anything may come; after any other token its successor, surely
        policy.model["embed"].weight.copy_(torch.eye(V, policy.width, dtype=torch.float64) * 8)
        policy.model["embed"].weight[3].zero_()
        policy.model["head"].weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(0)).mul_(3)
        policy.model["head"].bias.zero_()
    ids = torch.tensor([[0, 1, 2, 3, 4, 0]])
    lesson = lesson_of(policy.frozen_copy(), (1.0,), ["csssss"], ids)
    numbers = by_token(policy, policy, lesson)[0]
    assert highest([n[1] for n in numbers], 1) == {3}  # the sampled token 4, whose context is token 3
    twin = BigramPolicy(V)
    twin.model.load_state_dict(policy.model.state_dict())
    told, _ = moved(lesson, SelectiveCrossEntropy(0.2, 0.0, 0.0), policy=twin)
    ours = mean([n[0] for i, n in enumerate(numbers) if i not in {3, 0}])  # 0: the tie of divergences
    late = mean([n[0] for i, n in enumerate(numbers) if i not in {2, 0}])
    assert told["loss/cross_entropy"].value == pytest.approx(ours, abs=1e-9)
    assert abs(ours - late) > 0.01


def test_the_released_weights_never_leave_five_percent():
    """Each step starts from the constants again; an adjustment that added up would go on. Ours are what is set."""
    constant, released, adding = 0.05, 0.05, 0.05
    for _ in range(100):  # the entropy stays below its target
        released = constant * 1.05
        adding *= 1.05
    assert released == pytest.approx(0.0525) and adding > 6.0
    lesson = lesson_of(BigramPolicy(V, seed=2))
    once, twice = (moved(lesson, SelectiveCrossEntropy(1.0, weight, 0.0))[1] for weight in (0.05, 0.1))
    for name, gradient in once.items():
        torch.testing.assert_close(2 * gradient, twice[name], atol=1e-12, rtol=0)


def test_where_it_does_not_imitate_it_stays_nearer_to_the_reference():
    """A bigram whose context 6 has noisy labels: as sure elsewhere as after SFT, and nearer to the start there."""
    ids = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6], [2, 3, 6, 0, 1, 2], [3, 6, 1, 2, 3, 4]])
    batch_rows, start = ["csssss"] * 4, BigramPolicy(V, seed=3)
    with torch.no_grad():
        start.model["embed"].weight[6].mul_(0.1)  # unsure there from the first
    lesson = lesson_of(start.frozen_copy(), (1.0,) * 4, batch_rows, ids)
    ends = {}
    for name, objective in (
        ("sft", CrossEntropyLoss(reduction=SequenceMeanOfTokenMeans())),
        ("eksft", SelectiveCrossEntropy(0.2, 0.05, 0.05)),
    ):
        policy = BigramPolicy(V)
        policy.model.load_state_dict(start.model.state_dict())
        optimizer = torch.optim.Adam(policy.model.parameters(), 0.05)
        for _ in range(60):
            _, gradients = moved(lesson, objective, policy=twin_of(policy))
            for key, weight in policy.trainable():
                weight.grad = gradients[key]
            optimizer.step()
        with torch.no_grad():
            laws, before = (
                torch.log_softmax(one.logits(one.model["embed"](torch.arange(V))), -1) for one in (policy, start)
            )
        ends[name] = laws, float((laws[6].exp() * (laws[6] - before[6])).sum())
    successors = {0: 1, 1: 2, 2: 3, 3: 4, 4: 5}
    right = {name: [int(laws[c].argmax()) == n for c, n in successors.items()] for name, (laws, _) in ends.items()}
    assert sum(right["eksft"]) >= sum(right["sft"]) >= 4
    assert ends["eksft"][1] < 0.5 * ends["sft"][1]


def twin_of(policy):
    twin = BigramPolicy(V)
    twin.model.load_state_dict(policy.model.state_dict())
    return twin


def test_shares_and_weights_are_checked():
    with pytest.raises(ValueError, match="no share"):
        SelectiveCrossEntropy(1.2)
    with pytest.raises(ValueError, match="cannot be negative"):
        SelectiveCrossEntropy(kl_weight=-0.1)
