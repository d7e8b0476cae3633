"""The parent of reward workers: a small process that loads reward code once and forks a worker whenever asked.

The training process never forks on demand: it has threads, and its memory is large. It talks to each worker over that
worker's own socket, handed through here. When it disappears, however suddenly, the nursery ends and takes its workers
along. Imports no torch.
"""

import contextlib
import ctypes
import importlib
import json
import math
import os
import random
import resource
import select
import signal
import socket
import sys
import zlib
from collections.abc import Sequence
from typing import NoReturn, SupportsFloat

from critica.rewards.wire import Item, JsonObject, Judge, Reply, receive, send

PARENT_CHECK_SECONDS = 2.0  # how long an orphan can last if a forked stranger holds the training process's socket
PR_SET_PDEATHSIG = 1
OUT_OF_MEMORY = 77  # exit status of a worker that met its limit: what filled it may have been an earlier call's doing
OVERRAN = "used more than its processor seconds"


def load(program: JsonObject) -> Judge:
    """The judge that a program names."""
    factory = getattr(importlib.import_module(program["module"]), program["factory"])
    return factory(program["settings"])


def serve(control: socket.socket, judge: Judge, parent: int) -> None:
    """Fork and kill workers as told, until the training process is gone. Only this process reaps its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    workers: set[int] = set()
    try:
        while os.getppid() == parent:
            if not select.select([control], [], [], PARENT_CHECK_SECONDS)[0]:
                continue
            data, handed, _, _ = socket.recv_fds(control, 65536, 1)
            if not data:
                break
            command = json.loads(data)
            if command["do"] == "fork":
                pid = _fork_worker(judge, handed[0], control, command["limits"])
                workers.add(pid)
                control.sendall(json.dumps({"pid": pid}).encode() + b"\n")
            else:
                status = _end_worker(command["pid"]) if command["pid"] in workers else "was not there"
                workers.discard(command["pid"])
                control.sendall(json.dumps({"status": status}).encode() + b"\n")
    finally:
        for pid in workers:
            _end_worker(pid)


def _fork_worker(judge: Judge, handle: int, control: socket.socket, limits: JsonObject) -> int:
    nursery = os.getpid()
    pid = os.fork()
    if pid:
        os.close(handle)
        return pid
    status = 1
    try:
        os.setsid()  # its own process group: whatever the reward code starts dies with it
        _die_with(nursery)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        control.close()
        _limit(limits)
        connection = socket.socket(fileno=handle)  # kept until the very end: its closing says that the worker is gone
        work(connection, judge, limits["cpu_seconds"])
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    finally:
        os._exit(status)


def _end_worker(pid: int) -> str:
    """Kill a worker and its process group, and say how it ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return OVERRAN
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == OUT_OF_MEMORY:
        return "ran out of the memory it is allowed"
    if os.WIFSIGNALED(status):
        return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exited with status {os.WEXITSTATUS(status)}"


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def _limit(limits: JsonObject) -> None:
    """No core dumps, and address space bounded relative to what is mapped now (a fork inherits its parent's)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        _tighten(resource.RLIMIT_AS, mapped + int(limits["memory_mib"] * 2**20))


def _tighten(kind: int, soft: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def work(connection: socket.socket, judge: Judge, cpu_seconds: float) -> None:
    """Judge frames of items until the stream ends; one reply frame a call."""
    while (message := receive(connection)) is not None:
        items = [Item.from_json(data) for data in message["items"]]
        if judge.whole_batch:
            _renew_cpu(cpu_seconds)
            send(connection, _judge_whole(judge, items))
        else:
            for number, item in enumerate(items):
                if number % 16 == 0:  # a system call each time would double the cost of a trivial reward
                    _renew_cpu(cpu_seconds)
                send(connection, {"replies": [_judge_one(judge, item)]})


def _renew_cpu(seconds: float) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime + seconds)  # the kernel counts whole seconds
    _tighten(resource.RLIMIT_CPU, soft)


def _seed(item: Item) -> None:
    """Reward code that draws from the global generators draws by identity, not by which worker it runs in."""
    identity = f"{item.task.seed}/{item.trajectory_id}"
    random.seed(identity)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(zlib.crc32(identity.encode()))


def _judge_one(judge: Judge, item: Item) -> list[object]:
    _seed(item)
    try:
        answers = judge.call((item,))
    except MemoryError:
        raise
    except BaseException as error:
        return ["error", f"raised {describe(error)}"]
    return _pack(check_number(answers[0])) if isinstance(answers, list) else ["error", f"returned {short(answers)}"]


def _judge_whole(judge: Judge, items: Sequence[Item]) -> JsonObject:
    """Replies for the batch, `raised` (which item did it is not known yet) or `wrong_shape` (no item can be told)."""
    _seed(items[0])
    try:
        answers = judge.call(items)
    except MemoryError:
        raise
    except BaseException as error:
        return {"raised": f"raised {describe(error)}"}
    if isinstance(answers, str | bytes | dict) or answers is None:
        return {"wrong_shape": f"returned {short(answers)} instead of a list of {len(items)} numbers"}
    try:
        listed = list(answers)  # type: ignore[call-overload]
    except TypeError:
        return {"wrong_shape": f"returned {short(answers)} instead of a list of {len(items)} numbers"}
    if len(listed) != len(items):
        return {"wrong_shape": f"returned {len(listed)} values for {len(items)} completions: {short(listed)}"}
    return {"replies": [_pack(check_number(answer)) for answer in listed]}


def check_number(answer: object) -> Reply:
    """A finite number, None (an abstention), or an error that quotes what came instead."""
    if answer is None:
        return Reply()
    if isinstance(answer, str | bytes) or not isinstance(answer, SupportsFloat):
        return Reply(error=f"returned {short(answer)} ({type(answer).__name__}), which is not a number")
    try:
        value = float(answer)
    except Exception as error:
        return Reply(error=f"returned {short(answer)}, which is not one number ({describe(error)})")
    return Reply(value) if math.isfinite(value) else Reply(error=f"returned {value}, which is not finite")


def _pack(reply: Reply) -> list[object]:
    if reply.error:
        return ["error", reply.error]
    return ["none"] if reply.value is None else ["value", reply.value]


def describe(error: BaseException) -> str:
    """An exception in a line."""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def short(value: object) -> str:
    """The representation of a foreign value, cut to 80 characters; it may itself be broken."""
    try:
        text = repr(value)
    except Exception:
        return f"an unprintable {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def main() -> NoReturn:
    """Entry of the fresh interpreter: the program arrives as the first frame, `ready` or the error goes back."""
    control = socket.socket(fileno=int(sys.argv[1]))
    parent = os.getppid()
    os.dup2(2, 1)  # what reward code prints must not mix with the command's data
    program = receive(control)
    if program is not None:
        try:
            judge = load(program)
        except BaseException as error:
            send(control, {"error": describe(error)})
        else:
            send(control, {"ready": True, "name": judge.name, "whole_batch": judge.whole_batch})
            serve(control, judge, parent)
    os._exit(0)


if __name__ == "__main__":
    main()
