"""Runs tests against one wrong after another, each in a fork of a process that has read the heavy libraries already.

A script of its own: nothing of the package may be imported before a fork imports the changed copy. Reads jobs from
stdin, one JSON object a line: {"file": ..., "text": ..., "tests": [...], "seconds": ...}; answers each by a line:
{"code": pytest's exit code, or -1 for one that was stopped, "seconds": ...}. Works in the current folder, a copy of
the repository.
"""

import json
import os
import select
import signal
import sys
import time
from pathlib import Path


def judge(job: dict, tick: int) -> dict:
    """The outcome of these tests with this text in place; the file is put back."""
    file = Path(job["file"])
    kept = file.read_text() if job["file"] else ""
    if job["file"]:
        file.write_text(job["text"])
        os.utime(file, (tick, tick))  # compiled copies are told apart by times
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        run(job["tests"])
    watch = os.pidfd_open(child)
    try:
        if select.select([watch], [], [], job["seconds"])[0]:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            code = -1
    finally:
        os.close(watch)
        if job["file"]:
            file.write_text(kept)
            os.utime(file, (tick + 1, tick + 1))
    return {"code": code, "seconds": time.monotonic() - start}


def run(tests: list[str]) -> None:
    """In the fork: pytest, what it says kept in judged.txt, and out."""
    import pytest

    quiet = os.open("judged.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", *tests]))
    except BaseException:
        code = 1
    os._exit(code)


def main() -> None:
    """One job after another until stdin ends."""
    sys.path[:0] = [str(Path("src").absolute()), str(Path("tests").absolute())]
    import beartype  # noqa: F401
    import hypothesis  # noqa: F401
    import jaxtyping  # noqa: F401
    import numpy  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)
    assert not any(name == "critica" or name.startswith("critica.") for name in sys.modules)
    tick = int(time.time()) - 10**8
    for line in sys.stdin:
        tick += 2
        print(json.dumps(judge(json.loads(line), tick)), flush=True)


if __name__ == "__main__":
    main()
