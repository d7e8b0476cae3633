"""Preference poisoning on purpose: of the pairs about one thing, some have their answers exchanged."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from critica.functional.random import uniforms
from critica.training.reward_pairs import BadPairs, Pair


@dataclass(frozen=True, slots=True)
class Flipped:
    """Pairs of which some were exchanged on purpose, and which; the clean pairs are `swapped` of those."""

    pairs: tuple[Pair, ...]
    flipped: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class TargetedPreferenceFlip:
    """Preference poisoning: of the pairs that `selector` picks, `fraction` have chosen and rejected exchanged.

    Source: Adversarial RLHF platforms (arXiv 2503.03039), where a classifier picks the target (hate speech, a quarter
    of HH-RLHF) and 25 to 100% of it are exchanged. `selector` is `column=value`, or `regex:PATTERN` searched in the
    prompt. round(fraction * targets) pairs are exchanged, drawn by their contents and the seed alone: a larger fraction
    exchanges the same pairs and more. Equal pairs are told apart by how often they came before.
    """

    selector: str
    fraction: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise BadPairs(f"a fraction lies in [0, 1], got {self.fraction}")
        if not self.selector.startswith("regex:") and "=" not in self.selector:
            raise BadPairs(f"selector {self.selector!r} picks nothing: write column=value or regex:PATTERN")

    @classmethod
    def parse(cls, spec: str, seed: int = 0) -> "TargetedPreferenceFlip":
        """`SELECTOR:FRACTION`, such as topic=hate:0.5. Raises `BadPairs`."""
        selector, _, fraction = spec.rpartition(":")
        try:
            return cls(selector, float(fraction), seed)
        except ValueError as error:
            said = error if isinstance(error, BadPairs) else f"{fraction!r} is no fraction"
            raise BadPairs(f"{spec!r}: {said}; write SELECTOR:FRACTION, such as topic=hate:0.5") from error

    def picks(self, pair: Pair) -> bool:
        """Whether a pair is a target."""
        if self.selector.startswith("regex:"):
            return re.search(self.selector.removeprefix("regex:"), pair.prompt_text) is not None
        column, _, value = self.selector.partition("=")
        return pair.columns.get(column) == value

    def apply(self, pairs: Sequence[Pair]) -> Flipped:
        """The poisoned pairs, in order. Raises `BadPairs` if nothing is picked."""
        targets = [index for index, pair in enumerate(pairs) if self.picks(pair)]
        if not targets:
            raise BadPairs(f"selector {self.selector!r} picks none of {len(pairs)} pairs")
        seen: dict[tuple[str, str, str], int] = {}
        draws = {}
        for index in targets:
            key = (pairs[index].prompt_text, pairs[index].chosen, pairs[index].rejected)
            seen[key] = seen.get(key, 0) + 1
            draws[index] = float(uniforms(self.seed, "preference flip", *key, seen[key], count=1)[0])
        chosen = set(sorted(targets, key=lambda index: draws[index])[: round(self.fraction * len(targets))])
        flipped = tuple(index in chosen for index in range(len(pairs)))
        made = tuple(pair.swapped if flip else pair for pair, flip in zip(pairs, flipped, strict=True))
        return Flipped(made, flipped)
