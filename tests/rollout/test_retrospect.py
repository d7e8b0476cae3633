"""Act, reflect, act again: each role's gradient against enumeration, and the objective between its two limits."""

import itertools
from dataclasses import replace

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.feedback_credit import FeedbackCredit
from critica.advantages.outcome import Outcome
from critica.critics.base import CriticContext
from critica.critics.counted import NoBaseline
from critica.environments.guess import Guess
from critica.objectives.base import TokenScores
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedWeight, PolicyGradient
from critica.recipes.catalogue import RECIPES
from critica.records.evidence import Evidence
from critica.records.supervision import Reward, Scale, Scored
from critica.records.words import Message, StopReason, Task
from critica.rewards.workers import WorkerLimits
from critica.rollout.admission import AcceptAll
from critica.rollout.gather import gather
from critica.rollout.protocol import Over, ProtocolContext, Scene, Seen
from critica.rollout.retrospect import PLANNER, REFLECTOR, Retrospect, filled
from critica.rollout.tokenize import tokenize
from rollout.guessing import NUMBER, Guesser, request, supervise, tasks

TASK = Task("t", "toy", (Message("user", "?"),), "1")


def live(**settings):
    return Retrospect(**settings).build(ProtocolContext(Guess(4).build(0), WorkerLimits()))


def value(reward):
    return reward.outcome.value


def seen_of(verdicts):
    """An episode with these trial verdicts, and reflections between them."""
    scenes = []
    for k, verdict in enumerate(verdicts):
        told = Reward("r", "x", Scored(verdict))
        if k:
            scenes.append(Scene(f"reflection-{k}", REFLECTOR, (), (None,), StopReason.END_OF_TEXT))
        scenes.append(Scene(f"trial-{k + 1}" if k else "", PLANNER, (), (told,), StopReason.END_OF_TEXT))
    return Seen(TASK, (1, 0, 0), tuple(scenes))


def bandit(theta):
    """(probability, trial actions, hint, verdicts, log-prob of each scene) of every episode.

    The world's bit is 1; the planner first acts by theta[0], the reflector gives a hint by theta[1], and the planner
    acts again by theta[2, hint]. Right ends the episode.
    """
    first, reflector, again = (torch.log_softmax(part, -1) for part in (theta[0], theta[1], theta[2:]))
    yield first[1].exp(), [1.0], [first[1]]
    for hint, act in itertools.product(range(2), repeat=2):
        logs = [first[0], reflector[hint], again[hint, act]]
        yield sum(logs).exp(), [0.0, float(act == 1)], logs


def test_each_roles_expected_gradient_is_that_of_its_own_value():
    """Planner: E[R] of its own trial. Reflector: what comes after it, the planner held fixed."""
    theta = torch.tensor([[0.3, -0.2], [0.1, 0.5], [0.4, -0.6], [-0.3, 0.8]], dtype=torch.float64, requires_grad=True)
    protocol = live()
    surrogate, second = 0.0, 0.0
    for chance, verdicts, logs in bandit(theta):
        worths = protocol.worth(seen_of(verdicts), value)
        assert len(worths) == len(logs)
        for worth, log in zip(worths, logs, strict=True):
            surrogate = surrogate + chance.detach() * worth.values[0] * log
        second = second + chance * (verdicts[1] if len(verdicts) > 1 else 0.0)
    found = torch.autograd.grad(surrogate, theta, retain_graph=True)[0]
    trial_one = torch.autograd.grad(torch.softmax(theta[0], -1)[1], theta, retain_graph=True)[0]
    trial_two = torch.autograd.grad(second, theta)[0]
    torch.testing.assert_close(found[0], trial_one[0])  # the first trial is not credited with there being a second
    torch.testing.assert_close(found[1:], trial_two[1:])
    assert float(found[1].abs().max()) > 0.01 and float(found[2:].abs().max()) > 0.01


def test_the_joint_optimum_needs_both_roles():
    """The world's bit differs from task to task; only the reflector sees it. Exact ascent for each role."""

    def ascend(reflects, plans):
        reflector, planner = torch.zeros(2, 2), torch.zeros(2, 2)  # by bit, by hint
        reflector[0, 0] = planner[0, 0] = 0.1  # a code has to start somewhere
        for _ in range(400):
            reflector.requires_grad_(), planner.requires_grad_()
            said, done = torch.softmax(reflector, -1), torch.softmax(planner, -1)
            reward = sum(0.5 * said[bit, hint] * done[hint, bit] for bit in range(2) for hint in range(2))
            steps = torch.autograd.grad(reward, (reflector, planner))
            reflector = (reflector + reflects * steps[0]).detach()
            planner = (planner + plans * steps[1]).detach()
        return float(reward.detach())

    assert ascend(4.0, 4.0) > 0.95
    assert ascend(4.0, 0.0) < 0.55 and ascend(0.0, 4.0) < 0.55


class Advised(Guesser):
    """Plans any digit; advises the first one; after advice does as told."""

    end_ids = (0,)

    def options(self, ids):
        text = self.decode_text(ids)
        if text.endswith("Advice: "):
            return "12"
        return text[len("Advice: ")] if text.startswith("Advice: ") else "123456789"[: self.choices]

    def sampled_states(self, batch):
        return torch.zeros(int(batch.sampled_mask.sum()), 2)

    def logits(self, states):
        return torch.zeros(len(states), len(NUMBER))


def test_roles_are_trajectories_of_their_own_with_siblings_by_trial():
    found = gather(Advised(), tasks(6), supervise(), AcceptAll(), request(prompts=6), turns=live(expert=True))
    by_key = {group.key: group for group in found.groups}
    told = {r.trajectory_id: r.outcome.value for r in found.rewards}
    labels = {key.partition("@")[2]: group.trajectories[0].role for key, group in by_key.items()}
    assert labels == {"": PLANNER, "reflection-1": REFLECTOR, "trial-2": PLANNER, "expert": PLANNER}
    rows = {t.trajectory_id: (g.task, t) for g in found.groups for t in g.trajectories}
    for name, (task, trajectory) in rows.items():
        episode, _, label = name.partition("@")
        first = float(rows[episode][1].sampled_text == task.answer)
        if label == "":
            assert told[name] == first and (f"{episode}@trial-2" in rows) == (first == 0.0)
        elif label == "reflection-1":
            assert told[name] == told[f"{episode}@trial-2"] - first
            assert trajectory.turns[0].message.content.startswith(task.prompt + rows[episode][1].sampled_text)
        elif label == "trial-2":
            advice = rows[f"{episode}@reflection-1"][1].sampled_text
            assert trajectory.sampled_text == advice and trajectory.turns[0].message.content.endswith(task.prompt)
            assert told[name] == float(advice == task.answer)
        else:
            assert trajectory.sampled_text == task.answer and episode.endswith(".0") and told[name] == 1.0
    batch = tokenize(found.groups)
    roles = {int(batch.role_index[n]): name for n, name in enumerate(batch.trajectory_ids)}
    assert len(roles) == 2  # planner, whatever the trial, and reflector


def test_a_reflection_whose_trial_did_not_fit_brought_about_nothing():
    episode = seen_of([0.0, 1.0])
    cut = replace(episode, scenes=episode.scenes[:2])
    assert [worth.values for worth in live().worth(cut, value)] == [(0.0,), (0.0,)]
    assert [worth.values for worth in live().worth(episode, value)] == [(0.0,), (1.0,), (1.0,)]
    assert [w.values for w in live(trials=3).worth(seen_of([0.5, 0.2, 1.0]), value)] == [
        (0.5,), (-0.3,), (0.2,), (0.8,), (1.0,)
    ]  # fmt: skip


def loss(objective, policy, behavior, credit, batch, told):
    scores = TokenScores(policy, policy.detach(), policy.detach() * 0)
    terms, _ = objective.terms(scores, replace(batch, behavior_logprobs=behavior), credit, Evidence(), told)
    return sum((term.weight * term.values * term.mask).sum() for term in terms)


def test_the_objective_is_truncated_importance_with_imitation_beside_it():
    """By hand: -min(pi / mu, 2) A on own rows, -lambda on the expert's; on-policy it is REINFORCE."""
    batch = token_batch(["cs", "cs", "cs"], [0, 0, 1])
    batch = replace(batch, trajectory_ids=("1.0.0", "1.0.1", "1.0.0@expert"))
    told = told_batch(batch, [1.0, 0.4, 1.0])
    values = NoBaseline().build(CriticContext(Guesser(), 0, 0.0, 1.0)).predict(batch, told, Evidence())
    recipe = RECIPES["retro_act"]
    credit = recipe.advantage.estimate(batch, told, values, Evidence())
    policy = torch.zeros(3, 2)
    policy[:, 1] = torch.tensor([-0.5, -1.0, -2.0])
    behavior = torch.zeros(3, 2)
    behavior[:, 1] = torch.tensor([-2.0, -0.6, -2.0])
    policy.requires_grad_()
    gradient = torch.autograd.grad(loss(recipe.objective, policy, behavior, credit, batch, told), policy)[0][:, 1]
    expected = torch.tensor([-2.0 * 1.0, -torch.exp(torch.tensor(-0.4)) * 0.4, -0.1])
    torch.testing.assert_close(gradient, expected)
    plain = PolicyLoss(PolicyGradient(), mismatch=())
    on = policy.detach().clone()
    here, there = (
        torch.autograd.grad(loss(objective, policy, on, credit, batch, told), policy)[0]
        for objective in (replace(recipe.objective, surrogate=ClippedWeight(0.0, 1e9)), plain)
    )
    torch.testing.assert_close(here, there)
    heavy = replace(recipe.advantage, imitation=1e6).estimate(batch, told, values, Evidence())
    big = torch.autograd.grad(loss(plain, policy, on, heavy, batch, told), policy)[0][:, 1]
    torch.testing.assert_close(big / 1e6, torch.tensor([0.0, 0.0, -1.0]), atol=1e-5, rtol=0)
    assert FeedbackCredit(Outcome()).estimate(batch, told, values, Evidence()).mask[:, 1].tolist() == [
        True,
        True,
        False,
    ]


def test_moves_ranges_and_wrong_use():
    protocol = live(trials=2)
    assert isinstance(protocol._after_trial(seen_of([1.0])), Over)
    assert isinstance(protocol._after_trial(seen_of([0.0, 0.0])), Over)
    assert filled("{a}{b}{c}", a="{b}", b="x") == "{b}x{c}"  # what was written is no form
    assert Retrospect().reach((Scale("r", 0.0, 1.0),)) == (Scale("r", -1.0, 1.0),)
    with pytest.raises(ValueError, match="trials"):
        Retrospect(trials=1)
    with pytest.raises(ValueError, match="advice"):
        Retrospect(retry="{question}")
