"""The parent of reward workers: a small process that loads reward code once and forks a worker whenever asked.

The training process never forks on demand: it has threads, and its memory is large. It talks to each worker over that
worker's own socket, handed through here. When it disappears, however suddenly, the nursery ends and takes its workers
along. The nursery gives up the network before it loads the code (`isolation`), and puts a warden between itself and
each worker (`wardens`). Imports no torch.
"""

import contextlib
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
import time
import zlib
from collections.abc import Sequence
from typing import NoReturn, SupportsFloat

from critica.rewards.fitness import Fitness
from critica.rewards.isolation import Isolation, leave_network_and_users
from critica.rewards.limits import limit_worker, tighten
from critica.rewards.wardens import TOO_MANY_PROCESSES, guard
from critica.rewards.wire import Declined, Item, JsonObject, Judge, Noted, Reply, receive, send

PARENT_CHECK_SECONDS = 2.0  # how long an orphan can last if a forked stranger holds the training process's socket
END_SECONDS = 3.0  # a warden ends within milliseconds; past this it has been stopped by someone
LOOKED_AFTER = 16  # items between two looks at a worker: a system call for each would double a trivial reward's cost
OUT_OF_MEMORY = 77  # exit status of a worker that met its limit: what filled it may have been an earlier call's doing
OVERRAN = "used more than its processor seconds"


def load(program: JsonObject) -> Judge:
    """The judge that a program names."""
    factory = getattr(importlib.import_module(program["module"]), program["factory"])
    return factory(program["settings"])


def serve(control: socket.socket, judge: Judge, parent: int, isolation: Isolation) -> None:
    """Fork and kill workers as told, until the training process is gone. Only this process reaps its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    workers: dict[int, int] = {}  # warden: worker
    try:
        while os.getppid() == parent:
            if not select.select([control], [], [], PARENT_CHECK_SECONDS)[0]:
                continue
            data, handed, _, _ = socket.recv_fds(control, 65536, 1)
            if not data:
                break
            command = json.loads(data)
            if command["do"] == "fork":
                warden, worker = _fork_worker(judge, handed[0], control, command["limits"], isolation)
                workers[warden] = worker
                control.sendall(json.dumps({"warden": warden, "pid": worker}).encode() + b"\n")
            else:
                worker = workers.pop(command["warden"], 0)
                status = _end_worker(command["warden"], worker) if worker else "was not there"
                control.sendall(json.dumps({"status": status}).encode() + b"\n")
    finally:
        for warden, worker in workers.items():
            _end_worker(warden, worker)


def _fork_worker(
    judge: Judge, handle: int, control: socket.socket, limits: JsonObject, isolation: Isolation
) -> tuple[int, int]:
    """A new warden and its worker."""
    nursery = os.getpid()
    told, report = os.pipe()
    pid = os.fork()
    if pid:
        os.close(handle)
        os.close(report)
        worker = os.read(told, 32)
        os.close(told)
        if not worker:
            raise ConnectionResetError(f"a reward worker could not be started: its warden {_describe_end(pid)}")
        return pid, int(worker)
    status = 1
    try:
        os.close(told)
        control.close()

        def worker_process() -> NoReturn:
            _run_worker(judge, handle, limits, isolation)

        guard(worker_process, isolation.own_pids, limits["processes"], nursery, report)
    finally:
        os._exit(status)


def _run_worker(judge: Judge, handle: int, limits: JsonObject, isolation: Isolation) -> NoReturn:
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        limit_worker(limits, isolation.own_users)
        connection = socket.socket(fileno=handle)  # kept until the very end: its closing says that the worker is gone
        if judge.prepare is not None:
            judge.prepare()
        work(connection, judge, limits["cpu_seconds"], Fitness(limits["memory_mib"]))
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    except Exception as error:
        print(
            f"critica: a worker of reward {judge.name} could not go on: {describe(error)}", file=sys.stderr, flush=True
        )
    finally:
        os._exit(status)


def _end_worker(warden: int, worker: int) -> str:
    """End a worker with all it started, and say how it ended."""
    os.kill(warden, signal.SIGTERM)  # at worst it has ended on its own and waits to be asked how
    deadline = time.monotonic() + END_SECONDS
    while os.waitid(os.P_PID, warden, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= deadline:
            for pid in (worker, warden):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.0005)
    return _describe_end(warden)


def _describe_end(pid: int) -> str:
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return OVERRAN if number == signal.SIGXCPU else f"was killed by {signal.Signals(number).name}"
    named = {
        int(signal.SIGXCPU): OVERRAN,  # as a handler in a worker that ignores the signal itself
        OUT_OF_MEMORY: "ran out of the memory it is allowed",
        TOO_MANY_PROCESSES: "started more processes than it is allowed",
    }
    code = os.WEXITSTATUS(status)
    return named.get(code, f"exited with status {code}")


def work(connection: socket.socket, judge: Judge, cpu_seconds: float, fitness: Fitness) -> None:
    """Judge frames of items until the stream ends; one reply frame a call. An unfit worker says so and ends."""
    reason = ""
    while not reason and (message := receive(connection)) is not None:
        items = [Item.from_json(data) for data in message["items"]]
        if judge.whole_batch:
            _renew_cpu(cpu_seconds)
            send(connection, _judge_whole(judge, items))
        else:
            for number, item in enumerate(items):
                if number % LOOKED_AFTER == 0:
                    _renew_cpu(cpu_seconds)
                    if number and (reason := fitness.reason()):
                        break
                send(connection, {"replies": [_judge_one(judge, item)]})
        reason = reason or fitness.reason()
    if reason:
        send(connection, {"retire": reason})


def _renew_cpu(seconds: float) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime + seconds)  # the kernel counts whole seconds
    tighten(resource.RLIMIT_CPU, soft)


def _seed(item: Item) -> None:
    """Reward code that draws from the global generators draws by identity, not by which worker it runs in."""
    seed = item.task.seen().get("seed", 0)  # withheld from rewards that do not declare it
    identity = f"{seed}/{item.trajectory_id}"
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
    if isinstance(answer, Declined):
        return Reply(note=answer.reason)
    if isinstance(answer, str | bytes) or not isinstance(answer, SupportsFloat):
        return Reply(error=f"returned {short(answer)} ({type(answer).__name__}), which is not a number")
    try:
        value = float(answer)
    except Exception as error:
        return Reply(error=f"returned {short(answer)}, which is not one number ({describe(error)})")
    if not math.isfinite(value):
        return Reply(error=f"returned {value}, which is not finite")
    return Reply(value, note=answer.note if isinstance(answer, Noted) else "")


def _pack(reply: Reply) -> list[object]:
    if reply.error:
        return ["error", reply.error]
    return ["none", reply.note] if reply.value is None else ["value", reply.value, reply.note]


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


def ready_message(judge: Judge, isolation: Isolation) -> JsonObject:
    """What the training process is told about its nursery."""
    missing = [*isolation.missing, *judge.missing]
    return {
        "name": judge.name, "whole_batch": judge.whole_batch, "applied": list(isolation.applied), "missing": missing
    }  # fmt: skip


def main() -> NoReturn:
    """Entry of the fresh interpreter: the program arrives as the first frame, `ready` or the error goes back."""
    control = socket.socket(fileno=int(sys.argv[1]))
    parent = os.getppid()
    os.dup2(2, 1)  # what reward code prints must not mix with the command's data
    program = receive(control)
    if program is not None:
        isolation = leave_network_and_users(program["network"])
        try:
            judge = load(program)
        except BaseException as error:
            send(control, {"error": describe(error)})
        else:
            send(control, ready_message(judge, isolation))
            serve(control, judge, parent, isolation)
    os._exit(0)


if __name__ == "__main__":
    main()
