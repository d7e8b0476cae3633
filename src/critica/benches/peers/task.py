"""What every contender works on: prompts from one file, one rule for right answers, one set of fast settings."""

import argparse
import ctypes
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # malloc.h of glibc
TOLERANCE = 1e-5  # true fp32 is near 5e-7, bfloat16 near 3e-3


def reward(text: str, answer: str) -> float:
    """1 if what stands after the last comma is the answer."""
    return float(text.strip().split(",")[-1] == answer)


def make_scorer(settings: Mapping[str, Any]) -> Callable[[str, Mapping[str, Any], str], float]:
    """The rule as a scorer for Critica's reward workers, which import no torch."""
    return lambda answer, info, text: reward(text, answer)


def arguments() -> argparse.Namespace:
    """The options that all contenders share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--policy", required=True, help="model folder")
    parser.add_argument("--tasks", default="", help="JSON list of {prompt, answer}")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--max-new", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--natural", action="store_true", help="let answers end; else every answer has max-new tokens")
    parser.add_argument("--fast", action="store_true", help="the fast settings of this machine for a peer")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing, as TRL does by default")
    parser.add_argument("--recipe", default="grpo")
    parser.add_argument("--set", action="append", default=[], help="PATH=VALUE on the recipe")
    given = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", WANDB_DISABLED="true")
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    return given


def read_tasks(path: str) -> list[dict[str, str]]:
    """The prompts and their answers."""
    with open(path) as file:
        return json.load(file)


def prepare(threads: int, fast: bool) -> str:
    """Set threads and, if asked, the fast settings of this machine; returns the attention implementation they go with.

    Fast: freed memory kept by malloc, and, where that stays fp32, products through oneDNN with eager attention (under
    oneDNN's flag the fused attention is slower). On processors with AMX the flag rounds to bfloat16: it is left alone.
    """
    import torch

    torch.set_num_threads(threads)
    if not fast:
        return "sdpa"
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(MMAP_MAX, 0)
    libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)
    settings = torch.backends.mkldnn.matmul
    settings.fp32_precision = "bf16"
    if product_error() < TOLERANCE:
        return "eager"
    settings.fp32_precision = "none"
    return "sdpa"


def product_error() -> float:
    """The largest error of an fp32 product as torch now makes it, relative to its largest entry."""
    import torch

    made = torch.Generator().manual_seed(0)
    left, right = torch.randn(128, 896, generator=made), torch.randn(896, 256, generator=made)
    exact = left.double() @ right.double()
    return float(((left @ right).double() - exact).abs().max() / exact.abs().max())
