"""Before training, on two prompts: every weight moves, each belongs to one optimizer, sampler and trainer agree.

Three updates are made with invented credit and undone: afterwards every bit is as before. Three, because adapters and
heads that start at zero let the gradient through to the rest only after their own first update.
"""

from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from critica.critics.base import HasWeights, Trainable
from critica.curricula.base import Request, Stage
from critica.policies.body_mode import device_of
from critica.recipes.base import Recipe
from critica.records.arrays import Advantages, TokenBatch
from critica.records.checks import NonFiniteNumbers
from critica.records.devices import moved
from critica.records.protocols import Stateful
from critica.records.supervision import Reward, Scored
from critica.records.words import Group
from critica.rewards.base import scales_of
from critica.rollout.continuations import Invented
from critica.rollout.place import place
from critica.rollout.samples import collect
from critica.rollout.tokenize import tokenize
from critica.training.assemble import Assembly
from critica.training.evolution import Evolution
from critica.training.lesson import Lesson
from critica.training.observe import score
from critica.training.optimizer import Optimizer

PROMPTS, SAMPLES, TOKENS, UPDATES = 2, 4, 16, 3
STEP = 0  # training counts from 1: no sample of the rehearsal shares its random numbers with one of the run
WORRYING, WRONG = 0.01, 0.2  # nats; in float32 the two agree to about 1e-6, in bfloat16 to a few thousandths
SHOWN = 5


class RehearsalFailed(RuntimeError):
    """The run would not learn, or would learn from wrong numbers."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Every trained tensor as it was."""

    weights: tuple[tuple[str, Tensor, Tensor], ...]

    def unmoved(self) -> list[str]:
        """The names of tensors that are still bit for bit as they were."""
        return [name for name, weight, before in self.weights if torch.equal(weight, before)]

    @torch.no_grad()
    def restore(self) -> None:
        """Back to what was saved."""
        for _, weight, before in self.weights:
            weight.copy_(before)


def rehearse(assembly: Assembly, recipe: Recipe) -> list[str]:
    """Raises `RehearsalFailed` if the policy or the critic cannot learn; returns warnings about what looks wrong."""
    refuse_unowned(assembly)
    policy_optimizer, critic_optimizer = assembly.state.optimizers
    owners = {"policy": policy_optimizer} | ({"critic": critic_optimizer} if critic_optimizer is not None else {})
    kept = {who: saved(optimizer) for who, optimizer in owners.items()}
    version = assembly.state.policy.version
    remembering = (assembly.state.critic, assembly.state.replay)
    memories = [(part, part.state_dict()) for part in remembering if isinstance(part, Stateful)]
    try:
        groups, batch = written(assembly, recipe)
        warnings = disagreement(assembly, batch)
        for _ in range(UPDATES):
            invented_update(assembly, recipe, groups, batch)
        for who, before in kept.items():
            warnings += unmoved(who, before)
    except NonFiniteNumbers as error:
        raise RehearsalFailed(
            f"in a rehearsal before training, {error}: the weights or the settings produce numbers that are not"
            " finite; look at policy.path, policy.dtype and the learning rates"
        ) from error
    finally:
        for who, optimizer in owners.items():
            kept[who].restore()
            optimizer.reset()
        for part, memory in memories:
            part.load_state_dict(memory)
        assembly.state.policy.version = version
        assembly.learner.abandon()
    return warnings


def saved(optimizer: Optimizer | Evolution) -> Saved:
    """Copies of what this optimizer trains."""
    named = zip(optimizer.names, optimizer.parameters, strict=True)
    return Saved(tuple((name, weight, weight.detach().clone()) for name, weight in named))


def refuse_unowned(assembly: Assembly) -> None:
    """Every trainable tensor is in exactly one group of one optimizer."""
    counts: dict[int, int] = {}
    for optimizer in assembly.state.optimizers:
        for weight in optimizer.owned if optimizer is not None else ():
            counts[id(weight)] = counts.get(id(weight), 0) + 1
    named = [(f"policy {name}", weight) for name, weight in assembly.state.policy.model.named_parameters()]
    if isinstance(assembly.state.critic, HasWeights):
        named += [(f"critic {name}", weight) for name, weight in assembly.state.critic.trainable()]
    wrong = [name for name, weight in named if weight.requires_grad and counts.get(id(weight), 0) != 1]
    if wrong:
        raise RehearsalFailed(
            f"{len(wrong)} trainable tensors are not in exactly one optimizer group ({', '.join(wrong[:SHOWN])}): a"
            " part must list in `trainable()` each tensor that requires a gradient, once"
        )


def written(assembly: Assembly, recipe: Recipe) -> tuple[tuple[Group, ...], TokenBatch]:
    """A few short answers to the first training tasks."""
    limits = recipe.sampling.limits(assembly.environment.max_new_tokens)
    limits = replace(limits, max_new_tokens=min(TOKENS, limits.max_new_tokens))
    request = Request(STEP, PROMPTS, SAMPLES, limits, Stage("rehearsal", policy=True, critic=True))
    tasks = tuple(islice(assembly.environment.tasks("train"), PROMPTS))
    groups = tuple(collect(assembly.state.policy, tasks, request, recipe.seed, 0))
    batch = moved(tokenize(groups), device_of(assembly.state.policy.model))
    if not batch.behavior_logprobs.isfinite().all():
        raise NonFiniteNumbers("the sampler's log-probs", batch.behavior_logprobs)
    return groups, batch


@torch.no_grad()
def disagreement(assembly: Assembly, batch: TokenBatch) -> list[str]:
    """Sampler against trainer, on the same weights and tokens."""
    policy, mask = assembly.state.policy, batch.sampled_mask
    gap = (score(policy, batch, policy.sampled_states(batch)) - batch.behavior_logprobs)[mask].abs()
    mean = float(gap.mean())
    said = f"sampler and trainer log-probs differ by {mean:.2g} nats on average, at most {float(gap.max()):.2g}"
    if not mean <= WRONG:
        raise RehearsalFailed(
            f"{said}, on the very same weights and tokens: the ratio between them would be noise. The model's forward"
            " pass and its decoding do not agree; try policy.dtype=float32, and report the model's name"
        )
    return [f"{said}: keep a rule in objective.mismatch, or set policy.dtype=float32"] if mean > WORRYING else []


def invented_update(assembly: Assembly, recipe: Recipe, groups: tuple[Group, ...], batch: TokenBatch) -> None:
    """One update of everything that can learn, with outcomes and credit that alternate between rows."""
    state, source = assembly.state, assembly.source
    odd = [row % 2 == 1 for row in range(batch.rows)]
    rewards = tuple(
        Reward(scale.name, name, Scored(scale.high if up else scale.low))
        for name, up in zip(batch.trajectory_ids, odd, strict=True)
        for scale in recipe.protocol.reach(scales_of(source))
    )
    evidence = state.observer.observe(groups, batch, Invented())
    told = place(rewards, batch, evidence, recipe.placement, source)
    values = state.critic.predict(batch, told, evidence)
    learns = isinstance(state.critic, Trainable)
    targets = recipe.target.build(batch, told, values) if learns else None
    sign = torch.where(torch.tensor(odd, device=batch.device), 1.0, -1.0)[:, None]
    flat = torch.zeros(batch.rows, dtype=torch.bool, device=batch.device)
    credit = Advantages((sign * batch.sampled_mask).float(), batch.sampled_mask, flat, "rehearsal")
    lesson = Lesson(batch, told, credit, targets, values, evidence)
    stage = Stage("rehearsal", policy=True, critic=isinstance(state.critic, HasWeights))
    assembly.learner.update(lesson, stage, STEP)


def unmoved(who: str, before: Saved) -> list[str]:
    """A warning if some tensors did not move, `RehearsalFailed` if none did."""
    names = before.unmoved()
    if len(names) == len(before.weights):
        raise RehearsalFailed(
            f"no weight of the {who} moved in a rehearsal of {UPDATES} updates: no gradient reaches it. A part of"
            " yours may detach it, or the learning rate is 0"
        )
    shown = f"{', '.join(names[:SHOWN])}{' and others' if len(names) > SHOWN else ''}"
    said = f"{len(names)} of {len(before.weights)} trained tensors of the {who} did not move in a rehearsal ({shown})"
    return [f"{said}: fine for experts that were not routed to, else look at them"] if names else []
