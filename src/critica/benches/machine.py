"""What a number was measured on and with: machine, versions, commit, and a digest of the code that was timed."""

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow")
UNTIMED = ("cli", "viewer", "benches", "assets")  # rooms whose code is in no timed path


def machine_facts(threads: int) -> dict[str, Any]:
    """The machine and its software, for the head of a results file."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "threads": threads,
        "commit": commit(),
        "source_digest": source_digest(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """The commit checked out, with `+changes` if the tree differs from it; `unknown` outside a checkout."""
    here = Path(__file__).parent
    try:
        name = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}+changes" if changed else name


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def source_digest(root: Path | None = None) -> str:
    """A digest of every source file that a measurement runs: readings of other code are not mixed with it."""
    root = root or Path(__file__).parents[1]
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(root.rglob("*.py")):
        inner = path.relative_to(root)
        if inner.parts[0] not in UNTIMED:
            digest.update(str(inner).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """A digest of one file."""
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def relative_command(command: tuple[str, ...]) -> str:
    """The command as one would write it in the checkout: no path of this machine."""
    here = f"{Path.cwd()}{os.sep}"
    return " ".join(word.removeprefix(here) for word in command)
