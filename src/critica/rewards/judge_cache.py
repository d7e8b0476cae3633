"""What judges answered, kept on disk: a question that was paid for is not paid for twice."""

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from critica.records.words import Message
from critica.rewards.judge_base import JudgeReply

FILE = "judge_replies.jsonl"


def question_key(identity: str, messages: Sequence[Message], draw: int) -> str:
    """32 hexadecimal digits over the judge, what it is shown, and the number of the draw."""
    asked = json.dumps([identity, [[message.role, message.content] for message in messages], draw])
    return hashlib.blake2b(asked.encode(), digest_size=16).hexdigest()


class ReplyCache:
    """Replies by question. One line each, appended whole: a crash tears at most the last one, which is then not there.

    Several processes may append to one folder; each sees what stood there when it began. Without a folder replies are
    kept in memory.
    """

    def __init__(self, folder: str = "") -> None:
        self._replies: dict[str, JudgeReply] = {}
        self._lock = threading.Lock()
        self._file = -1
        if not folder:
            return
        place = Path(folder).expanduser()
        place.mkdir(parents=True, exist_ok=True)
        self._file = os.open(place / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        content = (place / FILE).read_bytes()
        for line in content.splitlines():
            try:
                key, text, tokens = json.loads(line)
                self._replies[str(key)] = JudgeReply(str(text), int(tokens))
            except (ValueError, TypeError):
                continue  # torn by a crash
        if content and not content.endswith(b"\n"):
            os.write(self._file, b"\n")

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: str) -> JudgeReply | None:
        """The reply, if there is one."""
        return self._replies.get(key)

    def put(self, key: str, reply: JudgeReply) -> None:
        """Keep it. The process may be killed as soon as this returns; a power cut needs `sync`."""
        with self._lock:
            self._replies[key] = reply
            if self._file >= 0:
                os.write(self._file, json.dumps([key, reply.text, reply.tokens]).encode() + b"\n")

    def sync(self) -> None:
        """Make what was kept durable."""
        if self._file >= 0:
            os.fsync(self._file)

    def close(self) -> None:
        """Keep the file, let go of it."""
        with self._lock:  # an answer that comes too late may be about to be written
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
