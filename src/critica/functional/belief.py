"""How uncertain a set of answers is: the entropy of what they say."""

from collections import Counter
from collections.abc import Sequence
from math import fsum, log


def belief_entropy(answers: Sequence[str]) -> float:
    """-sum_c f_c ln f_c over the shares f_c of equal answers (blanks and case aside), in nats.

    In [0, ln n] for n answers. As n grows it tends, from below, to the entropy of the law they are drawn from: its mean
    error is about (1 - number of kinds) / (2 n) (Miller 1955). MMPO (arXiv 2605.30159) gives no formula; this is ours.
    Raises ValueError without answers.
    """
    if not answers:
        raise ValueError("the entropy of no answers is not defined: ask for one at least")
    counts = Counter(" ".join(answer.split()).casefold() for answer in answers)
    return -fsum(count / len(answers) * log(count / len(answers)) for count in counts.values())
