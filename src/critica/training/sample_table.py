"""A few answers of a step as a small table for a terminal: the prompt, what was written, what it was told."""

import math
import shutil
from collections.abc import Sequence

from critica.records.run import StepRecord
from critica.training.answers import Answer, answers

ROWS = 3
LEAST, MOST = 60, 160  # columns of a terminal that the table fills
NUMBERS = ("told", "clean", "expected")


def sample_table(record: StepRecord, width: int = 0) -> str:
    """Three answers of the step: one told most, one told least, and one from the middle; `width` 0: the terminal's."""
    found = answers(record)
    if not found:
        return f"step {record.step}: no answer is in the batch"
    picked = pick(found)
    width = min(MOST, max(LEAST, width or shutil.get_terminal_size().columns))
    room = width - 10 * len(NUMBERS) - 2
    asked = min(room // 2, max(len(one_line(answer.task.prompt)) for answer in picked))
    lines = [("prompt", "answer", *NUMBERS)]
    lines += [
        (one_line(a.task.prompt), one_line(a.text) or "(nothing)", *map(number, (a.told, a.clean, a.expected)))
        for a in picked
    ]
    said = [
        f"{cut(prompt, asked):<{asked}}  {cut(text, room - asked):<{room - asked}}"
        + "".join(f"{cell:>10}" for cell in numbers)
        for prompt, text, *numbers in lines
    ]
    return "\n".join([f"step {record.step}, {len(picked)} of {len(found)} answers", *said])


def pick(found: Sequence[Answer]) -> list[Answer]:
    """The ones told most, least, and in the middle, of different prompts where there are some; unknown comes last."""
    order = sorted(found, key=lambda answer: (math.isnan(answer.told), -answer.told, answer.trajectory_id))
    known = [answer for answer in order if not math.isnan(answer.told)] or order
    picked: list[Answer] = []
    for best in (known, known[len(known) // 2 :] + known, known[::-1]):
        fresh = [answer for answer in best if answer not in picked]
        other = [answer for answer in fresh if all(answer.task.task_id != one.task.task_id for one in picked)]
        picked += (other or fresh)[:1]
    return sorted(picked, key=order.index)[:ROWS]


def one_line(text: str) -> str:
    """The text with its line ends shown, and nothing that a terminal would obey."""
    lined = " ".join(text.replace("\n", "⏎").split())
    return "".join(letter if letter.isprintable() else "�" for letter in lined)


def cut(text: str, width: int) -> str:
    """At most so many characters: the beginning and the end of a long text."""
    if len(text) <= width:
        return text
    end = (width - 1) // 3
    return f"{text[: width - 1 - end]}…{text[len(text) - end :] if end else ''}"


def number(value: float) -> str:
    """Three digits, or a dash where nobody knows."""
    return "-" if math.isnan(value) else f"{value:.3g}"
