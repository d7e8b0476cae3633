r"""Which part of a response is its final answer, and that part cleaned of what changes nothing. Imports no torch.

In this order: the last `\boxed{…}`; the last `#### …`; the last `<answer>…</answer>`; the last "answer is …"; the last
line, if it is an answer by itself or ends in `= …`. What follows `</think>` is the response. A response that boxes two
answers side by side, or takes its box back, says both; `math_forms` finds them different from the right one.
"""

import re
import unicodedata

from critica.environments.answers import tagged
from critica.environments.numbers import last_number
from critica.rewards.math_forms import HEDGES, NAME
from critica.rewards.math_ring import Unreadable

MAX_ANSWER, MAX_LOOK, MAX_BOXES = 400, 20_000, 50
ROW = "\1"  # the end of a matrix row, while spacing commands are removed
BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
HASHES = re.compile(r"^[ \t]*####[ \t]*(.+?)[ \t]*$", re.MULTILINE)
STATED = re.compile(
    r"(?:final\s+)?(?:answer|result|solution|option|choice)(?:\s+to\s+[^.:\n]{1,60})?\**\s*(?:is|=|:|are|equals)(?:\s*:)?\**[^\S\n]*(?=\S)",
    re.IGNORECASE,
)
NEGATED = re.compile(
    r"(?:\bnot|n't|\bnever|\bno longer|≠|\\neq?)\s*(?:equal(?:s)?(?:\s+to)?\s*)?\W{0,6}\Z", re.IGNORECASE
)
JOINT = re.compile(
    r"[\s$,.;]*(?:\\?\(|\\?\))?[\s$,;]*(or|and|,|;)?[\s$,;]*(?:maybe|perhaps|possibly|else)?[\s$]*", re.IGNORECASE
)
TAKEN_BACK = re.compile(
    r"\b(?:no|wait|actually|correction|sorry|instead|alternatively|mistake|oops|or)\b", re.IGNORECASE
)
UNSURE = re.compile(r"\b(?:could|might|may|should|would|can)\b", re.IGNORECASE)
NUMERAL = re.compile(r"(?:(?P<mixed>\d+ \d+/\d+)|(?<![\d.,/])-?\$?(?P<number>\d[\d,.]*(?:/\d+)?))(?:\s?\\?%)?")
RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
HALVES = {"½": "1}{2", "⅓": "1}{3", "⅔": "2}{3", "¼": "1}{4", "¾": "3}{4", "⅕": "1}{5", "⅛": "1}{8", "⅜": "3}{8"}
MARKS = {
    "−": "-", "–": "-", "﹣": "-", "－": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "∞": "\\infty",
    "√": "\\sqrt", "π": "\\pi", "θ": "\\theta", "’": "'", "\u2009": " ", "\u00a0": " ", "\u202f": " ", "∪": "\\cup",
    "∈": "\\in", "⁄": "/", "（": "(", "）": ")", "，": ",", "％": "%",
}  # fmt: skip


def final_answer(text: str) -> str:
    """The final answer of a response, not cleaned yet. Raises `Unreadable` if it gives none."""
    text = text.rpartition("</think>")[2][-MAX_LOOK:]
    boxes = _boxes(text)
    if boxes:
        return _of_boxes(text, boxes)
    hashes = HASHES.findall(text)
    if hashes:
        return hashes[-1]
    held = tagged(text)
    if held is not None:
        return held.strip()
    stated = list(STATED.finditer(text))
    if stated:
        return _stated(text, stated[-1])
    return _of_last_line(text)


def _of_boxes(text: str, boxes: list[tuple[int, int, str]]) -> str:
    """The last box, with those that stand right before it as further answers."""
    start, end, answer = boxes[-1]
    for before_start, before_end, earlier in reversed(boxes[:-1]):
        between = JOINT.fullmatch(text[before_end:start])
        if between is None or len(text[before_end:start]) > 40 or "\n" in text[before_end:start].strip(" "):
            break
        answer, start = f"{earlier} {between[1] or 'or'} {answer}", before_start
    if NEGATED.search(text[max(0, start - 40) : start]):
        raise Unreadable("its box is what the answer is not")
    after = text[end:]
    later = list(STATED.finditer(after))
    if later:
        return f"{answer} or {_stated(after, later[-1])}"
    restated = re.match(r"\s*\$?,?\s+or\s+([^.\n]*\d[^\n]*)", after)
    if restated:
        return f"{answer} or {_sentence(restated[1])}"
    taken = TAKEN_BACK.search(after[:80])
    if taken and re.search(r"\d", after):
        raise Unreadable("it takes its box back")
    return answer


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of each box whose braces close."""
    found = []
    for opening in list(BOXED.finditer(text))[-MAX_BOXES:]:
        depth, at = 1, opening.end()
        while at < len(text) and depth and at - opening.end() <= 4 * MAX_ANSWER:
            depth += (text[at] == "{") - (text[at] == "}")
            at += 2 if text[at] == "\\" else 1
        if not depth:
            found.append((opening.start(), at, text[opening.end() : at - 1]))
    return [one for one in found if not any(other[0] < one[0] and one[1] < other[1] for other in found)]


def _stated(text: str, found: re.Match[str]) -> str:
    """What follows "the answer is" in its sentence."""
    return _sentence(text[found.end() :].split("\n", 1)[0])


def _sentence(text: str) -> str:
    """Up to the end of the sentence: a full stop before a blank or the end, not a decimal point."""
    return re.split(r"\.(?:\s|\Z)|[!](?:\s+[A-Z]|\Z)", text.strip(), maxsplit=1)[0].strip().rstrip("*")


def _of_last_line(text: str) -> str:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        raise Unreadable("empty")
    line = _sentence(lines[-1]) if not lines[-1].endswith(".") else lines[-1].rstrip(".")
    if "=" in line and not re.search(r"[<>!]=", line):
        return line if NAME.fullmatch(line.partition("=")[0].strip(" $\\([")) else line.rpartition("=")[2]
    bare = re.sub(r"\\[A-Za-z]+(?:\{[A-Za-z]+\})?", " ", line)
    if not re.match(r"[^\d]*[A-Za-z]{2,}[^\d]*\d", bare) and len(re.findall(r"[A-Za-z]{2,}", bare)) <= 3:
        return line
    numerals = list(NUMERAL.finditer(line))
    if (
        len(numerals) != 1
        or UNSURE.search(line)
        or HEDGES.search(line)
        or (not numerals[0]["mixed"] and last_number(line) is None)
    ):
        raise Unreadable("its last line is no answer")
    return numerals[0][0].rstrip(".,")


def tidy(text: str) -> str:
    r"""The answer without delimiters, fonts, spacing, final marks and separators of thousands; signs as in ASCII."""
    if len(text) > MAX_ANSWER:
        raise Unreadable("longer than an answer is")
    for mark, fraction in HALVES.items():
        text = text.replace(mark, f"\\frac{{{fraction}}}")
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda found: "^{" + found[0].translate(RAISED) + "}", text)
    for mark, plain in MARKS.items():
        text = text.replace(mark, plain)
    text = unicodedata.normalize("NFKC", text).strip().replace("\\\\", ROW)
    text = re.sub(r"(?<![\d/.\\])(\d+) (\d+)/(\d+)(?![\d/])", r"\1\\frac{\2}{\3}", text)
    text = re.sub(r"\\[lr]angle(?![a-z])", lambda found: "(" if found[0] == "\\langle" else ")", text)
    text = re.sub(r"\\(?:displaystyle|textstyle|left|right|big|Big|bigl|bigr|limits)(?![a-z])", "", text)
    text = re.sub(
        r"\\(?:text|mathrm|textbf|mathbf|textit|mbox|operatorname|mathit|bm|rm)\s*\{([^{}]*)\}", r" \1 ", text
    )
    text = re.sub(r"(\d)\{,\}(?=\d{3})|(\d)\\[,!](?=\d{3})", r"\1\2", text)
    text = re.sub(r"\\(?:quad|qquad)(?![a-z])|\\[,;:! ]|~", " ", text)
    text = text.replace("**", "").replace("`", "").replace("\\(", "").replace("\\)", "")
    text = re.sub(r"\\\[|\\\]", "", text)
    if not re.match(r"\s*-?\$\s*\d[^$]*\Z", text):
        text = text.replace("\\$", "\0").replace("$", "").replace("\0", "\\$")
    text = re.sub(r"(\d*)\.(\d*)\\overline\{(\d+)\}", _repeating, text)
    text = text.strip().strip("\"'").rstrip(".,;").strip()
    return _without_thousands(text).replace(ROW, "\\\\")


def _repeating(found: re.Match[str]) -> str:
    whole, fixed, turns = found[1], found[2], found[3]
    below = (10 ** len(turns) - 1) * 10 ** len(fixed)
    return f"\\frac{{{int((whole + fixed + turns) or 0) - int((whole + fixed) or 0)}}}{{{below}}}"


def _without_thousands(text: str) -> str:
    """`1,234` and `12 345` as one number, outside of brackets."""
    joined = re.fullmatch(r"(\D*?)(\d{1,3}(?: \d{3})+)(\D*)", text)
    if joined:
        return joined[1] + joined[2].replace(" ", "") + joined[3]
    parts = re.split(r"([(\[{][^()\[\]{}]*[)\]}])", text)
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(
            r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])", lambda found: found[0].replace(",", ""), parts[place]
        )
    return "".join(parts)
