"""Easier variants of arithmetic expressions, made by rule: fewer terms, or smaller numbers."""

from collections.abc import Sequence

import numpy as np

Expression = tuple[int | str, ...]  # number, operator, number, ...


def easier(expression: Expression, chance: np.random.Generator) -> Expression:
    """One step easier: a term left out (as likely as not, while there are more than two), or all numbers halved.

    Halving rounds up, so that numbers of 1 and more stay 1 and more; where it changes nothing a term goes, and an
    expression of two terms below 2 each is as easy as it gets.
    """
    terms = (len(expression) + 1) // 2
    halved = tuple(item if isinstance(item, str) else -(-item // 2) for item in expression)
    drops = terms > 2 and (chance.random() < 0.5 or halved == expression)
    return without(expression, int(chance.integers(1, terms))) if drops else halved


def without(expression: Expression, term: int) -> Expression:
    """The expression without this term (from 1) and the operator before it."""
    return (*expression[: 2 * term - 1], *expression[2 * term + 1 :])


def size(expression: Expression) -> tuple[int, int]:
    """(terms, sum of the numbers' sizes): what a variant has less of."""
    numbers: Sequence[int] = [item for item in expression if isinstance(item, int)]
    return len(numbers), sum(map(abs, numbers))
