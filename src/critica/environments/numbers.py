"""The number that a text ends on, read as a careful person reads it: what can be read two ways is no number.

A verifier that takes `1,2` for 12, the end of `10-3` for -3, or the last number of `4 or 5` pays for wrong answers,
and a policy finds every such gap. Imports no torch.
"""

import re
from fractions import Fraction

MAX_LENGTH = 400  # characters of a number, and its largest exponent: exact arithmetic must not fill the memory
LOOK_LEFT, LOOK_RIGHT = 64, 32  # characters around a number that can change what it means
BLANK = "[ \\t\u00a0\u2009\u202f]"
SIGNS = "+-\u2212\u2013\ufe63\uff0d"  # plus, hyphen, minus sign, en dash, small and full-width hyphen
MINUS = re.escape(SIGNS[1:])  # inside the brackets of a pattern
HYPHENS = dict.fromkeys(map(ord, SIGNS[1:]), "-")
DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
NUMBER = re.compile(
    rf"(?P<sign>[+{MINUS}]?)(?P<above>(?:{DIGITS}(?:\.\d*)?|\.\d+))(?:[eE](?P<exponent>[+{MINUS}]?\d+))?"
    rf"(?:{BLANK}?/{BLANK}?(?P<below>\d+(?:\.\d+)?))?"
)
RUN = re.compile(rf"[+{MINUS}]?(?:[\d.,]*[\d.](?:[eE][+{MINUS}]?)?)?(?:[\d.,]*\d{BLANK}?/{BLANK}?)?[\d.,]*\d\Z")
RUN_MARKS = frozenset(f".,/eE{SIGNS} \t\u00a0\u2009\u202f")

# What stands before a number and makes it a part of something else.
LEFT = re.compile(
    rf"""(?:
      [A-Za-z_\\\u0370-\u03ff]                                   # x12, v12, \12, π12
    | \d{BLANK}*                                                 # 1 000, 1 3/4, 4 5
    | \d\W?{BLANK}*(?:[,;|]|\b(?:and|to|through)\b)\s*            # 4, 5   3 and 5
    | \d[:'’]                                                    # 3:5, 1'000
    | \b(?:or|nor|not|minus|negative|plus|times|over|by|than|sqrt|log|ln|exp)
      (?:\s+(?:maybe|perhaps|possibly|even|else|rather))?\s*     # 4 or 5, not 5, minus 5, or maybe 5
    | n['’]t\s+(?:equal(?:s)?\s+(?:to\s+)?)?
    | [{MINUS}+]\s+ | [{MINUS}+]{BLANK}*[(\[{{$]+{BLANK}*        # - 5, -(5), -$5
    | [A-Za-z\d_)}}]\$[{MINUS}+]                                # $a$-5
    | (?:[A-Za-z\d_)\]}}]|\d{BLANK}|[{MINUS}+])[{MINUS}+]               # 10-3, x-5, 10 -3, --5
    | [\^√±×÷·∙⋅/≠≤≥<]{BLANK}*[(\[{{]*{BLANK}*                   # 2^5, √5, ±5, 3×5, < 5
    | [!<>]={BLANK}*
    | [A-Za-z\d_)]\s*>\s*                                               # x > 5
    | (?:[\d)\]}}]\s*\*{{1,2}}\s*|[A-Za-z\d_]\*{{1,2}})                   # 3 * 5, x*5
    | [A-Za-z\d_^)}}\]][(\[{{]+{BLANK}*                                 # f(5), x^(5), \frac{{1}}{{5}}, 2(5)
    )\Z""",
    re.VERBOSE | re.IGNORECASE,
)
WRAPPER = re.compile(r"\\(?:boxed|fbox|text|textbf|mathbf|mathrm|bm)\{\s*\Z")
TAG = re.compile(r"<[^<>\s][^<>]*>\s*\Z")
NEGATED = re.compile(rf"(?:[{MINUS}+/^]|[\d)\]}}]\s*\*+)\s*\Z")

# What stands after a number and makes it a part of something else.
RIGHT = re.compile(
    rf"""(?:
      [A-Za-z_\u0370-\u03ff√(]                                   # 12k, 12x, 2π, 5(x
    | \\(?!text|mathrm|right|quad|circ|[,;:!%$)\]\\\s])          # 5\pi, 5\cdot
    | {BLANK}*[\^/×÷·∙⋅]                                         # 5^x, 5/x
    | \*{{1,2}}[A-Za-z\d_(\\]                                           # 5*x
    | [+{MINUS}][A-Za-z\d_(\\] | {BLANK}*\+{BLANK}*[A-Za-z\d_(\\]              # 5-x, 5 + x
    | {BLANK}+[{MINUS}]{BLANK}+[b-hj-z]\b                        # 5 - x
    | }}\s*[{{^]                                                 # \frac{{5}}{{x}}, {{5}}^2
    | [)\]]\^
    | {BLANK}*(?:hundred|thousand|million|billion|trillion|dozen|squared|cubed|(?:k|m|bn)\b)
    | {BLANK}*[十百千万萬亿億兆]
    | {BLANK}+or\b
    )""",
    re.VERBOSE | re.IGNORECASE,
)


def last_number(text: str) -> Fraction | None:
    """The number that the text ends on; None if it has none, or one that could be read in two ways."""
    end = next((i for i in range(len(text) - 1, -1, -1) if is_numeral(text[i])), -1) + 1
    if not end or not text[end - 1].isdecimal():  # none, or 5² and 5½
        return None
    near = text[max(0, end - MAX_LENGTH - LOOK_LEFT) : end]
    run = RUN.search(near, _start_of_run(near))
    if run is None or len(run[0]) > MAX_LENGTH:
        return None
    start = run.start() + len(run[0]) - len(run[0].lstrip(","))
    before, after = near[:start][-LOOK_LEFT:], text[end : end + LOOK_RIGHT]
    return None if changes_meaning(before, near[start], after) else parse_number(near[start:])


def _start_of_run(near: str) -> int:
    """Where the characters that a run can have begin: a search from there finds what one from the start finds."""
    at = len(near)
    while at and (near[at - 1].isdecimal() or near[at - 1] in RUN_MARKS):
        at -= 1
    return at


def changes_meaning(before: str, first: str, after: str) -> bool:
    """Whether what stands around a number, whose first character is given, makes it a part of something else."""
    if RIGHT.match(after):
        return True
    wrapper = WRAPPER.search(before)
    if wrapper:
        return NEGATED.search(before[: wrapper.start()]) is not None
    if TAG.search(before):
        return False
    signed = before + first  # a sign belongs to the number only where nothing stands to subtract from
    return LEFT.search(before) is not None or (first in SIGNS and LEFT.search(signed) is not None)


def is_numeral(character: str) -> bool:
    """A digit of any script, or a sign that stands for a number; letters of Chinese that do are words."""
    return character.isnumeric() and not character.isalpha()


def parse_number(text: str) -> Fraction | None:
    """The exact value of `-1,234.5`, `3e-2` or `3/4`; None for anything else, infinity and a zero denominator."""
    found = NUMBER.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if not found:
        return None
    exponent = int(plain(found["exponent"] or "0"))
    if abs(exponent) > MAX_LENGTH:
        return None
    above, below = Fraction(plain(found["above"])), Fraction(found["below"]) if found["below"] else None
    if below == 0:
        return None
    above = -above if found["sign"] not in ("", "+") else above
    scaled = above * Fraction(10) ** exponent if exponent else above
    return scaled if below is None else scaled / below


def plain(text: str) -> str:
    """The digits without separators of thousands, the sign as Python writes it."""
    return text.replace(",", "").translate(HYPHENS)
