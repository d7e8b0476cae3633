"""Critical sampling: judge answers by example tests, cut each where the critic believes in it most, and resume.

An inference procedure for tasks whose answers can be tested before they are handed in (CodeRL, arXiv 2207.01780,
section 3.4: programs run on the examples that a problem states).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from critica.critics.base import ValueCritic
from critica.policies.base import Sample, SampleLimits, TrainablePolicy
from critica.policies.body_mode import device_of
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.devices import moved
from critica.records.evidence import Evidence, HiddenStates
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rollout.continuations import Place, continue_places, number_of
from critica.rollout.tokenize import tokenize

Passes = Callable[[Task, str], bool]
TOGETHER = 64  # tasks that are decoded and valued at once


class CannotRepair(ValueError):
    """The critic cannot say where an answer went wrong."""


@dataclass(frozen=True, slots=True)
class CriticalSampling:
    """`samples` answers a task, then `rounds` times: cut what is there and resume it, `samples` more.

    An answer is cut after the t in 0..T-1 tokens of the highest value V(tokens_<=t), the fewest among equals: what the
    critic rates best is kept, what came after it is written anew (t = 0, all of it, is ours: without it an answer whose
    first token is wrong could only be resumed wrong). While some answers of a task pass, only they are cut
    (refining: the paper resumes programs that pass their examples, to find ones that pass the hidden tests too); while
    none does, the `seeds` of the highest value at their cut are (its repair step conditions a second model on the
    error; here the policy itself goes on from where the critic still believed). What is handed in is the answer with
    the highest final value among those that pass, or among all if none does.

    Worth it where tests are cheap and answers fail late. It costs rounds x samples continuations a task, which share
    their seed's prefix in the decoder, and one prediction of every answer: compare it with (1 + rounds) x samples plain
    answers, see `plain`. A critic whose values do not tell prefixes apart cuts at random, and then only repeats itself.
    """

    samples: int = 8
    rounds: int = 1
    seeds: int = 2

    def __post_init__(self) -> None:
        if min(self.samples, self.rounds, self.seeds) < 1:
            raise ValueError("critical sampling needs at least one sample, one round and one seed")
        if self.seeds > self.samples:
            raise ValueError(f"{self.seeds} seeds of {self.samples} samples: there are not so many")

    @property
    def plain(self) -> int:
        """How many plain answers cost as many samples."""
        return self.samples * (1 + self.rounds)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer: its tokens, whether it passed, the values, and how many tokens it took from a seed.

    `values[t]` is the value after t tokens: of the prompt first, of the whole answer last.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop: StopReason
    text: str
    passes: bool
    values: tuple[float, ...]
    round: int = 0
    kept: int = 0

    @property
    def cut(self) -> int:
        """After how many tokens the critic rates it best, its last one aside."""
        return max(range(len(self.token_ids)), key=lambda t: (self.values[t], -t))

    @property
    def promise(self) -> float:
        """The value at the cut."""
        return self.values[self.cut]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who writes, who values, what tests the answers, how long and hot they are, and the seed of the dice."""

    policy: TrainablePolicy
    critic: ValueCritic
    passes: Passes
    limits: SampleLimits
    seed: int

    def __post_init__(self) -> None:
        if self.critic.needs - {HiddenStates}:
            raise CannotRepair(
                f"{type(self.critic).__name__} needs more than an answer's tokens: critical sampling takes a critic"
                " that learns to value prefixes, such as scalar, success or outcome_classes"
            )


def critical_sample(plan: CriticalSampling, asked: Asked, tasks: Sequence[Task]) -> tuple[tuple[Candidate, ...], ...]:
    """Every candidate of every task, first round first; `chosen` picks the one to hand in.

    A candidate's random numbers depend on (seed, task, round, number). Raises `CannotRepair` for a critic that says
    nothing about an answer before its outcome is known.
    """
    found: list[tuple[Candidate, ...]] = []
    for start in range(0, len(tasks), TOGETHER):
        wave = tasks[start : start + TOGETHER]
        prompts = [asked.policy.encode(task.messages) for task in wave]
        rows = _first(asked, wave, prompts, plan.samples)
        for number in range(1, plan.rounds + 1):
            resumed = _resumed(plan, asked, wave, prompts, rows, number)
            rows = [old + new for old, new in zip(rows, resumed, strict=True)]
        found += map(tuple, rows)
    return tuple(found)


def plain_sample(count: int, asked: Asked, tasks: Sequence[Task]) -> tuple[tuple[Candidate, ...], ...]:
    """`count` answers of every task, none resumed, judged alike; they begin with the first of `critical_sample`."""
    found: list[tuple[Candidate, ...]] = []
    for start in range(0, len(tasks), TOGETHER):
        wave = tasks[start : start + TOGETHER]
        found += map(tuple, _first(asked, wave, [asked.policy.encode(task.messages) for task in wave], count))
    return tuple(found)


def seeds_of(plan: CriticalSampling, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """What is cut: the answers that pass, or the best-rated of those that fail; at most `seeds` either way."""
    passing = [candidate for candidate in candidates if candidate.passes]
    ranked = sorted(passing or candidates, key=lambda candidate: -candidate.promise)  # stable: the earlier of equals
    return tuple(ranked[: plan.seeds])


def chosen(candidates: Sequence[Candidate]) -> Candidate:
    """The answer to hand in: one that passes if there is any, of the highest final value, the earliest of equals."""
    return max(candidates, key=lambda candidate: (candidate.passes, candidate.values[-1]))


def _first(
    asked: Asked, tasks: Sequence[Task], prompts: Sequence[tuple[int, ...]], count: int
) -> list[list[Candidate]]:
    places = [
        Place(t, 0, len(prompt), 0, task, prompt, (), asked.limits.max_new_tokens, (number_of(task.task_id),))
        for t, (task, prompt) in enumerate(zip(tasks, prompts, strict=True))
    ]
    written = continue_places(asked.policy, places, count, asked.limits.temperature, asked.seed).samples
    return _judged(asked, tasks, prompts, [[(sample, 0) for sample in row] for row in written], 0)


def _resumed(
    plan: CriticalSampling,
    asked: Asked,
    tasks: Sequence[Task],
    prompts: Sequence[tuple[int, ...]],
    rows: Sequence[list[Candidate]],
    number: int,
) -> list[list[Candidate]]:
    """`samples` continuations of each task's seeds, dealt out evenly; each with its seed's tokens in front."""
    sources: dict[int, list[tuple[Place, Candidate]]] = {}
    for t, (task, prompt, row) in enumerate(zip(tasks, prompts, rows, strict=True)):
        seeds = seeds_of(plan, row)
        for k, source in enumerate(seeds):
            kept = source.token_ids[: source.cut]
            place = Place(
                t, source.cut, len(prompt) + source.cut, len(source.token_ids), task, (*prompt, *kept), kept,
                asked.limits.max_new_tokens - source.cut, (number_of(task.task_id), number, k),
            )  # fmt: skip
            sources.setdefault(len(range(k, plan.samples, len(seeds))), []).append((place, source))
    made: list[list[tuple[Sample, int]]] = [[] for _ in tasks]
    for count, several in sources.items():
        places = [place for place, _ in several]
        written = continue_places(asked.policy, places, count, asked.limits.temperature, asked.seed).samples
        for (place, source), samples in zip(several, written, strict=True):
            before = source.logprobs[: place.offset]
            made[place.row] += [
                (Sample((*place.written_ids, *s.token_ids), (*before, *s.logprobs), s.stop), place.offset)
                for s in samples
            ]
    return _judged(asked, tasks, prompts, made, number)


def _judged(
    asked: Asked,
    tasks: Sequence[Task],
    prompts: Sequence[tuple[int, ...]],
    rows: Sequence[Sequence[tuple[Sample, int]]],
    number: int,
) -> list[list[Candidate]]:
    """Tested and valued; a sample comes with the number of tokens that it took from a seed."""
    policy = asked.policy
    texts = [[policy.decode_text(sample.token_ids) for sample, _ in row] for row in rows]
    groups = tuple(
        _group(str(t), task, prompt, [sample for sample, _ in row], said, asked.limits, policy.version)
        for t, (task, prompt, row, said) in enumerate(zip(tasks, prompts, rows, texts, strict=True))
    )
    batch = moved(tokenize(groups), device_of(policy.model))
    values = iter(values_along(_predict(policy, asked.critic, batch), batch))
    return [
        [
            Candidate(s.token_ids, s.logprobs, s.stop, text, asked.passes(task, text), next(values), number, kept)
            for (s, kept), text in zip(row, said, strict=True)
        ]
        for task, row, said in zip(tasks, rows, texts, strict=True)
    ]


def _predict(policy: TrainablePolicy, critic: ValueCritic, batch: TokenBatch) -> ValuePrediction:
    untold = torch.zeros(batch.rows, 1, device=batch.device)
    told = RewardBatch(
        ("none",), torch.full_like(untold, float("nan")), torch.zeros_like(untold, dtype=torch.bool), untold,
        torch.zeros(*batch.token_ids.shape, 1, device=batch.device), (0.0,), (1.0,),
    )  # fmt: skip
    evidence = Evidence()
    if critic.needs:
        with torch.no_grad():
            evidence = Evidence(HiddenStates(*policy.sampled_and_final_states(batch)))
    values = critic.predict(batch, told, evidence)
    if not torch.equal(values.mask & batch.sampled_mask, batch.sampled_mask):
        raise CannotRepair(
            f"{type(critic).__name__} says nothing about an answer before its outcome is known: critical sampling takes"
            " a critic that learns to value prefixes, such as scalar, success or outcome_classes"
        )
    return values


def values_along(values: ValuePrediction, batch: TokenBatch) -> list[tuple[float, ...]]:
    """The value after 0, 1, … and all of each row's sampled tokens: those before each token, and the bootstrap."""
    made = []
    for row in range(batch.rows):
        before = values.mean[row][batch.sampled_mask[row]]
        made.append((*before.tolist(), float(values.bootstrap[row])))
    return made


def _group(
    key: str,
    task: Task,
    prompt: tuple[int, ...],
    samples: list[Sample],
    texts: list[str],
    limits: SampleLimits,
    version: int,
) -> Group:
    context = ContextTurn(task.messages[-1], prompt)
    rows = tuple(
        Trajectory(
            f"{key}/{i}", f"{key}/{i}", task.task_id, key, "policy",
            (context, SampledTurn(Message("assistant", text), s.token_ids, s.logprobs, limits.temperature, version)),
            s.stop,
        )
        for i, (s, text) in enumerate(zip(samples, texts, strict=True))
    )  # fmt: skip
    return Group(key, task, rows)
