"""Held-out accuracy: sample, score, and say how sure the number is."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from critica.environments.base import Environment
from critica.evaluation.intervals import mean_interval_over, share_interval
from critica.functional.statistics import pass_at_k
from critica.policies.base import DecodeHand, Policy, Sample, SampleLimits, SampleRequest
from critica.records.outcome import OutcomeReport, PassAtK, PromptOutcome, SourceAccuracy
from critica.records.supervision import Scored
from critica.records.words import StopReason, Task
from critica.rewards.base import RewardSource, ScoreRequest
from critica.rollout.samples import answer_text

Score = Callable[[Task, str], float | None]
Hand = Callable[[Sequence[tuple[int, ...]], float], DecodeHand | None]  # of rows with these streams, at this heat
PROMPT_KEPT = 300  # letters of a prompt that a report keeps


def evaluate_policy(
    policy: Policy,
    environment: Environment,
    count: int,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    score: Score | None = None,
    *,
    max_new_tokens: int | None = None,
    prompts_per_batch: int = 64,
    hand: Hand | None = None,
    stop: tuple[str, ...] = (),
    reward: RewardSource | None = None,
) -> OutcomeReport:
    """Accuracy on `count` held-out prompts, `samples` each, with 95% intervals over prompts.

    `score(task, text)` is the environment's own by default; NaN or None says that an answer could not be scored: it
    is counted as unscored, not as wrong. A sample's random numbers depend on (seed, task, sample), so two policies
    meet the same prompts with the same dice, whatever `count` is. `hand` gives the decode control of each batch: what
    is measured then is the policy under it. `stop` strings end answers, as they do in training. `reward` is asked about
    the same answers: its mean stands beside the accuracy. Raises ValueError for wrong counts, and for greedy decoding
    with more than one sample, which would be the same answer again.
    """
    _check(count, samples, temperature)
    scorer = score if score is not None else environment.score
    environment.fit(policy.encode)
    tasks = environment.held_out(count)
    limits = SampleLimits(max_new_tokens or environment.max_new_tokens, temperature, stop=stop)
    written: list[list[Sample]] = []
    for start in range(0, len(tasks), prompts_per_batch):
        part = tasks[start : start + prompts_per_batch]
        requests = [SampleRequest(policy.encode(task.messages), _streams(task, samples)) for task in part]
        rows = [stream for request in requests for stream in request.streams]
        guides = () if hand is None else (hand(rows, temperature),)
        written += policy.sample(requests, limits, seed, *guides)
    texts = [[answer_text(policy, _without_end(sample), limits) for sample in row] for row in written]
    worth = [None] * len(tasks) if reward is None else _rewards(reward, tasks, texts, written)
    prompts = tuple(
        _prompt_outcome(task, row, [scorer(task, text) for text in said], environment, one)
        for task, row, said, one in zip(tasks, written, texts, worth, strict=True)
    )
    total = max(sum(len(row) for row in written), 1)
    return OutcomeReport(
        environment=environment.name,
        temperature=temperature,
        samples_per_prompt=samples,
        max_new_tokens=limits.max_new_tokens,
        seed=seed,
        policy_version=policy.version,
        accuracy=share_interval(_shares(prompts), seed),
        pass_at_k=_pass_at_k(prompts, samples, seed),
        sources=_by_source(prompts, seed),
        mean_tokens=sum(prompt.tokens for prompt in prompts) / total,
        limit_share=sum(s.stop == StopReason.TOKEN_LIMIT for row in written for s in row) / total,
        unscored=sum(prompt.unscored for prompt in prompts),
        prompts=prompts,
        reward=mean_interval_over([prompt.reward for prompt in prompts], seed),
        rewarded_by="" if reward is None else reward.name,
    )


def _rewards(
    source: RewardSource, tasks: Sequence[Task], texts: Sequence[Sequence[str]], written: Sequence[Sequence[Sample]]
) -> list[float | None]:
    """What the source says of each prompt's answers on average; None where it gave no number at all."""
    asked = [
        ScoreRequest(task, f"{task.task_id}/{i}", text, task.task_id, tokens=len(sample.token_ids))
        for task, said, row in zip(tasks, texts, written, strict=True)
        for i, (text, sample) in enumerate(zip(said, row, strict=True))
    ]
    answers = iter(source.scores(asked))
    found: list[float | None] = []
    for said in texts:
        numbers = [one.value for one in (next(answers) for _ in said) if isinstance(one, Scored)]
        found.append(math.fsum(numbers) / len(numbers) if numbers else None)
    return found


def _check(count: int, samples: int, temperature: float) -> None:
    if count < 1 or samples < 1:
        raise ValueError(f"evaluate_policy: {count} prompts with {samples} samples each: both must be at least 1")
    if temperature < 0:
        raise ValueError(f"evaluate_policy: temperature {temperature} is negative; 0 is greedy")
    if temperature == 0 and samples > 1:
        raise ValueError(f"evaluate_policy: greedy decoding writes the same answer {samples} times: ask for 1 sample")


def _streams(task: Task, samples: int) -> tuple[tuple[int, ...], ...]:
    """Names of the samples' random numbers: by the task's name, not by its place in the list."""
    name = int.from_bytes(hashlib.blake2b(task.task_id.encode(), digest_size=7).digest(), "big")
    return tuple((name, index) for index in range(samples))


def _without_end(sample: Sample) -> Sample:
    """Without the end-of-text token, which is no part of the answer."""
    if sample.stop != StopReason.END_OF_TEXT:
        return sample
    return replace(sample, token_ids=sample.token_ids[:-1], logprobs=sample.logprobs[:-1])


def _prompt_outcome(
    task: Task,
    row: Sequence[Sample],
    scores: Sequence[float | None],
    environment: Environment,
    reward: float | None,
) -> PromptOutcome:
    known = [value for value in scores if value is not None and not math.isnan(value)]
    return PromptOutcome(
        task_id=task.task_id,
        source=str(task.info.get("dataset", task.environment)),
        samples=len(known),
        correct=sum(environment.is_correct(value) for value in known),
        unscored=len(scores) - len(known),
        tokens=sum(len(sample.token_ids) for sample in row),
        prompt=task.prompt[:PROMPT_KEPT],
        reward=reward,
    )


def _shares(prompts: Sequence[PromptOutcome]) -> list[float]:
    shares = [prompt.share for prompt in prompts if prompt.samples]
    if not shares:
        raise ValueError(
            f"evaluate_policy: none of {len(prompts)} prompts could be scored: the scorer failed every time; "
            f"run it by hand on one answer"
        )
    return shares


def _pass_at_k(prompts: Sequence[PromptOutcome], samples: int, seed: int) -> tuple[PassAtK, ...]:
    """k = 1, 2, 4, …, and `samples` itself; each over the prompts with at least k scored samples."""
    ks = sorted({2**power for power in range(samples.bit_length()) if 2**power <= samples} | {samples})
    found = []
    for k in ks:
        chances = [pass_at_k(prompt.samples, prompt.correct, k) for prompt in prompts if prompt.samples >= k]
        if chances:
            found.append(PassAtK(k, len(chances), share_interval(chances, seed)))
    return tuple(found)


def _by_source(prompts: Sequence[PromptOutcome], seed: int) -> tuple[SourceAccuracy, ...]:
    names = sorted({prompt.source for prompt in prompts if prompt.samples})
    grouped = {name: [p.share for p in prompts if p.source == name and p.samples] for name in names}
    return tuple(SourceAccuracy(name, len(part), share_interval(part, seed)) for name, part in grouped.items())
