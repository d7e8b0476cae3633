r"""Our own checker of mathematical answers: exact, quick, without a computer algebra system, and strict.

Right means: the response gives exactly one final answer (`math_answers`), and its normal form is the gold's
(`math_forms`), compared without rounding (`math_ring`). A part of the answer, two answers, a hedge, a rounded value, a
calculation left undone and anything that cannot be read are wrong. It errs on the side of wrong: identities beyond
polynomials, roots and rational functions (`\sin^2 x + \cos^2 x`) are not known to it; use `math` for such tasks.
`critica bench verifiers` measures both. Imports no torch.
"""

from functools import lru_cache

from critica.rewards.judges import Check
from critica.rewards.math_answers import BOXED, HASHES, final_answer, tidy
from critica.rewards.math_forms import read_form
from critica.rewards.math_ring import Unreadable
from critica.rewards.math_same import same
from critica.rewards.math_shapes import Form
from critica.rewards.wire import TaskView


def strict_math() -> Check:
    """1 if the response's final answer is the task's, else 0. Raises ValueError if the task's cannot be read."""

    def check(task: TaskView, text: str) -> float:
        return float(is_right(task.answer, text))

    return check


def is_right(gold: str, response: str) -> bool:
    """Whether a response answers with the gold. Raises ValueError if the gold has no normal form."""
    wanted = gold_form(gold)
    try:
        return same(wanted, read_form(tidy(final_answer(response))))
    except (Unreadable, RecursionError):
        return False


@lru_cache(maxsize=4096)
def gold_form(gold: str) -> Form:
    """The task's own answer in normal form; it may be boxed, or stand behind `####`."""
    try:
        written = final_answer(gold) if BOXED.search(gold) or HASHES.search(gold) else gold
        return read_form(tidy(written))
    except (Unreadable, RecursionError) as error:
        raise ValueError(
            f"the task's own answer {gold[:80]!r} cannot be read ({error}): write it as one number, expression, set,"
            " tuple, interval or word, or judge such tasks with `math` or a reward of your own"
        ) from error
