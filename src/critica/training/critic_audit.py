"""Audit a critic: what it says about fresh states beside what fresh continuations say."""

import os
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from critica.critics.base import Trainable, ValueCritic
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
from critica.evaluation.critic_truth import Place, choose_places
from critica.evaluation.measure import clean_outcomes
from critica.functional.groups import group_mean
from critica.policies.language_model import LanguagePolicy
from critica.policies.numerics import configure
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.critic_report import AuditedState, CriticReport, Price
from critica.records.evidence import Evidence
from critica.records.supervision import Reward
from critica.records.words import Group, Task
from critica.rewards.noise_base import NoiseModel
from critica.rewards.noise_context import NoiseContext, bind
from critica.rollout.continuations import Continuer
from critica.rollout.gather import Supervision, score
from critica.rollout.place import place
from critica.rollout.samples import collect
from critica.rollout.tokenize import tokenize
from critica.training.critic_target import CriticTarget, open_target
from critica.training.critic_truths import AuditProblem, Truths, bare_prompts, order_in_group, truths_of
from critica.training.observe import Observer
from critica.training.plasticity import plasticity

AUDIT_SEED = 90_210  # no continuation shares its random numbers with a training sample
STEP = 0


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """How much is sampled: held-out prompts, siblings of each, of which `answers` are cut at `positions` places each.

    Every place is continued `continuations` times, and so is every bare prompt; with `exact`, which token games alone
    allow, every continuation is walked instead.
    """

    prompts: int = 64
    samples: int = 8
    answers: int = 2
    positions: int = 5
    continuations: int = 32
    seed: int = AUDIT_SEED
    exact: bool = False

    def __post_init__(self) -> None:
        if min(self.prompts, self.samples, self.answers, self.positions) < 1 or self.continuations < 2:
            raise AuditProblem("an audit needs at least one prompt, sample, answer and position, and two continuations")
        if self.answers > self.samples:
            raise AuditProblem(f"--answers {self.answers} of --samples {self.samples}: there are not so many")


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
    plan: AuditPlan = AuditPlan(),
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
    truths = truths_of(opened, places, plan.continuations, plan.seed, plan.exact, limit)
    clean, _ = clean_outcomes(asked.batch, asked.rewards)
    states = states_of(asked, places, truths, clean.numpy(), opened)
    prompts = bare_prompts(asked.batch, asked.tasks, limit)
    promise = truths_of(opened, prompts, plan.continuations, plan.seed, plan.exact, limit)
    predicted = predictions(asked, places, promise.means)
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
        truth=truths.how,
        seed=plan.seed,
        low=states.low,
        high=states.high,
        uses_own_outcome=asked.values.uses_own_outcome,
        rows=tuple(panel_row(states, item, plan.seed) for item in predicted),
        by_place=slices_by_place(states, mine, group),
        by_length=slices_by_length(states, mine, group),
        reliability=reliability(states, mine),
        plasticity=tuple((m.name, m.value) for m in plasticity(opened.critic, asked.batch, asked.evidence)),
        price=price(opened.critic, asked),
        states=audited(places, states, mine, group),
    )


def ask(opened: CriticTarget, plan: AuditPlan, limit: int, noise: NoiseModel) -> Asked:
    """Sample and score siblings of fresh prompts, and let the critic predict, as training does it."""
    recipe = opened.recipe
    tasks = opened.environment.held_out(plan.prompts)
    limits = replace(recipe.sampling.limits(limit), max_new_tokens=limit)
    request = Request(STEP, plan.prompts, plan.samples, limits, Stage("audit", policy=False, critic=False))
    begun = time.perf_counter()
    groups = collect(opened.policy, tasks, request, plan.seed, 0)
    sampling_seconds = time.perf_counter() - begun
    made = recipe.policy
    initial = partial(LanguagePolicy.load, made.path, made.lora, "cpu", made.dtype)
    noise = bind(noise, NoiseContext(opened.environment, opened.source, initial, limits))
    supervision = Supervision(opened.source, noise, plan.seed, recipe.failures)
    told_of = score(groups, supervision, STEP, decode=opened.policy.decode_text)
    rewards = tuple(reward for group in told_of for told in group for reward in told)
    recipe.failures.check(opened.source.name, [reward.outcome for reward in rewards])
    batch = tokenize(tuple(groups))
    observer = Observer(opened.policy, opened.critic.needs, recipe.learner.tokens_per_microbatch, opened.environment)
    further = Continuer(opened.policy, supervision, request, recipe.placement.overlong, tuple(groups), batch)
    begun = time.perf_counter()
    evidence = observer.observe(tuple(groups), batch, further)
    placement = recipe.placement.without_models()
    told = place(rewards, batch, Evidence(), placement, opened.source)
    values = opened.critic.predict(batch, told, evidence)
    seconds = time.perf_counter() - begun
    return Asked(tuple(groups), rewards, batch, told, evidence, values, seconds, sampling_seconds)


def states_of(
    asked: Asked, places: tuple[Place, ...], truths: Truths, clean: np.ndarray, opened: CriticTarget
) -> AuditedStates:
    """The places and what came of their continuations."""
    rows = [item.row for item in places]
    return AuditedStates(
        prompt=asked.batch.group_index[rows].numpy(),
        answer=np.array(rows),
        place=np.array([item.offset / item.length for item in places]),
        length=np.array([item.length for item in places]),
        own=clean[rows].astype(np.float64),
        outcomes=truths.outcomes,
        weights=truths.weights,
        sampled=truths.sampled,
        low=float(opened.source.low),
        high=float(opened.source.high),
    )


def predictions(asked: Asked, places: tuple[Place, ...], promise: np.ndarray) -> tuple[Predicted, ...]:
    """The critic beside two that know the prompt alone: the siblings' mean, and the measured value of the prompt."""
    rows = torch.tensor([item.row for item in places])
    columns = torch.tensor([item.column for item in places])
    silent = ~asked.values.mask[rows, columns]
    if bool(silent.any()):
        raise AuditProblem(
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
        Predicted.of_points("group mean", "mean told reward of the prompt's samples, its own included", group),
        Predicted.of_points(
            "prompt value", "mean of fresh answers to the bare prompt: the best that knows nothing of the answer",
            promise[index],
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
