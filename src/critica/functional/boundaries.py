"""Where an answer is cut into stretches, decided by what was written before each cut alone.

A state whose place depends on what follows it is a baseline that looks at the action: its gradient is biased. So every
rule here is a stopping rule: whether a cut falls before token t never depends on token t or on any later one.
"""

import re
from collections.abc import Sequence
from typing import Literal

Boundary = Literal["tokens", "lines", "sentences"]
PATTERNS = {"lines": re.compile(r"\n"), "sentences": re.compile(r"[.!?][\"')\]]*\s|\n")}


def boundaries(pieces: Sequence[str], rule: Boundary) -> tuple[int, ...]:
    """Indices of pieces before which a stretch may begin, 0 first and the end never.

    `pieces` are the texts of an answer's tokens. `tokens`: every one. `lines`: after a piece that holds a line break.
    `sentences`: after a line break, or after the blank that follows a full stop, question or exclamation mark; with
    tokenizers that write the blank in front of a word, that is one word into the sentence. A number's point is none.
    """
    if rule == "tokens":
        return tuple(range(len(pieces)))
    owner = [index for index, piece in enumerate(pieces) for _ in piece]
    ends = {owner[match.end() - 1] + 1 for match in PATTERNS[rule].finditer("".join(pieces))}
    return (0, *sorted(ends - {0, len(pieces)})) if pieces else ()


def spaced(places: Sequence[int], gap: int) -> tuple[int, ...]:
    """The places that lie at least `gap` after the last one kept, from the first on."""
    kept: list[int] = []
    for place in places:
        if not kept or place - kept[-1] >= gap:
            kept.append(place)
    return tuple(kept)
