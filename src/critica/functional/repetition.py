"""How much of a sequence of tokens it has said before."""

from collections.abc import Sequence


def repeated_share(tokens: Sequence[int], size: int = 4) -> float:
    """The share of the sequence's n-grams (n = `size`) that stood in it before: 0 for all new, toward 1 for a loop.

    1 - distinct / all; 0 where there are fewer than two n-grams. In any order of the same n-grams it is the same.
    """
    grams = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
    return 1.0 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0
