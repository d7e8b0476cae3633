"""Reward sources by the short specs of the command line."""

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn

from critica.records.names import odd_letter
from critica.rewards.answer_only import AnswerOnly
from critica.rewards.base import RewardConfig
from critica.rewards.constraints import Constraints
from critica.rewards.distraction import Distraction
from critica.rewards.format import Format
from critica.rewards.json_schema import JsonSchema
from critica.rewards.length import Length
from critica.rewards.math_verifiers import MathVerify, StrictMath
from critica.rewards.post_time import RelativeForecast
from critica.rewards.proper_scoring import ProperScoring
from critica.rewards.set_overlap import SetOverlap
from critica.rewards.several import Several
from critica.rewards.unit_tests import UnitTests
from critica.rewards.verifiers import EnvironmentScorer, Exact, Function, Numeric, RegexExtract, Verifier

PLAIN: Mapping[str, Callable[[], RewardConfig]] = MappingProxyType(
    {
        "environment": EnvironmentScorer,
        "environment:partial": lambda: EnvironmentScorer(threshold=None),
        "exact": Exact,
        "numeric": Numeric,
        "math": MathVerify,
        "math:strict": StrictMath,
        "json_schema": JsonSchema,
        "set_overlap": SetOverlap,
        "set_overlap:exact": lambda: SetOverlap(exact=True),
        "set_overlap:zero": lambda: SetOverlap(unparsed="zero"),
        "doubt:log": ProperScoring,
        "doubt:brier": lambda: ProperScoring(rule="brier"),
        "constraints": Constraints,
        "constraints:share": lambda: Constraints(pay="share"),
        "constraints:all": lambda: Constraints(pay="all"),
        "post_time": RelativeForecast,
        "distraction": Distraction,
        "unit_tests": UnitTests,
        "unit_tests:partial": lambda: UnitTests(partial=True),
        "format": Format,
        "format:partial": lambda: Format(partial=True),
    }
)
FORMS = (
    ", ".join(PLAIN)
    + ", numeric:TOLERANCE, regex:PATTERN, json_schema:FILE.json, doubt:log:REWARD, doubt:brier:REWARD,"
    " distraction:REWARD (REWARD is the verifier that decides what is right), judge:URL#MODEL, rubric:FILE.toml,"
    " reward_model:FOLDER, cross_entropy:FOLDER, file.py:function, format:TAG,TAG, length:MOST, length:MOST:BUFFER,"
    " answer:REWARD (which then does not see <think>…</think>); several as objectives of their own: 'REWARD + REWARD'"
)


class RewardProblem(ValueError):
    """A reward spec means nothing; the text says what to write."""


def parse_reward(spec: str) -> RewardConfig:
    """The settings that a spec means. Raises `RewardProblem` with the nearest form."""
    if spec in PLAIN:
        return PLAIN[spec]()
    head, _, rest = spec.partition(":")
    if " + " in spec and head != "regex":
        return Several(tuple(parse_reward(part.strip()) for part in spec.split(" + ")))
    try:
        if head == "format" and rest:
            return Format(tuple(rest.split(",")))
        if head == "length" and rest:
            return _length(rest)
        if head == "answer" and rest:
            return AnswerOnly(parse_reward(rest))
        if head == "numeric" and rest:
            return Numeric(_tolerance(rest))
        if head == "regex" and rest:
            return RegexExtract(rest)
        if head == "json_schema" and rest.endswith(".json"):
            return JsonSchema(rest)
        if head == "distraction" and rest:
            return Distraction(_inner(rest))
        if (head == "judge" and rest) or (head == "rubric" and rest.endswith(".toml")):
            from critica.rewards.rubric_files import read_judge, read_rubric  # with torch, which other rewards need not

            return read_judge(rest) if head == "judge" else read_rubric(rest)
        if head == "reward_model" and rest:
            from critica.rewards.reward_model import RewardModel  # with torch, too

            return RewardModel(rest)
        if head == "cross_entropy" and rest:
            from critica.rewards.cross_entropy_source import CrossEntropy

            return CrossEntropy(rest)
        rule, _, inner = rest.partition(":")
        if head == "doubt" and rule == "log" and inner:
            return ProperScoring("log", _inner(inner))
        if head == "doubt" and rule == "brier" and inner:
            return ProperScoring("brier", _inner(inner))
    except RewardProblem:
        raise
    except ValueError as error:
        _refuse(spec, str(error))
    if head.endswith(".py") and rest:
        return Function(spec)
    _refuse(spec, f"the nearest is {_nearest(spec)!r}{odd_letter(head)}")


def _tolerance(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no tolerance") from None


def _length(text: str) -> Length:
    parts = text.split(":")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"{text!r} is no length of tokens, nor two of them: write length:256 or length:256:64")
    return Length(int(parts[0]), int(parts[1]) if len(parts) > 1 else 0)


def _inner(spec: str) -> Verifier:
    if spec.partition(":")[0] in ("doubt", "distraction"):
        raise ValueError(f"{spec[:40]!r} decides nothing by itself: name a verifier that does")
    inner = parse_reward(spec)
    if not isinstance(inner, Verifier):
        raise ValueError(f"{spec!r} is no verifier: what decides what is right must be one")
    return inner


def _nearest(spec: str) -> str:
    head = spec.partition(":")[0]
    near = difflib.get_close_matches(spec, PLAIN, 1, 0.6) or difflib.get_close_matches(head, [*PLAIN, "regex"], 1, 0.0)
    return near[0]


def _refuse(spec: str, reason: str) -> NoReturn:
    raise RewardProblem(f"there is no reward {spec!r}: {reason}. Known: {FORMS}")
