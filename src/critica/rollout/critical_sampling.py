"""Critical sampling: judge answers by example tests, cut each where the critic believes in it most, and resume.

An inference procedure for tasks whose answers can be tested before they are handed in (CodeRL, arXiv 2207.01780,
section 3.4: programs run on the examples that a problem states).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from critica.critics.base import ValueCritic
from critica.policies.base import Policy, Sample, SampleLimits, SampleRequest, TrainablePolicy
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence, HiddenStates
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rollout.tokenize import tokenize

Passes = Callable[[Task, str], bool]


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


def critical_sample(
    plan: CriticalSampling,
    policy: TrainablePolicy,
    critic: ValueCritic,
    tasks: Sequence[Task],
    passes: Passes,
    limits: SampleLimits,
    seed: int,
) -> tuple[tuple[Candidate, ...], ...]:
    """Every candidate of every task, first round first; `chosen` picks the one to hand in.

    A continuation's random numbers depend on (seed, round, task, number). Raises ValueError for a critic that needs
    more than tokens and the policy's states.
    """
    if critic.needs - {HiddenStates}:
        raise ValueError(f"{type(critic).__name__} needs more than an answer's tokens: take a critic that learns")
    prompts = [policy.encode(task.messages) for task in tasks]
    wanted = [SampleRequest(prompt, tuple((0, t, i) for i in range(plan.samples))) for t, prompt in enumerate(prompts)]
    written = policy.sample(wanted, limits, seed)
    found = [
        _judged(policy, critic, task, prompt, [(sample, 0) for sample in row], passes, 0, limits)
        for task, prompt, row in zip(tasks, prompts, written, strict=True)
    ]
    for number in range(1, plan.rounds + 1):
        for t, (task, prompt) in enumerate(zip(tasks, prompts, strict=True)):
            resumed = _resume(plan, policy, found[t], prompt, (number, t), limits, seed)
            found[t] += _judged(policy, critic, task, prompt, resumed, passes, number, limits)
    return tuple(map(tuple, found))


def seeds_of(plan: CriticalSampling, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """What is cut: the answers that pass, or the best-rated of those that fail; at most `seeds` either way."""
    passing = [candidate for candidate in candidates if candidate.passes]
    ranked = sorted(passing or candidates, key=lambda candidate: -candidate.promise)  # stable: the earlier of equals
    return tuple(ranked[: plan.seeds])


def chosen(candidates: Sequence[Candidate]) -> Candidate:
    """The answer to hand in: one that passes if there is any, of the highest final value, the earliest of equals."""
    return max(candidates, key=lambda candidate: (candidate.passes, candidate.values[-1]))


def _resume(
    plan: CriticalSampling,
    policy: Policy,
    candidates: Sequence[Candidate],
    prompt: tuple[int, ...],
    stream: tuple[int, int],
    limits: SampleLimits,
    seed: int,
) -> list[tuple[Sample, int]]:
    """`samples` continuations of the seeds, dealt out in turn; each with its seed's tokens in front."""
    seeds = seeds_of(plan, candidates)
    made: list[tuple[Sample, int]] = []
    for place, source in enumerate(seeds):
        numbers = range(place, plan.samples, len(seeds))
        if not numbers:
            continue
        own, cut = source.token_ids[: source.cut], source.cut
        left = SampleLimits(limits.max_new_tokens - cut, limits.temperature)
        request = SampleRequest((*prompt, *own), tuple((*stream, i) for i in numbers))
        (row,) = policy.sample([request], left, seed)
        made += [
            (Sample((*own, *sample.token_ids), (*source.logprobs[:cut], *sample.logprobs), sample.stop), cut)
            for sample in row
        ]
    return made


def _judged(
    policy: TrainablePolicy,
    critic: ValueCritic,
    task: Task,
    prompt: tuple[int, ...],
    samples: Sequence[tuple[Sample, int]],
    passes: Passes,
    number: int,
    limits: SampleLimits,
) -> list[Candidate]:
    """Tested and valued."""
    texts = [policy.decode_text(sample.token_ids) for sample, _ in samples]
    batch = tokenize((_group(task, prompt, [sample for sample, _ in samples], texts, limits, policy.version),))
    values = values_along(_predict(policy, critic, batch), batch)
    return [
        Candidate(sample.token_ids, sample.logprobs, sample.stop, text, passes(task, text), own, number, kept)
        for (sample, kept), text, own in zip(samples, texts, values, strict=True)
    ]


def _predict(policy: TrainablePolicy, critic: ValueCritic, batch: TokenBatch) -> ValuePrediction:
    untold = torch.zeros(batch.rows, 1)
    told = RewardBatch(
        ("none",), torch.full_like(untold, float("nan")), torch.zeros_like(untold, dtype=torch.bool), untold,
        torch.zeros(*batch.token_ids.shape, 1), (0.0,), (1.0,),
    )  # fmt: skip
    evidence = Evidence()
    if critic.needs:
        with torch.no_grad():
            evidence = Evidence(HiddenStates(*policy.sampled_and_final_states(batch)))
    return critic.predict(batch, told, evidence)


def values_along(values: ValuePrediction, batch: TokenBatch) -> list[tuple[float, ...]]:
    """The value after 0, 1, … and all of each row's sampled tokens: those before each token, and the bootstrap."""
    made = []
    for row in range(batch.rows):
        before: Float[Tensor, n] = values.mean[row][batch.sampled_mask[row]]
        made.append((*before.tolist(), float(values.bootstrap[row])))
    return made


def _group(
    task: Task, prompt: tuple[int, ...], samples: list[Sample], texts: list[str], limits: SampleLimits, version: int
) -> Group:
    context = ContextTurn(task.messages[-1], prompt)
    rows = tuple(
        Trajectory(
            str(i), str(i), task.task_id, "0", "policy",
            (context, SampledTurn(Message("assistant", text), s.token_ids, s.logprobs, limits.temperature, version)),
            s.stop,
        )
        for i, (s, text) in enumerate(zip(samples, texts, strict=True))
    )  # fmt: skip
    return Group("0", task, rows)
