"""Episodes turn by turn: all rows of a wave write a turn together, are judged together, and are answered together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from critica.curricula.base import Request
from critica.policies.base import Conversing, Policy, PromptTooLong, Sample, SampleLimits, SampleRequest
from critica.records.supervision import Reward, Scored
from critica.records.words import EMPTY, ContextTurn, Message, SampledTurn, StopReason, Task, Trajectory
from critica.rollout.protocol import Move, Over, Say, Scene, Seen, Table, Turns
from critica.rollout.relabel import logprobs_of, spelled
from critica.rollout.samples import answer_text

Judge = Callable[[Sequence["Row"]], list[Reward]]  # what is told about the turn that each of these rows just wrote


@dataclass
class Row:
    """One episode while it is played. `ids` are all tokens of the scene so far."""

    task: Task
    stream: tuple[int, int, int]
    label: str = ""
    role: str = "policy"
    turns: list[ContextTurn | SampledTurn] = field(default_factory=list)
    told: list[Reward | None] = field(default_factory=list)
    stop: StopReason = StopReason.ANSWERED
    notes: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    closed: list[Scene] = field(default_factory=list)

    @property
    def ids(self) -> tuple[int, ...]:
        """The scene's tokens."""
        return tuple(token for turn in self.turns for token in turn.token_ids)

    @property
    def sampled(self) -> int:
        """Tokens that the policy wrote in this scene."""
        return sum(len(turn.token_ids) for turn in self.turns if isinstance(turn, SampledTurn))

    @property
    def written(self) -> int:
        """Turns that the policy wrote in this episode."""
        return sum(len(scene.told) for scene in self.closed) + len(self.told)

    @property
    def seen(self) -> Seen:
        """The episode as a protocol sees it."""
        now = Scene(self.label, self.role, tuple(self.turns), tuple(self.told), self.stop, self.notes)
        return Seen(self.task, self.stream, (*self.closed, now))

    def last_turn(self, group_key: str) -> Trajectory:
        """The last turn as an answer of its own, to be judged: the first one under the episode's own name."""
        number = self.written - 1
        name = self.seen.name + (f"/{number}" if number else "")
        turn = self.turns[-1]
        read = tuple(token for one in self.turns[:-1] for token in one.token_ids)
        context = ContextTurn(self.turns[-2].message, read)
        return Trajectory(
            name, self.seen.name, self.task.task_id, group_key, self.role, (context, turn), self.stop
        )  # fmt: skip


class CannotConverse(ValueError):
    """A policy cannot be spoken to again."""


def play(
    policy: Policy,
    turns: Turns,
    tasks: Sequence[tuple[int, Task]],
    request: Request,
    table: Table,
    judge: Judge,
    asked: list[str],
) -> list[Row]:
    """Every episode of these (slot, task) to its end, `samples_per_prompt` of each, in order.

    A turn's random numbers are counted by (seed, step, slot, index), and the number of the turn after the first.
    Tokens are appended as they were sampled; nothing is encoded twice. The names of scenes that replace an earlier one
    are added to `asked` before they are written. Raises `PromptTooLong` if a task's own prompt does not fit; a later
    message that does not fit ends its episode at the token limit.
    """
    places = [(slot, task, i) for slot, task in tasks for i in range(request.samples_per_prompt)]
    rows = [Row(task, (request.step, slot, i), role=turns.role) for slot, task, i in places]
    for row in rows:
        messages = turns.opening(row.task, row.stream)
        row.turns.append(ContextTurn(messages[-1], policy.encode(messages)))
    writing = rows
    limit = turns.turn_tokens or request.limits.max_new_tokens
    while writing:
        write_turn(table.policy, writing, replace(request.limits, max_new_tokens=limit), table.seed, turns)
        heard = [row for row in writing if turns.asks(row.seen)]
        for row, reward in zip(heard, judge(heard), strict=True):
            row.told[-1] = reward
            if not isinstance(reward.outcome, Scored):
                row.stop = StopReason.ENVIRONMENT_ERROR
        known = [row for row in writing if row.stop is not StopReason.ENVIRONMENT_ERROR]
        moves = turns.reply(table, [row.seen for row in known])
        writing = [
            row for row, move in zip(known, moves, strict=True) if goes_on(table.policy, row, move, turns, limit, asked)
        ]
    return rows


def write_turn(policy: Conversing, rows: Sequence[Row], limits: SampleLimits, seed: int, turns: Turns) -> None:
    """One turn of every row. Rows of a slot that stand at the same tokens share their keys and values."""
    rows = dictate(policy, rows, limits, turns)
    if not rows:
        return
    together: dict[tuple[int, tuple[int, ...]], list[Row]] = {}
    for row in rows:
        together.setdefault((row.stream[1], row.ids), []).append(row)
    asked = [
        SampleRequest(ids, tuple((*row.stream, row.written) if row.written else row.stream for row in members))
        for (_, ids), members in together.items()
    ]
    try:
        answers = policy.sample(asked, limits, seed)
    except PromptTooLong as error:
        longest = max(rows, key=lambda row: len(row.ids))
        raise error.of_task(longest.task.task_id) from error
    for members, samples in zip(together.values(), answers, strict=True):
        for row, one in zip(members, samples, strict=True):
            one = within(one, turns.episode_tokens - row.sampled if turns.episode_tokens else len(one.token_ids))
            text = answer_text(policy, one, limits)
            row.turns.append(
                SampledTurn(
                    Message("assistant", text),
                    one.token_ids,
                    one.logprobs,
                    limits.temperature,
                    policy.version,
                    one.kept,
                )
            )
            row.told.append(None)
            row.stop = one.stop


def dictate(policy: Conversing, rows: Sequence[Row], limits: SampleLimits, turns: Turns) -> list[Row]:
    """Give the rows whose turn is dictated that turn, with the policy's own log-probs of it; the others are returned.

    Raises `PromptTooLong` if it does not fit into the context, ValueError if it is longer than a turn may be.
    """
    texts = [turns.dictated(row.seen) for row in rows]
    given = [(row, text) for row, text in zip(rows, texts, strict=True) if text]
    if not given:
        return list(rows)
    for row, text in given:
        ids, stop = spelled(policy, text), StopReason.END_OF_TEXT
        if len(ids) > limits.max_new_tokens:
            if not turns.cuts:
                raise ValueError(
                    f"the answer of task {row.task.task_id!r} has {len(ids)} tokens with its end, and at most"
                    f" {limits.max_new_tokens} may be learned: raise sampling.max_new_tokens, or set protocol.cut=true"
                )
            ids, stop = ids[: limits.max_new_tokens], StopReason.TOKEN_LIMIT
            text = policy.decode_text(ids)
        if len(row.ids) + len(ids) > policy.context_length:
            raise PromptTooLong(len(row.ids), len(ids), policy.context_length, row.task.task_id)
        blank = (0.0,) * len(ids)
        row.turns.append(SampledTurn(Message("assistant", text), ids, blank, limits.temperature, policy.version))
        row.told.append(None)
        row.stop = stop
    read = logprobs_of(policy, [row.last_turn("") for row, _ in given])
    for (row, _), found in zip(given, read, strict=True):
        turn = row.turns[-1]
        assert isinstance(turn, SampledTurn)
        row.turns[-1] = replace(turn, behavior_logprobs=found)
    return [row for row, text in zip(rows, texts, strict=True) if not text]


def within(sample: Sample, room: int) -> Sample:
    """What an episode's budget leaves of a turn."""
    return sample.within(room)


def goes_on(policy: Conversing, row: Row, move: Move, turns: Turns, limit: int, asked: list[str]) -> bool:
    """Make the move; whether the row writes another turn."""
    row.notes = {**row.notes, **move.notes}
    if isinstance(move, Over):
        row.stop = move.stop or row.stop
        return False
    if isinstance(move, Say):
        last = row.turns[-1].token_ids
        context = ContextTurn(move.message, policy.encode_followup(move.message, last))
        spent = turns.episode_tokens and row.sampled >= turns.episode_tokens
        if spent or len(row.ids) + len(context.token_ids) + limit > policy.context_length:
            row.stop = StopReason.TOKEN_LIMIT
            return False
        row.turns.append(context)
        return True
    opening = policy.encode(move.messages)
    if len(opening) + limit > policy.context_length:
        row.stop = StopReason.TOKEN_LIMIT
        return False
    asked.append(f"{row.seen.name}@{move.label}")
    row.closed.append(row.seen.now)
    row.label, row.role, row.notes = move.label, move.role, EMPTY
    row.turns, row.told = [ContextTurn(move.messages[-1], opening)], []
    return True


def conversing(policy: Policy) -> Conversing:
    """The policy, if it can be spoken to again. Raises `CannotConverse`."""
    if not isinstance(policy, Conversing):
        raise CannotConverse(
            f"episodes of several turns append messages to what was sampled, and {type(policy).__name__} cannot say"
            " which tokens those are: take a local policy, or protocol=single_turn"
        )
    return policy
