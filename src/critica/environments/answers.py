"""Which part of a completion is the answer: one rule for answers in tags, worked answers, and bare ones."""

import re
from typing import Literal

from critica.environments.demonstrations import final_answer

Extract = Literal["auto", "tags", "after_equals", "whole"]
TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)


def extract_answer(text: str, rule: Extract, reference: str) -> str:
    """The answer in `text`.

    `tags`: what the last <answer>...</answer> holds, nothing if there is none. `after_equals`: what follows the last
    `=`. `whole`: all of it. `auto`: the tagged part if there is one; else what follows the last `=`, unless the
    `reference` answer itself holds one; else all of it. Outer white space is cut.
    """
    if rule in ("auto", "tags"):
        tagged = TAGGED.findall(text)
        if tagged or rule == "tags":
            return tagged[-1].strip() if tagged else ""
    if rule == "after_equals" or (rule == "auto" and "=" not in reference):
        return final_answer(text)
    return text.strip()
