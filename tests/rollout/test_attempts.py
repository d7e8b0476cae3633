"""Multi-attempt RL on "guess one of M": values against enumeration, and one attempt against single-turn training."""

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from safetensors.torch import load_file

from critica.benches.small_policy import make_small_policy
from critica.critics.base import CriticContext
from critica.critics.bodies import SharedTrunk
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import LambdaReturn, MonteCarlo
from critica.environments.guess import Guess
from critica.policies.part import LocalPolicy
from critica.recipes.base import Checkpoints, Sampling
from critica.recipes.catalogue import RECIPES
from critica.records.evidence import Evidence, HiddenStates
from critica.records.supervision import Scale
from critica.records.words import StopReason
from critica.rewards.verifiers import Function
from critica.rewards.workers import WorkerLimits
from critica.rollout.admission import AcceptAll
from critica.rollout.attempts import MultiAttempt
from critica.rollout.budget import Uniform
from critica.rollout.early_stop import EarlyStop
from critica.rollout.gather import gather
from critica.rollout.place import Placement, place
from critica.rollout.protocol import ProtocolContext
from critica.rollout.tokenize import tokenize
from critica.store.run_folder import RunFolder
from critica.training.progress import Silent
from critica.training.run import resume, train
from critica.updaters.gradient import Adam
from rollout.guessing import Guesser, Truth, request, supervise, tasks

CHOICES = 4


def build(**settings):
    return MultiAttempt(**settings).build(ProtocolContext(Guess(CHOICES).build(0), WorkerLimits()))


def gathered(policy, prompts=100, samples=4, **settings):
    return gather(
        policy, tasks(prompts, samples), supervise(), AcceptAll(), request(1, prompts, samples), turns=build(**settings)
    )  # fmt: skip


def value(failures, attempts, wrong=Fraction(-1, 2)):
    """Of the state after so many different wrong guesses, playing without repeats, by enumeration of what follows."""
    if failures == attempts:
        return wrong
    chance = Fraction(1, CHOICES - failures)
    return chance * 1 + (1 - chance) * value(failures + 1, attempts, wrong)


def test_enumeration_says_what_is_known_in_closed_form():
    """The next guess is right with 1 / (M - k), and one of the rest with (N - k) / (M - k)."""
    for attempts in range(1, CHOICES + 1):
        for failures in range(attempts):
            chance = Fraction(attempts - failures, CHOICES - failures)
            assert value(failures, attempts) == chance - (1 - chance) / 2


def test_episodes_reach_the_enumerated_value_at_every_number_of_failures():
    found = gathered(Guesser(CHOICES), exactly=3)
    told = {r.trajectory_id: r.outcome.value for r in found.rewards}
    after, next_right = defaultdict(list), defaultdict(list)
    for group in found.groups:
        for trajectory in group.trajectories:
            guesses = trajectory.sampled_text.split("\n")
            assert len(set(guesses)) == len(guesses)
            for failures, guess in enumerate(guesses):
                after[failures].append(told[trajectory.trajectory_id])
                next_right[failures].append(float(guess == group.task.answer))
    for failures in range(3):
        for seen, expected in ((after, value(failures, 3)), (next_right, Fraction(1, CHOICES - failures))):
            spread = 4 * torch.tensor(seen[failures]).std() / len(seen[failures]) ** 0.5
            assert abs(sum(seen[failures]) / len(seen[failures]) - float(expected)) < spread


def test_a_value_critic_learns_the_enumerated_values():
    """A linear head on which guess it is, trained on the whole exchange's outcome through the library's own parts."""
    policy = Guesser(CHOICES)
    found = gathered(policy, prompts=150, exactly=3)
    batch = tokenize(found.groups)
    told = place(found.rewards, batch, Evidence(), Placement(), Truth(low=-1.0))
    part = ScalarCritic(body=SharedTrunk())
    policy.width = 3
    critic = part.build(CriticContext(policy, 0, -1.0, 1.0))
    number = batch.node_index[batch.sampled_mask]
    states = torch.nn.functional.one_hot(number, 3).float()
    evidence = Evidence(HiddenStates(states, torch.zeros(batch.rows, 3)))
    values = critic.predict(batch, told, evidence)
    targets = LambdaReturn(discount=1.0, decay=1.0).build(batch, told, values)
    assert torch.equal(targets.values, MonteCarlo().build(batch, told, values).values)
    optimizer = torch.optim.LBFGS([weight for _, weight in critic.trainable()], max_iter=15)

    def closure():
        optimizer.zero_grad()
        loss = sum((term.values[term.mask]).mean() for term in critic.loss(states, batch, targets, values))
        loss.backward()
        return loss

    optimizer.step(closure)
    learned = critic.predict(batch, told, evidence).mean
    for failures in range(3):
        at = batch.node_index == failures
        outcomes = told.outcome[at.nonzero()[:, 0], 0]
        torch.testing.assert_close(learned[at], outcomes.mean().expand(int(at.sum())), atol=1e-3, rtol=0)
        assert (
            abs(float(learned[at].mean()) - float(value(failures, 3)))
            < 3 * float(outcomes.std()) / len(outcomes) ** 0.5
        )


def test_repeating_a_guess_loses_what_excluding_it_gains():
    mean = lambda found: sum(r.outcome.value for r in found.rewards) / len(found.rewards)  # noqa: E731
    clever, forgetful = (gathered(Guesser(CHOICES, repeats), exactly=2) for repeats in (False, True))
    assert mean(clever) == pytest.approx(float(value(0, 2)), abs=0.12)
    chance = 1 - Fraction(3, 4) ** 2
    assert mean(forgetful) == pytest.approx(float(chance - (1 - chance) / 2), abs=0.12)


def test_attempts_are_drawn_evenly_and_shared_by_siblings():
    live = build(most=5)
    drawn = [live.attempts(3, (step, slot, 0)) for step in range(50) for slot in range(20)]
    assert all(live.attempts(3, (2, 7, index)) == live.attempts(3, (2, 7, 0)) for index in range(8))
    counts = [drawn.count(n) for n in range(1, 6)]
    assert sum(counts) == 1000 and max(abs(count - 200) for count in counts) < 4 * (1000 * 0.2 * 0.8) ** 0.5
    assert live.attempts(4, (2, 7, 0)) != live.attempts(3, (2, 7, 0)) or live.attempts(4, (1, 1, 0)) != drawn[21]


def test_an_episode_is_worth_what_the_paper_says():
    wordless = replace(supervise(), source=Truth())

    class Mute(Guesser):
        def decode_text(self, token_ids):
            return "?" if len(token_ids) == 1 else super().decode_text(token_ids)

    asked = (tasks(20), wordless, AcceptAll(), request(prompts=20))
    silent = gather(Mute(), *asked, turns=build(exactly=2))
    assert {r.outcome.value for r in silent.rewards} == {-1.0}
    spoke = gathered(Guesser(), 40, exactly=2)
    told = {r.trajectory_id: r for r in spoke.rewards}
    for group in spoke.groups:
        for t in group.trajectories:
            won = group.task.answer in t.sampled_text.split("\n")
            assert told[t.trajectory_id].outcome.value == (1.0 if won else -0.5)
            assert (t.stop is StopReason.ANSWERED) == won
            assert list(told[t.trajectory_id].parts) == [f"turn_{k + 1}" for k in range(len(t.turns) // 2)]


SCORER = """
def score(task, completion):
    said = completion.strip()
    if said == task.answer:
        return 1.0
    return -0.5 if len(said) == 1 and said in "1234" else -1.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_small_policy(tmp_path_factory.mktemp("policy"), Guess(CHOICES).build(0), steps=60)


@pytest.fixture
def small(folder):
    """The recipe, cut down to seconds."""

    def make(**changes):
        recipe = RECIPES["multi_attempt"]
        learner = replace(recipe.learner, policy=Adam(3e-3), critic=Adam(3e-3))
        made = replace(
            recipe, policy=LocalPolicy(str(folder)), environment=Guess(CHOICES), sampling=Sampling(3, 4), seed=1,
            learner=learner, steps=2, threads=1, checkpoint=Checkpoints(every=1, keep=3),
        )  # fmt: skip
        return replace(made, **changes)

    return make


def weights(run, step):
    folder = run / "checkpoints" / f"step_{step}"
    return {str(p.relative_to(folder)): load_file(p) for p in sorted(folder.rglob("*.safetensors"))}


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[f][k], other[f][k]) for f in one for k in one[f]
    )  # fmt: skip


def test_one_attempt_is_single_turn_training_to_the_bit(small, tmp_path):
    """Beside a single-turn run whose reward function itself says 1 and -0.5, on the same range."""
    (tmp_path / "scorer.py").write_text(SCORER)
    reward = Function(f"{tmp_path}/scorer.py:score", low=-1.0, high=1.0)
    train(small(protocol=MultiAttempt(exactly=1)), tmp_path / "one")
    train(small(protocol=RECIPES["ppo"].protocol, reward=reward), tmp_path / "single")
    for step in (1, 2):
        assert same(weights(tmp_path / "one", step), weights(tmp_path / "single", step))
    kept = [RunFolder.open(tmp_path / name).rollouts(2) for name in ("one", "single")]
    for column in ("trajectory_id", "text", "stop", "reward_told", "advantage", "value_mean", "behavior_logprobs"):
        assert kept[0][column].to_pylist() == kept[1][column].to_pylist(), column
    train(small(protocol=MultiAttempt(exactly=2)), tmp_path / "two")
    assert not same(weights(tmp_path / "one", 1), weights(tmp_path / "two", 1))


class Stops(Silent):
    def __init__(self, at):
        self.at = at

    def step(self, record):
        if record.step == self.at:
            raise KeyboardInterrupt


def test_a_run_that_was_cut_goes_on_to_the_same_bits_and_asks_nothing_twice(small, tmp_path):
    recipe = small(protocol=MultiAttempt(exactly=3), checkpoint=Checkpoints(every=1, keep=3), steps=3)
    train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", reporter=lambda steps, done: Stops(2))
    journal = (tmp_path / "cut" / "journal" / "step_2.jsonl").read_bytes()
    assert journal.count(b'/1"') > 0  # the second attempts' verdicts are in it
    resume(tmp_path / "cut")
    assert same(weights(tmp_path / "whole", 3), weights(tmp_path / "cut", 3))
    assert (tmp_path / "whole" / "rollouts/step_000003.parquet").read_bytes() == (
        tmp_path / "cut" / "rollouts/step_000003.parquet"
    ).read_bytes()


def test_parts_that_know_single_answers_only_are_refused(small):
    with pytest.raises(ValueError, match="control=none"):
        small(control=EarlyStop())
    with pytest.raises(ValueError, match="budget=uniform"):
        small(budget=RECIPES["v0_budget"].budget, critic=RECIPES["v0_budget"].critic)
    assert small(budget=Uniform()).protocol.longest == 5
    for wrong in ({"most": 0}, {"feedback": "{right}"}, {"wrong": 1.0}, {"none": 0.5}):
        with pytest.raises(ValueError, match="protocol"):
            MultiAttempt(**wrong)


def test_values_are_told_on_the_episodes_own_range(small):
    recipe = small()

    assert recipe.told_range((Scale("environment", 0.0, 1.0),)) == (-1.0, 1.0)
