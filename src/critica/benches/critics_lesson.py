"""A critic taught by earlier rounds: the loop's own verbs with a frozen policy, judged on rounds kept aside."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from critica.benches.critics_entries import Choice
from critica.benches.critics_world import AUDITED_STEP, Answered, World
from critica.critics.base import CriticContext, Trainable, ValueCritic
from critica.critics.combine import leaves
from critica.critics.learned import LearnedCritic
from critica.curricula.base import Request, Stage
from critica.functional.random import stream_key, torch_generator
from critica.policies.base import SampleLimits
from critica.policies.numerics import training_matmuls
from critica.recipes.catalogue import RECIPES
from critica.records.arrays import ValuePrediction
from critica.records.evidence import Continuations, Evidence
from critica.rewards.noise import NoNoise
from critica.rollout.continuations import Continuer
from critica.rollout.gather import Supervision
from critica.rollout.place import SoftOverlong
from critica.training.guard import no_credit
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson, select_told
from critica.training.observe import Observer
from critica.training.optimizer import Optimizer
from critica.training.streams import seed_step

STAGE = Stage("critics bench", policy=False, critic=True)
TOKENS = 16_384  # grid cells of one forward pass
CHUNK_GROUPS = 4  # groups of one update
KEPT_ASIDE = 7  # every seventh chunk is judged and not learned


@dataclass(slots=True)
class Pupil:
    """A live critic with what observes and teaches it. Evidence of the frozen policy is read once and kept."""

    world: World
    choice: Choice
    critic: ValueCritic
    observer: Observer
    learner: Learner | None
    _seen: dict[tuple[str, ...], Evidence] = field(default_factory=dict)

    @classmethod
    def enrol(cls, world: World, choice: Choice) -> "Pupil":
        """Build the critic as a run with this seed would."""
        policy = world.policy
        seed_step(world.seed, 0)
        context = CriticContext(policy, stream_key(world.seed, "critic") % 2**63, world.judge.low, world.judge.high)
        critic = choice.critic.build(context)
        observer = Observer(policy, critic.needs, TOKENS, world.environment)
        observer.kept.tokens = 0
        for part in leaves(critic):
            if isinstance(part, LearnedCritic):
                part.tokens, part.kept.tokens = TOKENS, TOKENS
        learner = None
        if isinstance(critic, Trainable):
            recipe = RECIPES["ppo"]
            optimizers = (
                Optimizer(policy.trainable(), recipe.learner.policy),
                Optimizer(critic.trainable(), choice.optimizer),
            )
            learner = Learner(
                policy, critic, recipe.objective, optimizers, Schedule(1, 1, 1, TOKENS), world.seed, observer.kept
            )
        return cls(world, choice, critic, observer, learner)

    def evidence(self, part: Answered) -> Evidence:
        """What the critic needs to see of these answers."""
        if not self.critic.needs:
            return Evidence()
        if part.batch.trajectory_ids not in self._seen:
            further = self._further(part) if Continuations in self.critic.needs else None
            self._seen[part.batch.trajectory_ids] = self.observer.observe(part.groups, part.batch, further)
        return self._seen[part.batch.trajectory_ids]

    def _further(self, part: Answered) -> Continuer:
        """Goes on from these answers when the critic asks; it shares no random number with the truth."""
        world = self.world
        request = Request(AUDITED_STEP, len(part.groups), 1, SampleLimits(world.limit, 1.0), STAGE)
        supervision = Supervision(world.judge, NoNoise(), world.seed)
        return Continuer(world.policy, supervision, request, SoftOverlong(), part.groups, part.batch)

    def predict(self, part: Answered) -> ValuePrediction:
        """What it says of these answers."""
        with training_matmuls():
            said = self.critic.predict(part.batch, part.told, self.evidence(part))
        for leaf in leaves(self.critic):
            if isinstance(leaf, LearnedCritic):
                leaf.kept.forget()
        return said

    def learn(self, part: Answered, update: int) -> None:
        """One update on these answers."""
        assert self.learner is not None
        seed_step(self.world.seed, update)
        with training_matmuls():
            evidence = self.evidence(part)
            values = self.critic.predict(part.batch, part.told, evidence)
            targets = self.choice.target.build(part.batch, part.told, values)
            lesson = Lesson(part.batch, part.told, no_credit(part.batch), targets, values, evidence)
            self.learner.update(lesson, STAGE, update)

    def error(self, parts: Sequence[Answered]) -> float:
        """Mean (value - told outcome)² over the tokens that it speaks of: the Brier score of 0/1 outcomes."""
        total, count = 0.0, 0
        for part in parts:
            said = self.predict(part)
            gaps = (said.mean - part.told.total[:, None])[said.mask].double()
            total, count = total + float(gaps.square().sum()), count + gaps.numel()
        return total / max(1, count)


@dataclass(frozen=True, slots=True)
class Effort:
    """How a critic with weights is taught: at most `epochs` passes, judged `judgments` times in each.

    It ends when `patience` judgments in a row were no better than the best.
    """

    epochs: int = 3
    judgments: int = 2
    patience: int = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a pupil stands after so many updates; `seconds` of CPU were spent on learning and judging."""

    updates: int
    seconds: float
    held_out_error: float
    learned_error: float


def taught(pupil: Pupil, rounds: Sequence[Answered], effort: Effort) -> Iterator[Moment]:
    """Teach it, stopping at every judgment, until there is a reason to end."""
    chunks = [piece for one in rounds for piece in pieces(one)]
    aside = chunks[KEPT_ASIDE - 1 :: KEPT_ASIDE] or chunks[-1:]
    lessons = [chunk for number, chunk in enumerate(chunks) if number % KEPT_ASIDE != KEPT_ASIDE - 1] or chunks
    probe = lessons[:: max(1, len(lessons) // len(aside))][: len(aside)]
    every = max(1, len(lessons) // effort.judgments)
    update, spent, best, worse = 0, 0.0, float("inf"), 0
    for epoch in range(effort.epochs):
        order = torch.randperm(len(lessons), generator=torch_generator(pupil.world.seed, "critics bench/order", epoch))
        for number, index in enumerate(order.tolist(), 1):
            begun = time.process_time()
            update += 1
            pupil.learn(lessons[index], update)
            due = number % every == 0 or number == len(lessons)
            error = pupil.error(aside) if due else 0.0
            spent += time.process_time() - begun
            if due:
                yield Moment(update, spent, error, pupil.error(probe))
                best, worse = (error, 0) if error < best else (best, worse + 1)
                if worse >= effort.patience:
                    return


def pieces(one: Answered) -> Iterator[Answered]:
    """A round in parts of a few whole groups."""
    each = len(one.groups[0].trajectories)
    for start in range(0, len(one.groups), CHUNK_GROUPS):
        groups = one.groups[start : start + CHUNK_GROUPS]
        rows = torch.arange(start * each, (start + len(groups)) * each)
        batch = one.batch.select(rows)
        told = select_told(one.told, rows, batch.token_ids.shape[1])
        yield replace(one, groups=groups, batch=batch, told=told)
