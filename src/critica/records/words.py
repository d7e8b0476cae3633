"""What is said: tasks, turns, trajectories and groups, before any tensor exists."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Literal

from critica.records.checks import require
from critica.records.kept_tokens import NOTHING_CUT, KeptTokens

Role = Literal["system", "user", "assistant", "tool"]
EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Message:
    """One message in the OpenAI shape; `tool_calls` holds JSON-serializable call objects."""

    role: Role
    content: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to ask, as pure JSON-serializable data. `info` is the environment's own memory of it."""

    task_id: str
    environment: str
    messages: tuple[Message, ...]
    answer: str
    info: Mapping[str, Any] = field(default_factory=lambda: EMPTY, hash=False)
    seed: int = 0

    def __post_init__(self) -> None:
        require(bool(self.task_id), self, "task_id is empty")
        require(len(self.messages) > 0, self, f"task {self.task_id!r} has no messages")

    @property
    def prompt(self) -> str:
        """The messages' contents joined by newlines: what a single-turn task asks."""
        return "\n".join(message.content for message in self.messages)


class StopReason(StrEnum):
    """Why a trajectory ended."""

    ANSWERED = "answered"  # the environment took the answer and closed the episode
    END_OF_TEXT = "end_of_text"  # the policy wrote an end-of-text token
    STOP_STRING = "stop_string"  # the policy wrote a text that ends an answer (`sampling.stop`); no limit cut it
    TOKEN_LIMIT = "token_limit"  # the task's token limit was reached; a single-turn answer is still scored
    TURN_LIMIT = "turn_limit"
    TIME_LIMIT = "time_limit"
    EARLY_STOPPED = "early_stopped"  # decode control gave up; terminal
    ENVIRONMENT_ERROR = "environment_error"  # the row failed and carries no outcome


@dataclass(frozen=True, slots=True)
class ContextTurn:
    """Tokens that the policy read. It has no log-probs, by construction."""

    message: Message
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SampledTurn:
    """Tokens that the policy wrote, with the log-probs that the sampler returned for them (nats).

    `kept` says which tokens each was drawn among under truncated sampling: the log-probs are of the law over those.
    """

    message: Message
    token_ids: tuple[int, ...]
    behavior_logprobs: tuple[float, ...]
    temperature: float
    policy_version: int
    kept: KeptTokens = NOTHING_CUT

    def __post_init__(self) -> None:
        tokens, logprobs = len(self.token_ids), len(self.behavior_logprobs)
        require(tokens == logprobs, self, f"{tokens} tokens but {logprobs} log-probs")
        require(tokens > 0, self, "no tokens: a policy that wrote nothing has no sampled turn")
        known = self.kept.tokens if self.kept else tokens
        require(known == tokens, self, f"{tokens} tokens, and what they were drawn among is known of {known}")
        require(self.temperature >= 0, self, f"temperature {self.temperature} is negative")


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One author's work on one task: context and sampled turns in order, and why it ended."""

    trajectory_id: str
    episode_id: str
    task_id: str
    group_id: str
    role: str
    turns: tuple[ContextTurn | SampledTurn, ...]
    stop: StopReason
    parent_id: str = ""

    def __post_init__(self) -> None:
        require(bool(self.turns), self, f"{self.trajectory_id!r} has no turns")
        require(isinstance(self.turns[0], ContextTurn), self, "the first turn must be context: a prompt to answer")

    @property
    def token_count(self) -> int:
        """All tokens, context and sampled."""
        return sum(len(turn.token_ids) for turn in self.turns)

    @property
    def sampled_count(self) -> int:
        """The tokens that the policy wrote."""
        return sum(len(turn.token_ids) for turn in self.turns if isinstance(turn, SampledTurn))

    @property
    def sampled_text(self) -> str:
        """What the policy wrote, turns joined by newlines: a view, never the truth."""
        return "\n".join(turn.message.content for turn in self.turns if isinstance(turn, SampledTurn))


def label_of(name: str) -> str:
    """The label of a trajectory's scene, or of a group of them: what follows its `@`; empty for an episode's first."""
    return name.partition("@")[2]


@dataclass(frozen=True, slots=True)
class Group:
    """Siblings that share a context and so a baseline. Roles never mix in one group.

    `waves`: how many were written at a time, where later ones were asked for only because of how earlier ones fared;
    empty where all were asked for at once.
    """

    key: str
    task: Task
    trajectories: tuple[Trajectory, ...]
    waves: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(bool(self.trajectories), self, f"group {self.key!r} is empty")
        roles = {trajectory.role for trajectory in self.trajectories}
        require(len(roles) == 1, self, f"group {self.key!r} mixes roles {sorted(roles)}")
        strangers = [t.trajectory_id for t in self.trajectories if t.task_id != self.task.task_id]
        require(not strangers, self, f"group {self.key!r} holds trajectories of other tasks: {strangers}")
        told = not self.waves or (min(self.waves) > 0 and sum(self.waves) == len(self.trajectories))
        require(told, self, f"waves {self.waves} do not add up to {len(self.trajectories)} trajectories")

    def wave_of(self, place: int) -> int:
        """The number of the wave, from 0, in which the trajectory at this place was written."""
        ends = accumulate(self.waves)
        return next((wave for wave, end in enumerate(ends) if place < end), 0)
