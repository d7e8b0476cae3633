"""Whether a text is built as asked: tags in order, once each, and nothing outside of them. Imports no torch."""

import re
from collections.abc import Sequence

from critica.rewards.judges import Check
from critica.rewards.wire import TaskView


def format_check(tags: Sequence[str], partial: bool, opened: bool) -> Check:
    """The check of `Format`."""

    def check(task: TaskView, text: str) -> float:
        return built(text, tags, partial, opened)

    return check


def built(text: str, tags: Sequence[str], partial: bool = False, opened: bool = False) -> float:
    """1 if the text is <tag>…</tag> for each of the tags in order and nothing else but white space; else 0.

    Every opening and closing tag must be there exactly once, and each must hold something. `partial` pays the share of
    them that are there exactly once, wherever they stand. `opened`: the first opening tag is written by the chat
    template and not by the policy. Linear in the text.
    """
    marks = [mark for tag in tags for mark in (f"<{tag}>", f"</{tag}>")][1 if opened else 0 :]
    once = [text.count(mark) == 1 for mark in marks]
    if partial:
        return sum(once) / len(marks)
    if not all(once):
        return 0.0
    pieces = re.split("|".join(map(re.escape, marks)), text)
    places = [text.index(mark) for mark in marks]
    held = pieces[0 if opened else 1 :: 2]
    between = pieces[1 if opened else 0 :: 2]
    return float(places == sorted(places) and all(map(str.strip, held)) and not any(map(str.strip, between)))
