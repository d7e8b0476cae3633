"""A reward function of one's own, called as TRL calls its: lists in, one number for each completion out.

    critica train grpo --reward my_reward.py:my_reward --environment arithmetic --steps 20 --run runs/mine

It runs in a worker process with limits of time and memory, without a network. Columns of the task (`answer`, and
whatever the environment or your data file has) come as further lists by name.
"""

import re


def my_reward(completions: list[str], answer: list[str], **columns: list) -> list[float | None]:
    """1 for the right last number, and a tenth for any number; None where no judgment is possible."""
    return [judged(text, right) for text, right in zip(completions, answer, strict=True)]


def judged(text: str, right: str) -> float | None:
    """The reward of one completion. None is not 0: such a sample leaves the statistics."""
    if not right.strip():
        return None
    numbers = re.findall(r"-?\d+", text)
    if not numbers:
        return 0.0
    return 1.0 if numbers[-1] == right.strip() else 0.1
