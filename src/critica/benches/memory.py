"""The memory bench: the peak of a policy update with a large vocabulary, beside what weights and activations need.

A Qwen3 with a tiny body and a tied head over many tokens makes two micro-batches of one update, in a process of its
own; its peak is what the process held at most, less what it held before the model was made. The promise compares it
with what cannot be spared: weights, gradients, both moments, and what the body keeps for its backward pass.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from critica.benches.base import Bench, BenchFailed, Order, child_environment, say
from critica.benches.machine import machine_facts
from critica.recipes.config import apply_sets

PROMISED = 1.2
MIB = 2**20


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """The model, and `tokens` of a micro-batch in rows of `length`; `whole_tokens` for the update without chunks."""

    vocabulary: int = 150_000
    width: int = 256
    layers: int = 4
    tokens: int = 8192
    length: int = 256
    whole_tokens: int = 1024
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Reading:
    """One update's bytes. `moments` are Adam's two, `activations` what the body keeps of one micro-batch."""

    tokens: int
    chunked: bool
    peak: int
    weights: int
    gradients: int
    moments: int
    activations: int
    planned: float
    seconds: float

    @property
    def needed(self) -> int:
        """What no way of making log-probs can spare."""
        return self.weights + self.gradients + self.moments + self.activations

    @property
    def ratio(self) -> float:
        """The peak over what is needed."""
        return self.peak / self.needed


def run_memory(order: Order) -> Path:
    """Measure, in one process each, then write memory.json and memory.md."""
    settings = apply_sets(MemorySettings(), order.settings, {})
    found = []
    for tokens, chunked in ((settings.tokens, True), (settings.whole_tokens, True), (settings.whole_tokens, False)):
        found.append(measured(settings, tokens, chunked))
        way = "chunks" if chunked else "whole"
        say(f"  {tokens} tokens, {way}: {found[-1].peak / MIB:,.0f} MiB, {found[-1].ratio:.2f} of what is needed")
    return write(order, settings, found)


def measured(settings: MemorySettings, tokens: int, chunked: bool) -> Reading:
    """The reading that a process of its own prints. Raises `BenchFailed`."""
    asked = json.dumps({**asdict(settings), "tokens": tokens, "chunked": chunked})
    done = subprocess.run(
        [sys.executable, "-m", "critica.benches.memory_contender", asked],
        capture_output=True, text=True, env=child_environment(settings.threads),
    )  # fmt: skip
    if done.returncode:
        raise BenchFailed(f"the update of {tokens} tokens failed:\n{done.stderr[-2000:]}")
    return Reading(**json.loads(done.stdout.splitlines()[-1]))


def write(order: Order, settings: MemorySettings, found: list[Reading]) -> Path:
    """The raw readings and the page."""
    machine = machine_facts(settings.threads)
    content = {
        "command": "critica bench memory", "machine": machine, "settings": asdict(settings),
        "readings": [{**asdict(one), "needed": one.needed, "ratio": one.ratio} for one in found],
    }  # fmt: skip
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "memory.json").write_text(json.dumps(content, indent=1) + "\n")
    page = order.out / "memory.md"
    page.write_text(
        "# Memory of an update with a large vocabulary\n\n"
        f"Made by `critica bench memory`: a Qwen3 of width {settings.width}, {settings.layers} layers and a tied head"
        f" over {settings.vocabulary:,} tokens, fp32, Adam; two micro-batches in rows of {settings.length} tokens."
        f" {machine['processor']}, torch {machine['versions']['torch']}, commit {machine['commit']}. The peak is the"
        " process's largest resident size, less that before the model was made. Needed: weights, gradients, both"
        f" moments and the body's activations of one micro-batch. Promised: at most {PROMISED:g} times that at"
        f" {settings.tokens:,} tokens. Planned: what `critica plan` says.\n\n"
        "| tokens a micro-batch | log-probs | peak, MiB | weights | gradients | moments | activations | peak / needed |"
        " | planned | seconds |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
        + "".join(row(one, settings) for one in found)
    )
    return page


def row(one: Reading, settings: MemorySettings) -> str:
    """One line of the table."""
    sizes = " | ".join(f"{size / MIB:,.0f}" for size in (one.weights, one.gradients, one.moments, one.activations))
    bound = one.chunked and one.tokens == settings.tokens
    mark = ("pass" if one.ratio <= PROMISED else "FAIL") if bound else ""
    way = "by chunks" if one.chunked else "whole"
    return (
        f"| {one.tokens:,} | {way} | {one.peak / MIB:,.0f} | {sizes} | **{one.ratio:.2f}** | {mark} |"
        f" {one.planned / MIB:,.0f} | {one.seconds:.0f} |\n"
    )


MEMORY = Bench(
    "memory", "peak memory of an update with a large vocabulary", MemorySettings, run_memory,
    ("vocabulary=20000", "width=64", "layers=1", "tokens=2048", "whole_tokens=1024", "length=64"),
)  # fmt: skip
