"""The math-verify library as a check, for workers: parsing LaTeX into sympy, then several kinds of equality.

Wider than `strict_math` (it knows trigonometry, solves, rounds to 6 decimals) and laxer: it accepts a part of some
answers. Its own timeouts use signals and are switched off; the worker's deadline is the timeout. Needs the extra
`reasoning` (or `environments`). Source: math-verify 0.9; of its options only `boxed_match_priority=0` differs from its
defaults, so that a box counts before any other text. Imports no torch.
"""

import logging
from functools import lru_cache
from typing import Any

from critica.environments.answers import tagged
from critica.rewards.judges import Check
from critica.rewards.wire import TaskView


class MissingLibrary(RuntimeError):
    """A verifier needs a library that is not installed; the text says which."""


def library_math() -> Check:
    """1 if math-verify finds the response's answer equal to the task's, else 0. Raises if it cannot parse that."""
    try:
        from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
    except ImportError as error:
        raise MissingLibrary(
            "the reward `math` needs math-verify: pip install 'critica[reasoning]', or use `math:strict`"
        ) from error
    for name in ("math_verify", "latex2sympy2_extended"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # it warns about the timeouts that are off
    reading = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())

    def said(text: str) -> str:
        held = tagged(text)  # the library does not look into <answer> tags
        return text if held is None else held

    def read(text: str) -> list[Any]:
        return parse(text, reading, parsing_timeout=None)  # type: ignore[arg-type]

    @lru_cache(maxsize=1024)
    def gold_of(answer: str) -> tuple[Any, ...]:
        found = read(answer) if "$" in answer or "\\boxed" in answer else read(f"${answer}$") or read(answer)
        if not any(not isinstance(one, str) for one in found):
            raise ValueError(
                f"math-verify cannot parse the task's own answer {answer[:80]!r}: use `math:strict` or `exact` for it"
            )
        return tuple(found)

    def check(task: TaskView, text: str) -> float:
        gold = list(gold_of(task.answer))
        return float(bool(verify(gold, read(said(text)), timeout_seconds=None)))

    return check
