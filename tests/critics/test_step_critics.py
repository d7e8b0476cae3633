"""Critics of steps and chunks on games that can be enumerated, and critics taught by comparisons."""

import itertools
from dataclasses import dataclass, replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.nodes import NodeGae
from critica.advantages.shaped import ShapedOutcome
from critica.critics.base import CriticContext
from critica.critics.bodies import SharedTrunk
from critica.critics.chunk import ChunkCritic
from critica.critics.chunk_targets import ChunkBackup, StepStarts
from critica.critics.pair_targets import SiblingPairs
from critica.critics.preference_models import PreferenceModels
from critica.critics.scalar import ScalarCritic
from critica.critics.sentence_reward import SentenceReward
from critica.critics.success import SuccessCritic
from critica.critics.targets import LambdaReturn, MonteCarlo
from critica.functional.groups import group_mean
from critica.functional.steps import Steps, step_starts
from critica.records.arrays import Pairs, Scalar, ValuePrediction
from critica.records.evidence import Evidence, HiddenStates
from fakes import BigramPolicy

SHARED = SharedTrunk()


@dataclass(frozen=True)
class Tree:
    """Every answer of `length` tokens over three letters once, under one prompt; states are one-hot prefixes."""

    answers: list
    batch: object
    told: object
    evidence: Evidence
    width: int
    outcome: dict

    def value(self, prefix):
        """The mean outcome of the answers that begin so."""
        found = [value for answer, value in self.outcome.items() if answer[: len(prefix)] == tuple(prefix)]
        return sum(found) / len(found)


def tree(length=4, seed=0):
    torch.manual_seed(seed)
    answers = list(itertools.product(range(3), repeat=length))
    outcome = {answer: round(float(torch.rand(())), 3) for answer in answers}
    batch = token_batch(["c" + "s" * length] * len(answers), [0] * len(answers))
    keys = {}
    codes = [[keys.setdefault(answer[:t], len(keys)) for t in range(length + 1)] for answer in answers]
    eye = torch.eye(len(keys)) * 2
    states = eye[torch.tensor([code[:-1] for code in codes])].flatten(0, 1)
    evidence = Evidence(HiddenStates(states, eye[torch.tensor([code[-1] for code in codes])]))
    told = told_batch(batch, [outcome[answer] for answer in answers])
    return Tree(answers, batch, told, evidence, len(keys), outcome)


def taught(part, target, made, steps=400, rate=0.1):
    critic = part.build(CriticContext(BigramPolicy(width=made.width, dtype=torch.float32), 3, 0.0, 1.0))
    adam = torch.optim.Adam([weight for _, weight in critic.trainable()], lr=rate)
    fading = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.02, steps)
    for _ in range(steps):
        values = critic.predict(made.batch, made.told, made.evidence)
        targets = target.build(made.batch, made.told, values)
        terms = critic.loss(made.evidence[HiddenStates].states, made.batch, targets, values)
        adam.zero_grad()
        sum(term.values[term.mask].sum() / targets.mask.sum() for term in terms).backward()
        adam.step()
        fading.step()
    return critic.predict(made.batch, made.told, made.evidence)


def at(made, values, prefix):
    """The prediction before the token that follows this prefix."""
    row = next(n for n, answer in enumerate(made.answers) if answer[: len(prefix)] == tuple(prefix))
    return float(values.mean[row, 1 + len(prefix)])


def test_the_success_critic_learns_the_share_that_is_right_at_each_step():
    made = tree()
    part = SuccessCritic(Steps("tokens", 2), body=SHARED)
    values = taught(part, StepStarts(MonteCarlo()), made)
    for prefix in [(), (0, 1), (2, 2), (1, 0)]:
        assert at(made, values, prefix) == pytest.approx(made.value(prefix), abs=0.03)
    assert torch.equal(values.nodes[0], torch.tensor([-1, 0, 0, 1, 1]))
    assert torch.equal(values.mean[:, 2], values.mean[:, 1])  # within a step the value of its start stands


def test_targets_at_the_starts_of_steps_only():
    made = tree(3)
    nodes = torch.tensor([-1, 0, 0, 1]).expand(len(made.answers), 4)
    zero = torch.zeros(len(made.answers), 4)
    values = ValuePrediction(zero, made.batch.sampled_mask, zero[:, 0], nodes=nodes)
    targets = StepStarts(MonteCarlo()).build(made.batch, made.told, values)
    assert torch.equal(targets.mask, step_starts(nodes, made.batch.sampled_mask))
    assert torch.equal(targets.values[:, 1], made.told.total) and bool((targets.values[:, 2] == 0).all())


def random_values(made, nodes=None):
    torch.manual_seed(5)
    mean = torch.rand(made.batch.token_ids.shape) * made.batch.sampled_mask
    return ValuePrediction(mean, made.batch.sampled_mask, mean[:, 0], nodes=nodes)


def test_chunks_of_one_token_are_td_and_of_the_whole_answer_monte_carlo():
    made = tree(3)
    values = random_values(made)
    td = LambdaReturn(0.9, 0.0).build(made.batch, made.told, values)
    mine = ChunkBackup(0.9, partial_tokens=0).build(made.batch, made.told, values)
    assert torch.allclose(mine.values, td.values) and torch.equal(mine.mask, td.mask)
    whole = torch.where(made.batch.sampled_mask, 0, -1)
    mine = ChunkBackup(0.9, partial_tokens=0).build(made.batch, made.told, random_values(made, whole))
    returns = MonteCarlo(0.9).build(made.batch, made.told, values)
    starts = step_starts(whole, made.batch.sampled_mask)
    assert torch.allclose(mine.values[starts], returns.values[starts]) and torch.equal(mine.mask, starts)


def test_half_levels_make_the_chunk_loss_the_scalar_critics():
    made = tree(3)
    targets = MonteCarlo().build(made.batch, made.told, random_values(made))
    losses, states = [], made.evidence[HiddenStates].states
    for part in (ChunkCritic(Steps("tokens", 1), "expectile", 0.5, body=SHARED), ScalarCritic(body=SHARED)):
        critic = part.build(CriticContext(BigramPolicy(width=made.width, dtype=torch.float32), 3, 0.0, 1.0))
        with torch.no_grad():
            weight = dict(critic.trainable())["head.value.weight" if "Chunk" in type(part).__name__ else "head.weight"]
            weight.copy_(torch.linspace(-0.1, 0.1, made.width)[None])
        (term,) = critic.loss(states, made.batch, targets, critic.predict(made.batch, made.told, made.evidence))
        losses.append(term.values)
    assert torch.allclose(losses[0], losses[1])


def test_values_pass_from_chunk_to_partial_to_start():
    """Tokens 1..5 of one row, chunks of three, two of them partial: each place is taught the next one's value."""
    batch = token_batch(["csssss"], [0])
    nodes = torch.tensor([[-1, 0, 0, 0, 1, 1]])
    mean = torch.tensor([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5]])
    values = ValuePrediction(mean, batch.sampled_mask, torch.tensor([9.0]), nodes=nodes)
    targets = ChunkBackup(0.5, partial_tokens=2).build(batch, told_batch(batch, [1.0]), values)
    assert targets.mask.tolist() == [[False, True, False, True, True, False]]
    # start: .5^2 of Q^P at the third token; third token: .5 of V at the second chunk; that is too short for a partial
    assert targets.values[0].tolist() == pytest.approx([0.0, 0.25 * 0.3, 0.0, 0.5 * 0.4, 0.5, 0.0])


@pytest.mark.parametrize("level", [0.5, 0.9, 0.98])
def test_the_partial_critic_is_an_expectile_of_its_completions(level):
    made = tree(2)
    part = ChunkCritic(Steps("tokens", 2), "expectile", 0.5, level, body=SHARED)
    values = taught(part, ChunkBackup(partial_tokens=1), made, steps=900)
    for first in range(3):
        completions = torch.tensor([made.outcome[first, second] for second in range(3)])
        found, mean = at(made, values, (first,)), float(completions.mean())
        above = (completions - found).clamp(min=0).mean()
        below = (found - completions).clamp(min=0).mean()
        assert float(level * above) == pytest.approx(float((1 - level) * below), abs=3e-3)
        assert found >= mean - 0.01
        if level == 0.5:
            assert found == pytest.approx(mean, abs=0.01)
        if level == 0.98:
            assert found > mean + 0.6 * (float(completions.max()) - mean)


def test_an_optimistic_start_is_the_quantile_of_what_its_first_tokens_are_worth():
    made = tree(2)
    part = ChunkCritic(Steps("tokens", 2), "quantile", 0.9, 0.5, body=SHARED)
    values = taught(part, ChunkBackup(partial_tokens=1), made, steps=900)
    best = max(made.value((first,)) for first in range(3))
    assert at(made, values, ()) == pytest.approx(best, abs=0.04)
    mean = taught(replace(part, backup="expectile", backup_level=0.5), ChunkBackup(partial_tokens=1), made, steps=900)
    assert at(made, mean, ()) == pytest.approx(made.value(()), abs=0.02)


def test_chunk_values_of_a_long_answer_come_out_right_through_two_backups():
    made = tree(4)
    part = ChunkCritic(Steps("tokens", 2), "expectile", 0.5, 0.5, body=SHARED)
    values = taught(part, ChunkBackup(partial_tokens=1), made, steps=900)
    for prefix in [(), (0, 1), (2, 0)]:
        assert at(made, values, prefix) == pytest.approx(made.value(prefix), abs=0.03)
    credit = NodeGae(0.0, "none").estimate(made.batch, made.told, values, Evidence())
    row = made.answers.index((0, 1, 2, 2))
    gain = made.value((0, 1)) - made.value(())
    assert credit.advantage[row, 1:3].tolist() == pytest.approx([gain, gain], abs=0.04)  # both tokens of the chunk


def sentence_world(attention):
    """Answers of one or more two-token sentences with random states, through a critic built by hand."""
    torch.manual_seed(2)
    batch = token_batch(["csssss", "css", "cssss", "csss"], [0, 0, 1, 1])
    critic = SentenceReward(Steps("tokens", 2), attention).build(CriticContext(Reader(), 0, 0.0, 1.0))
    with torch.no_grad():
        critic.head["value"].weight.normal_()
    return batch, critic, torch.randn(14, 6), torch.randn(4, 6)


@torch.no_grad()
def read(critic, batch, states, ends):
    """What the critic says of these states."""
    return critic.read(batch, states, ends)


class Reader(BigramPolicy):
    """A policy whose backbone is not asked for anything here."""

    def __init__(self):
        super().__init__(width=6, dtype=torch.float32)


@pytest.fixture(autouse=True)
def own_body(monkeypatch):
    monkeypatch.setattr("critica.critics.bodies.OwnBody.build", lambda self, policy: policy)


def test_without_attention_the_score_is_the_end_less_the_start():
    batch, critic, states, ends = sentence_world(0)
    values = read(critic, batch, states, ends)
    first = torch.tensor([values.mean[row, 1] for row in range(4)])
    assert torch.allclose(values.scores[:, 0], values.bootstrap - first, atol=1e-5)


def test_one_sentence_is_scored_alike_with_and_without_attention():
    batch, critic, states, ends = sentence_world(4)
    values = read(critic, batch, states, ends)
    plain = values.bootstrap - values.mean[:, 1]
    assert values.scores[1, 0] == pytest.approx(float(plain[1]), abs=1e-5)  # the row of one sentence
    assert (values.scores[0, 0] - plain[0]).abs() > 1e-3


def test_a_constant_in_all_values_changes_no_score_and_no_credit():
    batch, critic, states, ends = sentence_world(4)
    told = told_batch(batch, [1.0, 0.0, 0.0, 1.0])
    before = read(critic, batch, states, ends)
    with torch.no_grad():
        critic.head["value"].bias += 3.0
    after = read(critic, batch, states, ends)
    assert torch.allclose(before.scores, after.scores, atol=1e-5)
    credit = [ShapedOutcome(0.3).estimate(batch, told, values, Evidence()).advantage for values in (before, after)]
    assert torch.allclose(credit[0], credit[1], atol=1e-4)


def test_comparisons_teach_the_score_to_order_siblings():
    batch, critic, states, ends = sentence_world(4)
    told = told_batch(batch, [1.0, 0.0, 0.0, 1.0])
    adam = torch.optim.Adam([w for name, w in critic.trainable() if name.startswith("head")], lr=0.05)
    for _ in range(60):
        values = read(critic, batch, states, ends)
        targets = SiblingPairs().build(batch, told, values)
        (term,) = critic.loss(torch.cat((states, ends)), batch, targets, values)
        adam.zero_grad()
        term.values[term.mask].mean().backward()
        adam.step()
    scores = read(critic, batch, states, ends).scores[:, 0]
    assert scores[0] > scores[1] + 1 and scores[3] > scores[2] + 1


def test_cutting_the_rows_apart_changes_no_loss():
    batch, critic, states, ends = sentence_world(4)
    told = told_batch(batch, [1.0, 0.0, 0.0, 1.0])
    values = read(critic, batch, states, ends)
    targets = SiblingPairs().build(batch, told, values)
    (whole,) = critic.loss(torch.cat((states, ends)), batch, targets, values)
    row_of = batch.sampled_mask.nonzero()[:, 0]
    for row in range(4):
        rows = torch.tensor([row])
        piece, width = batch.select(rows), int(batch.lengths[row])
        cut = Pairs(targets.opponents[rows], targets.better[rows], targets.weights[rows], targets.mask[rows, :width])
        (alone,) = critic.loss(torch.cat((states[row_of == row], ends[rows])), piece, cut, values)
        assert torch.allclose(alone.values[alone.mask], whole.values[row][whole.mask[row]], atol=1e-5)


def test_groups_that_fared_alike_compare_nothing():
    batch, critic, states, ends = sentence_world(4)
    values = read(critic, batch, states, ends)
    targets = SiblingPairs().build(batch, told_batch(batch, [1.0, 1.0, None, 1.0]), values)
    assert not targets.mask.any()


def test_shaped_outcome_by_hand():
    batch = token_batch(["csss", "css"], [0, 0])
    told = told_batch(batch, [1.0, 0.0])
    nodes = torch.tensor([[-1, 0, 0, 1], [-1, 0, 1, -1]])
    mean = torch.tensor([[0.0, 1.0, 1.0, 3.0], [0.0, 1.0, 0.0, 0.0]])
    values = ValuePrediction(mean, batch.sampled_mask, torch.tensor([2.0, 4.0]), nodes=nodes)
    spread = torch.tensor([2.0, -1.0, -1.0, 4.0]).std().item()
    credit = ShapedOutcome(weight=spread, decay=1.0).estimate(batch, told, values, Evidence())
    # dense sums from each sentence on: (1, -1) and (3, 4); the group's mean at the first is 2; outcomes +-.5
    assert credit.advantage[0].tolist() == pytest.approx([0.0, 0.5 - 1, 0.5 - 1, 0.5 - 3])
    assert credit.advantage[1].tolist() == pytest.approx([0.0, -0.5 + 1, -0.5 + 2, 0.0])
    none = ShapedOutcome(weight=0.0).estimate(batch, told, values, Evidence()).advantage
    plain = told.total - group_mean(told.total, told.all_known, batch.group_index)
    assert torch.allclose(none, plain[:, None] * batch.sampled_mask)
    with pytest.raises(ValueError, match="decay 1"):
        ShapedOutcome(decay=0.9, absorbing=True)


def test_a_critic_that_hardly_tells_answers_apart_is_hardly_heard():
    """Differences of a hundredth of a nat shift the credit by a hundredth, not by a standard deviation."""
    batch = token_batch(["css", "css"], [0, 0])
    told = told_batch(batch, [1.0, 0.0])
    mean, nodes = torch.zeros(2, 3), torch.tensor([[-1, 0, 0], [-1, 0, 0]])
    values = ValuePrediction(mean, batch.sampled_mask, torch.tensor([0.0, 0.01]), nodes=nodes)
    credit = ShapedOutcome(weight=0.5).estimate(batch, told, values, Evidence()).advantage
    assert credit[:, 1].tolist() == pytest.approx([0.5 - 0.0025, -0.5 + 0.0025])


def written(policy, rows=6):
    """Answers of a bigram policy to one prompt with their log-probs, half of them told to be good."""
    torch.manual_seed(7)
    batch = token_batch(["csss"] * rows, [0] * rows)
    batch = replace(batch, token_ids=torch.randint(0, 7, (rows, 4)))
    logs = torch.zeros(rows, 4)
    flat = torch.log_softmax(policy.logits(policy.sampled_states(batch)), -1)
    logs[batch.sampled_mask] = flat.gather(1, batch.token_ids[batch.sampled_mask][:, None])[:, 0].detach().float()
    return replace(batch, behavior_logprobs=logs), [float(row % 2) for row in range(rows)]


def test_preference_models_begin_equal_and_learn_opposite_orders():
    policy = BigramPolicy(seed=3)
    batch, outcomes = written(policy)
    told = told_batch(batch, outcomes)
    critic = PreferenceModels(beta=0.5).build(CriticContext(policy, 0, 0.0, 1.0))
    values = critic.predict(batch, told, Evidence())
    assert values.scores.abs().max() < 1e-5 and values.mean.abs().max() < 1e-6
    kept = [weight.clone() for _, weight in policy.trainable()]
    adam = torch.optim.Adam([weight for _, weight in critic.trainable()], lr=0.02)
    for step in range(40):
        values = critic.predict(batch, told, Evidence())
        targets = SiblingPairs().build(batch, told, values)
        terms = critic.loss(critic.states(batch), batch, targets, values)
        if step == 0:
            assert [float(term.values[term.mask].mean().detach()) for term in terms] == pytest.approx(
                [0.6931] * 2, abs=1e-3
            )
        adam.zero_grad()
        sum(term.values[term.mask].mean() for term in terms).backward()
        adam.step()
    good = torch.tensor(outcomes) > 0
    scores = critic.predict(batch, told, Evidence()).scores
    assert scores[good, 0].min() > scores[~good, 0].max() and scores[good, 1].max() < scores[~good, 1].min()
    assert all(torch.equal(weight, before) for (_, weight), before in zip(policy.trainable(), kept, strict=True))


def test_the_dense_reward_sums_the_two_models_log_ratios():
    policy = BigramPolicy(seed=3)
    batch, outcomes = written(policy, 2)
    critic = PreferenceModels(beta=0.5).build(CriticContext(policy, 0, 0.0, 1.0))
    with torch.no_grad():
        for number, (_, weight) in enumerate(critic.trainable()):
            weight.add_(torch.randn_like(weight) * 0.1 * (number + 1))
    values = critic.predict(batch, told_batch(batch, outcomes), Evidence())
    laws = [torch.log_softmax(m.logits(m.sampled_states(batch)), -1) for m in critic.models]
    tokens = batch.token_ids[batch.sampled_mask][:, None]
    dense = 0.5 * (laws[0] - laws[1]).gather(1, tokens)[:, 0].detach().reshape(2, 3).float()
    assert torch.allclose(values.mean[:, 1:], torch.cat((torch.zeros(2, 1), dense.cumsum(-1)[:, :2]), -1), atol=1e-5)
    assert torch.allclose(values.bootstrap, dense.sum(-1), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ChunkCritic(backup_level=1.0), "backup_level"),
        (lambda: ChunkBackup(partial_tokens=-1), "partial_tokens"),
        (lambda: SentenceReward(body=SHARED), "own or small"),
        (lambda: PreferenceModels(teacher="a"), "both folders"),
        (lambda: SiblingPairs().check(ScalarCritic()), "score answers"),
        (lambda: ShapedOutcome(weight=-1.0), "negative"),
    ],
)
def test_what_cannot_work_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_comparisons_are_refused_by_critics_of_numbers_and_numbers_by_critics_of_comparisons():
    batch, critic, states, ends = sentence_world(0)
    numbers = Scalar(torch.zeros(4, 6), batch.sampled_mask)
    values = ValuePrediction(torch.zeros(4, 6), batch.sampled_mask, torch.zeros(4))
    with pytest.raises(TypeError, match="sibling_pairs"):
        critic.loss(torch.cat((states, ends)), batch, numbers, values)
    with pytest.raises(TypeError, match="predicts none"):
        SiblingPairs().build(batch, told_batch(batch, [1.0, 0.0, 1.0, 0.0]), values)
