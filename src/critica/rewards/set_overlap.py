"""Set overlap as a verifier (BeliefTrack's turn reward)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from critica.rewards.verifiers import Verifier


@dataclass(frozen=True)
class SetOverlap(Verifier):
    """|said and right| / |said or right| of the sets in the last [...] or {...}; both empty is 1.

    `exact` pays 1 for the very set and 0 otherwise. What names no set abstains, or is worth 0 (`unparsed="zero"`, as in
    the paper). `weighted` multiplies by the task's `info["reward_weight"]`. The right set is `info["members"]`, or the
    answer. Source: BeliefTrack (arXiv 2605.30219).
    """

    exact: bool = False
    unparsed: Literal["abstain", "zero"] = "abstain"
    weighted: bool = False

    def settings(self) -> Mapping[str, Any]:
        """See `set_overlap_check.set_overlap`."""
        return {"kind": "set_overlap", "exact": self.exact, "unparsed": self.unparsed, "weighted": self.weighted}
