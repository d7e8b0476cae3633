"""The generative critic: a language model of its own that reasons, then states how likely the answer is to be right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal

from critica.critics.base import CriticContext
from critica.critics.digit_law import DigitTokens, digit_means
from critica.critics.language import LanguageCritic, LanguageCriticPart, Prefix, Script, tokens_of
from critica.critics.statements import model_statement, read_statement, require_spelling
from critica.critics.track_record import TrackRecord
from critica.functional.random import stream_key
from critica.functional.scoring import brier_reward
from critica.policies.base import PromptTooLong, Sample, SampleLimits, SampleRequest, TrainablePolicy, WritingPolicy
from critica.records.critique import Critique, Verdict
from critica.records.supervision import Failed, Outcome, Reward, Scored
from critica.records.words import ContextTurn, Group, Message, SampledTurn, StopReason, Task, Trajectory

NAME = "generative"
TEMPLATE = (
    "{question}\n{answer}\n[recent success: {record}] Will this become right? Think, then state value: 0.0 to 1.0\n"
)
MOST_UNREAD = 0.5  # with more it goes back to imitation: what nobody can read earns the same whatever it says
USUAL = 4.0  # outcomes that the record's base rate counts for in an example: one answer says little about its state
ENDED = StopReason.END_OF_TEXT


@dataclass(frozen=True, slots=True)
class GenerativeCritic(LanguageCriticPart):
    """A copy of the policy that reads question, answer so far and the actor's record, and writes `… value: 0.7`.

    GenAC (arXiv 2604.10701): reasoning before the value, and a prompt that says how the current actor fares, so that
    weights need not chase it. A state is the prompt, and the place after each token that ends in a character of
    `judge_after`, at most `states_per_answer` of them, evenly spread ("" judges prompts alone); siblings share the
    judgements of a prefix that they share. `samples` statements are written per state, at temperature 1. With reading
    `expected` a statement counts as the mean of its digits' law after its own reasoning (the noise of the last tokens
    is gone, one short forward more), with `sampled` as the number that it states.

    Learning: for `format_steps` steps, and again whenever more than half of a step's statements are unreadable, it
    imitates statements made from outcomes, "high. value: 0.8", the rate being that of the answers which passed through
    the state and of four more at the actor's usual rate. Then each statement earns 1 - mean (value - outcome)^2, which
    the true expectation maximizes, against its siblings' mean (REINFORCE with leave-one-out); one that cannot be read
    earns 0, the least. The paper warms up on reasoning traces, then by REINFORCE, then beside PPO; reward and formats
    here are ours.

    Use it with a policy that can reason about answers in words, where a head that reads one state cannot judge, and
    with answers dear enough: it writes samples x states statements a step. Not with a tokenizer without digits.
    With a model of a million parameters only the machine can be judged: that statements become readable, honest and
    sharp. Whether reasoning helps cannot: the reasoning learned there is one word. On a game of three binary
    digits, a random writer of 90 thousand weights came within 80 steps (3 seeds) from unreadable to 5% unread, and
    to the error of the base rate (0.038 against exact values, from 0.077 for the prior): calibrated, and blind to
    the state. Doubles the weights; the copy has adapters where the policy has.
    """

    samples: int = 4
    judge_after: str = "\n"
    states_per_answer: int = 4
    max_new_tokens: int = 24
    reading: Literal["sampled", "expected"] = "expected"
    format_steps: int = 20
    record_outcomes: int = 512
    template: str = TEMPLATE
    copies_policy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"samples must be at least 2, got {self.samples}: a statement is judged by its siblings")
        if self.states_per_answer < 0 or self.format_steps < 0:
            raise ValueError("states_per_answer and format_steps cannot be negative")
        if self.max_new_tokens < 1 or self.record_outcomes < 1:
            raise ValueError("max_new_tokens and record_outcomes must be at least 1")
        try:
            said = self.template.format(question="?q", answer="?a", record="?r")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"template may hold {{question}}, {{answer}} and {{record}}, and no other braces: {error}"
            ) from error
        if "?q" not in said or "?a" not in said:
            raise ValueError("template must show {question} and {answer}: without them there is nothing to judge")

    def build(self, context: CriticContext) -> LanguageCritic:
        policy = context.policy
        if not isinstance(policy, WritingPolicy):
            raise ValueError(f"{type(policy).__name__} cannot encode a bare text, so no statement can be taught to it")
        require_spelling(policy)
        digits = DigitTokens.of(policy) if self.reading == "expected" else None
        return LiveGenerativeCritic(self, own_copy(policy), digits, context.seed)


def own_copy(policy: TrainablePolicy) -> TrainablePolicy:
    """The policy as it is now with weights that nobody shares, trainable where the policy's are."""
    trained = {name for name, _ in policy.trainable()}
    twin = policy.frozen_copy()
    for name, weight in twin.model.named_parameters():
        weight.requires_grad_(name in trained)
    return twin


@dataclass(frozen=True, slots=True)
class State:
    """A prefix to be judged: whose it is, how long, and the prompt that shows it."""

    subject: Trajectory
    tokens_read: int
    question: Task
    prompt_ids: tuple[int, ...]

    @property
    def name(self) -> str:
        """What its statements' ids begin with."""
        return f"{self.subject.trajectory_id}@{self.tokens_read}"


class LiveGenerativeCritic(LanguageCritic):
    """The writer, its actor's record, and how often it has learned."""

    def __init__(self, part: GenerativeCritic, writer: TrainablePolicy, digits: DigitTokens | None, seed: int) -> None:
        assert isinstance(writer, WritingPolicy)
        self.part, self.writer, self.digits, self.seed = part, writer, digits, seed
        self.record = TrackRecord(part.record_outcomes)
        self.lessons = 0
        self._texts: dict[int, str] = {}

    def critique(self, group: Group) -> tuple[Critique, ...]:
        return self.critiques((group,))[0]

    def critiques(self, groups: Sequence[Group]) -> tuple[tuple[Critique, ...], ...]:
        """All statements of a step from one call of the decoder."""
        states = [self.states(group) for group in groups]
        flat = [state for found in states for state in found]
        streams = [tuple((stream_key(0, NAME, state.name), i) for i in range(self.part.samples)) for state in flat]
        asked = [SampleRequest(state.prompt_ids, stream) for state, stream in zip(flat, streams, strict=True)]
        try:
            written = self.writer.sample(asked, SampleLimits(self.part.max_new_tokens, 1.0), self.seed)
        except PromptTooLong as error:
            longest = max(flat, key=lambda state: len(state.prompt_ids))
            raise error.of_task(longest.question.task_id) from error
        said = [(state, i, one) for state, row in zip(flat, written, strict=True) for i, one in enumerate(row)]
        made = iter([self._critique(*one, score) for one, score in zip(said, self._scores(said), strict=True)])
        return tuple(tuple(islice(made, len(found) * self.part.samples)) for found in states)

    def states(self, group: Group) -> list[State]:
        """The distinct prefixes of the group's answers that are judged, the shortest of each answer first."""
        found: dict[Prefix, State] = {}
        for trajectory in group.trajectories:
            body, start = tokens_of(trajectory), len(trajectory.turns[0].token_ids)
            for length in (start, *self._boundaries(body, start)):
                if body[:length] not in found:
                    question = self._question(group.task, trajectory, body[start:length], length)
                    prompt = self.writer.encode(question.messages)
                    found[body[:length]] = State(trajectory, length, question, prompt)
        return list(found.values())

    def _boundaries(self, body: Prefix, start: int) -> list[int]:
        """Lengths of the prefixes that end where `judge_after` says, evenly thinned; never the whole answer."""
        after, most = tuple(self.part.judge_after), self.part.states_per_answer
        ends = [t + 1 for t in range(start, len(body) - 1) if self._text(body[t]).endswith(after)]
        if len(ends) > most:
            ends = [ends[(2 * i + 1) * len(ends) // (2 * most)] for i in range(most)]
        return ends

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self.writer.decode_text((token,))
        return self._texts[token]

    def _question(self, task: Task, subject: Trajectory, written: Prefix, length: int) -> Task:
        """What the critic is asked: a task of its own, whose prompt shows the state and the actor's record."""
        text = self.part.template.format(
            question=task.prompt, answer=self.writer.decode_text(written), record=self.record.in_words(task.task_id)
        )
        return Task(f"{subject.trajectory_id}@{length}", NAME, (Message("user", text),), "")

    def _critique(self, state: State, number: int, sample: Sample, score: Outcome) -> Critique:
        text, subject = self.writer.decode_text(sample.token_ids), state.subject.trajectory_id
        turn = SampledTurn(Message("assistant", text), sample.token_ids, sample.logprobs, 1.0, self.writer.version)
        context = ContextTurn(state.question.messages[0], state.prompt_ids)
        authored = Trajectory(
            f"{state.name}/{number}", state.subject.episode_id, state.question.task_id, state.name, NAME,
            (context, turn), sample.stop, subject,
        )  # fmt: skip
        return Critique(NAME, subject, authored, Verdict.NOT_ASKED, score, state.tokens_read)

    def _scores(self, said: Sequence[tuple[State, int, Sample]]) -> list[Outcome]:
        """What each statement is read as."""
        stated = [read_statement(self.writer.decode_text(s.token_ids), s.stop is ENDED) for _, _, s in said]
        if self.digits is None:
            return stated
        places, contexts = [], []
        for place, (state, _, sample) in enumerate(said):
            ids = tuple(token for token in sample.token_ids if token not in self.writer.end_ids)
            if isinstance(stated[place], Scored) and self.digits.spells(ids[-3:]):
                places.append(place)
                contexts.append((*state.prompt_ids, *ids[:-3]))
            elif isinstance(stated[place], Scored):
                stated[place] = Failed("the value is not written as three tokens, so its digits have no law")
        for place, mean in zip(places, digit_means(self.writer, self.digits, contexts), strict=True):
            stated[place] = Scored(mean)
        return stated

    def script(self, critiques: Sequence[Critique], outcomes: Sequence[Sequence[float]]) -> Script:
        """Statements to imitate in the format stage, afterwards those written, each with what it earned."""
        self.lessons += 1
        unread = sum(not isinstance(critique.score, Scored) for critique in critiques)
        imitates = self.lessons <= self.part.format_steps or unread > MOST_UNREAD * len(critiques)
        by_state: dict[str, list[tuple[Critique, Sequence[float]]]] = {}
        for critique, told in zip(critiques, outcomes, strict=True):
            if told:
                by_state.setdefault(critique.authored.task_id, []).append((critique, told))
        groups, rewards, base = [], [], self.record.base_rate
        for name, said in by_state.items():
            question = said[0][0].authored.turns[0].message
            written = [self._example(*said[0], base)] if imitates else [critique.authored for critique, _ in said]
            groups.append(Group(name, Task(name, NAME, (question,), ""), tuple(written)))
            for trajectory in written:
                pay = 1.0 if imitates else self._earned(trajectory, said[0][1])
                rewards.append(Reward(NAME, trajectory.trajectory_id, Scored(pay)))
        return Script(tuple(groups), tuple(rewards), imitates)

    def _example(self, critique: Critique, told: Sequence[float], base: float) -> Trajectory:
        """A statement that would have been good: the mean of what the state's answers earned and of what is usual."""
        text = model_statement((sum(told) + USUAL * base) / (len(told) + USUAL))
        ids = (*self.writer.encode_text(text), self.writer.end_ids[0])
        turn = SampledTurn(Message("assistant", text), ids, (0.0,) * len(ids), 1.0, self.writer.version)
        like = critique.authored
        return Trajectory(
            f"{like.trajectory_id}/model", like.episode_id, like.task_id, like.group_id, NAME,
            (like.turns[0], turn), StopReason.END_OF_TEXT, like.parent_id,
        )  # fmt: skip

    def _earned(self, written: Trajectory, told: Sequence[float]) -> float:
        """The Brier reward of the value that it states; 0, the least, if none can be read off it."""
        stated = read_statement(written.sampled_text, written.stop is ENDED)
        return brier_reward(stated.value, told) if isinstance(stated, Scored) else 0.0

    def hear(self, told: Mapping[str, Sequence[float]]) -> None:
        """Add a step's outcomes, by task, to the actor's record."""
        self.record.add(told)

    def state_dict(self) -> dict[str, Any]:
        """The record, the lessons learned, and the writer's version; its weights are saved as a model."""
        return {"record": self.record.state_dict(), "lessons": self.lessons, "version": self.writer.version}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.record.load_state_dict(state["record"])
        self.lessons, self.writer.version = int(state["lessons"]), int(state["version"])
