"""A constraint in English as a rule on the response, or None where we cannot read it. Imports no torch.

The taxonomy is MulDimIF's (arXiv 2505.07591): Language (Chinese, English), Format (Markdown, Json, XML, Table), Length
(Words, Sentences, Paragraphs), Content (Keywords, Identifiers, Punctuation); the reading and the rules are ours. What
binds a part of the response (`each example must start with …`) is not read: a rule on the whole would be another one.
A rule that begins with `if` holds where its object is absent.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from critica.environments.constraint_bounds import Bounds, in_digits, read_bounds
from critica.environments.constraint_text import (
    SIMPLIFIED,
    TRADITIONAL,
    attributes,
    han_share,
    heading_levels,
    json_depth,
    latin_share,
    paragraphs,
    sentences,
    tables,
    words,
)
from critica.environments.json_find import find_object

Rule = Callable[[str], bool]
SUBCATEGORIES = (
    "chinese", "english", "markdown", "json", "xml", "table", "words", "sentences", "paragraphs", "keywords",
    "identifiers", "punctuation",
)  # fmt: skip
QUOTED = re.compile(r"'((?:[^']|(?<=\w)'(?=\w))+)'|\"([^\"]+)\"|“([^”]+)”|‘([^’]+)’|「([^」]+)」")
PARTIAL = re.compile(
    r"\b(?:each|every|per|all|any)\b(?! (?:in )?(?:words?|letters?|xml|tables?|upper|lower|caps|capital))|\bsection|"
    r"\btitle|\bexamples?\b|\bfirst\b|\blast\b|\bas part of\b|\bunless\b|\bexcept"
)
CONDITION = re.compile(r"\bif\b|\bany tables?\b|\bwhen used\b|\bwhere used\b")
FORBIDS = re.compile(r"\b(?:not|never|no|avoid|exclude|excluding|without)\b")
MARKS: Mapping[str, str] = MappingProxyType(
    {"period": ".。", "full stop": ".。", "question mark": "?？", "exclamation": "!！", "semicolon": ";；",
     "comma": ",，", "ellipsis": "…", "colon": ":："}
)  # fmt: skip
LISTS: Mapping[str, str] = MappingProxyType(
    {r"\bblock ?quotes?": r"^>\s*\S", r"\b(?:bullet|bulleted|unordered)": r"^\s*[-*+]\s+\S",
     r"\b(?:numbered|ordered) list": r"^\s*\d+[.)]\s+\S", r"\bbold": r"\*\*[^*\n]+\*\*", r"\bcode block": r"^```"}
)  # fmt: skip


def read_rule(category: str, subcategory: str, text: str) -> Rule | None:
    """The rule that `[category, subcategory, text]` sets; None if it cannot be read."""
    named = f"{subcategory} {category}".lower()
    kind = next((name for name in SUBCATEGORIES if re.search(rf"\b{name}\b", named)), "")
    plain = in_digits(text)
    if not kind or (kind != "table" and PARTIAL.search(plain)):
        return None
    if kind in ("words", "sentences", "paragraphs"):
        return _length(kind, plain)
    if kind in ("keywords", "identifiers"):
        return _content(kind, text, plain)
    readers: Mapping[str, Callable[[str], Rule | None]] = {
        "chinese": _chinese, "english": _english, "markdown": _markdown, "json": _json, "xml": _xml, "table": _table,
        "punctuation": _punctuation,
    }  # fmt: skip
    return readers[kind](plain)


def _length(kind: str, text: str) -> Rule | None:
    bounds = read_bounds(text, kind[:-1])
    count = {"words": lambda said: len(words(said)), "sentences": sentences, "paragraphs": paragraphs}[kind]
    return None if bounds is None else lambda said: bounds.hold(count(said))


def _chinese(text: str) -> Rule | None:
    if "pinyin" in text or "english" in text:
        return None
    if "simplified" in text:
        return lambda said: han_share(said) >= 0.5 and not TRADITIONAL & set(said)
    if "traditional" in text:
        return lambda said: han_share(said) >= 0.5 and not SIMPLIFIED & set(said)
    return (lambda said: han_share(said) >= 0.5) if "chinese" in text and not FORBIDS.search(text) else None


def _english(text: str) -> Rule | None:
    if FORBIDS.search(text):
        return None
    if re.search(
        r"\ball (?:in )?(?:upper ?-?case|capital|caps)|\bupper ?-?case\b|\ball caps\b|\ball letters\b.*capital", text
    ):
        return lambda said: said.upper() == said and any(map(str.isalpha, said))
    if re.search(r"\blower ?-?case\b", text):
        return lambda said: said.lower() == said and any(map(str.isalpha, said))
    if re.search(r"capitali[sz]ed|\bcapital letters?\b|title case", text):
        if not re.search(r"\beach word|\bevery word|title case|\bwords? (?:must|should) be capitali", text):
            return None
        return _words_capitalized
    return (lambda said: latin_share(said) >= 0.9) if re.search(r"\bin english\b|\buse english\b", text) else None


def _words_capitalized(said: str) -> bool:
    starts = [found[0] for found in re.findall(r"[^\W\d_][\w'’]*", re.sub(r"['’]\w+", "", said)) if found[0].isalpha()]
    cased = [start for start in starts if start.lower() != start.upper()]
    return bool(cased) and all(start == start.upper() for start in cased)


def _markdown(text: str) -> Rule | None:
    level = re.search(r"\blevel[- ]([1-6])\b|\bh([1-6])\b|\b([1-6])(?:st|nd|rd|th)?[- ]level heading", text)
    if level and "levels" not in text:
        wanted = int(next(filter(None, level.groups())))
        return lambda said: wanted in heading_levels(said)
    if "heading level" in text or "levels of heading" in text:
        bounds = read_bounds(text, r"(?:heading )?levels?")
        return (
            None
            if bounds is None
            else lambda said: bool(heading_levels(said)) and bounds.hold(len(set(heading_levels(said))))
        )
    if "heading" in text:
        bounds = read_bounds(text, "headings?") or (None if re.search(r"\d", text) else Bounds(1))
        return None if bounds is None or FORBIDS.search(text) else lambda said: bounds.hold(len(heading_levels(said)))
    for name, pattern in LISTS.items():
        if re.search(name, text):
            bounds = read_bounds(text, name) or (None if re.search(r"\d", text) else Bounds(1))
            found = re.compile(pattern, re.MULTILINE)
            return None if bounds is None else lambda said, b=bounds, f=found: b.hold(len(f.findall(said)))
    return None


def _json(text: str) -> Rule | None:
    absent_is_right = bool(CONDITION.search(text))
    if "nest" in text or "level" in text or "depth" in text:
        bounds = read_bounds(text, r"(?:nesting )?levels?")
        return None if bounds is None else lambda said: _holds(bounds, json_depth(said), absent_is_right)
    if "key" in text:
        bounds = read_bounds(text, "keys?")
        return None if bounds is None else lambda said: _holds(bounds, _keys(said), absent_is_right)
    return (lambda said: find_object(said) is not None) if "json" in text and not re.search(r"\d", text) else None


def _keys(said: str) -> int | None:
    found = find_object(said)
    return None if found is None else len(found)


def _holds(bounds: Bounds, count: int | None, absent_is_right: bool) -> bool:
    return absent_is_right if count is None else bounds.hold(count)


def _xml(text: str) -> Rule | None:
    absent_is_right = bool(CONDITION.search(text))
    if "attribute" not in text:
        return (lambda said: attributes(said) is not None) if "xml" in text and not re.search(r"\d", text) else None
    bounds = read_bounds(text, "attributes?")
    if bounds is None:
        return None
    if re.search(r"\b(?:each|every|per)\b", text):

        def each(said: str) -> bool:
            counts = attributes(said)
            return absent_is_right if counts is None else all(map(bounds.hold, counts))

        return each
    return lambda said: _holds(bounds, None if (counts := attributes(said)) is None else sum(counts), absent_is_right)


def _table(text: str) -> Rule | None:
    if "table" not in text and not re.match(r"(?:row|column) limit", text):
        return None
    absent_is_right, place = bool(CONDITION.search(text)), 1 if "column" in text else 0
    if "row" in text or "column" in text:
        bounds = read_bounds(text, "columns?" if place else "rows?")
        if bounds is None or ("row" in text and "column" in text):
            return None

        def limited(said: str) -> bool:
            found = tables(said)
            return absent_is_right if not found else all(bounds.hold(table[place]) for table in found)

        return limited
    if re.search(r"\d", text) or absent_is_right:
        return None
    return (lambda said: not tables(said)) if FORBIDS.search(text) else (lambda said: bool(tables(said)))


def _content(kind: str, text: str, plain: str) -> Rule | None:
    quoted = [next(filter(None, found)).strip() for found in QUOTED.findall(text)]
    rest = " ".join(QUOTED.sub(" ", text).lower().split())
    if not quoted:
        return None
    if kind == "identifiers":
        return _identifier(quoted, rest)
    wanted = [word.rstrip(".").lower() for word in quoted]
    if "times" in rest or "once" in rest or "twice" in rest:
        bounds = read_bounds(in_digits(rest), "times")
        return None if bounds is None or len(wanted) > 1 else lambda said: bounds.hold(said.lower().count(wanted[0]))
    if FORBIDS.search(rest):
        return lambda said: not any(word in said.lower() for word in wanted)
    if re.search(r"\bor\b|\beither\b", rest):
        return lambda said: any(word in said.lower() for word in wanted)
    return lambda said: all(word in said.lower() for word in wanted)


def _identifier(quoted: list[str], rest: str) -> Rule | None:
    begins = re.search(r"\b(?:start|begin|prefix|open)", rest)
    ends = re.search(r"\b(?:end|conclude|finish|clos)", rest)
    if FORBIDS.search(rest) or (begins and ends and len(quoted) != 2):
        return None
    if begins and ends:
        first, last = quoted if begins.start() < ends.start() else quoted[::-1]
        return lambda said: said.strip().startswith(first) and said.strip().endswith(last)
    if len(quoted) > 1 or not (begins or ends):
        return None
    return lambda said: said.strip().startswith(quoted[0]) if begins else said.strip().endswith(quoted[0])


def _punctuation(text: str) -> Rule | None:
    mark = next((marks for name, marks in MARKS.items() if name in text), "")
    if not mark:
        found = QUOTED.search(text)
        held = next(filter(None, found.groups())).strip() if found else ""
        mark = held if len(held) == 1 else ""
    if not mark:
        return None
    if re.search(r"\bend|\bconclude", text):
        forbidden = bool(FORBIDS.search(text))
        return lambda said: (said.rstrip()[-1:] in tuple(mark)) != forbidden
    if FORBIDS.search(text) and not re.search(r"\d", text):
        return lambda said: not any(one in said for one in mark)
    bounds = read_bounds(text, r"\w+")
    if bounds is None:
        return None if re.search(r"\d", text) or "ending" in text else lambda said: any(one in said for one in mark)
    return lambda said: bounds.hold(sum(said.count(one) for one in mark))
