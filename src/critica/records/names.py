"""Names that people write: letters that look like others are told apart by what Unicode calls them."""

import unicodedata


def odd_letter(name: str) -> str:
    """`; its character 4 is 'о' (CYRILLIC SMALL LETTER O)` for the first one beyond ASCII; nothing if there is none.

    The names of this library are plain ASCII, so such a letter is why a name that looks right is not known.
    """
    for place, letter in enumerate(name, 1):
        if not letter.isascii():
            called = unicodedata.name(letter, f"U+{ord(letter):04X}")
            return f"; its character {place} is {letter!r} ({called}), no letter of such names"
    return ""
