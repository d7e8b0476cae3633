"""What `critica doctor` looks at: each check reads one fact of this machine and says whether it needs fixing."""

import os
import platform
import resource
import shutil
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

State = Literal["good", "warning", "bad"]
GIB = 2**30
PROGRAM_FIX = (
    "a kernel with user namespaces, Landlock and seccomp gives every wall; in Docker --security-opt "
    "seccomp=unconfined, as root a Python that other users may read"
)
TESTED_TORCH = "2.13.0"  # as in constraints.txt; a test compares them
EXTRAS = {"reasoning": ("reasoning-gym", "math-verify"), "serve": ("fastapi", "openai"), "scale": ("ray", "vllm")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact, whether it is as it should be, and what to do if not."""

    name: str
    state: State
    fact: str
    fix: str = ""


def check_python() -> Finding:
    """Python 3.11 or newer."""
    good = sys.version_info >= (3, 11)
    fix = "" if good else "install Python 3.11 or newer and run `make setup` again with PYTHON=…"
    return Finding("python", "good" if good else "bad", platform.python_version(), fix)


def check_torch() -> Finding:
    """torch as it was tested."""
    try:
        found = version("torch")
    except PackageNotFoundError:
        return Finding("torch", "bad", "not installed", "run `make setup`")
    if found.partition("+")[0] == TESTED_TORCH:
        return Finding("torch", "good", found)
    fix = f"tested with {TESTED_TORCH}: `pip install --constraint constraints.txt torch`"
    return Finding("torch", "warning", f"{found}, not the tested version", fix)


def check_packages() -> Finding:
    """Every package that Critica declares, outside its extras."""
    try:
        declared = requires("critica") or []
    except PackageNotFoundError:
        return Finding("packages", "warning", "critica runs from its source and is not installed", "run `make setup`")
    names = [line.split(";")[0] for line in declared if "extra ==" not in line]
    missing = [name for name in map(_bare, names) if not _installed(name)]
    if missing:
        return Finding("packages", "bad", f"missing: {', '.join(missing)}", "run `make setup`")
    return Finding("packages", "good", f"{len(names)} declared, all installed")


def _bare(requirement: str) -> str:
    return next((requirement[:i] for i, letter in enumerate(requirement) if letter in "<>=!~[ ("), requirement)


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def check_extras() -> Finding:
    """What can be used beyond the core."""
    have = [extra for extra, names in EXTRAS.items() if all(map(_installed, names))]
    fact = f"installed: {', '.join(have) or 'none'}"
    if "reasoning" in have:
        return Finding("extras", "good", fact)
    return Finding("extras", "warning", fact, "the shipped tasks need: pip install 'critica[reasoning]'")


def check_processor() -> Finding:
    """What vector instructions there are; the fast paths differ by them."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return Finding("processor", "warning", f"{platform.machine()}, instructions unknown", "only speed differs")
    flags = next((line.split(":", 1)[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    found = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if flag in flags]
    state: State = "good" if "avx2" in found or platform.machine() != "x86_64" else "warning"
    fix = "" if state == "good" else "nothing: it will work, several times slower"
    return Finding("processor", state, f"{platform.machine()}, {', '.join(found) or 'no vector extensions named'}", fix)


def check_threads() -> Finding:
    """Threads asked for against cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    asked = os.environ.get("OMP_NUM_THREADS", "")
    fact = f"{cores} cores" + (f", OMP_NUM_THREADS={asked}" if asked else "")
    if asked.isdigit() and int(asked) > cores:
        return Finding("threads", "warning", fact, f"unset OMP_NUM_THREADS or set it to at most {cores}")
    return Finding("threads", "good", fact)


def check_load() -> Finding:
    """Whether something else is using the cores: two threads beside a busy neighbor run slower than one."""
    cores = len(os.sched_getaffinity(0))
    busy = busy_cores()
    fact = f"{busy:.1f} of {cores} cores busy with other work"
    if busy > 0.5:
        return Finding("neighbors", "warning", fact, f"stop it, or set threads={max(1, cores - round(busy))}")
    return Finding("neighbors", "good", fact)


def busy_cores(seconds: float = 0.3) -> float:
    """Cores that were busy over the next moment, this process asleep."""

    def read() -> tuple[int, int]:
        words = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(words), words[3] + words[4]

    try:
        total, idle = read()
        time.sleep(seconds)
        later, later_idle = read()
    except (OSError, ValueError):
        return 0.0
    spent = later - total
    return (os.cpu_count() or 1) * (spent - (later_idle - idle)) / spent if spent else 0.0


def check_memory() -> Finding:
    """Room for the libraries and a small model."""
    from critica.training.memory import available_mib

    try:
        free = available_mib()
    except (OSError, StopIteration):
        return Finding("memory", "warning", "unknown", "nothing: only the check before training is off")
    state: State = "good" if free > 2048 else "warning" if free > 1024 else "bad"
    fix = "" if state == "good" else "close other programs: the demo needs about 1.5 GiB"
    return Finding("memory", state, f"{free / 1024:.1f} GiB free", fix)


def check_disk(folder: Path) -> Finding:
    """Room for run folders."""
    free = shutil.disk_usage(folder).free
    state: State = "good" if free > 2 * GIB else "warning" if free > GIB / 4 else "bad"
    fix = "" if state == "good" else "free some space, or train with --run on another disk"
    return Finding("disk", state, f"{free / GIB:.1f} GiB free in {folder.absolute()}", fix)


def check_workers() -> Finding:
    """Whether reward code can run in killable processes with limits."""
    if "fork" not in dir(os):
        return Finding("reward workers", "bad", "no fork on this system", "use Linux: rewards run in forked workers")
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if 0 <= soft < 64:
        return Finding("reward workers", "warning", f"at most {soft} processes", "raise it: ulimit -u 256")
    return Finding("reward workers", "good", "fork and resource limits available")


def check_isolation() -> tuple[Finding, Finding]:
    """What keeps reward code from the network and from leaving processes, and programs from everything."""
    from critica.rewards.probe import ProbeFailed, probe_machine

    rewards, programs = "reward isolation", "program sandbox"
    try:
        found = probe_machine()
    except ProbeFailed as error:
        fix = "nothing to set: reward code still has its limits on time, memory, files and processes"
        return Finding(rewards, "warning", str(error), fix), Finding(programs, "warning", "unknown", "as above")
    isolation, shelter = found.isolation, found.shelter
    fact = f"by {', '.join(isolation.applied) or 'limits alone'}"
    fact += "".join(f"; {name}" for name in isolation.missing)
    first = Finding(rewards, "warning" if isolation.missing else "good", fact, isolation.fix)
    walls = f"by {', '.join(shelter.walls) or 'nothing'}"
    if shelter.missing:
        fix = f"the reward unit_tests is refused here, unless allow_weak_isolation=true: {PROGRAM_FIX}"
        return first, Finding(programs, "warning", "; ".join((walls, *shelter.missing)), fix)
    state: State = "warning" if shelter.reduced else "good"
    fact = "; ".join((walls, *shelter.reduced))
    return first, Finding(programs, state, fact, PROGRAM_FIX if shelter.reduced else "")


def check_numerics() -> Finding:
    """The fast arithmetic that this processor allows, verified against float64."""
    from critica.policies.numerics import configure

    paths = configure().paths
    on = [name for name, used in (("oneDNN", paths.onednn_matmul), ("packed", paths.packed_linears)) if used]
    reasons = f"; {'; '.join(paths.reasons)}" if paths.reasons else ""
    fact = f"{paths.vendor} {paths.capability}, fast products: {', '.join(on) or 'none'}{reasons}"
    return Finding("arithmetic", "good", fact)


def check_accelerator() -> Finding:
    """The device that policy.device=auto takes."""
    import torch

    if not torch.cuda.is_available():
        return Finding("accelerator", "good", "none that torch sees: policy.device=auto is the CPU")
    free, total = torch.cuda.mem_get_info(0)
    fact = f"{torch.cuda.get_device_name(0)}, {free / GIB:.1f} of {total / GIB:.1f} GiB free: policy.device=auto"
    if torch.cuda.is_bf16_supported():
        return Finding("accelerator", "good", f"{fact}, policy.precision=auto is bf16")
    return Finding("accelerator", "warning", f"{fact}, without bf16", "set policy.precision=fp32")


def check_kernels() -> Finding:
    """The compiled kernels: there and checked, or why torch's own operations do their work."""
    from critica.policies.kernels import kernels

    report = kernels()
    if report.kernels is None:
        return Finding("kernels", "good", f"none ({report.reason}); torch's operations do the same work, slower")
    return Finding("kernels", "good", f"compiled for this machine, largest error {report.error:.0e} against float64")


def all_findings(folder: Path) -> tuple[Finding, ...]:
    """Every check, in the order in which one would fix things."""
    findings = (
        check_python(), check_torch(), check_packages(), check_extras(), check_processor(), check_threads(),
        check_load(), check_memory(), check_disk(folder), check_workers(), *check_isolation(),
    )  # fmt: skip
    if any(finding.name in ("torch", "packages") and finding.state == "bad" for finding in findings):
        return findings
    return (*findings, check_numerics(), check_kernels(), check_accelerator())
