"""Random play from restored states: against exact evaluation, kept by identity, blended, and read before the action."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.gae import Gae
from critica.critics.base import CriticContext
from critica.critics.blend import Blend, blended
from critica.critics.bodies import SharedTrunk
from critica.critics.random_play import RandomPlay, random_return
from critica.critics.scalar import ScalarCritic
from critica.critics.simulator import SimulatorRollouts
from critica.critics.targets import LambdaReturn
from critica.environments.binary_tree import BinaryTreeGame
from critica.environments.chain import ChainGame
from critica.environments.digit_sum import DigitSumGame
from critica.environments.exact import OVER, GameEnvironment, rules_of
from critica.environments.two_branch import TwoBranchGame
from critica.functional.random import generator
from critica.records.arrays import ValuePrediction
from critica.records.evidence import Evidence, Groups, HiddenStates, Snapshots
from critica.records.protocols import Restorable
from critica.records.words import Message, Task
from critics.counted_worlds import Speller, groups_of, sampled

GAMES = (
    DigitSumGame(offset=2, length=3, target=6, base=4),
    BinaryTreeGame(tree=78, depth=4, graded=True),
    ChainGame("0110"),
    TwoBranchGame(length=5, decisive=2, winning="b", letters="abc"),
)
SUM = DigitSumGame(offset=0, length=2, target=2, base=3)


def environment(game):
    return GameEnvironment("game", 0, lambda index: game, type(game), 8)


def uniform(game):
    return lambda prefix: np.full(len(game.vocabulary), 1 / len(game.vocabulary))


def texts_of(game):
    ends = list(game.ends())
    return sorted({"".join(game.vocabulary[a] for a in end[:t]) for end in ends for t in range(len(end) + 1)})


# Restoring


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_a_text_played_move_by_move_pays_its_score_and_stands_where_the_snapshot_stands(game):
    world, task = environment(game), environment(game).candidate(0)
    assert isinstance(world, Restorable)
    for text in texts_of(game):
        state = world.snapshot(task, "")
        for letter in text:
            assert letter in world.legal_actions(task, state)
            state, paid = world.act(task, state, letter)
            assert paid == 0.0
        assert state == world.snapshot(task, f" {text}") and state != OVER
        finished = game.parse(text) is not None
        assert (world.legal_actions(task, state) == ("",)) == finished
        over, paid = world.act(task, state, "")
        assert over == OVER and paid == game.score(text)
        assert world.act(task, state, "x" if "x" not in game.vocabulary else "!") == (OVER, 0.0)
    assert world.snapshot(task, "!") == OVER and world.legal_actions(task, OVER) == ()
    assert world.act(task, OVER, "") == (OVER, 0.0)


# Simulating


@pytest.mark.parametrize("discount", [1.0, 0.8])
@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_random_play_is_within_three_standard_errors_of_exact_evaluation(game, discount):
    world, count = environment(game), 4000
    task, solution = world.candidate(0), game.solve(uniform(game))
    length = len(next(game.ends()))
    for text in texts_of(game)[:: max(1, len(texts_of(game)) // 12)]:
        law = solution.law(game.beginning(text))
        fading = discount ** (length - len(text))
        rng = generator(1, "test", text, str(discount))
        found = random_return(world, task, world.snapshot(task, text), count, discount, rng)
        assert abs(found - fading * law.mean) <= 3 * fading * (law.variance / count) ** 0.5 + 1e-12


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_a_forced_first_action_is_the_value_of_where_it_leads(game):
    world, count, discount = environment(game), 4000, 0.8
    task, solution = world.candidate(0), game.solve(uniform(game))
    length = len(next(game.ends()))
    start = world.snapshot(task, "")
    for token, letter in enumerate(game.vocabulary):
        law = solution.law((token,))
        rng = generator(2, "test", letter)
        found = random_return(world, task, start, count, discount, rng, first=letter)
        fading = discount**length
        assert abs(found - fading * law.mean) <= 3 * fading * (law.variance / count) ** 0.5 + 1e-12
    assert random_return(world, task, start, 10, 1.0, generator(0, "test"), first="!") == 0.0


def test_splitting_a_crowd_has_the_law_of_separate_games():
    """The mean of n games, many times over: its mean and variance are those of n separate games."""
    world = environment(SUM)
    task, law = world.candidate(0), SUM.return_law(uniform(SUM))
    means = [random_return(world, task, world.snapshot(task, ""), 9, 1.0, generator(s, "test")) for s in range(1000)]
    assert np.mean(means) == pytest.approx(law.mean, abs=4 * (law.variance / 9 / 1000) ** 0.5)
    assert np.var(means) == pytest.approx(law.variance / 9, rel=0.15)
    assert set(np.round(np.array(means) * 9, 9)) <= set(range(10))


def test_moves_after_the_bound_count_for_nothing():
    world = environment(SUM)
    task = world.candidate(0)
    state = world.snapshot(task, "11")
    play = {steps: random_return(world, task, state, 5, 1.0, generator(0, "t"), None, steps) for steps in (1, 2)}
    assert play == {1: 1.0, 2: 1.0}
    early = random_return(world, task, world.snapshot(task, ""), 50, 1.0, generator(0, "t"), None, 2)
    assert early == 0.0  # the third move, ending the text, would pay


# Keeping


def play(**changes):
    return RandomPlay(**({"rollouts": 50, "discount": 1.0, "max_steps": 100, "seed": 3} | changes))


def test_a_number_is_simulated_once_and_is_the_same_whenever_it_is_asked_for():
    world, task = environment(SUM), environment(SUM).candidate(0)
    states = [world.snapshot(task, text) for text in ("", "0", "1", "2", "01")]
    first, second = play(), play()
    forward = [first.value(world, task, state) for state in states]
    backward = [second.value(world, task, state) for state in reversed(states)][::-1]
    assert forward == backward and first.simulated == 5
    assert [first.value(world, task, state) for state in states] == forward and first.simulated == 5
    assert first.value(world, task, world.snapshot(task, "10")) == forward[4]  # equal states, whoever came first
    assert first.simulated == 5
    assert [play(seed=4).value(world, task, state) for state in states] != forward
    assert second.action_value(world, task, states[0], "1") != second.action_value(world, task, states[0], "2")


def test_what_is_not_allowed_has_a_key_of_its_own():
    world, task = environment(SUM), environment(SUM).candidate(0)
    kept = play()
    start = world.snapshot(task, "")
    assert kept.action_value(world, task, start, "!") == 0.0 == kept.action_value(world, task, start, "")
    assert kept.simulated == 1
    assert kept.action_value(world, task, start, "1") > 0 and kept.simulated == 2
    assert kept.value(world, task, start) > 0 and kept.simulated == 3


def test_other_rules_under_an_old_name_start_afresh_and_so_does_what_is_forgotten():
    easy, hard = SUM, replace(SUM, target=4)
    worlds = {game: environment(game) for game in (easy, hard)}
    tasks = {game: Task("one name", "game", (Message("user", "?"),), "", rules_of(game)) for game in (easy, hard)}
    kept = play(rollouts=500)

    def value(game):
        return kept.value(worlds[game], tasks[game], worlds[game].snapshot(tasks[game], ""))

    first = value(easy)
    assert first == pytest.approx(1 / 3, abs=0.1)
    assert value(hard) == pytest.approx(1 / 9, abs=0.06)
    assert value(easy) == first and kept.simulated == 3
    value(easy)
    assert kept.simulated == 3
    kept.forget("one name")
    assert value(easy) == first and kept.simulated == 4


# Expecting

ENDS = [*SUM.ends()]
PIECES = ["<p>", "0", "1", "2", " ", "", "!"]  # token 5 is the end of text


def answers(rows):
    batch = token_batch(["c" + "s" * len(row) for row in rows], [0] * len(rows))
    for n, row in enumerate(rows):
        batch.token_ids[n, 1 : 1 + len(row)] = torch.tensor(row)
    return batch


class Reader(Speller):
    """Spells text as well as pieces."""

    def decode_text(self, token_ids):
        return "".join(self.pieces[int(i)] for i in token_ids)


def evidence_for(batch, game=SUM, states=None):
    task = environment(game).candidate(0)
    groups = groups_of(batch, [task.task_id])[Groups].groups
    told = tuple(replace(group, task=task) for group in groups)
    items = [Groups(told), Snapshots(environment(game))]
    return Evidence(*items, *([HiddenStates(states, states[: batch.rows])] if states is not None else []))


def simulated(batch, told, **changes):
    part = SimulatorRollouts(**({"rollouts": 20_000} | changes))
    critic = part.build(CriticContext(Reader(PIECES), 7, 0.0, 1.0))
    return critic.predict(batch, told, evidence_for(batch))


def test_a_turn_is_the_tokens_up_to_the_one_that_moves_and_dead_ends_are_worth_nothing():
    batch = answers([[4, 2, 4, 2, 5], [2, 6, 1], [3, 4, 5]])  # " 1 1", "1!0", "2 "
    told = told_batch(batch, [1.0, 0.0, 0.0])
    values = simulated(batch, told)
    assert sampled(batch, values.nodes, 0) == [0, 0, 1, 1, 2]
    assert sampled(batch, values.mean, 0) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 3, 1.0], abs=0.02)
    assert sampled(batch, values.mean, 1) == pytest.approx([1 / 3, 1 / 3, 0.0], abs=0.02)
    assert sampled(batch, values.nodes, 1) == [0, 1, 2]
    assert not values.uses_own_outcome and not values.uses_siblings
    credit = Gae(1.0, 0.0).estimate(batch, told, values, evidence_for(batch))
    assert sampled(batch, credit.advantage, 0) == pytest.approx([0.0, 0.0, 2 / 3, 2 / 3, 0.0], abs=0.03)
    assert sampled(batch, credit.advantage, 1) == pytest.approx([0.0, -1 / 3, 0.0], abs=0.03)


def test_alone_and_without_a_trace_it_gives_the_exact_advantage_of_random_play():
    """A(s, a) = gamma V(sa) - V(s) with the exact values of random play, on every sequence of the game."""
    discount = 0.9
    batch = answers([[1 + a for a in end] + [5] for end in ENDS])
    told = told_batch(batch, [SUM.outcome(end) for end in ENDS])
    values = simulated(batch, told, discount=discount, rollouts=200_000, stratify=True)
    credit = Gae(discount, 0.0).estimate(batch, told, values, evidence_for(batch))
    solution = SUM.solve(uniform(SUM))
    for row, end in enumerate(ENDS):
        worth = [discount ** (2 - t) * solution.value(end[:t]) for t in range(3)]
        due = [discount * worth[1] - worth[0], discount * worth[2] - worth[1], 0.0]
        assert sampled(batch, credit.advantage, row) == pytest.approx(due, abs=0.006)
        scale = np.std([solution.value((a,)) for a in range(3)], ddof=1)
        if scale == 0:
            assert due[0] == pytest.approx(0.0)  # MC-GRPO would divide by this


def test_stratifying_changes_the_noise_and_not_the_value():
    batch = answers([[1, 2, 5]])
    told = told_batch(batch, [0.0])

    def first(seed, **more):
        critic = SimulatorRollouts(**more).build(CriticContext(Reader(PIECES), seed, 0.0, 1.0))
        return float(critic.predict(batch, told, evidence_for(batch)).mean[0, 2])  # after "0": only "2" wins

    plain = [first(seed, rollouts=30) for seed in range(60)]
    parted = [first(seed, rollouts=10, stratify=True) for seed in range(60)]
    assert np.mean(plain) == pytest.approx(1 / 3, abs=0.05) and np.std(plain) > 0.05
    assert parted == pytest.approx([1 / 3] * 60)  # the first move decides: nothing is left to chance


# Blending


def blend(weight):
    batch = answers([[1 + a for a in end] + [5] for end in ENDS])
    told = told_batch(batch, [SUM.outcome(end) for end in ENDS])
    generated = torch.Generator().manual_seed(1)
    states = torch.randn(int(batch.sampled_mask.sum()), 5, generator=generated)
    scalar = ScalarCritic(body=SharedTrunk())
    part = Blend(weight, SimulatorRollouts(rollouts=100), scalar)
    context = CriticContext(Reader(PIECES), 7, 0.0, 1.0)
    evidence = evidence_for(batch, states=states)
    both, alone = part.build(context), scalar.build(context)
    torch.manual_seed(0)
    for critic in (both, alone):
        for index, (_, weights) in enumerate(critic.trainable()):
            with torch.no_grad():
                weights.copy_(torch.linspace(-0.1, 0.15 + 0.1 * index, weights.numel()).reshape(weights.shape))
    return batch, told, evidence, both.predict(batch, told, evidence), alone.predict(batch, told, evidence)


def test_at_weight_zero_the_blend_is_plain_gae_over_turns():
    batch, told, evidence, both, alone = blend(0.0)
    assert float(alone.mean.std()) > 0
    for decay in (0.0, 0.7):
        rule = Gae(0.9, decay)
        mine, plain = (rule.estimate(batch, told, values, evidence) for values in (both, alone))
        torch.testing.assert_close(mine.advantage, plain.advantage)  # every token is a turn here


def test_the_network_is_taught_the_advantage_plus_the_blended_value():
    batch, told, evidence, both, alone = blend(0.9)
    simulator = simulated(batch, told, rollouts=100)
    torch.testing.assert_close(both.mean, 0.9 * simulator.mean + 0.1 * alone.mean)
    credit = Gae(1.0, 0.0).estimate(batch, told, both, evidence)
    targets = LambdaReturn(1.0, 0.0).build(batch, told, both)
    torch.testing.assert_close(targets.values, (credit.advantage + both.mean).where(batch.sampled_mask, 0.0))


def test_a_value_read_after_the_action_shrinks_the_gradient_by_what_it_knows():
    """The released code reads its network near the end of the turn's own answer, where the action is known. A perfect
    network there knows the outcome: of the gradient only the simulator's share is left, nothing at weight 0."""
    game = DigitSumGame(offset=0, length=1, target=2, base=3)
    logits = torch.tensor([0.3, -0.2, 0.1], requires_grad=True)
    chance = torch.softmax(logits, -1)
    batch = token_batch(["cs"] * 3, [0] * 3)
    outcomes = [game.outcome((a,)) for a in range(3)]
    told = told_batch(batch, outcomes)

    def prediction(worth):
        mean = torch.tensor([[0.0, value] for value in worth])
        return ValuePrediction(mean, batch.sampled_mask, torch.zeros(3))

    def gradient(weight, network):
        values = blended(prediction([1 / 3] * 3), prediction(network), weight)
        advantage = Gae(1.0, 0.0).estimate(batch, told, values, Evidence()).advantage[:, 1]
        expected = (chance.detach() * advantage * torch.log_softmax(logits, -1)).sum()
        return torch.autograd.grad(expected, logits)[0]

    due = torch.autograd.grad((torch.softmax(logits, -1) * torch.tensor(outcomes)).sum(), logits)[0]
    before = [float((chance.detach() * torch.tensor(outcomes)).sum())] * 3  # a perfect network that has not seen it
    for weight in (0.0, 0.5, 0.9):
        torch.testing.assert_close(gradient(weight, before), due)
        torch.testing.assert_close(gradient(weight, outcomes), weight * due)


def test_wrong_settings_are_refused():
    for wrong in ({"rollouts": 0}, {"discount": 1.1}, {"max_steps": 0}):
        with pytest.raises(ValueError):
            SimulatorRollouts(**wrong)
