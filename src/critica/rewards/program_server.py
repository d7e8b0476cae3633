"""The server that programs are forked from: small, loaded once, and it never sees a program, a case or an answer.

Three processes a run. The server forks an overseer; that forks the program's process, which isolates itself
(`shelters`), says `ready`, and only then reads its job. The overseer waits for it and reports how it ended, over a pipe
that the program does not have. Killing the overseer kills the program. Imports no torch.
"""

import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import NoReturn

from critica.rewards import kernel
from critica.rewards.limits import counts_by_namespace, mapped_bytes, threads_of
from critica.rewards.program_body import run_job
from critica.rewards.shelters import THREADS, ProgramLimits, Shelter, enclose, raise_walls

PIPES = ("stdin", "stdout", "stderr", "result", "job", "status")  # what a program's process is handed, in this order
START_SECONDS = 20.0


class ServerGone(ConnectionError):
    """The program server has ended."""


@dataclass(frozen=True, slots=True)
class ProgramServer:
    """A worker's handle on its server. Made before the worker has seen any task: a fork knows what its parent knows."""

    pid: int
    connection: socket.socket
    shelter: Shelter
    mapped_bytes: int
    threads_elsewhere: int  # what already counts against a program's limit

    @classmethod
    def start(cls, walls: Callable[[], Shelter] = raise_walls) -> "ProgramServer":
        """Fork the server and wait until it has isolated itself. Other `walls` are for measuring what they cost."""
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        mapped = mapped_bytes()
        pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                _serve(theirs, parent, walls)
            finally:
                os._exit(1)
        theirs.close()
        ours.settimeout(START_SECONDS)
        try:
            told = ours.recv(4096)
        except TimeoutError:
            told = b""
        if not told:
            raise ServerGone("the program server did not start")
        shelter = Shelter(**json.loads(told))
        return cls(pid, ours, shelter, mapped, 0 if shelter.root and counts_by_namespace() else threads_of(os.getuid()))

    def begin(self, handles: list[int], memory_mib: int, cpu_seconds: int) -> int:
        """Start one program with these pipe ends; returns its overseer's process number."""
        threads = THREADS + self.threads_elsewhere
        limits = ProgramLimits(memory_mib, cpu_seconds, self.mapped_bytes, threads)
        try:
            socket.send_fds(self.connection, [json.dumps(asdict(limits)).encode()], handles)
            answer = self.connection.recv(64)
        except OSError as error:
            raise ServerGone(f"the program server is gone: {error}") from error
        if not answer:
            raise ServerGone("the program server is gone")
        return int(answer)

    def close(self) -> None:
        """The server ends when it has nobody to serve."""
        self.connection.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _serve(control: socket.socket, parent: int, walls: Callable[[], Shelter]) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    _forget(control.fileno())
    shelter = walls()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # overseers need not be waited for
    gc.collect()
    gc.freeze()
    control.sendall(json.dumps(asdict(shelter)).encode())
    while True:
        data, handles, _, _ = socket.recv_fds(control, 4096, len(PIPES))
        if not data:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            control.close()
            _oversee(handles, shelter, ProgramLimits(**json.loads(data)))
        for handle in handles:
            os.close(handle)
        control.sendall(str(pid).encode())


def _forget(kept: int) -> None:
    """Descriptors, environment and search path of the worker."""
    empty = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(empty, handle)
    os.closerange(3, kept)
    os.closerange(kept + 1, min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    os.environ.clear()
    os.environ.update({"HOME": "/scratch", "TMPDIR": "/scratch", "LANG": "C.UTF-8", "PATH": ""})
    library = os.path.dirname(os.__file__)
    sys.path[:] = [library, f"{library}/lib-dynload"]
    sys.path_importer_cache.clear()
    sys.argv[:] = ["program.py"]


def _oversee(handles: list[int], shelter: Shelter, limits: ProgramLimits) -> NoReturn:
    """In the overseer: start the program's process, wait, report."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        kernel.die_with_parent(signal.SIGKILL)
        if shelter.own_pids:
            kernel.unshare(kernel.NEW_PIDS)
        pid = os.fork()
        if pid == 0:
            _become_program(handles, shelter, limits)
        status_pipe = handles[PIPES.index("status")]
        for handle in handles:
            if handle != status_pipe:
                os.close(handle)
        status, usage = os.wait4(pid, 0)[1:]
        seconds = usage.ru_utime + usage.ru_stime
        told = {"code": os.waitstatus_to_exitcode(status), "cpu_seconds": round(seconds, 3)}
        os.write(status_pipe, json.dumps(told).encode() + b"\n")
        os._exit(0)
    finally:
        os._exit(1)


def _become_program(handles: list[int], shelter: Shelter, limits: ProgramLimits) -> NoReturn:
    try:
        spare = 32
        for number, handle in enumerate(handles):
            os.dup2(handle, spare + number)  # first out of the way of their final places
        for number in range(len(handles)):
            os.dup2(spare + number, number)
        os.closerange(len(handles), 256)
        result, job, status = PIPES.index("result"), PIPES.index("job"), PIPES.index("status")
        os.setsid()
        try:
            enclose(shelter, limits)
        except BaseException as error:
            os.write(status, json.dumps({"broken": f"{type(error).__name__}: {error}"}).encode() + b"\n")
            os._exit(1)
        os.write(status, b'{"ready": true}\n')
        os.close(status)
        run_job(job, result)
    finally:
        os._exit(1)
