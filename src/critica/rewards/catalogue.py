"""Reward sources by the short specs of the command line."""

import difflib
from typing import NoReturn

from critica.rewards.base import RewardConfig
from critica.rewards.unit_tests import UnitTests
from critica.rewards.verifiers import EnvironmentScorer, Exact, Function, Numeric, RegexExtract

FORMS = (
    "environment, environment:partial, exact, numeric, numeric:TOLERANCE, regex:PATTERN, unit_tests, "
    "unit_tests:partial, file.py:function"
)


class RewardProblem(ValueError):
    """A reward spec means nothing; the text says what to write."""


def parse_reward(spec: str) -> RewardConfig:
    """The settings that a spec means. Raises `RewardProblem` with the nearest form."""
    head, colon, rest = spec.partition(":")
    if spec in ("environment", "environment:partial"):
        return EnvironmentScorer() if not colon else EnvironmentScorer(threshold=None)
    if spec in ("exact", "numeric"):
        return Exact() if spec == "exact" else Numeric()
    if spec in ("unit_tests", "unit_tests:partial"):
        return UnitTests(partial=bool(colon))
    if head == "numeric":
        try:
            return Numeric(float(rest))
        except ValueError:
            _refuse(spec, f"{rest!r} is no tolerance")
    if head == "regex" and rest:
        try:
            return RegexExtract(rest)
        except ValueError as error:
            _refuse(spec, str(error))
    if head.endswith(".py") and rest:
        return Function(spec)
    near = difflib.get_close_matches(head, ("environment", "exact", "numeric", "regex", "unit_tests"), 1, 0.0)[0]
    _refuse(spec, f"the nearest is {near!r}")


def _refuse(spec: str, reason: str) -> NoReturn:
    raise RewardProblem(f"there is no reward {spec!r}: {reason}. Known: {FORMS}")
