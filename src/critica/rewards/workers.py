"""Killable worker processes for reward code: results by index, whatever hangs, crashes or is killed meanwhile."""

import select
import selectors
import socket
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from critica.rewards.home import ORPHANED, Home, RewardCodeProblem
from critica.rewards.isolation import Isolation
from critica.rewards.nursery import OVERRAN
from critica.rewards.wire import FrameReader, Item, JsonObject, Judge, Program, Reply, send

CRASHES_FORGIVEN = 1  # a death may come from outside (a memory killer): the call is tried once more
CHUNK = 64


class IsolationWarning(UserWarning):
    """Reward code runs with less protection than asked for."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What a worker may use. A call is one completion, or the whole batch for code that asks for it at once.

    Without `network` reward code reaches no other machine, nor a server on this one. `file_mib` bounds each file that
    it writes; `processes` counts everything that a worker started. Built-in verifiers whose time is bounded by the
    length of the text (`exact`, `numeric`) judge in the training process itself, unless `in_process` is false.
    """

    workers: int = 2
    call_seconds: float = 10.0
    batch_seconds: float = 300.0
    cpu_seconds: float = 60.0
    memory_mib: int = 2048
    load_seconds: float = 60.0
    file_mib: int = 1024
    processes: int = 128
    network: bool = False
    in_process: bool = True

    def __post_init__(self) -> None:
        for name in ("workers", "call_seconds", "batch_seconds", "cpu_seconds", "memory_mib", "load_seconds",
                     "file_mib", "processes"):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"WorkerLimits.{name} is {getattr(self, name)}: it must be above 0")


@dataclass(eq=False, slots=True)
class _Worker:
    """A live worker and the call it is at: `pending` are the item indices not answered yet, in order."""

    warden: int
    pid: int
    connection: socket.socket
    reader: FrameReader = field(default_factory=FrameReader)
    pending: deque[int] = field(default_factory=deque)
    since: float = 0.0


class WorkerPool:
    """Runs a judge over items in workers. Use it as a context manager, or call `close`; it also ends with the process.

    A `Program` runs in a fresh interpreter without torch; a live `Judge` (closures, notebooks) runs in forks of this
    process as it is when the pool is made. Raises `RewardCodeProblem` if the code cannot be loaded.
    """

    def __init__(self, code: Program | Judge, limits: WorkerLimits = WorkerLimits()) -> None:
        self.limits = limits
        self._home = Home(code, limits.load_seconds, limits.network)
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        self._closed = False
        if self.isolation.missing:
            warnings.warn(f"reward {self.name}: {self.isolation.warning}", IsolationWarning, stacklevel=2)

    @property
    def isolation(self) -> Isolation:
        """What keeps the code away from the rest of the machine, and what is missing here."""
        return self._home.isolation

    @property
    def name(self) -> str:
        """The name of the reward code."""
        return self._home.judge_name

    @property
    def busy_workers(self) -> int:
        """Workers that are judging right now: cores that a learner should leave alone."""
        return sum(bool(worker.pending) for worker in tuple(self._workers))

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the live workers."""
        return tuple(worker.pid for worker in tuple(self._workers))

    def run(self, items: Sequence[Item]) -> list[Reply]:
        """One reply per item, in order. A hang, a crash or an exception fails only the items that cause it."""
        if not items:
            return []
        with self._lock:
            if self._closed:
                raise RewardCodeProblem(f"the worker pool of {self.name} is closed: build the reward source again")
            batch = _Batch(self, items)
            try:
                return batch.run()
            finally:
                for worker in [worker for worker in self._workers if worker.pending]:
                    self.end(worker)

    def idle_worker(self) -> _Worker | None:
        """A worker with nothing to do, made if there is room; None when all are busy."""
        for worker in [worker for worker in self._workers if not worker.pending]:
            if not select.select([worker.connection], [], [], 0.0)[0]:
                return worker
            self.end(worker)  # an idle worker has nothing to say: it died meanwhile
        if len(self._workers) >= self.limits.workers:
            return None
        ours, theirs = socket.socketpair()
        names = ("memory_mib", "cpu_seconds", "file_mib", "processes")
        worker = _Worker(*self._home.fork(theirs, {name: getattr(self.limits, name) for name in names}), ours)
        theirs.close()
        ours.settimeout(self.limits.call_seconds)
        self._workers.append(worker)
        return worker

    def end(self, worker: _Worker) -> str:
        """Kill a worker; says how it ended."""
        self._workers.remove(worker)
        worker.connection.close()
        return self._home.end(worker.warden)

    def end_idle(self) -> None:
        """Kill the workers that have nothing to do."""
        for worker in [worker for worker in self._workers if not worker.pending]:
            self.end(worker)

    @property
    def whole_batch(self) -> bool:
        """Whether the code sees all items in one call."""
        return self._home.whole_batch

    def close(self) -> None:
        """End every process of the pool."""
        for worker in self._workers:
            worker.connection.close()
        self._workers.clear()
        self._closed = True
        self._home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Batch:
    """One run over a list of items: a queue of calls, who works on what, and what came back."""

    def __init__(self, pool: WorkerPool, items: Sequence[Item]) -> None:
        self.pool = pool
        self.items = [item.to_json() for item in items]
        self.replies: dict[int, Reply] = {}
        self.deaths: Counter[int] = Counter()
        self.end_time = time.monotonic() + pool.limits.batch_seconds
        whole = range(len(items))
        if pool.whole_batch:
            self.calls = deque([list(whole)])
        else:
            size = max(1, min(CHUNK, len(items) // (4 * pool.limits.workers)))
            self.calls = deque(list(whole[start : start + size]) for start in whole[::size])

    def run(self) -> list[Reply]:
        with selectors.DefaultSelector() as selector:
            while len(self.replies) < len(self.items):
                self._dispatch(selector)
                busy = [key.data for key in selector.get_map().values()]
                wake = min([worker.since + self.pool.limits.call_seconds for worker in busy], default=0.0)
                for key, _ in selector.select(max(0.0, min(wake, self.end_time) - time.monotonic())):
                    if key.data.pending:  # else it fell together with a worker read before it
                        self._read(selector, key.data)
                self._watch(selector)
        return [self.replies[index] for index in range(len(self.items))]

    def _dispatch(self, selector: selectors.BaseSelector) -> None:
        while self.calls and (worker := self.pool.idle_worker()) is not None:
            worker.pending = deque(self.calls.popleft())
            worker.since = time.monotonic()
            selector.register(worker.connection, selectors.EVENT_READ, worker)
            try:
                send(worker.connection, {"items": [self.items[index] for index in worker.pending]})
            except OSError:
                self._died(selector, worker)

    def _read(self, selector: selectors.BaseSelector, worker: _Worker) -> None:
        try:
            data = worker.connection.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self._died(selector, worker)
            return
        for frame in worker.reader.feed(data):
            worker.since = time.monotonic()
            if "retire" in frame:  # it answered well, but is not fit for more: another goes on
                self._remove(selector, worker)
                self._requeue(worker)
                return
            self._take(worker, frame)
        if not worker.pending:
            selector.unregister(worker.connection)

    def _take(self, worker: _Worker, frame: JsonObject) -> None:
        if "replies" in frame:
            for packed in frame["replies"]:
                self.replies[worker.pending.popleft()] = _unpack(packed)
        elif "raised" in frame and len(worker.pending) > 1:
            self._one_by_one(worker)
        else:
            error = frame.get("raised") or frame["wrong_shape"]
            while worker.pending:
                self.replies[worker.pending.popleft()] = Reply(error=error)

    def _one_by_one(self, worker: _Worker) -> None:
        """A whole-batch call went wrong: find out for which items by asking about each alone."""
        self.calls.extendleft([index] for index in reversed(worker.pending))
        worker.pending.clear()

    def _watch(self, selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        busy = [key.data for key in selector.get_map().values()]
        if now >= self.end_time:
            seconds = self.pool.limits.batch_seconds
            for worker in busy:
                self._remove(selector, worker)
            for index in range(len(self.items)):
                self.replies.setdefault(
                    index, Reply(error=f"had not answered when the batch's {seconds:g} s were over")
                )
            return
        limit = self.pool.limits.call_seconds
        for worker in busy:
            if now - worker.since >= limit:
                self._hung(selector, worker, f"did not return within {limit:g} s and was killed")

    def _hung(self, selector: selectors.BaseSelector, worker: _Worker, error: str) -> None:
        self._remove(selector, worker)
        self._blame(worker, error)

    def _blame(self, worker: _Worker, error: str) -> None:
        """The call that a worker was at is the reason for its end."""
        if self.pool.whole_batch and len(worker.pending) > 1:
            self._one_by_one(worker)
            return
        self.replies[worker.pending.popleft()] = Reply(error=error)
        self._requeue(worker)

    def _died(self, selector: selectors.BaseSelector, worker: _Worker) -> None:
        """The worker's process is gone. The item it was at is tried once more, alone, before it is blamed."""
        status = self._remove(selector, worker)
        if status == OVERRAN:
            self._blame(worker, f"{status} ({self.pool.limits.cpu_seconds:g} s)")
            return
        if status == ORPHANED:  # the others fall too, and may not have yet: no call is sent to them
            for other in [key.data for key in selector.get_map().values()]:
                self._remove(selector, other)
                self._requeue(other)
            self.pool.end_idle()
        culprit = worker.pending[0]
        self.deaths[culprit] += 1
        if self.deaths[culprit] <= CRASHES_FORGIVEN:
            if self.pool.whole_batch:
                self._requeue(worker)
                return
            worker.pending.popleft()
            self._requeue(worker)
            self.calls.appendleft([culprit])
        elif self.pool.whole_batch and len(worker.pending) > 1:
            self.deaths.clear()
            self._one_by_one(worker)
        else:
            self.replies[worker.pending.popleft()] = Reply(
                error=f"ended its process: it {status}, {self.deaths[culprit]} times"
            )
            self._requeue(worker)

    def _requeue(self, worker: _Worker) -> None:
        if worker.pending:
            self.calls.appendleft(list(worker.pending))
            worker.pending.clear()

    def _remove(self, selector: selectors.BaseSelector, worker: _Worker) -> str:
        selector.unregister(worker.connection)
        return self.pool.end(worker)


def _unpack(packed: list) -> Reply:
    kind = packed[0]
    if kind == "error":
        return Reply(error=packed[1])
    return Reply(packed[1], note=packed[2]) if kind == "value" else Reply(note=packed[1])
