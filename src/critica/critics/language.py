"""Critics that write, and the adapter that makes a value critic of one: the value is what its statements say."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.identity import reward_span, scaled_returns
from critica.policies.base import TrainablePolicy
from critica.records.arrays import Metric, RewardBatch, TokenBatch, ValuePrediction
from critica.records.critique import Critique
from critica.records.evidence import Evidence, Groups
from critica.records.protocols import Stateful
from critica.records.supervision import Reward, Scored
from critica.records.words import Group, Trajectory

Prefix = tuple[int, ...]


class LanguageCritic(ABC):
    """A live critic that judges answers in words."""

    @abstractmethod
    def critique(self, group: Group) -> tuple[Critique, ...]:
        """Its judgements of this group's answers, or of prefixes of them. It is never told how they fared."""

    def critiques(self, groups: Sequence[Group]) -> tuple[tuple[Critique, ...], ...]:
        """Of every group; one that decodes overrides this to write them all at once."""
        return tuple(self.critique(group) for group in groups)


class LanguageCriticPart(ABC):
    """A language critic's configuration: a frozen dataclass; `build` gives the live critic."""

    copies_policy: ClassVar[bool] = False  # it holds and trains a copy of the policy

    @abstractmethod
    def build(self, context: CriticContext) -> LanguageCritic: ...


@dataclass(frozen=True, slots=True)
class Script:
    """What a critic that writes learns from: its writings by the state that they judge, and what each earned.

    With `imitates` they are examples to be imitated, else samples to be reinforced against their siblings. Rewards lie
    between `low` and `high`.
    """

    groups: tuple[Group, ...]
    rewards: tuple[Reward, ...]
    imitates: bool
    low: float = 0.0
    high: float = 1.0


@runtime_checkable
class Writer(Protocol):
    """A language critic with weights of its own, which learns from how its judgements fared.

    `outcomes` holds, for each critique, the known outcomes in [0, 1] of the answers that passed through the state it
    judged. `hear` is told of every known outcome of a step, once, after the script was asked for.
    """

    writer: TrainablePolicy

    def script(self, critiques: Sequence[Critique], outcomes: Sequence[Sequence[float]]) -> Script: ...

    def hear(self, told: Mapping[str, Sequence[float]]) -> None: ...


@runtime_checkable
class Authoring(Protocol):
    """A value critic that learns by writing: whoever owns the optimizers trains its writer on its script."""

    @property
    def writer(self) -> TrainablePolicy: ...

    def script(self, batch: TokenBatch, told: RewardBatch) -> Script: ...


@dataclass(frozen=True, slots=True)
class StatedValue(CriticPart):
    """V(tokens_<t) = mean of the scores that a language critic gave to the longest prefix of them that it judged. A
    judgement of a prefix holds for every sibling that begins with it, and until the next judged prefix: those are
    the nodes. Scores lie in [0, 1] and are read on the declared range of the rewards. Where no score could be read,
    the value is `prior` (in the same units) with support 0; `support` counts the scores behind a value. Use it with
    a critic that can judge an unfinished answer in words; not where a head that reads one state judges as well.
    Costs what the language critic writes and reads. The critic does not see outcomes, so the value is a baseline
    without bias however wrong it is. It reduces to a constant baseline where nothing can be read, and to GRPO's
    with a critic that states the mean of each group.
    """

    critic: LanguageCriticPart
    prior: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.prior <= 1.0:
            raise ValueError(f"prior is a share of the declared range of rewards, in [0, 1], got {self.prior}")

    def build(self, context: CriticContext) -> ValueCritic:
        critic = self.critic.build(context)
        if isinstance(critic, Writer):
            return LearningStatedValue(critic, self.prior)
        return StatedValueCritic(critic, self.prior)


class StatedValueCritic(ValueCritic):
    """Asks the language critic about every group and reads its answers as values."""

    needs = frozenset({Groups})

    def __init__(self, critic: LanguageCritic, prior: float) -> None:
        self.critic, self.prior = critic, prior
        self._groups: tuple[Group, ...] = ()
        self._critiques: tuple[tuple[Critique, ...], ...] = ()

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        self._groups = evidence[Groups].groups
        self._critiques = self.critic.critiques(self._groups)
        read = {t.trajectory_id: (t, scores_by_prefix(g, said)) for g, said in self._judged() for t in g.trajectories}
        low, span = reward_span(told)
        value = torch.full(batch.token_ids.shape, self.prior, dtype=torch.float64, device=batch.device)
        support, nodes = torch.zeros_like(value), torch.zeros_like(batch.node_index)
        for row, name in enumerate(batch.trajectory_ids):
            trajectory, scores = read[name]
            for node, (start, found) in enumerate(states_of(trajectory, scores), start=1):
                nodes[row, start:] = node
                support[row, start:] = len(found)
                value[row, start:] = sum(found) / len(found) if found else self.prior
        mask, dtype = batch.sampled_mask, batch.behavior_logprobs.dtype
        last = (batch.lengths - 1)[:, None]
        after = (low + span * value.gather(1, last)[:, 0]).to(dtype)
        return ValuePrediction(
            (low + span * value).to(dtype).where(mask, 0.0), mask, bootstrap=after,
            support=support.to(dtype).where(mask, 0.0), nodes=torch.where(mask, nodes, -1),
        )  # fmt: skip

    def _judged(self) -> Iterable[tuple[Group, tuple[Critique, ...]]]:
        return zip(self._groups, self._critiques, strict=True)

    def report(self) -> tuple[Metric, ...]:
        """How much of what was written last could not be read."""
        scores = [critique.score for said in self._critiques for critique in said]
        unread = sum(not isinstance(score, Scored) for score in scores)
        return (Metric("critic/unread_statements", float(unread), float(len(scores))),)

    def state_dict(self) -> dict[str, Any]:
        """What the critic inside remembers."""
        return self.critic.state_dict() if isinstance(self.critic, Stateful) else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give it back."""
        if isinstance(self.critic, Stateful):
            self.critic.load_state_dict(state)


class LearningStatedValue(StatedValueCritic):
    """The adapter around a critic that learns: it matches what was written with how those answers fared."""

    def __init__(self, critic: LanguageCritic, prior: float) -> None:
        super().__init__(critic, prior)
        assert isinstance(critic, Writer)
        self._writer: Writer = critic

    @property
    def writer(self) -> TrainablePolicy:
        """The model that writes."""
        return self._writer.writer

    def script(self, batch: TokenBatch, told: RewardBatch) -> Script:
        """What to learn from this step, which `predict` was shown. Outcomes are clipped to the declared range."""
        names = {t.trajectory_id for group in self._groups for t in group.trajectories}
        if set(batch.trajectory_ids) != names:
            raise RuntimeError("a critic was asked to learn from rows that it was never shown: call predict first")
        outcomes = known_outcomes(batch, told)
        critiques, passed = [], []
        for group, said in self._judged():
            bodies = {t.trajectory_id: tokens_of(t) for t in group.trajectories}
            for critique in said:
                prefix = bodies[critique.subject_id][: critique.tokens_read]
                through = [name for name, body in bodies.items() if body[: len(prefix)] == prefix]
                critiques.append(critique)
                passed.append([outcomes[name] for name in through if name in outcomes])
        made = self._writer.script(critiques, passed)
        groups = {g.task.task_id: [t.trajectory_id for t in g.trajectories] for g in self._groups}
        self._writer.hear({task: [outcomes[n] for n in rows if n in outcomes] for task, rows in groups.items()})
        return made

    def trainable(self) -> Iterable[tuple[str, nn.Parameter]]:
        """The writer's parameters."""
        return self.writer.trainable()

    def save(self, folder: Path) -> None:
        """The writer as a transformers folder."""
        self.writer.save(folder)

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""
        self.writer.restore(folder)


def tokens_of(trajectory: Trajectory) -> Prefix:
    """All tokens, context and sampled, as in the trajectory's row of a batch."""
    return tuple(token for turn in trajectory.turns for token in turn.token_ids)


def scores_by_prefix(group: Group, critiques: Sequence[Critique]) -> dict[Prefix, list[float]]:
    """The readable scores of each judged prefix; an empty list where there is none. Raises KeyError for a stranger."""
    bodies = {t.trajectory_id: tokens_of(t) for t in group.trajectories}
    found: dict[Prefix, list[float]] = {}
    for critique in critiques:
        scores = found.setdefault(bodies[critique.subject_id][: critique.tokens_read], [])
        if isinstance(critique.score, Scored):
            scores.append(critique.score.value)
    return found


def states_of(trajectory: Trajectory, scores: Mapping[Prefix, list[float]]) -> list[tuple[int, list[float]]]:
    """(column from which on it holds, its scores) of each judged prefix of this trajectory, the shortest first."""
    body = tokens_of(trajectory)
    lengths = sorted({len(prefix) for prefix in scores})
    return [(length, scores[body[:length]]) for length in lengths if length < len(body) and body[:length] in scores]


def known_outcomes(batch: TokenBatch, told: RewardBatch) -> dict[str, float]:
    """Each row's outcome in units of the declared range, clipped to [0, 1]; rows without one are left out."""
    returns, known = scaled_returns(told)
    rows = zip(batch.trajectory_ids, returns.clamp(0, 1).tolist(), known.tolist(), strict=True)
    return {name: value for name, value, fine in rows if fine}
