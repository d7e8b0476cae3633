"""A step's questions to a judge: asked side by side, each within its deadline, answered by index."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from critica.records.supervision import Abstained, Failed
from critica.records.words import Message
from critica.rewards.judge_base import Asking, JudgeClient, JudgeReply, JudgeTrouble
from critica.rewards.judge_cache import ReplyCache, question_key
from critica.rewards.judge_round import Round
from critica.rewards.judge_text import Unreadable

LONGEST_WAIT = 30.0  # seconds between two attempts, whatever the server asks for


@dataclass(frozen=True, slots=True)
class Question:
    """Messages for a judge, and how its answer is read: `read` raises `Unreadable` for one that means nothing."""

    messages: tuple[Message, ...]
    read: Callable[[str], Any]
    draw: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a question: what `read` gave, or why there is nothing. `questions` is 1 where it was counted."""

    said: Any
    questions: int = 0
    tokens: int = 0

    @property
    def missing(self) -> Abstained | Failed | None:
        """Why there is no answer; None if there is one."""
        return self.said if isinstance(self.said, Abstained | Failed) else None


class Panel:
    """A live judge with its cache and its budget. Equal questions of one call are asked once."""

    def __init__(self, client: JudgeClient, asking: Asking) -> None:
        self.client, self.asking = client, asking
        self.cache = ReplyCache(asking.cache)
        self.questions = self.tokens = 0  # counted so far, see `Asking`
        self._round = self._new_round()

    @property
    def waiting_for(self) -> str:
        """How many answers are awaited, and until when at most."""
        awaited, left = self._round.open, max(0.0, self._round.left())
        return f"{awaited} answers of judge {self.client.identity} ({left:.0f} s left)" if awaited else ""

    def key_of(self, question: Question) -> str:
        """What tells questions to this judge apart."""
        return question_key(self.client.identity, question.messages, question.draw)

    def prepare(self, questions: Sequence[Question], most: int | None) -> None:
        """Begin to ask what the next `ask` will hold among at most `most` questions (None: nobody knows how many).

        It is the same question, with as many attempts. Nothing is spent that `ask` would not spend: where the budget
        may end within that call it goes to its first questions, and none is begun before they are known.
        """
        asking = self.asking
        if self._spent() or (asking.questions and (most is None or self.questions + most > asking.questions)):
            return
        keyed = {self.key_of(question): question for question in questions}
        self._round.begin({key: question for key, question in keyed.items() if self.cache.get(key) is None})

    def ask(self, questions: Sequence[Question]) -> list[Heard]:
        """One answer per question, by index. An answer that cannot be read has failed; it is not kept."""
        keys = [self.key_of(question) for question in questions]
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        found: dict[str, JudgeReply | Abstained | Failed] = {}
        open_keys = []
        for key in dict.fromkeys(keys):
            spent = self._spent()
            if spent:
                found[key] = Abstained(spent)
                continue
            self.questions += 1
            kept = self.cache.get(key)
            if kept is not None:
                found[key] = kept
            else:
                open_keys.append(key)
        found |= self._fetch({key: questions[first[key]] for key in open_keys})
        heard = [self._heard(question, found[key]) for question, key in zip(questions, keys, strict=True)]
        for i, key in enumerate(keys):
            reply = found[key]
            if first[key] == i and not isinstance(reply, Abstained):
                tokens = reply.tokens if isinstance(reply, JudgeReply) else 0
                self.tokens += tokens
                heard[i] = Heard(heard[i].said, 1, tokens)
        self.cache.sync()
        return heard

    def close(self) -> None:
        """End the judge; the cache stays."""
        self._round.stop()
        self.client.close()
        self.cache.close()

    def _spent(self) -> str:
        asking = self.asking
        if asking.questions and self.questions >= asking.questions:
            return f"the judge's budget of {asking.questions:,} questions is used up (asking.questions)"
        if asking.tokens and self.tokens >= asking.tokens:
            return f"the judge's budget of {asking.tokens:,} tokens is used up (asking.tokens)"
        return ""

    def _heard(self, question: Question, reply: JudgeReply | Abstained | Failed) -> Heard:
        if not isinstance(reply, JudgeReply):
            return Heard(reply)
        try:
            return Heard(question.read(reply.text))
        except Unreadable as error:
            shown = " ".join(reply.text[-200:].split())
            return Heard(Failed(f"judge {self.client.identity} cannot be understood ({error}): …{shown!r}"))

    def _fetch(self, questions: dict[str, Question]) -> dict[str, JudgeReply | Abstained | Failed]:
        """What the round says of these questions, and a failure of each that is late; then a new round begins."""
        seconds = self.asking.batch_seconds
        found = self._round.collect(questions, seconds)
        self._round = self._new_round()
        late = Failed(f"judge {self.client.identity} had not answered when the step's {seconds:g} s were over")
        return {key: found.get(key, late) for key in questions}

    def _new_round(self) -> Round[Question, JudgeReply | Failed]:
        return Round(self._answer, self.asking.concurrency)

    def _answer(self, key: str, question: Question, left: Callable[[], float]) -> JudgeReply | Failed:
        """The judge's reply, kept if it can be read; a failure after as many attempts as it gets."""
        reply = self._one(question, left)
        if isinstance(reply, JudgeReply) and self._heard(question, reply).missing is None:
            self.cache.put(key, reply)
        return reply

    def _one(self, question: Question, left: Callable[[], float]) -> JudgeReply | Failed:
        asking, trouble = self.asking, "was not asked"
        for attempt in range(asking.retries + 1):
            seconds = min(asking.call_seconds, left())
            if seconds <= 0:
                break
            try:
                return self.client.complete(question.messages, question.draw, seconds)
            except JudgeTrouble as error:
                trouble = str(error)
                if not error.again:
                    break
                pause = max(error.wait_seconds, asking.backoff_seconds * 2.0**attempt)
                if attempt < asking.retries:
                    time.sleep(max(0.0, min(pause, LONGEST_WAIT, left())))
            except Exception as error:  # of a client of a user's own: one answer is lost, and it is said which
                trouble = f"raised {type(error).__name__}: {error}"
                break
        return Failed(trouble)
