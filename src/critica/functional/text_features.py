"""A text as a point: what it looks like, letter by letter, without a model and without training."""

import math
import re

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

BUCKETS = 256
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: neighbors scatter (Knuth, vol. 3, 6.4)
SIZES = (1, 2, 3)
DIGIT = re.compile(r"[0-9]")


def ngram_features(text: str, length_weight: float = 0.25, detail: float = 1 / 16) -> Float[Tensor, "F"]:
    """Square roots of hashed counts of the text's character 1-, 2- and 3-grams, scaled to norm 1, and its length.

    Counted twice: with every digit read as 0, because which numbers a task holds says less than how it is put, and,
    with weight `detail`, as written, so that different texts are different points. The last coordinate is
    length_weight log(1 + characters): longer prompts of one kind are often harder, and the norm hides it. F = 257,
    fp32. Equal texts are equal points on every machine: the hash has no seed. n-grams that share a bucket add up.
    """
    counts = _counts(DIGIT.sub("0", text)) + detail * _counts(text)
    shape = counts.sqrt()
    length = torch.tensor([length_weight * math.log1p(len(text))])
    return torch.cat((shape / shape.norm().clamp(min=1e-12), length))


def _counts(text: str) -> Float[Tensor, "B"]:
    """How many of the text's n-grams fall into each bucket: the top byte of a multiplicative hash of 1 to 3 bytes."""
    raw = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint64)
    marks = []
    for size in SIZES:
        code = np.full(max(0, len(raw) - size + 1), size, dtype=np.uint64)
        for offset in range(size):
            code = (code << np.uint64(8)) | raw[offset : offset + len(code)]
        marks.append((code * GOLDEN) >> np.uint64(56))
    return torch.from_numpy(np.bincount(np.concatenate(marks).astype(np.int64), minlength=BUCKETS)).float()
