"""Audit a critic: what it says about fresh states beside what fresh continuations say."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from critica.critics.base import Trainable, ValueCritic
from critica.critics.learned import LearnedCritic
from critica.curricula.base import Request, Stage
from critica.evaluation.critic_laws import law_points
from critica.evaluation.critic_panel import (
    AuditedStates,
    Predicted,
    panel_row,
    reliability,
    slices_by_length,
    slices_by_place,
)
from critica.evaluation.critic_truth import Place, choose_places, continued_outcomes, name_of, weights_of
from critica.evaluation.measure import clean_outcomes
from critica.functional.groups import group_mean
from critica.functional.plasticity import dormant_share, effective_rank, weight_norm
from critica.policies.base import SampleLimits
from critica.policies.numerics import configure
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.critic_report import AuditedState, CriticReport, Price
from critica.records.evidence import Evidence, HiddenStates
from critica.records.supervision import Reward
from critica.records.words import Group, Task
from critica.rewards.noise import NoiseModel
from critica.rollout.gather import Supervision, collect, score
from critica.rollout.place import place
from critica.rollout.tokenize import tokenize
from critica.training.critic_target import CriticTarget, open_target
from critica.training.observe import Observer

AUDIT_SEED = 90_210  # no continuation shares its random numbers with a training sample
STEP = 0
FEATURE_ROWS = 128  # answers whose features the plasticity readings are taken from


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """How much is sampled: held-out prompts, siblings of each, of which `answers` are cut at `positions` places each.

    Every place is continued `continuations` times, and so is every bare prompt.
    """

    prompts: int = 64
    samples: int = 8
    answers: int = 2
    positions: int = 5
    continuations: int = 32
    seed: int = AUDIT_SEED

    def __post_init__(self) -> None:
        if min(self.prompts, self.samples, self.answers, self.positions) < 1 or self.continuations < 2:
            raise ValueError("an audit needs at least one prompt, sample, answer and position, and two continuations")
        if self.answers > self.samples:
            raise ValueError(f"--answers {self.answers} of --samples {self.samples}: there are not so many")


@dataclass(frozen=True, slots=True)
class Asked:
    """The fresh batch and what the critic said about it."""

    groups: tuple[Group, ...]
    rewards: tuple[Reward, ...]
    batch: TokenBatch
    told: RewardBatch
    evidence: Evidence
    values: ValuePrediction
    seconds: float
    sampling_seconds: float

    @property
    def tasks(self) -> list[Task]:
        """The task of each row."""
        return [group.task for group in self.groups for _ in group.trajectories]


def audit_critic(
    target: str | Path,
    policy: str = "",
    environment: str = "",
    plan: AuditPlan = AuditPlan(),  # noqa: B008
    step: int | None = None,
    noise: NoiseModel | None = None,
) -> CriticReport:
    """The critic panel of a run's critic, or of a fitted one, on held-out prompts that nothing was trained on.

    `noise` (default: the run's own) is what siblings' rewards go through before a counted critic hears of them; the
    truth is always the clean reward.
    """
    configure(len(os.sched_getaffinity(0)))
    opened = open_target(target, policy, environment, step)
    try:
        return _audit(opened, str(target), policy, plan, opened.recipe.noise if noise is None else noise)
    finally:
        opened.source.close()


def _audit(opened: CriticTarget, target: str, policy: str, plan: AuditPlan, noise: NoiseModel) -> CriticReport:
    limit = opened.recipe.sampling.max_new_tokens or opened.environment.max_new_tokens
    asked = ask(opened, plan, limit, noise)
    rows = [n for n, t in enumerate(order_in_group(asked.batch)) if t < plan.answers]
    places = choose_places(asked.batch, asked.tasks, rows, plan.positions, limit, plan.seed)
    temperature = opened.recipe.sampling.temperature
    fresh = continued_outcomes(opened.policy, opened.source, places, plan.continuations, temperature, plan.seed)
    clean, _ = clean_outcomes(asked.batch, asked.rewards)
    states = states_of(asked, places, fresh, clean.numpy(), opened)
    prompts = bare_prompts(asked, limit)
    promise = continued_outcomes(opened.policy, opened.source, prompts, plan.continuations, temperature, plan.seed)
    predicted = predictions(asked, places, promise)
    mine, group = predicted[0].value, predicted[1].value
    return CriticReport(
        target=target,
        critic=type(opened.part).__name__,
        law=type(asked.values.law).__name__,
        policy=policy or "the run's own",
        environment=opened.environment.name,
        noise=noise.name,
        policy_version=opened.policy.version,
        critic_step=opened.critic_step,
        prompts=plan.prompts,
        samples_per_prompt=plan.samples,
        continuations=plan.continuations,
        truth=f"{plan.continuations} fresh continuations of each state",
        seed=plan.seed,
        low=states.low,
        high=states.high,
        uses_own_outcome=asked.values.uses_own_outcome,
        rows=tuple(panel_row(states, item, plan.seed) for item in predicted),
        by_place=slices_by_place(states, mine, group),
        by_length=slices_by_length(states, mine, group),
        reliability=reliability(states, mine),
        plasticity=plasticity(opened.critic, asked),
        price=price(opened.critic, asked),
        states=audited(places, states, mine, group),
    )


def ask(opened: CriticTarget, plan: AuditPlan, limit: int, noise: NoiseModel) -> Asked:
    """Sample and score siblings of fresh prompts, and let the critic predict, as training does it."""
    recipe = opened.recipe
    tasks = opened.environment.held_out(plan.prompts)
    limits = SampleLimits(limit, recipe.sampling.temperature)
    request = Request(STEP, plan.prompts, plan.samples, limits, Stage("audit", policy=False, critic=False))
    begun = time.perf_counter()
    groups = collect(opened.policy, tasks, request, plan.seed, 0)
    sampling_seconds = time.perf_counter() - begun
    supervision = Supervision(opened.source, noise, plan.seed, recipe.failures)
    rewards = tuple(reward for row in score(groups, supervision, STEP) for reward in row)
    recipe.failures.check(opened.source.name, [reward.outcome for reward in rewards])
    batch = tokenize(tuple(groups))
    observer = Observer(opened.policy, opened.critic.needs, recipe.learner.tokens_per_microbatch)
    begun = time.perf_counter()
    evidence = observer.observe(tuple(groups), batch)
    placement = recipe.placement.without_reference()
    told = place(rewards, batch, Evidence(), placement, opened.source)
    values = opened.critic.predict(batch, told, evidence)
    seconds = time.perf_counter() - begun
    return Asked(tuple(groups), rewards, batch, told, evidence, values, seconds, sampling_seconds)


def order_in_group(batch: TokenBatch) -> list[int]:
    """Each row's number among its siblings."""
    seen: dict[int, int] = {}
    order = []
    for group in batch.group_index.tolist():
        order.append(seen.get(group, 0))
        seen[group] = order[-1] + 1
    return order


def states_of(
    asked: Asked, places: tuple[Place, ...], fresh: np.ndarray, clean: np.ndarray, opened: CriticTarget
) -> AuditedStates:
    """The places and what came of their continuations."""
    rows = [item.row for item in places]
    return AuditedStates(
        prompt=asked.batch.group_index[rows].numpy(),
        answer=np.array(rows),
        place=np.array([item.offset / item.length for item in places]),
        length=np.array([item.length for item in places]),
        own=clean[rows].astype(np.float64),
        outcomes=fresh,
        weights=weights_of(fresh),
        sampled=True,
        low=float(opened.source.low),
        high=float(opened.source.high),
    )


def bare_prompts(asked: Asked, limit: int) -> tuple[Place, ...]:
    """The state before the first token of each group's first row, with random numbers of its own."""
    firsts = [n for n, order in enumerate(order_in_group(asked.batch)) if order == 0]
    found = choose_places(asked.batch, asked.tasks, firsts, 1, limit, seed=0)
    whole = []
    for item in found:
        start = item.column - item.offset
        whole.append(
            replace(
                item, offset=0, column=start, prefix_ids=item.prefix_ids[:start], written_ids=(), room=limit,
                stream=(name_of(item.task), -1),
            )
        )  # fmt: skip
    return tuple(whole)


def predictions(asked: Asked, places: tuple[Place, ...], promise: np.ndarray) -> tuple[Predicted, ...]:
    """The critic beside two that know the prompt alone: the siblings' mean, and the measured value of the prompt."""
    rows = torch.tensor([item.row for item in places])
    columns = torch.tensor([item.column for item in places])
    silent = ~asked.values.mask[rows, columns]
    if bool(silent.any()):
        raise ValueError(
            f"the critic says nothing about {int(silent.sum())} of {len(places)} audited states: a counted critic"
            " needs more --samples of each prompt with a known outcome"
        )
    value = asked.values.mean[rows, columns].double().numpy()
    critic = Predicted("critic", "the audited critic", value, *law_points(asked.values, rows, columns))
    told = asked.told.per_token.sum((1, 2))
    known = asked.told.all_known
    group = group_mean(told, known, asked.batch.group_index)[rows].double().numpy()
    prompt = asked.batch.group_index[rows].numpy()
    _, index = np.unique(prompt, return_inverse=True)
    return (
        critic,
        Predicted.of_points("group mean", "mean told reward of the prompt's samples, the answer itself included", group),
        Predicted.of_points(
            "prompt value", "mean of fresh answers to the bare prompt: the best that knows nothing of the answer",
            np.nanmean(promise, 1)[index],
        ),
    )  # fmt: skip


def audited(
    places: tuple[Place, ...], states: AuditedStates, value: np.ndarray, group: np.ndarray
) -> tuple[AuditedState, ...]:
    """Every state as a record."""
    truth, error = states.truth, np.sqrt(states.noise)
    return tuple(
        AuditedState(
            item.task.task_id, item.row, item.offset, item.length, float(value[i]), float(group[i]), float(truth[i]),
            float(error[i]),
        )
        for i, item in enumerate(places)
    )  # fmt: skip


def plasticity(critic: ValueCritic, asked: Asked) -> tuple[tuple[str, float], ...]:
    """Dormant units, rank of the features, norm of the weights; nothing for a critic without weights."""
    if not isinstance(critic, LearnedCritic):
        return ()
    with torch.no_grad():
        few = asked.batch.select(torch.arange(min(FEATURE_ROWS, asked.batch.rows)))
        states = asked.evidence[HiddenStates].states if critic.body is None else critic.states(few)
        features = critic.shaped(states.detach())
    return (
        ("critic/dormant_units", dormant_share(features)),
        ("critic/feature_rank", effective_rank(features)),
        ("critic/weight_norm", weight_norm([weight for _, weight in critic.trainable()])),
    )


def price(critic: ValueCritic, asked: Asked) -> Price:
    """What one prediction cost, beside what the sampling cost, and the weights."""
    weights = [weight for _, weight in critic.trainable()] if isinstance(critic, Trainable) else []
    return Price(
        seconds=asked.seconds,
        sampling_seconds=asked.sampling_seconds,
        tokens=int(asked.batch.sampled_mask.sum()),
        parameters=sum(weight.numel() for weight in weights),
        megabytes=sum(weight.numel() * weight.element_size() for weight in weights) / 2**20,
    )
