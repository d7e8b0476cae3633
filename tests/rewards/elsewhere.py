"""Reward processes as they are on other machines: under another user, or where a container refuses namespaces."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

NOBODY = 65534
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("sandbox_script.py")
SETTINGS = {
    "partial": False, "case_seconds": 6.0, "program_seconds": 12.0, "memory_mib": 128, "output_kib": 256,
    "tolerance": 0.0, "allow_weak_isolation": False,
}  # fmt: skip
UNIT_TESTS = {"module": "critica.rewards.unit_judge", "factory": "make_unit_judge", "settings": SETTINGS}


@cache
def interpreter_of_nobody() -> str:
    """A Python that an ordinary user may run; empty if there is none, or if this is no root to become another."""
    if os.getuid() != 0:
        return ""
    names = [sys.executable, *filter(None, map(shutil.which, ("/usr/bin/python3", "/usr/local/bin/python3")))]
    for name in names:
        try:
            done = subprocess.run(
                [name, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], user=NOBODY, group=NOBODY,
                extra_groups=[], capture_output=True, timeout=30, check=False, cwd="/",
            )  # fmt: skip
            readable = os.stat(ROOT).st_mode & 0o005 == 0o005
            if done.returncode == 0 and readable:
                return name
        except (OSError, subprocess.SubprocessError):
            continue
    return ""


def run_elsewhere(order: dict[str, Any], flags: tuple[str, ...], nobody: bool) -> dict[str, Any]:
    """What `sandbox_script.py` printed."""
    identity: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if nobody else {}
    done = subprocess.run(
        [interpreter_of_nobody() if nobody else sys.executable, str(SCRIPT), *flags],
        input=json.dumps(order), text=True, capture_output=True, timeout=120, check=False, cwd="/",
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ.get("PATH", "")}, **identity,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(done.stderr[-3000:])
    return json.loads(done.stdout)


def start_elsewhere(order: dict[str, Any], flags: tuple[str, ...]) -> subprocess.Popen[str]:
    """The script, under way as this user: its order is handed over, its answer not waited for."""
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ.get("PATH", "")}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *flags], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, text=True, cwd="/", env=environment,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    return process
