"""How reward processes talk: length-prefixed JSON over a socket, and the plain shapes that travel. Imports no torch."""

import json
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HEADER = struct.Struct("!I")
JsonObject = dict[str, Any]


class Info(dict[str, Any]):
    """A task's `info` as reward code sees it: the entries that it may see, and a sentence about any other."""

    def __missing__(self, key: str) -> Any:
        raise KeyError(
            f"task.info[{key!r}] is not shown to this reward: the task has no such entry, or the reward declares"
            f' `needs` without "info.{key}"'
        )


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class TaskView:
    """A task as reward code sees it in a worker: the fields of `records.words.Task`, messages as plain mappings.

    A field that the source did not declare is not there: reading it raises AttributeError.
    """

    task_id: str
    environment: str
    prompt: str
    messages: tuple[Mapping[str, Any], ...]
    answer: str
    info: Mapping[str, Any]
    seed: int

    @classmethod
    def of(cls, seen: Mapping[str, Any]) -> "TaskView":
        """A view of these fields alone."""
        view = object.__new__(cls)
        for name, value in seen.items():
            object.__setattr__(view, name, Info(value) if name == "info" else value)
        return view

    def __getattr__(self, name: str) -> Any:
        if name not in TaskView.__slots__:
            raise AttributeError(f"a task has no {name!r}: it has {', '.join(TaskView.__slots__)}")
        need = "prompt" if name == "messages" else name
        raise AttributeError(f'task.{name} is not shown to this reward: add "{need}" to the `needs` that it declares')

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskView) and self.seen() == other.seen()

    def __repr__(self) -> str:
        return f"TaskView({', '.join(f'{name}={value!r}' for name, value in self.seen().items())})"

    def seen(self) -> JsonObject:
        """The fields that are there."""
        return {name: getattr(self, name) for name in TaskView.__slots__ if hasattr(self, name)}


@dataclass(frozen=True, slots=True)
class Item:
    """One completion to be judged."""

    trajectory_id: str
    task: TaskView
    text: str

    @classmethod
    def from_json(cls, data: JsonObject) -> "Item":
        """The item that `to_json` wrote."""
        task = dict(data["task"])
        if "messages" in task:
            task["messages"] = tuple(task["messages"])
        return cls(data["trajectory_id"], TaskView.of(task), data["text"])

    def to_json(self) -> JsonObject:
        """Plain JSON."""
        task = self.task.seen()
        if "messages" in task:
            task["messages"] = [dict(message) for message in task["messages"]]
        if "info" in task:
            task["info"] = dict(task["info"])
        return {"trajectory_id": self.trajectory_id, "task": task, "text": self.text}


@dataclass(frozen=True, slots=True)
class Reply:
    """What judging one item came to: a number, an abstention (neither), or an error; `note` says more about it."""

    value: float | None = None
    error: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """A judge's number with a note beside it, which travels to `Reply.note`."""

    value: float
    note: str

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Declined:
    """A judge's abstention that says why; None is one that does not. The reason travels to `Reply.note`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Reward code ready to run. `call` maps items to one raw answer each.

    `whole_batch` code sees all items in one call, since its answers may depend on each other; other code is called
    with one item at a time. `prepare` runs once in each new worker, before it has seen any item.
    """

    name: str
    whole_batch: bool
    call: Callable[[Sequence[Item]], object]
    prepare: Callable[[], None] | None = None
    missing: tuple[str, ...] = ()  # protections of its own that this machine cannot give it


@dataclass(frozen=True, slots=True)
class Program:
    """Where a fresh interpreter finds a judge: `module:factory(settings) -> Judge`, all of it plain JSON."""

    module: str
    factory: str
    settings: Mapping[str, Any] = field(hash=False)


def send(connection: socket.socket, message: JsonObject) -> None:
    """Write one frame. Raises OSError when the other side is gone."""
    body = json.dumps(message).encode()
    connection.sendall(HEADER.pack(len(body)) + body)


def receive(connection: socket.socket) -> JsonObject | None:
    """Read one frame, waiting for it; None at the end of the stream."""
    header = _exactly(connection, HEADER.size)
    if header is None:
        return None
    body = _exactly(connection, HEADER.unpack(header)[0])
    return None if body is None else json.loads(body)


class FrameReader:
    """Frames out of a stream that arrives in pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[JsonObject]:
        """The frames that are complete now."""
        self._buffer += data
        frames, start = [], 0
        while len(self._buffer) - start >= HEADER.size:
            end = start + HEADER.size + HEADER.unpack_from(self._buffer, start)[0]
            if len(self._buffer) < end:
                break
            frames.append(json.loads(self._buffer[start + HEADER.size : end]))
            start = end
        del self._buffer[:start]
        return frames


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)
