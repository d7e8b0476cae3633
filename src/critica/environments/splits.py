"""Which prompts may be trained on: a split by a hash of the normalized text, the same in every task source."""

import hashlib
from dataclasses import dataclass
from typing import Literal

Split = Literal["warm_start", "train", "held_out"]
SPLITS: tuple[Split, ...] = ("warm_start", "train", "held_out")
HALF, FIFTH = 0.5, 0.2  # of all texts, for the warm start and held out


def normalize(prompt: str) -> str:
    """Lower case, runs of white space as one blank, no outer white space: what makes two prompts the same."""
    return " ".join(prompt.split()).lower()


def split_of(prompt: str, warm_start: float = HALF, held_out: float = FIFTH) -> Split:
    """Half of all texts warm-start, three tenths train, two tenths are held out; by text alone, never by index.

    With other shares the held-out texts are still those with the highest hashes, and the warm start's the lowest.
    """
    digest = hashlib.blake2b(normalize(prompt).encode(), digest_size=8, person=b"critica.split").digest()
    share = int.from_bytes(digest, "big") / 2**64
    return "warm_start" if share < warm_start else "train" if share < 1 - held_out else "held_out"


@dataclass(frozen=True, slots=True)
class Splits:
    """Which rows of a file or data set are trained on, and on which the policy is examined.

    `train` names the split whose rows are asked; empty: "train", or the only one there is. `held_out` is a share of its
    prompts, by a hash of their text, or the name of another split: a prompt that stands there is never trained on,
    wherever else it stands. `warm_start` is a share of the prompts set aside for a warm start.
    """

    train: str = ""
    held_out: float | str = FIFTH
    warm_start: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.warm_start, self.held_out_share)
        if min(shares) < 0 or not sum(shares) < 1:
            raise ValueError(
                f"warm_start={self.warm_start:g} and held_out={self.held_out} leave nothing to train on: they are"
                " shares of the prompts, from 0 and together below 1 (held_out may also be the name of a split)"
            )
        if isinstance(self.held_out, str) and self.held_out in ("", self.train):
            raise ValueError(
                f"held_out={self.held_out!r}: name a split other than the one that is trained on, or a share"
            )

    @property
    def held_out_share(self) -> float:
        """The share of training prompts that are held out; 0 if a split of its own is."""
        return 0.0 if isinstance(self.held_out, str) else self.held_out

    @property
    def held_out_name(self) -> str:
        """The split that is held out; empty for a share."""
        return self.held_out if isinstance(self.held_out, str) else ""

    def of(self, prompt: str) -> Split:
        """Where a prompt of the training split belongs."""
        return split_of(prompt, self.warm_start, self.held_out_share)

    def sentence(self) -> str:
        """How prompts are split, for errors."""
        if self.held_out_name:
            held = f"the split {self.held_out!r} is held out"
        else:
            held = f"a hash of the prompt's text holds {self.held_out:.0%} out"
        return held + (f", and sets {self.warm_start:.0%} aside for a warm start" if self.warm_start else "")
