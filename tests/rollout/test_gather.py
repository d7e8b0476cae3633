"""Gathering: the same dice whatever the order, groups admitted or turned away by name, tokens kept bit for bit."""

from dataclasses import dataclass, replace

import pytest
import torch

from critica.curricula.base import Budget, Request, Stage
from critica.curricula.stream import Stream
from critica.environments.digit_sum import DigitSum
from critica.functional.divergences import k1
from critica.policies.base import SampleLimits
from critica.records.evidence import Evidence, ReferenceLogprobs
from critica.records.supervision import Abstained, Failed, Outcome, Reward, Scored
from critica.rewards.noise import NoNoise
from critica.rewards.noise_specs import parse_noise
from critica.rollout.admission import AcceptAll, Informative
from critica.rollout.gather import NothingGathered, Supervision, gather
from critica.rollout.place import Placement, SoftOverlong, last_sampled, place
from critica.rollout.samples import collect
from critica.rollout.tokenize import tokenize
from critica.training.books import close_books
from fakes import BigramPolicy

LIMITS = SampleLimits(5, 1.0)
TRAIN = Stage("train", True, True)


@dataclass
class Verdicts:
    """A source whose answers are decided by a function of the text."""

    rule: object
    name: str = "verdicts"
    low: float = 0.0
    high: float = 1.0
    busy_workers: int = 0
    waiting_for: str = ""
    warnings: tuple[str, ...] = ()

    def scores(self, items) -> list[Outcome]:
        return [self.rule(item.text) for item in items]

    def close(self) -> None:
        return None


def even(text: str) -> Outcome:
    return Scored(float(sum(map(ord, text)) % 2))


def curriculum(prompts=4, samples=3):
    environment = DigitSum().build(0)
    return Stream().build(environment, Budget(prompts, samples, LIMITS, 0, False))


def request(step=1, prompts=4, samples=3):
    return Request(step, prompts, samples, LIMITS, TRAIN)


def supervise(rule, noise=None, seed=0):
    return Supervision(Verdicts(rule), noise or NoNoise(), seed)


def test_a_sample_depends_on_its_identity_alone():
    policy = BigramPolicy()
    tasks = curriculum().draw(4)
    together = collect(policy, tasks, request(), 0, 0)
    alone = collect(policy, tasks[2:3], request(), 0, 2)
    assert alone[0].trajectories == together[2].trajectories
    other = collect(policy, tasks[2:3], request(step=2), 0, 2)
    assert other[0].trajectories[0].turns[1] != alone[0].trajectories[0].turns[1]


def test_tokens_and_log_probs_are_those_of_generation():
    policy = BigramPolicy()
    gathered = gather(policy, curriculum(), supervise(even), AcceptAll(), request())
    batch = tokenize(gathered.groups)
    rows = [t for group in gathered.groups for t in group.trajectories]
    assert batch.trajectory_ids == tuple(t.trajectory_id for t in rows)
    for n, trajectory in enumerate(rows):
        prompt, answer = trajectory.turns
        assert batch.token_ids[n, batch.valid_mask[n]].tolist() == [*prompt.token_ids, *answer.token_ids]
        assert batch.token_ids[n, batch.sampled_mask[n]].tolist() == list(answer.token_ids)
        kept = batch.behavior_logprobs[n, batch.sampled_mask[n]]
        torch.testing.assert_close(kept, torch.tensor(answer.behavior_logprobs))
        assert int(batch.prefix_length[n]) == len(prompt.token_ids)
        assert batch.node_index[n, batch.sampled_mask[n]].tolist() == list(range(len(answer.token_ids)))


def test_silent_groups_are_turned_away_and_replaced():
    asked = []

    def rule(text):
        asked.append(text)
        return Scored(1.0) if len(asked) <= 6 else even(text)  # the first two groups of three agree

    stream = curriculum()
    gathered = gather(BigramPolicy(), stream, supervise(rule), Informative(max_rounds=8), request())
    assert len(gathered.groups) == 4 and gathered.rounds > 1
    away = [entry for entry in gathered.turned_away if entry.reason == "zero_variance"]
    assert len(away) >= 6 and all(entry.state == "filtered" for entry in away)
    names = [t.trajectory_id for g in gathered.groups for t in g.trajectories] + [e.trajectory_id for e in away]
    assert len(names) == len(set(names)) == len(asked)
    for group in gathered.groups:
        told = {r.outcome.value for r in gathered.rewards if r.trajectory_id.startswith(f"{group.key}.")}
        assert told == {0.0, 1.0}


def test_nothing_that_varies_is_an_error_that_says_what_to_do():
    with pytest.raises(NothingGathered, match="admission=accept_all"):
        gather(BigramPolicy(), curriculum(), supervise(lambda _: Scored(1.0)), Informative(2), request())


def test_noise_flips_what_is_told_and_keeps_the_truth():
    clean = gather(BigramPolicy(), curriculum(8), supervise(even), AcceptAll(), request(prompts=8))
    noisy = gather(
        BigramPolicy(), curriculum(8), supervise(even, parse_noise("flip:0.5:group")), AcceptAll(), request(prompts=8)
    )
    truth = {r.trajectory_id: r.outcome.value for r in clean.rewards}
    changed = set()
    for reward in noisy.rewards:
        assert reward.clean_value == truth[reward.trajectory_id]
        flipped = reward.outcome.value != truth[reward.trajectory_id]
        assert reward.tampering is not None and reward.tampering.flipped == flipped
        changed.add((reward.trajectory_id.rsplit(".", 1)[0], flipped))
    assert len(changed) == 8 and {flipped for _, flipped in changed} == {True, False}


def placed(batch, outcomes, placement=None, reference=None):
    rewards = tuple(Reward("r", name, o) for name, o in zip(batch.trajectory_ids, outcomes, strict=True))
    evidence = Evidence(*([ReferenceLogprobs("initial", reference)] if reference is not None else []))
    return place(rewards, batch, evidence, placement or Placement(), Verdicts(even))


def test_the_outcome_lands_on_the_last_sampled_token_and_missing_stays_missing():
    batch = tokenize(gather(BigramPolicy(), curriculum(2, 2), supervise(even), AcceptAll(), request(1, 2, 2)).groups)
    told = placed(batch, [Scored(0.7), Failed("boom"), Abstained("none"), Scored(0.2)])
    assert told.known[:, 0].tolist() == [True, False, False, True]
    assert torch.isnan(told.outcome[1, 0]) and torch.isnan(told.outcome[2, 0])
    last = last_sampled(batch)
    assert float(told.per_token[0, last[0], 0]) == pytest.approx(0.7)
    assert float(told.per_token.abs().sum()) == pytest.approx(0.9)
    assert bool((told.paid[1:3] == 0).all())


def test_distance_from_the_reference_is_charged_per_sampled_token():
    batch = tokenize(gather(BigramPolicy(), curriculum(2, 2), supervise(even), AcceptAll(), request(1, 2, 2)).groups)
    reference = torch.where(batch.sampled_mask, batch.behavior_logprobs - 0.3, 0.0)
    told = placed(batch, [Scored(1.0)] * 4, Placement(reference_kl=0.1), reference)
    expected = 1.0 - 0.1 * float(k1(torch.tensor(0.0), torch.tensor(-0.3))) * 5
    torch.testing.assert_close(told.paid.sum(-1), torch.full((4,), expected))


def test_soft_overlong_is_linear_between_its_marks():
    shape = SoftOverlong(limit_tokens=10, buffer_tokens=4, penalty=1.0)
    lengths = torch.tensor([3.0, 6.0, 7.0, 8.0, 10.0, 20.0])
    assert shape.cost(lengths).tolist() == [0.0, 0.0, -0.25, -0.5, -1.0, -1.0]


def test_the_books_name_every_sample_once():
    from critica.records.arrays import Advantages

    gathered = gather(BigramPolicy(), curriculum(), supervise(even), Informative(8), request())
    batch = tokenize(gathered.groups)
    mask = batch.sampled_mask.clone()
    mask[3] = False
    credit = Advantages(torch.zeros(mask.shape), mask, torch.zeros(batch.rows, dtype=torch.bool), "test")
    entries = close_books(gathered, batch, credit, TRAIN)
    samples = {e.trajectory_id: e for e in entries if e.kind == "sample"}
    assert len(samples) == batch.rows + len(gathered.turned_away)
    assert samples[batch.trajectory_ids[3]].state == "masked"
    warmup = close_books(gathered, batch, replace(credit, mask=batch.sampled_mask), Stage("critic_warmup", False, True))
    assert {e.reason for e in warmup if e.state == "masked"} == {"critic_warmup"}
