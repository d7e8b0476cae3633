"""One reading of the sandbox bench, without torch: `python -m critica.benches.sandbox_contender NAME COUNT`.

Prints seconds per unit, a program or a batch of rewards. The programs and rewards are trivial: what is timed is what
surrounds them.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from critica.rewards import filters, kernel
from critica.rewards.program_runs import RunLimits
from critica.rewards.program_server import ProgramServer
from critica.rewards.programs import read_suite
from critica.rewards.shelters import Shelter, raise_walls
from critica.rewards.unit_judge import judge_program
from critica.rewards.wire import Item, Program, TaskView
from critica.rewards.workers import WorkerLimits, WorkerPool

SUM = "a, b = map(int, input().split())\nprint(a + b)\n"
FUNCTION = "def add(a, b):\n    return a + b\n"
PAIRS: Mapping[str, Any] = MappingProxyType({"inputs": ["1 2\n"], "outputs": ["3\n"]})
ASSERTS: Mapping[str, Any] = MappingProxyType({"asserts": [f"assert add({n}, 1) == {n + 1}" for n in range(3)]})
SETTINGS: Mapping[str, Any] = MappingProxyType(
    {"partial": False, "case_seconds": 5.0, "program_seconds": 30.0, "memory_mib": 256, "output_kib": 1024,
     "tolerance": 0.0, "allow_weak_isolation": False}
)  # fmt: skip
REWARDS = 256  # items in a batch


def timed(step: Callable[[], object], units: int) -> float:
    """Seconds per unit."""
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) / units


def pool_of_programs(count: int, program: str, info: Mapping[str, Any]) -> float:
    """The whole way of a reward: two workers, every wall."""
    items = [Item(f"r{n}", TaskView(f"t{n}", "bench", "q", (), "", info, n), program) for n in range(count)]
    code = Program("critica.rewards.unit_judge", "make_unit_judge", SETTINGS)
    with WorkerPool(code, WorkerLimits(call_seconds=60.0, memory_mib=4096)) as pool:
        pool.run(items[:8])
        replies = []
        seconds = timed(lambda: replies.extend(pool.run(items)), count)
    assert all(reply.value == 1.0 for reply in replies), "a trivial program did not pass"
    return seconds


def one_by_one(count: int, walls: Callable[[], Shelter]) -> float:
    """Programs after each other from one server, behind these walls."""
    server = ProgramServer.start(walls)
    limits = RunLimits(5.0, 30.0, 256, 2**20)
    suite = read_suite(PAIRS)

    def run() -> None:
        for _ in range(count):
            assert judge_program(server, SUM, suite, limits).passed == 1, "a trivial program did not pass"

    run_seconds = timed(run, count)
    server.close()
    return run_seconds


def interpreters(count: int) -> float:
    """What a fresh interpreter for each program would take, without any wall."""

    def run() -> None:
        for _ in range(count):
            done = subprocess.run([sys.executable, "-I", "-c", SUM], input="1 2\n", text=True, capture_output=True)
            assert done.stdout == "3\n"

    return timed(run, count)


def rewards(count: int) -> float:
    """Batches of trivial rewards through a pool of two workers."""
    view = TaskView("t", "bench", "q", (), "1", {}, 0)
    items = [Item(f"r{n}", view, "1") for n in range(REWARDS)]
    code = Program("critica.rewards.judges", "make_judge", {"kind": "exact", "ignore_case": False})
    with WorkerPool(code) as pool:
        pool.run(items)
        return timed(lambda: [pool.run(items) for _ in range(count)], count)


def rewards_without_namespaces(count: int) -> float:
    """The same where the kernel refuses namespaces: what their absence saves."""
    kernel.install_filter(filters.refusing_filter(("unshare", "mount", "pivot_root", "setns")))
    return rewards(count)


CONTENDERS: Mapping[str, Callable[[int], float]] = MappingProxyType(
    {
        "scripts": lambda count: pool_of_programs(count, SUM, PAIRS),
        "functions": lambda count: pool_of_programs(count, FUNCTION, ASSERTS),
        "walls": lambda count: one_by_one(count, raise_walls),
        "no walls": lambda count: one_by_one(count, Shelter),
        "interpreter": lambda count: interpreters(max(1, count // 10)),
        "rewards": rewards,
        "rewards, no namespaces": rewards_without_namespaces,
    }
)


def main() -> None:
    """Take one reading."""
    print(json.dumps({"seconds": CONTENDERS[sys.argv[1]](int(sys.argv[2]))}))


if __name__ == "__main__":
    main()
