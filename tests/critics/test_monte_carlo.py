"""Measured values against exact games: they converge, are unbiased, share what is equal, are told as training is."""

from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.gae import Gae
from critica.advantages.nodes import NodeGae
from critica.critics.base import CriticContext
from critica.critics.monte_carlo import MonteCarloCritic, MonteCarloRollouts
from critica.records.evidence import Continuations, Evidence
from critica.records.journal import Answer
from critica.records.supervision import Failed, Scored
from critica.rewards.base import FailurePolicy, RewardFailures
from critica.rewards.noise import Flip
from critica.rollout.place import SoftOverlong
from critics.continued_worlds import GAME, LENGTH, Digits, Scorer, world
from critics.counted_worlds import sampled


@dataclass
class Said:
    """Goes on as told: the outcomes of each state by rule."""

    rule: object
    asked: list = field(default_factory=list)

    def outcomes(self, states, count):
        self.asked += states
        return np.array([self.rule(row, offset, count) for row, offset in states], dtype=np.float64)


def every_node(**changes):
    return replace(MonteCarloRollouts(boundary="tokens", gap_tokens=1, nodes=0), **changes)


def predicted(part, batch, told, rule, policy=None):
    live = Said(rule)
    critic = MonteCarloCritic(part, policy or Digits())
    return live, critic.predict(batch, told, Evidence(Continuations(live)))


# What is said


def test_the_error_falls_with_the_root_of_the_count():
    made = world(prompts=3, samples=12)
    laws = [made.truth(row) for row in range(made.batch.rows)]
    told = made.told([Scored(0.0)] * made.batch.rows)
    errors, due = {}, {}
    states = sorted({(made.batch.group_index[row].item(), made.written(row)[:t]): (row, t)
                     for row in range(made.batch.rows) for t in range(LENGTH)}.values())  # fmt: skip
    variances = [laws[row].law(made.written(row)[:t]).variance for row, t in states]
    assert len(states) > 40 and min(variances) >= 0
    for count in (4, 16, 64):
        critic = MonteCarloCritic(every_node(continuations=count), made.policy)
        values = critic.predict(made.batch, told, Evidence(Continuations(made.continuer())))
        gaps = [
            values.mean[row][made.batch.sampled_mask[row]][t].item() - laws[row].value(made.written(row)[:t])
            for row, t in states
        ]
        errors[count], due[count] = np.mean(np.square(gaps)), np.mean(variances) / count
        assert values.support is not None and set(values.support[made.batch.sampled_mask].tolist()) == {float(count)}
    assert due[4] / 16 == pytest.approx(due[64])
    for count in errors:
        assert 0.5 < errors[count] / due[count] < 1.7, (errors, due)


def test_equal_prefixes_of_a_prompt_are_one_state_and_other_prompts_are_others():
    made = world()
    live = made.continuer()
    first = live.outcomes([(row, 0) for row in range(made.batch.rows)], 8)
    assert len({tuple(row) for row in first[:6].tolist()}) == 1 == len({tuple(row) for row in first[6:].tolist()})
    names = {(metric.name, metric.value) for metric in live.reports()}
    assert {("continuations/states", 2.0), ("continuations/samples", 16.0), ("continuations/tokens", 64.0)} <= names
    again = made.continuer().outcomes([(1, 2)], 8)
    assert np.array_equal(again, made.continuer().outcomes([(0, 1), (1, 2), (7, 3)], 8)[1:2])  # by identity, not order
    assert np.array_equal(again[:, :3], made.continuer().outcomes([(1, 2)], 3))
    other = world(step=2)
    same = replace(other, groups=made.groups, batch=made.batch)
    assert not np.array_equal(same.continuer().outcomes([(0, 0)], 64), made.continuer().outcomes([(0, 0)], 64))


def test_continuations_keep_what_was_written_and_are_whole_answers():
    made = world()
    source = Scorer(made.environment)
    live = made.continuer(source)
    live.outcomes([(2, 3)], 5)
    texts = [item.text for item in source.asked]
    begun = made.policy.decode_text(made.written(2)[:3])
    assert len(texts) == 5 and all(text.startswith(begun) and len(text) == LENGTH for text in texts)
    assert len({item.trajectory_id for item in source.asked}) == 5


# What is done with it


def test_nodes_by_hand_and_credit_as_differences():
    batch = token_batch(["css" + "s" * 4, "csss"], [0, 0])
    told = told_batch(batch, [1.0, 0.0])
    worth = {(0, 0): 0.4, (0, 3): 0.8, (1, 0): 0.25}
    part = every_node(continuations=2, gap_tokens=3)
    live, values = predicted(part, batch, told, lambda row, t, k: [worth[row, t]] * k)
    assert live.asked == [(0, 0), (0, 3), (1, 0)]
    assert sampled(batch, values.mean, 0) == pytest.approx([0.4] * 3 + [0.8] * 3)
    assert sampled(batch, values.nodes, 0) == [0, 0, 0, 1, 1, 1]
    assert sampled(batch, values.support, 1) == [2.0] * 3
    credit = NodeGae(decay=0.0, scale="none").estimate(batch, told, values, Evidence())
    assert sampled(batch, credit.advantage, 0) == pytest.approx([0.4] * 3 + [0.2] * 3)  # V' - V, then R - V
    assert sampled(batch, credit.advantage, 1) == pytest.approx([-0.25] * 3)
    assert not values.uses_own_outcome and not values.uses_siblings
    capped = predicted(replace(part, nodes=1), batch, told, lambda row, t, k: [0.5] * k)[1]
    assert sampled(batch, capped.nodes, 0) == [0] * 6


def test_a_group_that_fared_alike_still_gets_credit_within_its_answers():
    batch = token_batch(["css", "css"], [0, 0])
    told = told_batch(batch, [1.0, 1.0])
    _, values = predicted(every_node(), batch, told, lambda row, t, k: [0.5 if t == 0 else 0.9 - 0.2 * row] * k)
    credit = NodeGae(decay=0.0, scale="none").estimate(batch, told, values, Evidence())
    assert sampled(batch, credit.advantage, 0) == pytest.approx([0.4, 0.1])
    assert sampled(batch, credit.advantage, 1) == pytest.approx([0.2, 0.3])


def test_what_could_not_be_scored_is_no_zero_and_a_state_without_a_score_is_no_node():
    batch = token_batch(["csss", "csss"], [0, 0])
    told = told_batch(batch, [1.0, 0.0])
    nan = float("nan")
    said = {(0, 0): [1, nan, 1, 0], (0, 1): [nan] * 4, (0, 2): [1, 1, nan, nan], (1, 0): [nan] * 4, (1, 1): [0] * 4,
            (1, 2): [nan, 1, nan, nan]}  # fmt: skip
    _, values = predicted(every_node(), batch, told, lambda row, t, k: said[row, t])
    assert sampled(batch, values.mean, 0) == pytest.approx([2 / 3, 2 / 3, 1.0])
    assert sampled(batch, values.support, 0) == [3.0, 3.0, 2.0]
    assert sampled(batch, values.nodes, 0) == [0, 0, 1]
    assert values.mask[1].tolist() == [False, False, True, True]
    assert sampled(batch, values.mean, 1) == [0.0, 0.0, 1.0]


def test_rows_without_an_outcome_ask_for_nothing():
    batch = token_batch(["css", "css"], [0, 0])
    live, values = predicted(every_node(), batch, told_batch(batch, [None, 1.0]), lambda row, t, k: [0.5] * k)
    assert {row for row, _ in live.asked} == {1}
    assert not values.mask[0].any()


def test_the_samples_own_outcome_is_never_used():
    batch = token_batch(["csss"] * 3, [0, 0, 0])
    rule = lambda row, t, k: [0.1 * t + 0.3 * row] * k  # noqa: E731
    for first in ("fresh", "siblings"):
        part = every_node(first=first)
        _, before = predicted(part, batch, told_batch(batch, [1.0, 0.0, 1.0]), rule)
        _, after = predicted(part, batch, told_batch(batch, [0.0, 0.0, 1.0]), rule)
        assert torch.equal(before.mean[0], after.mean[0])
        assert torch.equal(before.mean[1], after.mean[1]) == (first == "fresh")
    assert sampled(batch, before.mean, 1) == pytest.approx([1.0, 0.4, 0.5])  # both siblings of row 1 were right
    assert sampled(batch, before.support, 1) == [2.0, 4.0, 4.0]


def test_siblings_need_siblings():
    assert MonteCarloRollouts(first="siblings").group_based and not MonteCarloRollouts().group_based
    with pytest.raises(ValueError, match="at least 1"):
        MonteCarloRollouts(continuations=0)


# Bias, by enumerating every answer


class Ahead(MonteCarloCritic):
    """Chooses its nodes by what is written later: the first token's node begins late where the last digit is 0."""

    def nodes(self, batch):
        lasts = [int(row[mask][-1]) for row, mask in zip(batch.token_ids, batch.sampled_mask, strict=True)]
        return [(0, 1) if last == 0 else (0, 3) for last in lasts]


def gradient(critic_class, part, rule):
    """sum over answers of p(answer) sum_t A_t grad log pi(a_t | s_t), and the gradient of the expected outcome."""
    policy = Digits(seed=3)
    answers = list(GAME.ends())
    batch = token_batch(["c" + "s" * LENGTH] * len(answers), list(range(len(answers))))
    batch.token_ids[:, 1:] = torch.tensor(answers)
    outcomes = [GAME.outcome(answer) for answer in answers]
    told = told_batch(batch, outcomes)
    solution = GAME.solve(lambda p: policy.law(p[-1] if p else 0), look=lambda p: p[-1:])
    live = Said(lambda row, t, k: [solution.value(answers[row][:t])] * k)
    values = critic_class(part, policy).predict(batch, told, Evidence(Continuations(live)))
    advantage = rule.estimate(batch, told, values, Evidence()).advantage[:, 1:].double()
    logs = torch.log_softmax(policy.model["head"](policy.model["embed"].weight), -1)
    lasts = torch.tensor([(0, *answer[:-1]) for answer in answers])
    spoken = logs[lasts, torch.tensor(answers)]
    chance = torch.tensor([prod(policy.law(a)[b] for a, b in zip((0, *x[:-1]), x, strict=True)) for x in answers])
    assert float(chance.sum()) == pytest.approx(1.0)
    weights = list(policy.model.parameters())
    mine = torch.autograd.grad((chance[:, None] * advantage * spoken).sum(), weights, retain_graph=True)
    due = torch.autograd.grad((spoken.sum(1).exp() * torch.tensor(outcomes)).sum(), weights)
    return [torch.cat([g.flatten() for g in grads]) for grads in (mine, due)]


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("part", [every_node(), every_node(gap_tokens=2), every_node(gap_tokens=3, nodes=1)])
def test_the_gradient_is_unbiased_wherever_the_nodes_lie(part, decay):
    mine, due = gradient(MonteCarloCritic, part, NodeGae(decay=decay, scale="none"))
    torch.testing.assert_close(mine, due, atol=1e-6, rtol=1e-5)
    assert float(due.abs().max()) > 0.01


def test_nodes_chosen_by_what_comes_later_bias_the_gradient():
    mine, due = gradient(Ahead, every_node(), NodeGae(decay=1.0, scale="none"))
    assert float((mine - due).norm()) > 0.02 * float(due.norm())


def test_with_a_node_a_token_it_is_gae_with_measured_values():
    batch = token_batch(["csss", "css"], [0, 1])
    told = told_batch(batch, [1.0, 0.0])
    _, values = predicted(every_node(), batch, told, lambda row, t, k: [0.2 + 0.1 * t] * k)
    nodes = NodeGae(decay=0.5, scale="none").estimate(batch, told, values, Evidence())
    torch.testing.assert_close(nodes.advantage, Gae(1.0, 0.5).estimate(batch, told, values, Evidence()).advantage)


# What is told


def test_noise_that_flips_a_prompt_flips_its_continuations_and_the_clean_value_is_never_told():
    made = world()
    clean = made.continuer().outcomes([(0, 1), (6, 0)], 40)
    assert 0 < clean.mean() < 1
    for unit in ("group", "prompt", "sample"):
        always = made.continuer(noise=Flip(1.0, 1.0, unit)).outcomes([(0, 1), (6, 0)], 40)
        assert np.array_equal(always, 1 - clean)
    grouped = [made.continuer(noise=Flip(0.5, 0.5, "group")) for _ in range(2)]
    told = grouped[0].outcomes([(0, 1), (6, 0)], 40)
    assert all(np.array_equal(t, c) or np.array_equal(t, 1 - c) for t, c in zip(told, clean, strict=True))
    assert np.array_equal(told, grouped[1].outcomes([(0, 1), (6, 0)], 40))
    half = made.continuer(noise=Flip(0.5, 0.5, "sample")).outcomes([(0, 1), (6, 0)], 40)
    assert 0.2 < np.abs(half - clean).mean() < 0.8  # each by itself


def test_a_length_penalty_is_part_of_what_is_told():
    made = world()
    plain = made.continuer().outcomes([(0, 2)], 10)
    charged = made.continuer(overlong=SoftOverlong(LENGTH, 2, 0.5)).outcomes([(0, 2)], 10)
    assert charged == pytest.approx(plain - 0.5)


def test_failures_are_unknown_and_too_many_of_them_stop_the_step():
    made = world()
    sometimes = Scorer(made.environment, lambda text: Failed("told to") if text.endswith("0") else Scored(1.0))
    live = made.continuer(sometimes, failures=FailurePolicy(1.0))
    told = live.outcomes([(0, 0)], 30)
    assert 0 < np.isnan(told).sum() < 30
    assert np.isnan(told).sum() == sum(item.text.endswith("0") for item in sometimes.asked)
    unknown = next(metric for metric in live.reports() if metric.name == "continuations/unknown")
    assert unknown.value == pytest.approx(np.isnan(told).mean())
    with pytest.raises(RewardFailures):
        made.continuer(sometimes, failures=FailurePolicy(0.0)).outcomes([(0, 0)], 30)


@dataclass
class Kept:
    """A journal in memory."""

    answers: list[Answer] = field(default_factory=list)

    def recall(self, step):
        return tuple(self.answers)

    def record(self, step, answers):
        self.answers += answers

    def forget_failures(self, step):
        self.answers = [answer for answer in self.answers if not isinstance(answer.outcome, Failed)]


def test_a_step_done_again_is_told_the_same_though_the_source_would_say_something_else():
    made, journal = world(), Kept()
    moods = iter(np.random.default_rng(0).integers(0, 2, 1000).tolist())
    moody = Scorer(made.environment, lambda text: Scored(float(next(moods))))
    told = made.continuer(moody, journal=journal).outcomes([(0, 0), (3, 2)], 20)
    asked = len(moody.asked)
    again = made.continuer(moody, journal=journal).outcomes([(0, 0), (3, 2)], 20)
    assert np.array_equal(told, again) and len(moody.asked) == asked == 40
    assert not np.array_equal(told, made.continuer(moody).outcomes([(0, 0), (3, 2)], 20))


def test_it_is_built_from_its_part():
    critic = MonteCarloRollouts().build(CriticContext(Digits(), 0, 0.0, 1.0))
    assert isinstance(critic, MonteCarloCritic) and critic.needs == {Continuations}
