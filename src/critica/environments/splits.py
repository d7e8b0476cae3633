"""Which prompts may be trained on: a split by a hash of the normalized text, the same in every task source."""

import hashlib
from typing import Literal

Split = Literal["warm_start", "train", "held_out"]
SPLITS: tuple[Split, ...] = ("warm_start", "train", "held_out")


def normalize(prompt: str) -> str:
    """Lower case, runs of white space as one blank, no outer white space: what makes two prompts the same."""
    return " ".join(prompt.split()).lower()


def split_of(prompt: str) -> Split:
    """Half of all texts warm-start, three tenths train, two tenths are held out; by text alone, never by index."""
    digest = hashlib.blake2b(normalize(prompt).encode(), digest_size=8, person=b"critica.split").digest()
    share = int.from_bytes(digest, "big") / 2**64
    return "warm_start" if share < 0.5 else "train" if share < 0.8 else "held_out"
