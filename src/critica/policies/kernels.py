"""The compiled kernels of `kernels.c`: built once per machine, checked against torch, done without where that fails."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SOURCE = Path(__file__).with_name("kernels.c")
FALLBACK_FLAGS = ("-O3", "-fopenmp", "-fPIC", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math")
FLAGS = ("-march=native", "-mprefer-vector-width=512", *FALLBACK_FLAGS)
BUILD_SECONDS = 60
LANES, PARTS = 16, 32  # as in kernels.c
OFF = "CRITICA_KERNELS"  # set it to 0 to do without


@dataclass(frozen=True, slots=True)
class KernelReport:
    """The kernels, or why there are none. `error` is the worst difference from torch, relative to the largest entry."""

    kernels: "Kernels | None"
    error: float
    reason: str


class Kernels:
    """Typed doors to the compiled functions. Tensors are fp32, on the CPU and contiguous; threads are torch's."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, index, real, small = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_int
        shapes = {
            "rms_norm": [pointer] * 4 + [index] * 2 + [real, small],
            "rms_norm_backward": [pointer] * 6 + [index] * 2 + [small],
            "swiglu": [pointer] * 2 + [index] * 2 + [small],
            "swiglu_backward": [pointer] * 3 + [index] * 2 + [small],
            "norm_rotate": [pointer] * 8 + [index] * 4 + [real] * 2 + [small],
            "norm_rotate_backward": [pointer] * 10 + [index] * 4 + [real, small],
            "quantile_huber": [pointer] * 6 + [index] * 4 + [real, small],
            "decode_attention": [pointer] * 13 + [index] * 8 + [real, small],
        }
        for name, arguments in shapes.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, None
        library.regret_step.argtypes = [pointer] * 9 + [index] * 3 + [small]
        library.regret_step.restype = index
        self._library = library

    def rms_norm(self, x: Tensor, weight: Tensor | None, out: Tensor, scale: Tensor | None, epsilon: float) -> None:
        """out = weight * x / sqrt(mean x^2 + epsilon); `scale` keeps the reciprocal root."""
        rows, width = x.numel() // x.shape[-1], x.shape[-1]
        self._library.rms_norm(_at(x), _at(weight), _at(out), _at(scale), rows, width, epsilon, torch.get_num_threads())

    def rms_norm_backward(self, x: Tensor, weight: Tensor, scale: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of x and of the weight."""
        rows, width = x.numel() // x.shape[-1], x.shape[-1]
        made, parts = torch.empty_like(x), x.new_empty((PARTS, width))
        self._library.rms_norm_backward(
            _at(x), _at(weight), _at(scale), _at(grad), _at(made), _at(parts), rows, width, torch.get_num_threads()
        )
        return made, parts.sum(0)

    def swiglu(self, gate_up: Tensor, out: Tensor) -> Tensor:
        """out = silu(gate) * up."""
        self._library.swiglu(_at(gate_up), _at(out), out.shape[0], out.shape[1], torch.get_num_threads())
        return out

    def swiglu_backward(self, gate_up: Tensor, grad: Tensor) -> Tensor:
        """The gradient of gate and up."""
        made = torch.empty_like(gate_up)
        rows, width = grad.shape
        self._library.swiglu_backward(_at(gate_up), _at(grad), _at(made), rows, width, torch.get_num_threads())
        return made

    def quantile_huber(
        self,
        quantiles: Float[Tensor, "R M K"],
        levels: Float[Tensor, "K"],
        targets: Float[Tensor, "R S"],
        weights: Float[Tensor, "R S"],
        delta: float | None,
    ) -> tuple[Tensor, Tensor]:
        """The weighted pairwise loss of every quantile and its slope; see `functional.quantiles.quantile_huber`."""
        loss, slope = torch.empty_like(quantiles), torch.empty_like(quantiles)
        rows, heads, count = quantiles.shape
        pointers = (quantiles, levels, targets, weights, loss, slope)
        sizes = (rows * heads, heads, count, targets.shape[-1])
        bound = -1.0 if delta is None else delta
        self._library.quantile_huber(*map(_at, pointers), *sizes, bound, torch.get_num_threads())
        return loss, slope

    def regret_step(
        self,
        seen: tuple[Float[Tensor, "n V"], Int[Tensor, "n"], Int[Tensor, "n"], Bool[Tensor, "n"]],
        values: Float[Tensor, "n"] | None,
        state: "RegretState",
    ) -> Bool[Tensor, "n"] | None:
        """Which slots stop, None if none does. `seen`: (logits, tokens, rows, writing)."""
        logits, tokens, rows, writing = seen
        stops = torch.empty_like(writing)
        drawn = (_at(logits), _at(tokens), _at(rows), _at(writing, torch.bool), _at(values), _at(stops, torch.bool))
        count = self._library.regret_step(*drawn, *state.known, *logits.shape, torch.get_num_threads())
        if count < 0:
            raise IndexError(f"a slot writes for a row that is none of the {len(state.signal)} rows of this call")
        return stops if count else None

    def norm_rotate(
        self,
        joined: Tensor,
        weight: Tensor | None,
        angles: tuple[Tensor, Tensor],
        heads: int,
        key_heads: int,
        epsilon: float,
        factor: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values, and what backward needs of the norm."""
        rows, _, size = joined.shape
        query, key = joined.new_empty((rows, heads, size)), joined.new_empty((rows, key_heads, size))
        value = torch.empty_like(key)
        scale = joined.new_empty((rows, heads + key_heads)) if weight is not None else joined.new_empty(0)
        pointers = (joined, weight, *angles, query, key, value, scale)
        sizes = (rows, heads, key_heads, size)
        self._library.norm_rotate(*map(_at, pointers), *sizes, epsilon, factor, torch.get_num_threads())
        return query, key, value, scale

    def norm_rotate_backward(
        self,
        saved: tuple[Tensor, Tensor | None, Tensor],
        angles: tuple[Tensor, Tensor],
        grads: tuple[Tensor, Tensor, Tensor],
        factor: float,
    ) -> tuple[Tensor, Tensor | None]:
        """The gradients of the joined projection and of the norm's weight; `saved` is (joined, weight, scale)."""
        joined, weight, scale = saved
        heads, key_heads, size = grads[0].shape[1], grads[1].shape[1], joined.shape[2]
        made = torch.empty_like(joined)
        parts = joined.new_empty((PARTS, heads + key_heads, size)) if weight is not None else None
        pointers = (joined, weight, scale, *angles, *grads, made, parts)
        sizes = (joined.shape[0], heads, key_heads, size)
        self._library.norm_rotate_backward(*map(_at, pointers), *sizes, factor, torch.get_num_threads())
        return made, None if parts is None else parts.sum(0)

    def decode_attention(
        self,
        joined: Float[Tensor, "n *W"],
        weight: Tensor | None,
        angles: tuple[Tensor, Tensor],
        places: tuple[Tensor, Tensor, Tensor],
        prompt: tuple[Tensor, Tensor],
        own: tuple[Tensor, Tensor],
        out: Float[Tensor, "n HD"],
        at: int,
        epsilon: float,
    ) -> None:
        """One decode step's attention. `places`: (parent, slot, prompt lengths); caches: (blocked keys, values)."""
        threads = torch.get_num_threads()
        key_heads, prompt_width, size = prompt[1].shape[1:]
        room = own[1].shape[2]
        width = 2 * (prompt_width + room + 3 * LANES + size)
        work = joined.new_empty((threads, width))
        pointers = (joined, weight, *angles, *places, *prompt, *own, out, work)
        sizes = (width, joined.shape[0], out.shape[1] // size, key_heads, size, prompt_width, room, at)
        self._library.decode_attention(*map(_at, pointers), *sizes, epsilon, threads)


class RegretState:
    """What `regret_step` changes, and its rule; addresses are taken once, because it is called for every token.

    `signal[row]` is the smoothed regret, `sums[row]` count, sum and sum of squares of the row's regrets.
    `rule`: (temperature, mean, deviation, clip, keep, take, threshold, floor).
    """

    def __init__(self, rows: int, rule: tuple[float, ...], device: torch.device) -> None:
        self.signal = torch.zeros(rows, device=device)
        self.sums = torch.zeros(rows, 3, dtype=torch.float64, device=device)
        self._rule = torch.tensor(rule, dtype=torch.float32)
        self.known = (_at(self.signal), _at(self.sums, torch.float64), _at(self._rule), rows)


def blocked(keys: Float[Tensor, "B K T d"]) -> Float[Tensor, "B K blocks d lanes"]:
    """Keys as `decode_attention` reads them: 16 tokens side by side for each dimension."""
    groups, heads, width, size = keys.shape
    padded = torch.nn.functional.pad(keys, (0, 0, 0, -width % LANES))
    return padded.view(groups, heads, -1, LANES, size).transpose(-1, -2).contiguous()


def _at(tensor: Tensor | None, *dtypes: torch.dtype) -> int | None:
    """The tensor's address; what C would misread is refused here. Without `dtypes`: fp32 or int64."""
    if tensor is None:
        return None
    if not tensor.is_contiguous() or tensor.dtype not in (dtypes or (torch.float32, torch.int64)):
        wanted = dtypes[0] if dtypes else "fp32"
        raise ValueError(f"a kernel reads contiguous {wanted}, not {tensor.dtype} with strides {tensor.stride()}")
    return tensor.data_ptr()


def kernels_for(x: Tensor) -> Kernels | None:
    """The kernels, if this tensor is what they work on."""
    fits = x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous()
    return kernels().kernels if fits and not torch.is_autocast_enabled("cpu") else None


@cache
def kernels() -> KernelReport:
    """Build (once per machine, about 2 s; kept in the user's cache folder), load and check the kernels."""
    if os.environ.get(OFF, "1") == "0":
        return KernelReport(None, float("nan"), f"switched off by {OFF}=0")
    if platform.system() != "Linux":
        return KernelReport(None, float("nan"), f"built on Linux only, and this is {platform.system()}")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return KernelReport(None, float("nan"), "no C compiler (cc) found; install gcc to decode and train faster")
    try:
        made = Kernels(ctypes.CDLL(str(_build(compiler))))
    except (OSError, AttributeError, subprocess.SubprocessError) as error:
        return KernelReport(None, float("nan"), f"the kernels could not be built: {error}")
    from critica.policies.kernel_check import TOLERANCE, worst_error

    error = worst_error(made)
    if not error < TOLERANCE:
        return KernelReport(None, error, f"the kernels differ from torch by {error:.1e} on this machine")
    return KernelReport(made, error, "")


def _build(compiler: str) -> Path:
    """The shared library for this source, compiler and processor; published by an atomic rename."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=BUILD_SECONDS).stdout
    identity = "\n".join([SOURCE.read_text(), version, _processor(), *FLAGS])
    name = hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "critica" / "kernels"
    place = folder / f"{name}.so"
    if place.is_file():
        return place
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        part, whole = Path(scratch) / "kernels.o", Path(scratch) / "kernels.so"
        for flags in (FLAGS, FALLBACK_FLAGS):
            done = subprocess.run(
                [compiler, *flags, "-c", str(SOURCE), "-o", str(part)], capture_output=True, timeout=BUILD_SECONDS
            )
            if done.returncode == 0:
                break
        # Linked without OpenMP's own library: its symbols come from the one that torch has loaded, so that both
        # share one pool of threads.
        link = [compiler, "-shared", str(part), "-o", str(whole), "-lm"]
        subprocess.run(link, capture_output=True, check=True, timeout=BUILD_SECONDS)
        os.replace(whole, place)
    return place


def _processor() -> str:
    """What distinguishes this processor's instructions from another's."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.split("\t")[0].strip() in wanted))
