"""Where on a known right way somebody stands, by the set of things that were reached so far."""

from collections.abc import Sequence


def overlap(first: frozenset[str], second: frozenset[str]) -> float:
    """|A and B| / |A or B| (Jaccard); 1 for two empty sets."""
    return len(first & second) / len(first | second) if first or second else 1.0


def matched(reached: frozenset[str], along: Sequence[frozenset[str]], least: float, turn: int) -> int:
    """The place on the way whose set overlaps most with `reached`; -1 if that overlap is below `least`.

    Of places that overlap alike (steps that reach nothing new) it is the one nearest to `turn`, the number of turns
    made so far, and of two as near the earlier.
    """
    found = [overlap(reached, there) for there in along]
    if not found or max(found) < least:
        return -1
    return min((place for place, one in enumerate(found) if one == max(found)), key=lambda p: (abs(p - turn), p))
