"""Many runs of one bench: in this process or in several, one thread each, each kept as a line as soon as it is done."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from critica.benches.readings import read_lines

Run = TypeVar("Run")
Result = TypeVar("Result")


def results(
    runs: Sequence[Run], work: Callable[[Run], Result], warm_up: Callable[[], None], jobs: int
) -> Iterator[Result]:
    """What `work` makes of each run, as they finish: here, or with `jobs` above 1 in so many new processes.

    `warm_up` runs once in each, before anything is measured.
    """
    if not runs:
        return
    if jobs == 1:
        warm_up()
        yield from map(work, runs)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), start_worker, (warm_up, os.getpid())) as pool:
        for future in as_completed([pool.submit(work, run) for run in runs]):
            yield future.result()


def start_worker(warm_up: Callable[[], None], parent: int) -> None:
    """In a new process: end with the bench, however that ends, and be warm before anything is timed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    warm_up()


def keep_line(journal: Path, line: Mapping[str, Any]) -> None:
    """Append one line; a torn last line is dropped first."""
    if journal.is_file() and not journal.read_bytes().endswith(b"\n"):
        read_lines(journal)
    with journal.open("a") as file:
        file.write(json.dumps(line) + "\n")
