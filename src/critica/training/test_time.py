"""Test-time training: before each question the policy learns from easier variants of it, then it forgets them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from critica.critics.base import HasWeights, Trainable
from critica.curricula.base import Curriculum, Request, Stage
from critica.curricula.ladder import Varies, tree
from critica.environments.base import Environment, EnvironmentProblem
from critica.functional.random import stream_key
from critica.policies.base import DecodeHand, Ended, Sample, SampleLimits, SampleRequest
from critica.policies.body_mode import device_of
from critica.policies.numerics import training_matmuls
from critica.recipes.base import Recipe
from critica.records.devices import moved
from critica.records.protocols import Stateful
from critica.records.words import Task
from critica.rewards.base import scales_of
from critica.rollout.admission import AcceptAll
from critica.rollout.continuations import Continuer
from critica.rollout.gather import gather
from critica.rollout.place import place
from critica.rollout.tokenize import tokenize
from critica.training.assemble import Assembly
from critica.training.lesson import Lesson
from critica.training.optimizer import Optimizer
from critica.training.parts import Bounds
from critica.training.rehearsal import saved
from critica.training.streams import seed_step

LEARNING = Stage("test_time", policy=True, critic=True)


@dataclass(frozen=True, slots=True)
class ScopedTraining:
    """`steps` updates by the run's own recipe on a tree of variants, `depth` levels of up to `branching` each.

    TTRL of LADDER (arXiv 2503.00735). Steps go through the tree from its deepest level up; the question itself is not
    in it, for nobody knows its answer.
    """

    steps: int = 8
    depth: int = 2
    branching: int = 3

    def __post_init__(self) -> None:
        if self.steps < 1 or self.depth < 1 or self.branching < 1:
            raise ValueError("test-time training needs 1 step, 1 level and 1 variant at least")


@contextmanager
def scoped(assembly: Assembly) -> Iterator[None]:
    """Whatever is learned inside is forgotten at the end: weights, moments and memories are back, bit for bit."""
    state = assembly.state
    owners = [optimizer for optimizer in state.optimizers if isinstance(optimizer, Optimizer)]
    if state.optimizers[0] not in owners:
        raise ValueError("test-time training is by gradients: set learner.policy=adam")
    kept = [saved(optimizer) for optimizer in owners]
    for optimizer in owners:
        optimizer.reset()  # moments of another course of training are no part of this one
    version = state.policy.version
    parts = (state.critic, state.control, state.replay, state.correction, state.source)
    memories = [(part, part.state_dict()) for part in parts if isinstance(part, Stateful)]
    try:
        yield
    finally:
        for optimizer, weights in zip(owners, kept, strict=True):
            weights.restore()
            optimizer.reset()
        for part, memory in memories:
            part.load_state_dict(memory)
        state.policy.version = version
        assembly.learner.abandon()


class Rungs(Curriculum):
    """The variants of one task, over and over, from the deepest level up. It lives no longer than the scope."""

    def __init__(self, tasks: Sequence[Task], recipe: Recipe, limits: SampleLimits) -> None:
        self._rungs, self._drawn, self._limits, self._sampling = tasks, 0, limits, recipe.sampling

    def next(self, step: int) -> Request:
        """The request of this step (from 1)."""
        sampling = self._sampling
        return Request(step, sampling.prompts_per_step, sampling.samples_per_prompt, self._limits, LEARNING)

    def draw(self, count: int) -> tuple[Task, ...]:
        """The next `count`; each under a name of its own, so that a variant may come again."""
        drawn = []
        for number in range(self._drawn, self._drawn + count):
            task = self._rungs[number % len(self._rungs)]
            drawn.append(replace(task, task_id=f"{task.task_id}#{number // len(self._rungs)}"))
        self._drawn += count
        return tuple(drawn)

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self._drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._drawn = int(state["drawn"])


class ScopedPolicy:
    """A policy that trains before it answers: each of `tasks` it answers as one that has seen the task's variants."""

    def __init__(
        self, assembly: Assembly, recipe: Recipe, tasks: Sequence[Task], part: ScopedTraining, limits: SampleLimits
    ) -> None:
        self._assembly, self._recipe, self._part, self._limits = assembly, recipe, part, limits
        self._environment = varying(assembly.environment)
        self.inner = assembly.state.policy
        self.version = self.inner.version
        self._tasks = {self.inner.encode(task.messages): task for task in tasks}
        self.trained = 0  # questions that had a variant to learn from

    def encode(self, messages: Sequence) -> tuple[int, ...]:
        """As the policy inside."""
        return self.inner.encode(messages)

    def decode_text(self, token_ids: Sequence[int]) -> str:
        """As the policy inside."""
        return self.inner.decode_text(token_ids)

    def sample(
        self,
        requests: Sequence[SampleRequest],
        limits: SampleLimits,
        seed: int,
        control: DecodeHand | None = None,
        ended: Ended | None = None,
    ) -> list[list[Sample]]:
        """Question by question: learn, answer, forget. `ended` is not told: nobody judges in between."""
        made = []
        for request in requests:
            with scoped(self._assembly):
                self._learn(self._tasks[request.prompt_ids])
                made += self.inner.sample([request], limits, seed, control)
        return made

    def _learn(self, task: Task) -> None:
        nodes = tree(self._environment, task, self._part.depth, self._part.branching)[1:]
        if not nodes:
            return
        self.trained += 1
        tasks = [node.task for node in sorted(nodes, key=lambda node: -node.depth)]
        rungs = Rungs(tasks, self._recipe, self._limits)
        seed = stream_key(self._recipe.seed, "test_time", task.task_id) % 2**63
        with training_matmuls():
            for step in range(1, self._part.steps + 1):
                learn(self._assembly, self._recipe, rungs, seed, step)


def varying(environment: Environment) -> Varies:
    """The environment, if it makes variants. Raises `EnvironmentProblem`."""
    if not isinstance(environment, Varies):
        raise EnvironmentProblem(
            f"environment {environment.name!r} makes no variants of its tasks, so there is nothing to learn from before"
            " an answer: take --environment arithmetic:4"
        )
    return environment


def learn(assembly: Assembly, recipe: Recipe, tasks: Curriculum, seed: int, step: int) -> None:
    """One update by the recipe's own parts: the training loop's box, without a run folder around it."""
    state, request = assembly.state, tasks.next(step)
    seed_step(seed, step)
    supervision = replace(assembly.supervision, seed=seed)
    gathered = gather(
        assembly.writer, tasks, supervision, AcceptAll(), request, state.control, assembly.allocator, assembly.turns
    )
    batch = moved(tokenize(gathered.groups), device_of(state.policy.model))
    further = Continuer(state.policy, supervision, request, recipe.placement.overlong, gathered.groups, batch)
    evidence = state.observer.observe(gathered.groups, batch, further)
    scales = recipe.told_scales(scales_of(assembly.source))
    declared = Bounds(*recipe.told_range(scales_of(assembly.source)), scales)
    expect = partial(state.critic.predict, batch, evidence=evidence)
    told = place(gathered.rewards, batch, evidence, recipe.placement, declared, expect, step)
    values = state.critic.predict(batch, told, evidence)
    credit = recipe.advantage.estimate(batch, told, values, evidence)
    targets = recipe.target.build(batch, told, values) if isinstance(state.critic, Trainable) else None
    stage = replace(LEARNING, critic=isinstance(state.critic, HasWeights))
    assembly.learner.update(Lesson(batch, told, credit, targets, values, evidence), stage, step)
