"""Verifiers of mathematical answers: the math-verify library, and our own strict checker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from critica.rewards.verifiers import Verifier


@dataclass(frozen=True)
class MathVerify(Verifier):
    """Right if math-verify finds the answer equal to the task's, gold first. Needs the extra `reasoning`.

    It knows more mathematics than `StrictMath` and accepts more that is wrong: see benchmarks/verifiers.md before
    choosing. What it cannot extract is wrong; a task whose own answer it cannot parse has `Failed`.
    """

    def settings(self) -> Mapping[str, Any]:
        """See `math_library.library_math`."""
        return {"kind": "math_verify"}


@dataclass(frozen=True)
class StrictMath(Verifier):
    """Right if the one final answer has the task's normal form, exactly; parts, hedges and roundings are wrong.

    No computer algebra: about a hundred times quicker than `MathVerify`. A task whose own answer has no normal form has
    `Failed`.
    """

    def settings(self) -> Mapping[str, Any]:
        """See `strict_math.strict_math`."""
        return {"kind": "strict_math"}
