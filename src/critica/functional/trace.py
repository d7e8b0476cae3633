"""TRACE: how well a text is argued, from labels on its sentences: valid states, and usual transitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Labels = frozenset[str]
LABELS = ("claim", "data", "warrant", "backing", "qualifier", "rebuttal", "monitoring", "evaluation")


@dataclass(frozen=True, slots=True)
class ArgumentRules:
    """Label sets that a sentence may carry with what each is worth, and the ideal law of transitions (sums to 1)."""

    allowed: Mapping[Labels, float]
    ideal: Mapping[tuple[str, str], float]

    def __post_init__(self) -> None:
        strangers = {label for labels in self.allowed for label in labels} | {
            label for pair in self.ideal for label in pair
        }
        if strangers - set(LABELS):
            raise ValueError(f"{sorted(strangers - set(LABELS))} are no labels: there are {', '.join(LABELS)}")
        if not self.allowed or any(not labels or not 0 < worth <= 1 for labels, worth in self.allowed.items()):
            raise ValueError("allowed sets hold at least one label each, and are worth more than 0 and at most 1")
        if abs(sum(self.ideal.values()) - 1) > 1e-9 or min(self.ideal.values()) < 0:
            raise ValueError(f"the ideal transitions sum to {sum(self.ideal.values()):g}, not to 1")


def jaccard(one: Labels, other: Labels) -> float:
    """|one & other| / |one | other|; 0 of two empty sets, for a sentence without a label is in no state."""
    return len(one & other) / len(one | other) if one | other else 0.0


def state_score(sentences: Sequence[Labels], rules: ArgumentRules) -> float:
    """V_state = mean over sentences of max over allowed sets s of worth(s) Jaccard(labels, s); 0 without sentences."""
    if not sentences:
        return 0.0
    return sum(max(worth * jaccard(labels, s) for s, worth in rules.allowed.items()) for labels in sentences) / len(
        sentences
    )


def transitions(sentences: Sequence[Labels]) -> dict[tuple[str, str], float]:
    """The law of (label, label of the next sentence): a step between sets is spread evenly over their pairs.

    Steps from or to a sentence without a label are left out; empty if no step is left.
    """
    steps = [(a, b) for a, b in pairwise(sentences) if a and b]
    law: dict[tuple[str, str], float] = {}
    for before, after in steps:
        for pair in ((one, other) for one in before for other in after):
            law[pair] = law.get(pair, 0.0) + 1.0 / (len(before) * len(after) * len(steps))
    return law


def transition_score(sentences: Sequence[Labels], rules: ArgumentRules) -> float:
    """C_trans = 1 - total variation distance of the observed and the ideal law; 0 where nothing follows anything.

    A short text shows few of the ideal's transitions, and so scores low: with one step at most the ideal's largest
    entry, over these sentences.
    """
    observed = transitions(sentences)
    if not observed:
        return 0.0
    pairs = set(observed) | set(rules.ideal)
    return 1.0 - sum(abs(observed.get(pair, 0.0) - rules.ideal.get(pair, 0.0)) for pair in pairs) / 2


def trace_score(sentences: Sequence[Labels], rules: ArgumentRules, state_share: float = 0.7) -> float:
    """state_share V_state + (1 - state_share) C_trans, in [0, 1] (arXiv 2605.29656: .7 and .3)."""
    return state_share * state_score(sentences, rules) + (1 - state_share) * transition_score(sentences, rules)
