"""What has been computed so far, as a set: the distinct numbers of a text, and where each of them is complete."""

import re
from collections.abc import Sequence

DIGITS = re.compile(r"[0-9]+")


def number_boundaries(pieces: Sequence[str], drop_last: bool = True) -> tuple[tuple[int, str], ...]:
    """(piece index from which on the number is known, number) for each *new* number of the text, in order.

    pieces: the text of each token; joined, they are the text. A number is a run of digits, without leading zeros. It
    is known only once the character after it has been written (a 1 may still become a 12), and so before the first
    piece that follows the one with that character; one that ends the text is known nowhere. `drop_last` leaves the
    text's last number out, which normally is the answer. Source: Numca (arXiv 2605.29782), which opens the state at
    the *first digit*: see `released_boundaries`.
    """
    found, piece_of = _numbers(pieces, drop_last)
    text_length = len(piece_of)
    seen: set[str] = set()
    boundaries = []
    for end, number in ((match.end(), match[0].lstrip("0") or "0") for match in found):
        if number not in seen:
            seen.add(number)
            boundaries.append((piece_of[end] + 1 if end < text_length else len(pieces), number))
    return tuple(boundaries)


def released_boundaries(pieces: Sequence[str], drop_last: bool = True) -> tuple[tuple[int, str], ...]:
    """As the released code has it: a number counts from the piece that holds its first digit.

    A defect, kept to show the difference: the value before that piece already knows what the piece says, so the
    choice of a number gets no credit for its own effect, and a baseline that looks at the action biases the gradient.
    """
    found, piece_of = _numbers(pieces, drop_last)
    seen: set[str] = set()
    boundaries = []
    for match in found:
        if match[0] not in seen:
            seen.add(match[0])
            boundaries.append((piece_of[match.start()], match[0]))
    return tuple(boundaries)


def merge_close(boundaries: Sequence[tuple[int, str]], interval: int) -> tuple[tuple[int, str], ...]:
    """Move every boundary less than `interval` pieces before the next one onto it, from the last to the first.

    Numca's smoothing (50 in the paper). Whether a boundary stays depends on what is written up to `interval` later, so
    above 1 the value at a token may look ahead by as much. 0 and 1 change nothing.
    """
    moved = list(boundaries)
    for i in range(len(moved) - 2, -1, -1):
        if moved[i + 1][0] - moved[i][0] < interval:
            moved[i] = (moved[i + 1][0], moved[i][1])
    return tuple(moved)


def number_states(boundaries: Sequence[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """(piece index from which on the state holds, the state's name) along the text, from the empty set at 0 on.

    A state is the set of numbers known so far; its name lists them in order, so that equal sets have equal names.
    """
    numbers: set[str] = set()
    states = [(0, "")]
    for start, number in boundaries:
        numbers.add(number)
        states.append((start, ",".join(sorted(numbers))))
    return tuple(states)


def _numbers(pieces: Sequence[str], drop_last: bool) -> tuple[list[re.Match[str]], list[int]]:
    """The runs of digits of the joined text, and the piece of each of its characters."""
    piece_of = [index for index, piece in enumerate(pieces) for _ in piece]
    found = list(DIGITS.finditer("".join(pieces)))
    return (found[:-1] if drop_last else found), piece_of
