"""From a recipe to live objects: every part built once, in one order, refused with a sentence if they do not fit."""

from dataclasses import dataclass

import torch

from critica.critics.base import CriticContext, Trainable, ValueCritic
from critica.critics.combine import leaves
from critica.critics.learned import LearnedCritic
from critica.curricula.base import Budget
from critica.environments.base import Environment
from critica.functional.random import stream_key
from critica.policies.base import SampleLimits
from critica.policies.language_model import LanguagePolicy
from critica.recipes.base import Recipe
from critica.records.evidence import ProximalLogprobs
from critica.rewards.base import RewardSource
from critica.rollout.control import ControlContext
from critica.rollout.gather import Supervision
from critica.training.learner import Learner, Schedule
from critica.training.observe import Observer
from critica.training.optimizer import Optimizer
from critica.training.state import TrainingState
from critica.training.streams import seed_step


@dataclass(frozen=True, slots=True)
class Assembly:
    """What a recipe built. Close the source when done: it may hold worker processes."""

    environment: Environment
    source: RewardSource
    supervision: Supervision
    state: TrainingState
    learner: Learner

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is weaker here than it should be: tasks that repeat, reward code that can reach the network."""
        return (*self.environment.warnings, *self.source.warnings)

    def close(self) -> None:
        """End the reward workers."""
        self.source.close()


def evidence_needed(recipe: Recipe, critic: ValueCritic) -> frozenset[type]:
    """What `observe` must compute for this recipe; nothing more."""
    updates = recipe.learner.policy_epochs * recipe.learner.updates_per_epoch
    center = frozenset({ProximalLogprobs}) if updates > 1 else frozenset()
    return critic.needs | recipe.objective.needs | recipe.placement.needs | center


def assemble(recipe: Recipe) -> Assembly:
    """Build every part."""
    if recipe.policy.device not in ("auto", "cpu"):
        raise ValueError(
            f"policy.device={recipe.policy.device}: training runs on the CPU only so far; set policy.device=cpu"
        )
    seed_step(recipe.seed, 0)  # adapters, and parts of a user's own, start from torch's global generator
    environment = recipe.environment.build(recipe.seed)
    source = recipe.reward.build(environment, recipe.workers)
    policy = LanguagePolicy.load(
        recipe.policy.path, recipe.policy.lora, "cpu", recipe.policy.dtype,
    )  # fmt: skip
    limit = recipe.sampling.max_new_tokens or environment.max_new_tokens
    low, high = recipe.told_range(source.low, source.high)
    critic = recipe.critic.build(CriticContext(policy, stream_key(recipe.seed, "critic") % 2**63, low, high))
    observer = Observer(policy, evidence_needed(recipe, critic), recipe.learner.tokens_per_microbatch)
    learned = isinstance(critic, Trainable)
    share_forwards(recipe, critic, observer)
    optimizers = (
        Optimizer(policy.trainable(), recipe.learner.policy),
        Optimizer(critic.trainable(), recipe.learner.critic) if isinstance(critic, Trainable) else None,
    )
    refuse_double_ownership(optimizers)
    refuse_half_precision(optimizers)
    budget = Budget(
        recipe.sampling.prompts_per_step, recipe.sampling.samples_per_prompt,
        SampleLimits(limit, recipe.sampling.temperature), recipe.learner.critic_warmup_steps, learned,
    )  # fmt: skip
    curriculum = recipe.curriculum.build(environment, budget)
    schedule = Schedule(
        recipe.learner.policy_epochs, recipe.learner.updates_per_epoch,
        recipe.learner.critic_epochs, recipe.learner.tokens_per_microbatch,
    )  # fmt: skip
    learner = Learner(policy, critic, recipe.objective, optimizers, schedule, recipe.seed, observer.kept)
    control = recipe.control.build(ControlContext(critic, recipe.seed))
    state = TrainingState(policy, critic, observer, optimizers, curriculum, source, control)
    supervision = Supervision(source, recipe.noise, recipe.seed, recipe.failures)
    return Assembly(environment, source, supervision, state, learner)


def share_forwards(recipe: Recipe, critic: ValueCritic, observer: Observer) -> None:
    """With one update a step, let the update take over the forward pass of the prediction when it fits at once.

    Not with dropout in adapters: a prediction is deterministic and the update's forward pass is not.
    """
    learner, tokens = recipe.learner, recipe.learner.tokens_per_microbatch
    if learner.policy_epochs * learner.updates_per_epoch == 1 and not recipe.policy.lora.dropout:
        observer.kept.tokens = tokens
    for part in leaves(critic):
        if isinstance(part, LearnedCritic):
            part.tokens = tokens
            part.kept.tokens = tokens if learner.critic_epochs * learner.updates_per_epoch == 1 else 0


def refuse_half_precision(optimizers: tuple[Optimizer, Optimizer | None]) -> None:
    """An update of 1e-6 on a bfloat16 weight of 0.02 rounds to nothing, while every number looks healthy."""
    for optimizer in optimizers:
        if optimizer is not None and any(p.dtype in (torch.bfloat16, torch.float16) for p in optimizer.parameters):
            raise ValueError(
                "updates this small round away in bfloat16: set policy.dtype=float32, or train adapters on the frozen"
                " weights (policy.lora.rank=16) with a critic that has no body of its own (critic.body=shared)"
            )


def refuse_double_ownership(optimizers: tuple[Optimizer, Optimizer | None]) -> None:
    """Every trainable tensor is in exactly one optimizer, else two of them would move it."""
    seen: dict[int, str] = {}
    for optimizer in optimizers:
        if optimizer is None:
            continue
        for name, parameter in zip(optimizer.names, optimizer.parameters, strict=True):
            if id(parameter) in seen:
                raise ValueError(f"{name!r} is already trained as {seen[id(parameter)]!r}: one tensor, one optimizer")
            seen[id(parameter)] = name
