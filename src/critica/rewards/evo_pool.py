"""Criteria that write themselves: which survive what they say about siblings, and the memory of those that did."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from critica.functional.rubrics import peer_agreement
from critica.functional.text_features import ngram_features

SPREAD = 1e-6
MOST_PROMPTS = 20_000


@dataclass(frozen=True, slots=True)
class Judgment:
    """What became of one written criterion: kept or not, its agreement with its peers, its spread, its worth."""

    text: str
    kept: bool
    agreement: float
    spread: float
    worth: float

    @property
    def earned(self) -> float:
        """The writer's reward for it: agreement * spread if kept, else 0."""
        known = 0.0 if math.isnan(self.agreement) else self.agreement
        return known * self.spread if self.kept else 0.0


def survivors(
    texts: Sequence[str], values: Float[Tensor, "K G"], experts: Float[Tensor, "E G"], least: float
) -> list[Judgment]:
    """Zero-variance pruning, then leave-one-out consensus, over G siblings whose values are all known.

    A criterion that says the same of all is dropped. Of the others, the one whose ranks agree least with the mean of
    its peers (the experts' criteria among them) is dropped if they agree by less than `least`, and so on with those
    that are left: one contrarian does not make the others disagree. Where nobody is left to agree with, a criterion is
    kept, and its agreement is NaN. Its worth in the pool is agreement * 4 p (1 - p), p its mean.
    """
    spreads = _spreads(values)
    alive = [k for k in range(len(texts)) if spreads[k] >= SPREAD]
    fixed = experts[[k for k, spread in enumerate(_spreads(experts)) if spread >= SPREAD]]
    agreements: dict[int, float] = {}
    while True:
        agreements |= dict(zip(alive, peer_agreement(torch.cat((values[alive], fixed))), strict=False))
        worst = min((a for k in alive if (a := agreements[k]) < least), default=None)
        if worst is None:
            break
        alive = [k for k in alive if agreements[k] != worst]
    found = []
    for k, text in enumerate(texts):
        agreement, share = agreements.get(k, math.nan), float(values[k].mean())
        worth = 4 * share * (1 - share) * (0.0 if math.isnan(agreement) else agreement)
        found.append(Judgment(text, k in alive, agreement, spreads[k], worth))
    return found


def _spreads(values: Tensor) -> list[float]:
    return values.double().std(1, correction=0).tolist() if values.numel() else [0.0] * values.shape[0]


class RubricPool:
    """The criteria that survived, by prompt: at most `size`, no two alike, the least worthy leave first.

    Prompts that were not seen for longest are forgotten when there are more than 20,000.
    """

    def __init__(self, size: int, similarity: float) -> None:
        self.size, self.similarity = size, similarity
        self._kept: dict[str, dict[str, float]] = {}

    def of(self, prompt: str) -> tuple[str, ...]:
        """The prompt's criteria, the most worthy first."""
        kept = self._kept.get(prompt_name(prompt), {})
        return tuple(sorted(kept, key=lambda text: (-kept[text], text)))

    def learn(self, prompt: str, judged: Sequence[Judgment]) -> None:
        """Put in what survived, take out what did not; a near copy stays only if it is worth more."""
        name = prompt_name(prompt)
        kept = dict(self._kept.pop(name, {}))
        for one in sorted(judged, key=lambda one: one.text):
            known = kept.pop(one.text, None)
            if not one.kept:
                if known is not None and one.spread < SPREAD:  # nothing to tell apart today: first to leave, not gone
                    kept[one.text] = 0.0
                continue
            twins = [text for text in kept if likeness(text, one.text) >= self.similarity]
            if all(kept[text] < one.worth for text in twins):
                kept = {text: worth for text, worth in kept.items() if text not in twins} | {one.text: one.worth}
        first = sorted(kept, key=lambda text: (-kept[text], text))[: self.size]
        if first:
            self._kept[name] = {text: kept[text] for text in first}
        while len(self._kept) > MOST_PROMPTS:
            del self._kept[next(iter(self._kept))]

    def state_dict(self) -> dict[str, Any]:
        """Every prompt's criteria and what they are worth, in the order in which prompts were last seen."""
        return {"pool": [[name, [[text, worth] for text, worth in kept.items()]] for name, kept in self._kept.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        self._kept = {name: {text: worth for text, worth in kept} for name, kept in state["pool"]}


def prompt_name(prompt: str) -> str:
    """16 hexadecimal digits of the prompt."""
    return hashlib.blake2b(prompt.encode(), digest_size=8).hexdigest()


def likeness(one: str, other: str) -> float:
    """The cosine of the texts' hashed character n-grams."""
    return float(ngram_features(one.casefold())[:-1] @ ngram_features(other.casefold())[:-1])
