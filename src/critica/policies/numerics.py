"""Which fast paths this processor has, decided by what it is and by an error check, never by a stopwatch."""

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from critica.policies.kernels import kernels

TOLERANCE = 1e-5  # of the largest entry, against fp64; true fp32 is near 5e-7, bfloat16 near 3e-3
SHAPES = ((128, 128, 256), (128, 896, 256), (96, 256, 1792), (1000, 384, 128))
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
LARGE_BYTES = 2**25  # the most that glibc takes for it


@dataclass(frozen=True, slots=True)
class FastPaths:
    """What this processor may use and why; errors are relative to the largest entry (NaN where a path was not tried).

    `onednn_matmul`: fp32 matmuls of training go to oneDNN, which on some processors is twice as fast as MKL.
    `packed_linears`: the decoder's products use oneDNN's packed weights.
    """

    vendor: str
    capability: str
    onednn_matmul: bool
    onednn_error: float
    packed_linears: bool
    packed_error: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NumericsReport:
    """What `configure` set and found.

    `quiet_malloc`: freed blocks stay with the process, so temporaries cost no page faults. `compiled_kernels`: the
    kernels of `kernels.c` run here, with this largest relative error; `kernel_reason` says why not.
    """

    threads: int
    quiet_malloc: bool
    compiled_kernels: bool
    kernel_error: float
    kernel_reason: str
    paths: FastPaths


def configure(threads: int | None = None) -> NumericsReport:
    """Set the thread count and malloc, build the kernels if need be, and say which fast paths will be used."""
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; give at least 1, or leave it out for torch's own choice")
        torch.set_num_threads(threads)
    built = kernels()
    return NumericsReport(
        threads=torch.get_num_threads(),
        quiet_malloc=_quiet_malloc(),
        compiled_kernels=built.kernels is not None,
        kernel_error=built.error,
        kernel_reason=built.reason,
        paths=fast_paths(),
    )


@cache
def fast_paths() -> FastPaths:
    """A constant of this machine and this torch, so that a run repeats bit by bit.

    Speed is inferred from the processor (MKL takes its slower kernels on processors that are not Intel's);
    correctness is measured.
    """
    vendor, capability = _vendor(), torch.backends.cpu.get_cpu_capability()
    wanted = capability == "AVX512" and vendor != "GenuineIntel" and torch.backends.mkldnn.is_available()
    onednn_error, packed_error = _errors() if wanted else (float("nan"), float("nan"))
    reasons = [] if wanted else [f"oneDNN off: {vendor} with {capability} is not known to gain from it"]
    for name, error in (("oneDNN matmul", onednn_error), ("packed linears", packed_error)):
        if error >= TOLERANCE:
            reasons.append(f"{name} off: its error {error:.1e} is not that of fp32")
    return FastPaths(
        vendor=vendor,
        capability=capability,
        onednn_matmul=onednn_error < TOLERANCE,
        onednn_error=onednn_error,
        packed_linears=packed_error < TOLERANCE,
        packed_error=packed_error,
        reasons=tuple(reasons),
    )


@contextmanager
def training_matmuls() -> Iterator[None]:
    """Within: forward and backward of training use oneDNN's fp32 matmuls where they are fast and exact."""
    with _matmul_precision("bf16" if fast_paths().onednn_matmul else "none"):
        yield


@contextmanager
def decoding_matmuls() -> Iterator[None]:
    """Within: the default matmuls. Attention's small products are slower, some far slower, through oneDNN."""
    with _matmul_precision("none"):
        yield


@contextmanager
def _matmul_precision(name: str) -> Iterator[None]:
    """oneDNN takes fp32 matmuls only when told that it may round to bfloat16, even where it never does."""
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    settings.fp32_precision = name
    try:
        yield
    finally:
        settings.fp32_precision = before


def _errors() -> tuple[float, float]:
    """The errors of oneDNN's matmul and of its packed linear."""
    with _matmul_precision("bf16"):
        onednn = worst_error(torch.nn.functional.linear)
    with _matmul_precision("none"):
        packed = worst_error(_packed_linear)
    return onednn, packed


def worst_error(linear: Callable[[Tensor, Tensor], Tensor]) -> float:
    """The largest |y - y64| / max |y64| over products of a few shapes; infinite when the path does not run."""
    made = torch.Generator().manual_seed(0)
    worst = 0.0
    for rows, width, out in SHAPES:
        x, weight = torch.randn(rows, width, generator=made), torch.randn(out, width, generator=made)
        exact = x.double() @ weight.double().t()
        try:
            error = (linear(x, weight).double() - exact).abs().max() / exact.abs().max()
        except (RuntimeError, AttributeError, NotImplementedError):
            return float("inf")
        worst = max(worst, error.item())
    return worst


def _packed_linear(x: Tensor, weight: Tensor) -> Tensor:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, x.shape[0])
    return torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


def _vendor() -> str:
    """The processor's vendor as Linux names it; its architecture elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("vendor_id")]
    return names[0] if names else platform.machine()


def _quiet_malloc() -> bool:
    """Keep freed memory in the process (glibc only): temporaries of megabytes are made and freed all the time.

    Blocks above `LARGE_BYTES` go back: holes of their size in a heap cost a large model half its memory again.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
