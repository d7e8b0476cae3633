"""JSON-lines and Parquet task files, 10,000 each, in a process that can neither hang nor fill the memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# How many must be accepted at least: a fuzzer whose every input is refused has tested nothing.
ACCEPTED = {"jsonl": 2000, "parquet": 500}


@pytest.mark.parametrize("target", list(ACCEPTED))
def test_task_files_survive_whatever_is_in_them(root: Path, target: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.task_file_targets", target],
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root / 'tests'}", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-8000:]
    assert int(done.stdout.split()[1]) >= ACCEPTED[target], done.stdout
