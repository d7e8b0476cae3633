"""Random numbers counted by identity: who asks decides the draw, never when or on which rank they ask."""

import hashlib
from operator import index
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:  # imported where it is used: reward workers draw numbers without torch
    import torch


def stream_key(seed: int, purpose: str, *identity: int | str) -> int:
    """128 bits that name a stream: blake2b of (seed, purpose, identity).

    Every part is written with its type and its length, so that (1, 23), (12, 3) and ("1", 23) are three streams.
    Raises TypeError for a part that is neither an integer nor a string.
    """
    parts = (_encode(index(seed)), _encode(purpose), *(_encode(part) for part in identity))
    return int.from_bytes(hashlib.blake2b(b"".join(parts), digest_size=16).digest(), "little")


def generator(seed: int, purpose: str, *identity: int | str) -> np.random.Generator:
    """A NumPy generator over Philox (Salmon et al. 2011), a counter-based generator keyed by the stream."""
    return np.random.Generator(np.random.Philox(key=stream_key(seed, purpose, *identity)))


def uniforms(seed: int, purpose: str, *identity: int | str, count: int) -> Float[np.ndarray, "count"]:
    """`count` uniforms in [0, 1), fp64. Prefix stable: asking for more never changes the first ones."""
    return generator(seed, purpose, *identity).random(count)


def torch_generator(seed: int, purpose: str, *identity: int | str) -> "torch.Generator":
    """A torch CPU generator of the stream, for initial weights and other rare draws.

    torch's CPU generator keeps only 32 bits of its seed, so among 2^16 streams two are likely to be one. Whatever
    is drawn per sample or per token takes `uniforms`, whose streams keep all 128 bits.
    """
    import torch

    made = torch.Generator()
    made.manual_seed(stream_key(seed, purpose, *identity) % 2**63)
    return made


def _encode(part: int | str) -> bytes:
    if isinstance(part, str):
        text = part.encode()
        return b"s%d:" % len(text) + text
    if isinstance(part, bool):
        raise TypeError(f"a stream is named by integers and strings, not by the truth value {part}")
    return b"i%d;" % index(part)
