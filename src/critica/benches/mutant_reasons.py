"""Why a mutant that no test notices changes nothing that is promised: read by hand, one sentence each.

Named by path and by the two expressions, not by line, so that a file may grow above them.
"""

from collections.abc import Mapping
from types import MappingProxyType

REASONS: Mapping[str, str] = MappingProxyType({})


def reason_for(name: str) -> str:
    """The sentence for a mutant's name; empty if it is a hole in the tests."""
    place, _, change = name.partition(": ")
    return REASONS.get(f"{place.split(':')[0]}: {change}", "")
