"""What a stated confidence is paid, beside being right. Imports no torch.

With q the stated probability and p the true one of being right, both rules pay most on average for q = p: the log
rule since p log q + (1 - p) log(1 - q) has its maximum there, and the Brier rule since p (1 - q)^2 + (1 - p) q^2 has
its minimum there. What being right pays does not depend on q.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from critica.rewards.judges import Check, make_check
from critica.rewards.wire import Declined, TaskView

CORRECT = 0.999
LEAST = 0.001  # of a stated probability: log 0 is not paid
BEST = math.log(1.0 - LEAST)
WORST = math.log(LEAST) / 2.0


def proper_scoring(
    rule: str, then: Mapping[str, Any], steps: float, bonus: float, malformed: float, pattern: str
) -> Check:
    """The check of `ProperScoring`. Where the verifier inside abstains or raises, so does this."""
    compiled = re.compile(pattern, re.IGNORECASE)
    inner = make_check(then)

    def check(task: TaskView, text: str) -> float | Declined:
        stated = list(compiled.finditer(text))
        if not stated or not 0.0 <= float(stated[-1][1]) <= steps:
            return malformed
        right = inner(task, compiled.sub("", text).strip())
        if isinstance(right, Declined):
            return right
        correct = float(right) >= CORRECT
        stated_probability = float(stated[-1][1]) / steps
        return (
            log_reward(stated_probability, correct, bonus)
            if rule == "log"
            else brier_reward(stated_probability, correct)
        )

    return check


def log_reward(stated: float, correct: bool, bonus: float = 0.25) -> float:
    """10 ((s - WORST) / (BEST - WORST) + bonus correct), s = log q if correct else log(1 - q), q within [.001, .999].

    Source: Rewarding Doubt (arXiv 2503.02623), its public code: right and sure 12.5, wrong and sure about -10, wrong
    and unsure 10.
    """
    clipped = min(1.0 - LEAST, max(LEAST, stated))
    score = math.log(clipped if correct else 1.0 - clipped)
    return 10.0 * ((score - WORST) / (BEST - WORST) + bonus * correct)


def brier_reward(stated: float, correct: bool) -> float:
    """correct - (q - correct)^2, in [-1, 1]. Source: RLCR (arXiv 2507.16806)."""
    return float(correct) - (stated - correct) ** 2
