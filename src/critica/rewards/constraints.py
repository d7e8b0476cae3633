"""Constraints that code can check, as a verifier (MulDimIF)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from critica.rewards.verifiers import Verifier


@dataclass(frozen=True)
class Constraints(Verifier):
    """How many of the task's `info["constraints"]`, a list of [category, subcategory, English sentence], hold.

    `pay="count"` is the number (training in the paper), `"share"` the share of those that can be read, `"all"` 1 or 0
    (its test). A sentence that cannot be read is missing, never failed: `constraint_checks` says how. `most` is the
    largest number a task may have, and so the top of the range. Source: MulDimIF (arXiv 2505.07591).
    """

    pay: Literal["count", "share", "all"] = "count"
    most: int = 16

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"Constraints.most is {self.most}: a task has at least 1 constraint")

    @property
    def value_range(self) -> tuple[float, float]:
        """Up to the number of constraints, or 1."""
        return 0.0, float(self.most) if self.pay == "count" else 1.0

    def settings(self) -> Mapping[str, Any]:
        """See `constraint_checks.constraints`."""
        return {"kind": "constraints", "pay": self.pay, "most": self.most}
