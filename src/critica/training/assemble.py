"""From a recipe to live objects: every part built once, in one order, refused with a sentence if they do not fit."""

from dataclasses import dataclass

import torch

from critica.critics.base import CriticContext, HasWeights, Teaching, ValueCritic
from critica.critics.combine import leaves
from critica.critics.language import Authoring
from critica.critics.learned import LearnedCritic
from critica.curricula.base import Budget
from critica.environments.base import Environment
from critica.functional.random import stream_key
from critica.policies.base import Policy
from critica.policies.language_model import LanguagePolicy
from critica.policies.population import Population
from critica.policies.template_check import check_template
from critica.recipes.base import Recipe
from critica.records.evidence import Continuations, ProximalLogprobs, Snapshots
from critica.records.protocols import Forecasts
from critica.rewards.base import RewardSource, scales_of, scope_of
from critica.rewards.correction_base import Uncorrected
from critica.rewards.each_objective import live_correction
from critica.rewards.noise import NoNoise
from critica.rewards.noise_context import NoiseContext, bind
from critica.rollout.budget import Allocator, NoForecast
from critica.rollout.combine import Sum
from critica.rollout.control import ControlContext, NoControl
from critica.rollout.episode import conversing
from critica.rollout.gather import Supervision
from critica.rollout.protocol import ProtocolContext, Turns
from critica.training.author import Author
from critica.training.evolution import Evolution, EvolutionLearner
from critica.training.learner import Learner, Schedule
from critica.training.observe import Observer
from critica.training.optimizer import Optimizer
from critica.training.rates import updates_of
from critica.training.replay_ratio import live_replay
from critica.training.rereading import refuse_unreadable
from critica.training.state import TrainingState
from critica.training.streams import seed_step
from critica.training.view_costs import views_declared
from critica.updaters.evolution import EvolutionStrategy
from critica.updaters.gradient import Adam


@dataclass(frozen=True, slots=True)
class Assembly:
    """What a recipe built. Close the source when done: it may hold worker processes."""

    environment: Environment
    source: RewardSource
    supervision: Supervision
    state: TrainingState
    learner: Learner | EvolutionLearner
    allocator: Allocator
    writer: Policy
    turns: Turns | None = None
    idle: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is weaker here than it should be: tasks that repeat, reward code that can reach the network."""
        return (*self.environment.warnings, *self.source.warnings, *self.idle)

    def close(self) -> None:
        """End the reward workers."""
        self.source.close()
        if self.turns is not None:
            self.turns.close()
        self.supervision.correction.close()


def evidence_needed(recipe: Recipe, critic: ValueCritic) -> frozenset[type]:
    """What `observe` must compute for this recipe; nothing more."""
    updates = recipe.learner.policy_epochs * recipe.learner.updates_per_epoch
    center = frozenset({ProximalLogprobs}) if updates > 1 else frozenset()
    gradient = isinstance(recipe.learner.policy, Adam)
    learned = recipe.objective.needs | center if gradient else frozenset()
    return critic.needs | recipe.advantage.needs | recipe.placement.needs | learned


def assemble(recipe: Recipe) -> Assembly:
    """Build every part."""
    seed_step(recipe.seed, 0)  # adapters, and parts of a user's own, start from torch's global generator
    environment = recipe.environment.build(recipe.seed)
    source = recipe.reward.build(environment, recipe.workers)
    policy = LanguagePolicy.of(recipe.policy)
    said_of_template = check_template(policy, not recipe.protocol.single, recipe.sampling.stop)
    environment.fit(policy.encode)
    limits = recipe.sampling.limits(environment.max_new_tokens)
    limit = limits.max_new_tokens
    refuse_wider_scope(recipe, source)
    low, high = recipe.told_range(scales_of(source))
    critic = recipe.critic.build(CriticContext(policy, stream_key(recipe.seed, "critic") % 2**63, low, high))
    needs = evidence_needed(recipe, critic)
    refuse_unlike_told(recipe, needs, source)
    teachers = critic.views if isinstance(critic, Teaching) else ()
    refuse_unreadable(views_declared(recipe), environment.tasks("train"), policy, limit)
    observer = Observer(
        policy, needs, recipe.learner.tokens_per_microbatch, environment, teachers, views_declared(recipe)
    )
    learned = isinstance(critic, HasWeights)
    share_forwards(recipe, critic, observer)
    updater = updater_of(recipe, policy)
    optimizers = (updater, critic_optimizer(recipe, critic))
    refuse_double_ownership(optimizers)
    refuse_half_precision(optimizers)
    budget = Budget(
        recipe.sampling.prompts_per_step, recipe.sampling.samples_per_prompt,
        limits, recipe.learner.critic_warmup_steps, learned,
    )  # fmt: skip
    curriculum = recipe.curriculum.build(environment, budget)
    schedule = Schedule(
        recipe.learner.policy_epochs, recipe.learner.updates_per_epoch,
        recipe.learner.critic_epochs, recipe.learner.tokens_per_microbatch,
    )  # fmt: skip
    replay = live_replay(recipe.learner.replay, critic, recipe.learner.critic_epochs)
    author = author_of(recipe, critic, optimizers[1])
    learner = EvolutionLearner(policy, updater) if isinstance(updater, Evolution) else Learner(
        policy, critic, recipe.objective, (updater, optimizers[1]), schedule, recipe.seed, observer.kept, replay, author
    )  # fmt: skip
    control = recipe.control.build(ControlContext(critic, recipe.seed, policy))
    correction = live_correction(recipe.correction, environment, recipe.workers, recipe.said_scales(scales_of(source)))
    observer.listen(correction)
    state = TrainingState(policy, critic, observer, optimizers, curriculum, source, control, replay, correction)
    noise = bind(recipe.noise, NoiseContext(environment, source, policy.frozen_copy, limits))
    supervision = Supervision(source, noise, recipe.seed, recipe.failures, correction=correction)
    forecaster = critic if isinstance(critic, Forecasts) else NoForecast()
    allocator = Allocator(recipe.budget, forecaster, *recipe.summed_range(scales_of(source)))
    writer = writer_of(recipe, policy, updater)
    turns = turns_of(recipe, environment, writer)
    remarks = (*recipe.idle_corrections(len(scales_of(source))), *said_of_template)
    return Assembly(environment, source, supervision, state, learner, allocator, writer, turns, remarks)  # fmt: skip


def updater_of(recipe: Recipe, policy: LanguagePolicy) -> Optimizer | Evolution:
    """What moves the policy's weights."""
    settings = recipe.learner.policy
    if isinstance(settings, EvolutionStrategy):
        return Evolution(policy.trainable(), settings, recipe.seed)
    return Optimizer(policy.trainable(), settings, updates_of(recipe)[0])


def critic_optimizer(recipe: Recipe, critic: ValueCritic) -> Optimizer | None:
    """What moves the critic's weights, if it has any."""
    if not isinstance(critic, HasWeights):
        return None
    return Optimizer(critic.trainable(), recipe.learner.critic, updates_of(recipe)[1])


def writer_of(recipe: Recipe, policy: LanguagePolicy, updater: Optimizer | Evolution) -> Policy:
    """Who writes what is learned from: the policy, a population around it, or a chain over its answers."""
    if isinstance(updater, Evolution):
        return Population(policy, updater)
    return recipe.decoding.build(policy)


def turns_of(recipe: Recipe, environment: Environment, writer: Policy) -> Turns | None:
    """The live protocol; None for single answers. Raises `CannotConverse` for a policy that cannot go on."""
    turns = recipe.protocol.build(ProtocolContext(environment, recipe.workers))
    if turns is not None:
        conversing(writer)
    return turns


def refuse_wider_scope(recipe: Recipe, source: RewardSource) -> None:
    """Raise ValueError for a source that compares siblings and whose settings say that it judges one by one."""
    if scope_of(source) != "sample" and recipe.reward.scope == "sample":
        raise ValueError(
            f"reward {source.name!r} has scope={scope_of(source)!r}, and its settings,"
            f" {type(recipe.reward).__name__}.scope, say 'sample': budgets ask the settings; let both say the same"
        )


def refuse_unlike_told(recipe: Recipe, needs: frozenset[type], source: RewardSource) -> None:
    """A critic that measures values must measure what training is told, or its credit would be off by the difference.

    Raises ValueError with the way out.
    """
    if needs & {Continuations, Snapshots} and not recipe.protocol.single:
        raise ValueError(
            f"protocol={type(recipe.protocol).__name__} has several turns, and continuations or simulators go on from"
            " single answers: take a critic that needs neither (critic=scalar, group_mean), or protocol=single_turn"
        )
    if Continuations in needs and recipe.placement.reference_kl:
        raise ValueError(
            "placement.reference_kl charges every token, and fresh continuations are told their outcome alone: set"
            ' placement.reference_kl=0, and objective.penalties=[{use="reference_kl"}] to stay near the reference'
        )
    if Continuations in needs and recipe.placement.novelty.coefficient:
        raise ValueError(
            "placement.novelty pays right answers by what their siblings look like, and fresh continuations are told"
            " their outcome alone: set placement.novelty.coefficient=0, or take a critic that needs no continuations"
        )
    if Continuations in needs and not isinstance(recipe.correction, Uncorrected):
        raise ValueError(
            "a correction changes what answers are told, and continuations are told what was said: set"
            " correction=none, or take a critic that needs no continuations"
        )
    if Continuations in needs and scope_of(source) != "sample":
        raise ValueError(
            f"reward {source.name!r} compares siblings, and continuations have none: take a source that judges each"
            " answer by itself, or a critic that needs no continuations"
        )
    if Continuations in needs and recipe.placement.combination != Sum():
        raise ValueError(
            "placement.combination changes what answers are told, and continuations are told what was said: set"
            " placement.combination=sum without weights, or take a critic that needs no continuations"
        )
    if Continuations in needs and len(scales_of(source)) > 1 and not isinstance(recipe.noise, NoNoise):
        raise ValueError(
            "noise is drawn for each of several objectives, and continuations are told their sum: set noise=none, or"
            " take a critic that needs no continuations"
        )
    if Continuations in needs and not isinstance(recipe.control, NoControl):
        raise ValueError(
            "a decode control changes what is written, and continuations are written without it: set control=none,"
            " or take a critic that needs no continuations"
        )
    if Snapshots in needs and not isinstance(recipe.noise, NoNoise):
        raise ValueError(
            "a simulator plays by the true rules, so beside noise its values would tell training what the noise hides:"
            " set noise=none, or take a critic that learns from what is told (critic=monte_carlo_rollouts)"
        )


def author_of(recipe: Recipe, critic: ValueCritic, optimizer: Optimizer | None) -> Author | None:
    """Who teaches a critic that learns by writing; None for any other. Raises ValueError for one inside another."""
    writing = [leaf for leaf in leaves(critic) if isinstance(leaf, Authoring)]
    if writing and writing != [critic]:
        raise ValueError(
            "a critic that learns by writing (critic=stated_value) cannot stand inside another critic: it learns from"
            " what its statements earn, and the one around it from targets; use it alone"
        )
    if not writing or optimizer is None:
        return None
    if recipe.learner.critic_epochs != 1:
        raise ValueError(
            f"learner.critic_epochs={recipe.learner.critic_epochs}, but a critic that learns by writing makes one"
            " update a step, on statements of its own: set it to 1, and critic.critic.samples higher"
        )
    return Author(writing[0], optimizer, recipe.learner.tokens_per_microbatch, recipe.seed)


def share_forwards(recipe: Recipe, critic: ValueCritic, observer: Observer) -> None:
    """With one update a step, let the update take over the forward pass of the prediction when it fits at once.

    Not with dropout in adapters: a prediction is deterministic and the update's forward pass is not.
    """
    learner, tokens = recipe.learner, recipe.learner.tokens_per_microbatch
    once = learner.policy_epochs * learner.updates_per_epoch == 1
    if once and not recipe.policy.lora.dropout and not recipe.objective.depths:  # inner layers are read in the update
        observer.kept.tokens = tokens
    for part in leaves(critic):
        if isinstance(part, LearnedCritic):
            part.tokens = tokens
            passes = learner.critic_epochs * learner.updates_per_epoch * learner.replay.most
            part.kept.tokens = tokens if passes == 1 else 0


def refuse_half_precision(optimizers: tuple[Optimizer | Evolution, Optimizer | None]) -> None:
    """An update of 1e-6 on a bfloat16 weight of 0.02 rounds to nothing, while every number looks healthy."""
    for optimizer in optimizers:
        if optimizer is not None and any(p.dtype in (torch.bfloat16, torch.float16) for p in optimizer.parameters):
            raise ValueError(
                "updates this small round away in bfloat16: set policy.dtype=float32, or train adapters on the frozen"
                " weights (policy.lora.rank=16) with a critic that has no body of its own (critic.body=shared)"
            )


def refuse_double_ownership(optimizers: tuple[Optimizer | Evolution, Optimizer | None]) -> None:
    """Every trainable tensor is in exactly one optimizer, else two of them would move it."""
    seen: dict[int, str] = {}
    for optimizer in optimizers:
        if optimizer is None:
            continue
        for name, parameter in zip(optimizer.names, optimizer.parameters, strict=True):
            if id(parameter) in seen:
                raise ValueError(f"{name!r} is already trained as {seen[id(parameter)]!r}: one tensor, one optimizer")
            seen[id(parameter)] = name
