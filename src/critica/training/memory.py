"""Refuse a run whose planned batch cannot fit, before it takes the machine down."""

from pathlib import Path

import torch

from critica.policies.body_mode import meant_device
from critica.recipes.base import Recipe
from critica.training.plan import MIB, plan

LIBRARIES_MIB = 700  # what the interpreter, torch and transformers hold before a model is loaded
HEADROOM = 0.95


class TooLarge(MemoryError):
    """The planned batch needs more memory than there is."""


def available_mib(meminfo: Path = Path("/proc/meminfo"), limits: Path = Path("/sys/fs/cgroup")) -> float:
    """Memory that can still be taken: the kernel's estimate, or the control group's room if that is less."""
    free = next(
        float(line.split()[1]) / 1024 for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable")
    )
    try:
        most, used = (limits / "memory.max").read_text().strip(), (limits / "memory.current").read_text().strip()
    except OSError:
        return free
    return free if most == "max" else min(free, (int(most) - int(used)) / MIB)


def room_on(device: torch.device) -> float:
    """Free memory in MiB where the models would be: the device's own, or this machine's."""
    on_device = device.type == "cuda" and torch.cuda.is_available()  # one that is missing is named where it is opened
    return torch.cuda.mem_get_info(device)[0] / MIB if on_device else available_mib()


def refuse_too_large(recipe: Recipe, room_mib: float | None = None) -> None:
    """Raise `TooLarge`, with what to lower, if the estimate exceeds the room."""
    if room_mib is None:
        try:
            room_mib = room_on(meant_device(recipe.policy))
        except (OSError, StopIteration):
            return  # a system without /proc/meminfo: nothing is known, so nothing is refused
    planned = plan(recipe)
    needed = planned.memory_mib + LIBRARIES_MIB
    if needed <= room_mib * HEADROOM:
        return
    if planned.activations_mib >= planned.cache_mib:
        way = f"lower learner.tokens_per_microbatch (now {recipe.learner.tokens_per_microbatch})"
        way += "" if recipe.policy.checkpoint_layers else " or set policy.checkpoint_layers=true"
    else:
        way = (
            f"lower sampling.prompts_per_step (now {recipe.sampling.prompts_per_step}) or the token limit"
            f" (now {planned.longest_answer_tokens})"
        )
    raise TooLarge(
        f"the planned batch needs about {needed:,.0f} MiB and {room_mib:,.0f} MiB are free: {way};"
        " `critica plan` shows the estimate"
    )
