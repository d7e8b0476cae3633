"""Texts cut into sentences, as spans of characters."""

import re

CLOSERS = r"[\"')\]}*_»”’]*"
BREAK = re.compile(rf"(?:[.!?…]+{CLOSERS}(?=\s|$)|[。！？]+{CLOSERS}|\n)\s*")


def sentence_spans(text: str) -> tuple[tuple[int, int], ...]:
    """[start, end) of each sentence, in order; together they cover the text. Text of white space alone has none.

    A sentence ends behind . ! ? … (with closing quotes and brackets) where white space or nothing follows, behind a
    Chinese or Japanese full stop, or at a line break; white space behind it is its own. `3.14` and `e.g.x` are not cut,
    `Dr. Who` is: no list of abbreviations is kept. Code and lists are cut at their lines.
    """
    if not text.strip():
        return ()
    first = len(text) - len(text.lstrip())
    ends = [match.end() for match in BREAK.finditer(text, first)]
    if not ends or ends[-1] < len(text):
        ends.append(len(text))
    return tuple(zip([0, *ends], ends, strict=False))
