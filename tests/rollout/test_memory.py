"""Reading in pieces: belief entropy on a hidden Markov chain, its telescoping, and GRPO at weight zero."""

import itertools
from math import log

import pytest
import torch

from critica.advantages.outcome import Outcome
from critica.critics.base import CriticContext
from critica.critics.counted import GroupMean
from critica.curricula.base import Budget
from critica.curricula.stream import Stream
from critica.environments.guess import Guess
from critica.environments.recall import Recall
from critica.functional.belief import belief_entropy
from critica.functional.random import uniforms
from critica.policies.base import Sample, SampleLimits
from critica.recipes.catalogue import RECIPES
from critica.records.evidence import Evidence
from critica.records.supervision import Scale, Scored
from critica.records.words import StopReason
from critica.rewards.workers import WorkerLimits
from critica.rollout.admission import AcceptAll
from critica.rollout.combine import NormalizeThenSum, Sum
from critica.rollout.gather import gather
from critica.rollout.memory import AFTER, BEFORE, Memory
from critica.rollout.place import Placement, place
from critica.rollout.protocol import ProtocolContext
from critica.rollout.tokenize import tokenize
from rollout.guessing import NUMBER, Guesser, Truth, request, supervise

STAY, CLEAR = 0.8, 0.7  # a hidden bit keeps its value with 0.8, and is seen as it is with 0.7


def chain(steps):
    """(probability, last hidden bit, observations) of every course of the chain."""
    for hidden in itertools.product(range(2), repeat=steps):
        for shown in itertools.product(range(2), repeat=steps):
            chance = 0.5
            for t in range(steps):
                if t:
                    chance *= STAY if hidden[t] == hidden[t - 1] else 1 - STAY
                chance *= CLEAR if shown[t] == hidden[t] else 1 - CLEAR
            yield chance, hidden[-1], shown


def expected_entropy(memory, steps, answers=4000):
    """The mean belief entropy of a reader who knows only `memory(observations)` and answers from its posterior."""
    weights = {}
    for chance, bit, shown in chain(steps):
        weights.setdefault(memory(shown), [0.0, 0.0])[bit] += chance
    total = 0.0
    for zero, one in weights.values():
        share = one / (zero + one)
        said = ["1"] * round(share * answers) + ["0"] * (answers - round(share * answers))
        total += (zero + one) * belief_entropy(said)
    return total


def posterior_entropy(steps):
    """E of the entropy of P(hidden bit | all observations), by the forward recursion."""
    total = 0.0
    for shown in itertools.product(range(2), repeat=steps):
        forward = [0.5, 0.5]
        for t, seen in enumerate(shown):
            if t:
                forward = [forward[0] * STAY + forward[1] * (1 - STAY), forward[1] * STAY + forward[0] * (1 - STAY)]
            forward = [forward[b] * (CLEAR if b == seen else 1 - CLEAR) for b in range(2)]
        chance = sum(forward)
        total -= sum(p * log(p / chance) for p in forward)
    return total


def test_a_whole_memory_has_the_posteriors_entropy_and_a_lossy_one_more():
    """The data-processing inequality, on every memory of a chain of four observations that is tried."""
    whole = expected_entropy(lambda shown: shown, 4)
    assert whole == pytest.approx(posterior_entropy(4), abs=1e-3)
    for lossy in (lambda s: s[-1], lambda s: sum(s), lambda s: s[:-1], lambda s: s[1:], lambda s: None):
        assert expected_entropy(lossy, 4) > whole + 1e-3
    assert expected_entropy(lambda s: None, 4) == pytest.approx(log(2), abs=1e-6)


def test_belief_entropy_counts_what_answers_say():
    assert belief_entropy(["7", " 7 ", "7"]) == 0.0
    assert belief_entropy(["Yes", "no", "yes", "NO"]) == pytest.approx(log(2))
    assert belief_entropy(["a", "b", "c", "d"]) == pytest.approx(log(4))
    assert belief_entropy(["a", "a", "a", "b"]) == pytest.approx(0.75 * log(4 / 3) + 0.25 * log(4))
    with pytest.raises(ValueError, match="no answers"):
        belief_entropy([])


class Reader(Guesser):
    """Keeps the digit of the question's fact with 0.7 once it has read it, else a dash; answers from it, or guesses."""

    def sample(self, requests, limits, seed, control=None, ended=None):
        made = []
        for asked in requests:
            row = []
            for stream in asked.streams:
                said, weight = self.says(self.decode_text(asked.prompt_ids), uniforms(seed, "decode", *stream, count=2))
                row.append(Sample((NUMBER[said],), (log(weight),), StopReason.END_OF_TEXT))
            made.append(row)
        return made

    def says(self, text, dice):
        key, memory = text[0], text.split("memory: ")[1][0]
        if text.endswith("answer: "):
            return (memory, 1.0) if memory != "-" else ("1234"[int(dice[1] * 4)], 0.25)
        found = next((fact[2] for fact in text.split("read: ")[1].split() if fact[:2] == f"{key}="), memory)
        return (found, 0.7) if dice[0] < 0.7 else ("-", 0.3)


def read(part, prompts=8, samples=4, rule=None):
    environment = Recall(chunks=3).build(0)
    rule = rule or (lambda task, text: Scored(environment.score(task, text)))
    stream = Stream().build(environment, Budget(prompts, samples, SampleLimits(3), 0, False))
    live = part.build(ProtocolContext(environment, WorkerLimits()))
    return gather(Reader(), stream, supervise(rule), AcceptAll(), request(1, prompts, samples), turns=live)


def test_steps_are_scenes_and_their_gains_telescope():
    found = read(Memory(probes=4))
    told = {}
    for reward in found.rewards:
        told.setdefault(reward.trajectory_id, {})[reward.source] = reward
    for group in found.groups:
        if "@" in group.key:
            continue
        for trajectory in group.trajectories:
            name = trajectory.trajectory_id
            steps = [name, f"{name}@memory-2", f"{name}@memory-3"]
            notes = [told[step]["truth"].parts for step in steps]
            assert all(notes[k][BEFORE] == notes[k - 1][AFTER] for k in (1, 2))
            gains = [told[step]["belief"].outcome.value for step in steps]
            assert sum(gains) == pytest.approx(notes[0][BEFORE] - notes[-1][AFTER], abs=1e-12)
            assert told[f"{name}@answer"]["belief"].outcome.value == 0.0
            assert len({told[step]["truth"].outcome.value for step in (*steps, f"{name}@answer")}) == 1
    by_id = {t.trajectory_id: (g.task, t) for g in found.groups for t in g.trajectories}
    for name, (task, trajectory) in by_id.items():
        if name.endswith("@answer"):
            memory = by_id[name.replace("answer", "memory-3")][1].sampled_text
            assert trajectory.turns[0].message.content == f"{task.info['question']} memory: {memory} answer: "
            last = told[name.replace("answer", "memory-3")]["truth"].parts[AFTER]
            assert (last == 0.0) if memory != "-" else (last >= 0.0)
    reports = {m.name: m.value for m in found.reports}
    assert reports["episode/turns"] == 4.0 and reports["episode/belief_first"] > reports["episode/belief_last"]


def credit_of(found, rule, scale):
    batch = tokenize(found.groups)
    placed = place(found.rewards, batch, Evidence(), Placement(combination=rule), Truth())
    values = GroupMean().build(CriticContext(Guesser(), 0, -9.0, 9.0)).predict(batch, placed, Evidence())
    return batch, Outcome(scale).estimate(batch, placed, values, Evidence())


def test_at_weight_zero_it_is_grpo_and_at_the_recipes_it_adds_standardized_gains():
    found, without = read(Memory(probes=4)), read(Memory(probes=0))
    plain, expected = credit_of(without, Sum(), "group")
    batch, off = credit_of(found, NormalizeThenSum(weights=(1.0, 0.0)), "none")
    assert batch.trajectory_ids == plain.trajectory_ids
    torch.testing.assert_close(off.advantage, expected.advantage, atol=1e-6, rtol=0)
    _, on = credit_of(found, RECIPES["mmpo"].placement.combination, "none")
    gains = {r.trajectory_id: r.outcome.value for r in found.rewards if r.source == "belief"}
    moved = 0
    for g in range(int(batch.group_index.max()) + 1):
        rows = (batch.group_index == g).nonzero().squeeze(-1).tolist()
        b = torch.tensor([gains[batch.trajectory_ids[n]] for n in rows])
        z = (b - b.mean()) / (b.std() + 1e-6) if float(b.std()) > 0 else b * 0
        for n, share in zip(rows, z.tolist(), strict=True):
            more = (on.advantage - off.advantage)[n, batch.sampled_mask[n]]
            torch.testing.assert_close(more, torch.full_like(more, 0.1 * share), atol=1e-5, rtol=0)
            moved += share != 0.0
    assert moved > 10


def test_gated_gains_leave_confident_nonsense_unpaid():
    wrong = lambda task, text: Scored(0.0)  # noqa: E731
    paid = [r.outcome.value for r in read(Memory(), rule=wrong).rewards if r.source == "belief"]
    gated = [r.outcome.value for r in read(Memory(gated=True), rule=wrong).rewards if r.source == "belief"]
    assert max(paid) > 0.5 and gated == [min(0.0, gain) for gain in paid]


def test_ranges_and_wrong_use():
    reach = Memory(probes=4).reach((Scale("truth", 0.0, 1.0),))
    assert reach == (Scale("truth", 0.0, 1.0), Scale("belief", -log(4), log(4)))
    assert Memory(probes=0).reach((Scale("truth", 0.0, 1.0),)) == (Scale("truth", 0.0, 1.0),)
    with pytest.raises(ValueError, match="one answer has no entropy"):
        Memory(probes=1)
    live = Memory().build(ProtocolContext(Guess(4).build(0), WorkerLimits()))
    with pytest.raises(ValueError, match="environment recall"):
        live.opening(Guess(4).build(0).candidate(0), (1, 0, 0))
