"""Samples by prompt through gathering: the same bits for even shares, and unequal groups counted right everywhere."""

from dataclasses import dataclass

import pytest
import torch

from arrays import token_batch, told_batch
from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMeanCritic, LeaveOneOutCritic
from critica.critics.identity import prompt_shares
from critica.records.evidence import Evidence
from critica.records.supervision import Failed, Scored
from critica.rewards.noise_specs import parse_noise
from critica.rollout.admission import AcceptAll, Informative
from critica.rollout.budget import Allocator, BudgetRule
from critica.rollout.gather import gather, score
from critica.rollout.place import Placement, place
from critica.rollout.samples import collect
from critica.rollout.tokenize import tokenize
from critica.training.books import UnbalancedBooks, close_books
from fakes import BigramPolicy
from rollout.test_gather import TRAIN, Verdicts, curriculum, even, request, supervise


@dataclass(frozen=True)
class Fixed(BudgetRule):
    """These waves, one tuple each."""

    waves: tuple[tuple[int, ...], ...]

    def wants(self, standing):
        done, written = 0, sum(standing.written)
        for wave in self.waves:
            if done == written:
                return wave[: standing.prompts]
            done += sum(wave[: standing.prompts])
        return (0,) * standing.prompts


def gathered(waves=None, noise="flip:0.4:sample", rule=even, samples=3, admission=None):
    allocator = Allocator(Fixed(waves)) if waves else None
    return gather(
        BigramPolicy(), curriculum(4, samples), supervise(rule, parse_noise(noise)), admission or AcceptAll(),
        request(1, 4, samples), None, allocator,
    )  # fmt: skip


def test_even_shares_are_one_call_of_the_decoder_and_of_the_source():
    """What gathering did before there were budgets: sample each task so often, then score."""
    policy, supervision = BigramPolicy(), supervise(even, parse_noise("flip:0.4:sample"))
    groups = collect(policy, curriculum(4, 3).draw(4), request(), supervision.seed, 0)
    rewards = tuple(r for row in score(groups, supervision, 1) for told in row for r in told)
    whole = gathered()
    assert whole.groups == tuple(groups) and whole.rewards == rewards
    assert whole.asked == tuple(f"1.{slot}.{i}" for slot in range(4) for i in range(3))
    assert [group.waves for group in whole.groups] == [()] * 4


@pytest.mark.parametrize("noise", ["flip:0.4:sample", "flip:0.4:group", "flip:0.4:prompt"])
def test_written_in_waves_a_sample_is_the_same_and_is_told_the_same(noise):
    whole, waves = gathered(noise=noise), gathered(((1, 2, 1, 3), (2, 0, 1, 0), (0, 1, 1, 0)), noise)
    assert [g.trajectories for g in whole.groups] == [g.trajectories for g in waves.groups]
    assert whole.rewards == waves.rewards and sorted(whole.asked) == sorted(waves.asked)
    assert [g.waves for g in waves.groups] == [(1, 2), (2, 1), (1, 1, 1), ()]
    assert [waves.groups[2].wave_of(place) for place in range(3)] == [0, 1, 2]
    assert any(r.tampering.flipped for r in whole.rewards)


def test_unequal_groups_keep_their_samples_numbers_and_are_counted_once():
    made = gathered(((1, 2, 3, 6),))
    assert [len(g.trajectories) for g in made.groups] == [1, 2, 3, 6]
    even_shares = gathered(samples=6)
    for group, other in zip(made.groups, even_shares.groups, strict=True):
        assert group.trajectories == other.trajectories[: len(group.trajectories)]
    batch = tokenize(made.groups)
    assert batch.group_index.tolist() == [0] + [1] * 2 + [2] * 3 + [3] * 6
    metrics = {m.name: m for m in made.reports}
    assert metrics["samples/fewest"].value == 1 and metrics["samples/most"].value == 6
    assert metrics["prompts/mixed"].count == 4


def test_the_books_of_unequal_groups_balance_with_every_fate_in_them():
    """Trained, masked, filtered and failed; a row more or less stops the run."""
    asked = []

    def rule(text):
        asked.append(text)
        if len(asked) % 7 == 0:
            return Failed("boom")
        return Scored(1.0) if len(asked) <= 3 else even(text)

    made = gathered(((2, 1, 3, 6),), "none", rule, admission=Informative(max_rounds=1))
    batch = tokenize(made.groups)
    told = place(made.rewards, batch, Evidence(), Placement(), Verdicts(even))
    credit = Outcome().estimate(batch, told, GroupMeanCritic().predict(batch, told, Evidence()), Evidence())
    ledger = close_books(made, batch, credit, TRAIN)
    samples = [entry for entry in ledger if entry.kind == "sample"]
    states = {state: sum(e.state == state for e in samples) for state in ("trained", "masked", "filtered", "failed")}
    assert sum(states.values()) == len(made.asked) == 12
    assert states["filtered"] >= 1 and states["failed"] == 1 and states["trained"] >= 2
    assert sum(entry.kind == "prompt" for entry in ledger) == 4
    short = type(made)(made.groups, made.rewards, made.turned_away, 1, made.drawn, made.asked[1:], made.reports)
    with pytest.raises(UnbalancedBooks, match="counted too often"):
        close_books(short, batch, credit, TRAIN)


def test_baselines_of_unequal_groups_by_hand():
    """Groups of 2, 3 and 1: 1 0 | 1 1 0 | 1."""
    batch = token_batch(["cs"] * 6, [0, 0, 1, 1, 1, 2])
    told = told_batch(batch, [1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    others = LeaveOneOutCritic().predict(batch, told, Evidence())
    assert others.mean[:5, 1].tolist() == pytest.approx([0.0, 1.0, 0.5, 0.5, 1.0]) and not others.mask[5].any()
    rloo = Outcome("none").estimate(batch, told, others, Evidence())
    assert rloo.advantage[:, 1].tolist() == pytest.approx([1.0, -1.0, 0.5, 0.5, -1.0, 0.0])
    mean = GroupMeanCritic().predict(batch, told, Evidence())
    assert mean.mean[:, 1].tolist() == pytest.approx([0.5, 0.5, 2 / 3, 2 / 3, 2 / 3, 1.0])
    grpo = Outcome("group", epsilon=0.0).estimate(batch, told, mean, Evidence())
    two, three = 0.5**0.5, (1 / 3) ** 0.5  # ddof=1
    expected = [0.5 / two, -0.5 / two, 1 / 3 / three, 1 / 3 / three, -2 / 3 / three, 0.0]
    assert grpo.advantage[:, 1].tolist() == pytest.approx(expected, rel=1e-5)
    assert grpo.zero_variance.tolist() == [False] * 5 + [True]


def test_prompts_count_alike_however_many_samples_they_got():
    index = torch.tensor([0, 0, 0, 0, 1, 1])
    known, once = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.long)
    returns = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    assert float((prompt_shares(known, index, once) * returns).sum() / 6) == pytest.approx((0.25 + 1.0) / 2)
    waves = torch.tensor([0, 0, 1, 1, 0, 0])  # the last two of the first prompt were asked for because of the first two
    assert float((prompt_shares(known, index, waves) * returns).sum() / 6) == pytest.approx((0.0 + 1.0) / 2)
    alike = prompt_shares(known, torch.tensor([0, 0, 0, 1, 1, 1]), once)
    assert alike.tolist() == [1.0] * 6
    lost = torch.tensor([True, False, True, True, True, True])
    assert prompt_shares(lost, torch.tensor([0, 0, 0, 1, 1, 1]), once).tolist() == lost.double().tolist()
