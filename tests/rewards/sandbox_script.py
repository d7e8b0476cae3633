"""Runs reward code in a process of its own, torch-free: as another user, or where namespaces are refused.

Usage: `python sandbox_script.py [refuse] [no_landlock]` with a JSON order on stdin; prints what came of it.
"""

import json
import os
import sys
import warnings

from critica.rewards import filters, kernel
from critica.rewards.wire import Item, Program, TaskView
from critica.rewards.workers import WorkerLimits, WorkerPool


def main() -> None:
    order = json.load(sys.stdin)
    if "refuse" in sys.argv:
        kernel.install_filter(filters.refusing_filter(("unshare", "mount", "pivot_root", "setns")))
    if "no_landlock" in sys.argv:
        kernel.install_filter(filters.refusing_filter(("landlock_create_ruleset",)))
    limits = WorkerLimits(**order["limits"])
    items = [
        Item(f"row{n}", TaskView(f"task{n}", "none", "q", (), "", info, 0), text)
        for n, (info, text) in enumerate(order["items"])
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pool = WorkerPool(Program(order["module"], order["factory"], order["settings"]), limits)
    with pool:
        replies = pool.run(items)
        told = {
            "uid": os.getuid(),
            "replies": [[reply.value, reply.error, reply.note] for reply in replies],
            "applied": pool.isolation.applied,
            "missing": pool.isolation.missing,
            "warnings": [str(warning.message) for warning in caught],
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
