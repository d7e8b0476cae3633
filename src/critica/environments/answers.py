"""Which part of a completion is the answer: one rule for answers in tags, worked answers, and bare ones.

Imports no torch.
"""

import re
from bisect import bisect_left
from typing import Literal

from critica.environments.demonstrations import final_answer

Extract = Literal["auto", "tags", "after_equals", "after_thinking", "whole"]
THINK = ("<think>", "</think>")
OPEN = re.compile("<answer>", re.IGNORECASE)
CLOSE = re.compile("</answer>", re.IGNORECASE)


def extract_answer(text: str, rule: Extract, reference: str) -> str:
    """The answer in `text`.

    `tags`: what the last <answer>...</answer> holds, nothing if there is none. `after_equals`: what follows the last
    `=`. `after_thinking`: all but <think>...</think>. `whole`: all of it. `auto`: the tagged part if there is one; else
    what follows the last `=`, unless the `reference` answer itself holds one; else all of it. But for `whole`, thinking
    is left out first, see `answer_start`. Outer white space is cut.
    """
    if rule != "whole":
        text = text[answer_start(text) :]
    if rule in ("auto", "tags"):
        held = tagged(text)
        if held is not None or rule == "tags":
            return (held or "").strip()
    if rule == "after_equals" or (rule == "auto" and "=" not in reference):
        return final_answer(text)
    return text.strip()


def answer_start(text: str, opening: str = THINK[0], closing: str = THINK[1], opened: bool = False) -> int:
    """Where the answer begins in a text that may think first: behind the last closing tag.

    A thought that is never closed has no answer behind it: the end of the text. Without either tag it is all answer,
    unless it was `opened` before the text began, as chat templates of reasoning models do.
    """
    close = text.rfind(closing)
    if close >= 0:
        return close + len(closing)
    return len(text) if opened or opening in text else 0


def tagged(text: str) -> str | None:
    """What the last <answer>...</answer> holds; None if there is none. Each tag is looked at once, however many."""
    closes = [found.start() for found in CLOSE.finditer(text)]
    opens = [found.end() for found in OPEN.finditer(text) if closes and found.end() <= closes[-1]]
    return text[opens[-1] : closes[bisect_left(closes, opens[-1])]] if opens else None
