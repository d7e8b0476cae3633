"""A text cut at separators that stand outside of all brackets. Imports no torch."""

from collections.abc import Sequence

OPENING, CLOSING = "([{", ")]}"


def parted(text: str, separators: Sequence[str]) -> list[str]:
    """The parts between the separators at depth 0; the text alone if there are none. Commands end where letters do."""
    parts, depth, start, at = [], 0, 0, 0
    while at < len(text):
        character = text[at]
        if character in OPENING:
            depth += 1
        elif character in CLOSING:
            depth = max(0, depth - 1)
        if depth == 0:
            for separator in separators:
                if text.startswith(separator, at) and not _goes_on(text, at, separator):
                    parts.append(text[start:at])
                    at += len(separator)
                    start = at
                    break
            else:
                at += 1
            continue
        at += 1
    return [*parts, text[start:]]


def _goes_on(text: str, at: int, separator: str) -> bool:
    """`\\in` is not the start of `\\infty`, `=` not the end of `<=`, and a comma not a separator of thousands."""
    end = at + len(separator)
    if separator.startswith("\\"):
        return text[end : end + 1].isalpha()
    return separator == "=" and text[at - 1 : at] in ("<", ">", "!")
