"""A step's questions to a judge: asked side by side, each within its deadline, answered by index."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from critica.records.supervision import Abstained, Failed
from critica.records.words import Message
from critica.rewards.judge_base import Asking, JudgeClient, JudgeReply, JudgeTrouble
from critica.rewards.judge_cache import ReplyCache, question_key
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
        self._open, self._end = 0, 0.0

    @property
    def waiting_for(self) -> str:
        """How many answers are awaited, and until when at most."""
        left = max(0.0, self._end - time.monotonic())
        return f"{self._open} answers of judge {self.client.identity} ({left:.0f} s left)" if self._open else ""

    def ask(self, questions: Sequence[Question]) -> list[Heard]:
        """One answer per question, by index. An answer that cannot be read has failed; it is not kept."""
        keys = [question_key(self.client.identity, q.messages, q.draw) for q in questions]
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
        """Ask with `concurrency` threads; what is not there when the batch's time is over has failed."""
        if not questions:
            return {}
        asking = self.asking
        self._end = end = time.monotonic() + asking.batch_seconds
        waiting, lock, done = list(reversed(questions.items())), threading.Lock(), threading.Event()
        found: dict[str, JudgeReply | Abstained | Failed] = {}
        self._open = len(questions)

        def work() -> None:
            while time.monotonic() < end:
                with lock:
                    if not waiting:
                        return
                    key, question = waiting.pop()
                reply = self._one(question, end)
                if isinstance(reply, JudgeReply) and self._heard(question, reply).missing is None:
                    self.cache.put(key, reply)
                with lock:
                    found[key] = reply
                    self._open = len(questions) - len(found)
                    if len(found) == len(questions):
                        done.set()

        for _ in range(min(asking.concurrency, len(questions))):
            threading.Thread(target=work, daemon=True).start()
        done.wait(max(0.0, end - time.monotonic()))
        with lock:
            late = Failed(
                f"judge {self.client.identity} had not answered when the step's {asking.batch_seconds:g} s were over"
            )
            self._open = 0
            return {key: found.get(key, late) for key in questions}

    def _one(self, question: Question, end: float) -> JudgeReply | Failed:
        asking, trouble = self.asking, "was not asked"
        for attempt in range(asking.retries + 1):
            left = min(asking.call_seconds, end - time.monotonic())
            if left <= 0:
                break
            try:
                return self.client.complete(question.messages, question.draw, left)
            except JudgeTrouble as error:
                trouble = str(error)
                if not error.again:
                    break
                pause = max(error.wait_seconds, asking.backoff_seconds * 2.0**attempt)
                if attempt < asking.retries:
                    time.sleep(max(0.0, min(pause, LONGEST_WAIT, end - time.monotonic())))
            except Exception as error:  # of a client of a user's own: one answer is lost, and it is said which
                trouble = f"raised {type(error).__name__}: {error}"
                break
        return Failed(trouble)
