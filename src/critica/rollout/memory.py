"""Reading in pieces: the policy rewrites its memory piece by piece, then answers from the memory alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from critica.environments.base import CORRECT
from critica.functional.belief import belief_entropy
from critica.policies.base import SampleRequest
from critica.records.arrays import Metric
from critica.records.supervision import Scale
from critica.records.words import Message, Task
from critica.rollout.protocol import Move, Open, Over, ProtocolContext, ProtocolPart, Read, Seen, Table, Turns, Worth

BELIEF = "belief"
BEFORE, AFTER = "belief_before", "belief_after"  # notes of a memory step: entropies in nats


@dataclass(frozen=True, slots=True)
class Memory(ProtocolPart):
    """m_j = policy(question, m_{j-1}, piece j) for each piece, then an answer from (question, m_J).

    Every step is a trajectory with a context of its own; siblings are the same step. All steps of an episode are told
    its verdict. With `probes` > 0 a second objective, `belief`, tells step j how much less uncertain the policy is
    about the answer for it: BE_{j-1} - BE_j, with BE_j the entropy of what `probes` answers from (question, m_j) say,
    and 0 for the last step. The sum over steps is BE_0 - BE_J, a potential difference: with a constant weight, and not
    standardized, it changes no optimal policy. MMPO (arXiv 2605.30159) has the idea; probe and size are ours.

    `gated` takes the gain from episodes that end wrong: low entropy alone also rewards being sure of nonsense, which is
    the main risk of this signal. Tasks need a `question` and `pieces` in their info, see the environment `recall`.
    Use it where a text does not fit at once; not as a measure of truth. Costs a decoder call for each piece, and
    `probes` short answers for each.
    """

    probes: int = 4
    gated: bool = False
    read: str = "{question} memory: {memory} read: {piece} memory: "
    ask: str = "{question} memory: {memory} answer: "
    memory_tokens: int = 16

    def __post_init__(self) -> None:
        if self.probes < 0 or self.memory_tokens < 1:
            raise ValueError("protocol.probes is a number of answers, 0 for none; protocol.memory_tokens at least 1")
        if self.probes == 1:
            raise ValueError("protocol.probes=1: one answer has no entropy; ask for 2 or more, or for none (0)")

    def build(self, context: ProtocolContext) -> Turns:
        return Reading(self)

    def reach(self, scales: Sequence[Scale]) -> tuple[Scale, ...]:
        """The verdict's range, and that of a difference of entropies."""
        far = log(self.probes) if self.probes else 0.0
        return (*scales, Scale(BELIEF, -far, far)) if self.probes else tuple(scales)


class Reading(Turns):
    """The live protocol."""

    def __init__(self, part: Memory) -> None:
        self.part = part
        self.turn_tokens = part.memory_tokens
        self.further_objectives = (BELIEF,) if part.probes else ()

    def opening(self, task: Task, stream: tuple[int, int, int]) -> tuple[Message, ...]:
        """The first piece and an empty memory."""
        return self._reading(task, "-", 0)

    def asks(self, seen: Seen) -> bool:
        """About the answer."""
        return seen.now.label == "answer"

    def reply(self, table: Table, seen: Sequence[Seen]) -> list[Move]:
        """The next piece with the memory so far; the question when all are read; over when it is answered."""
        steps = [i for i, one in enumerate(seen) if one.now.label != "answer"]
        notes = dict(zip(steps, self._beliefs(table, [seen[i] for i in steps]), strict=True))
        return [self._move(one, notes[i]) if i in notes else Over() for i, one in enumerate(seen)]

    def _move(self, seen: Seen, notes: Mapping[str, float]) -> Move:
        read, memory = len(seen.scenes), seen.now.texts[0]
        if read < len(pieces_of(seen.task)):
            return Open(self._reading(seen.task, memory, read), f"memory-{read + 1}", notes=notes)
        return Open(self._asking(seen.task, memory), "answer", notes=notes)

    def _reading(self, task: Task, memory: str, number: int) -> tuple[Message, ...]:
        piece = pieces_of(task)[number]
        shown = self.part.read.replace("{question}", question_of(task)).replace("{piece}", piece)
        return (Message("user", shown.replace("{memory}", memory)),)

    def _asking(self, task: Task, memory: str) -> tuple[Message, ...]:
        return (Message("user", self.part.ask.replace("{question}", question_of(task)).replace("{memory}", memory)),)

    def _beliefs(self, table: Table, seen: Sequence[Seen]) -> list[dict[str, float]]:
        """Entropies before and after each of these memory steps. An empty memory is asked about at the first step."""
        if not self.part.probes or not seen:
            return [{} for _ in seen]
        asked: list[SampleRequest] = []
        for one in seen:
            if len(one.scenes) == 1:
                asked.append(self._probe(table, one, "-", 0))
            asked.append(self._probe(table, one, one.now.texts[0], len(one.scenes)))
        written = iter(table.sample(asked, self.part.memory_tokens))
        notes = []
        for one in seen:
            first = len(one.scenes) == 1
            before = self._entropy(table, next(written)) if first else one.scenes[-2].notes[AFTER]
            notes.append({BEFORE: before, AFTER: self._entropy(table, next(written))})
        return notes

    def _probe(self, table: Table, seen: Seen, memory: str, step: int) -> SampleRequest:
        prompt = table.policy.encode(self._asking(seen.task, memory))
        return SampleRequest(prompt, tuple((*seen.stream, step, 1, k) for k in range(self.part.probes)))

    def _entropy(self, table: Table, samples: Sequence) -> float:
        return belief_entropy([table.policy.decode_text(one.token_ids) for one in samples])

    def worth(self, seen: Seen, read: Read) -> tuple[Worth, ...]:
        """The verdict for every step, and what each did to the policy's uncertainty.

        An episode that the policy's context ended before it answered is told the verdict of no answer: 0.
        """
        said = seen.now.told[0]
        outcome = read(said) if said is not None else 0.0
        gains = [scene.notes[BEFORE] - scene.notes[AFTER] if AFTER in scene.notes else 0.0 for scene in seen.scenes]
        if self.part.gated and outcome < CORRECT:
            gains = [min(0.0, gain) for gain in gains]
        return tuple(Worth((outcome, gain) if self.part.probes else (outcome,)) for gain in gains)

    def reports(self, seen: Sequence[Seen]) -> tuple[Metric, ...]:
        """How uncertain the policy is about the answer at first and in the end."""
        steps = [[scene.notes for scene in one.scenes if AFTER in scene.notes] for one in seen]
        known = [notes for notes in steps if notes]
        if not self.part.probes:
            return ()
        return (
            Metric("episode/belief_first", sum(notes[0][BEFORE] for notes in known), float(len(known))),
            Metric("episode/belief_last", sum(notes[-1][AFTER] for notes in known), float(len(known))),
        )


def question_of(task: Task) -> str:
    """What is asked. Raises ValueError for a task that is no reading."""
    if "question" not in task.info or not task.info.get("pieces"):
        raise ValueError(
            f"task {task.task_id!r} has no `question` and `pieces` in its info, so there is nothing to read piece by"
            " piece: take an environment that has them (--environment recall), or protocol=single_turn"
        )
    return str(task.info["question"])


def pieces_of(task: Task) -> Sequence[str]:
    """The pieces of a task's text."""
    question_of(task)
    return task.info["pieces"]
