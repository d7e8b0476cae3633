"""Who speaks when: after each turn that the policy wrote, a protocol says whether the episode is over or what comes.

A protocol sees the task, what was written, and what was told about it if it asks. It answers with one of three moves:
the episode is over; this message follows, then the policy writes again; or this context replaces the one so far,
which closes a trajectory and opens the next of the same episode, perhaps in another role.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from critica.curricula.base import Request
from critica.environments.base import Environment
from critica.policies.base import Conversing, Sample, SampleRequest
from critica.records.arrays import Metric
from critica.records.journal import Journal, NoJournal
from critica.records.supervision import Reward, Scale
from critica.records.words import EMPTY, ContextTurn, Message, SampledTurn, StopReason, Task
from critica.rewards.workers import WorkerLimits

Read = Callable[[Reward], float]  # what training is told of a turn, or what was said, or what is true


@dataclass(frozen=True, slots=True)
class Over:
    """The episode ends here. `stop` None: it ends as its last turn did."""

    stop: StopReason | None = None
    notes: Mapping[str, float] = field(default_factory=lambda: EMPTY, hash=False)


@dataclass(frozen=True, slots=True)
class Say:
    """This message follows what was written, and the policy goes on."""

    message: Message
    notes: Mapping[str, float] = field(default_factory=lambda: EMPTY, hash=False)


@dataclass(frozen=True, slots=True)
class Open:
    """These messages replace the context: a new trajectory of the same episode, compared with siblings of its label."""

    messages: tuple[Message, ...]
    label: str
    role: str = "policy"
    notes: Mapping[str, float] = field(default_factory=lambda: EMPTY, hash=False)


Move = Over | Say | Open


@dataclass(frozen=True, slots=True)
class Scene:
    """One context and what happened in it: turns, and for each sampled turn what was told of it, if it was asked.

    `label` is empty for the episode's first scene. `notes` are numbers that the protocol keeps beside it.
    """

    label: str
    role: str
    turns: tuple[ContextTurn | SampledTurn, ...]
    told: tuple[Reward | None, ...]
    stop: StopReason
    notes: Mapping[str, float] = field(default_factory=lambda: EMPTY, hash=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """What the policy wrote, turn by turn."""
        return tuple(turn.message.content for turn in self.turns if isinstance(turn, SampledTurn))


@dataclass(frozen=True, slots=True)
class Seen:
    """An episode so far. `stream` is (step, slot, index): what its random numbers are counted by."""

    task: Task
    stream: tuple[int, int, int]
    scenes: tuple[Scene, ...]

    @property
    def now(self) -> Scene:
        """The scene that is played."""
        return self.scenes[-1]

    @property
    def turns(self) -> int:
        """How many turns the policy has written, over all scenes."""
        return sum(len(scene.told) for scene in self.scenes)

    @property
    def name(self) -> str:
        """The episode's name."""
        return ".".join(map(str, self.stream))


@dataclass(frozen=True, slots=True)
class Worth:
    """What training is told about one scene: a value for each objective, and shares of the first for its turns.

    What the shares leave of the value belongs to the scene's last token.
    """

    values: tuple[float, ...]
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Relabeled:
    """Tokens of an episode to be learned from under another context, as a further row beside its first scene.

    The log-probs of these tokens are read anew under `messages`. `values` gives one number for each objective. Without
    `token_ids` it is a text that the policy did not write: it is encoded, and ended.
    """

    messages: tuple[Message, ...]
    text: str
    token_ids: tuple[int, ...]
    label: str
    role: str
    values: Callable[[Read], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Table:
    """What a protocol may use between two turns: the policy's own voice, the step's journal and its random numbers."""

    policy: Conversing
    request: Request
    seed: int
    journal: Journal = field(default_factory=NoJournal)

    def sample(self, prompts: Sequence[SampleRequest], max_new_tokens: int) -> list[list[Sample]]:
        """Continuations by the step's law, for what is not learned from itself."""
        return self.policy.sample(prompts, replace(self.request.limits, max_new_tokens=max_new_tokens), self.seed)


class Turns(ABC):
    """A live protocol. It has no memory beside what it is shown: a step done again goes the same way."""

    role: str = "policy"  # of the first scene
    turn_tokens: int = 0  # of each turn at most; 0: as many as the task's answers may have
    episode_tokens: int = 0  # sampled tokens of one scene at most; 0: no other limit than the turns'
    cuts: bool = False  # whether a dictated turn that is too long ends at the limit; else it is refused
    further_objectives: tuple[str, ...] = ()  # what scenes are told about beside the source's own

    @abstractmethod
    def opening(self, task: Task, stream: tuple[int, int, int]) -> tuple[Message, ...]:
        """The messages that the first turn answers. Siblings share them."""

    def dictated(self, seen: Seen) -> str:
        """The turn that this episode is given in place of one that the policy writes; empty: the policy writes it."""
        return ""

    @abstractmethod
    def asks(self, seen: Seen) -> bool:
        """Whether the source is asked about the turn that was just written."""

    @abstractmethod
    def reply(self, table: Table, seen: Sequence[Seen]) -> list[Move]:
        """One move per episode, by index; all of them have just written a turn."""

    @abstractmethod
    def worth(self, seen: Seen, read: Read) -> tuple[Worth, ...]:
        """What each scene of a finished episode is worth, where `read` reads a verdict. Pure: it is asked twice."""

    def relabeled(self, seen: Seen) -> tuple[Relabeled, ...]:
        """Further rows to be learned from, of a finished episode whose verdicts are all known."""
        return ()

    def reports(self, seen: Sequence[Seen]) -> tuple[Metric, ...]:
        """What to report about a step's episodes."""
        return ()

    def close(self) -> None:
        """Nothing to end."""
        return


@dataclass(frozen=True, slots=True)
class ProtocolContext:
    """What a protocol may lean on when it is built."""

    environment: Environment
    limits: WorkerLimits


class ProtocolPart(ABC):
    """A protocol's settings: a frozen dataclass whose `build` gives the live protocol."""

    @property
    def single(self) -> bool:
        """Whether an episode is one answer."""
        return False

    @abstractmethod
    def build(self, context: ProtocolContext) -> Turns | None:
        """The live protocol. Close it when done. None: one answer and no more."""

    @abstractmethod
    def reach(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """The objectives that episodes are told about, for verdicts of these."""

    @property
    def longest(self) -> int:
        """Turns of an episode at most."""
        return 1


@dataclass(frozen=True, slots=True)
class SingleTurn(ProtocolPart):
    """One answer, judged as a whole."""

    @property
    def single(self) -> bool:
        return True

    def build(self, context: ProtocolContext) -> Turns | None:
        return None

    def reach(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """As the source says."""
        return tuple(scales)
