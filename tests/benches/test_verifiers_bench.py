"""The verifiers bench counts what it says it counts, and its page says where a promise is missed."""

import pytest

from critica.benches.verifier_pairs import Pair
from critica.benches.verifiers import Speed, rates_of, sliced
from critica.benches.verifiers_table import verifiers_table
from critica.records.supervision import Failed, Outcome, Scored

PAIRS = [Pair("1", "a", True, "x", "tuned"), Pair("1", "b", True, "x", "fresh"), Pair("1", "c", False, "y", "tuned"),
         Pair("1", "d", False, "y", "tuned"), Pair("1", "e", False, "y", "fresh"),
         Pair("1", "f", True, "y", "fresh")]  # fmt: skip
SAID: list[Outcome] = [Scored(1.0), Scored(0.0), Scored(1.0), Scored(0.0), Scored(0.0), Failed("gold")]


def test_rates_leave_out_what_was_not_judged() -> None:
    found = rates_of("m", "all", PAIRS, SAID)
    assert (found.accepted, found.wrong, found.rejected, found.right, found.failed) == (1, 3, 1, 2, 1)
    assert found.false_accept is not None and found.false_accept.estimate == pytest.approx(1 / 3)
    assert found.false_accept.low == pytest.approx(0.0615, abs=1e-3)  # Wilson
    parts = {one.slice: one for one in sliced("m", PAIRS, SAID)}
    assert list(parts) == ["all", "tuned", "fresh", "x", "y"]
    assert parts["x"].false_accept is None and parts["tuned"].wrong == 2 and parts["fresh"].failed == 1


def test_the_page_says_what_is_missed() -> None:
    speeds = [Speed("exact", "this process", 20_000.0, 10_000.0), Speed("regex", "2 workers", 1_500.0, 2_000.0),
              Speed("math", "2 workers", 90.0, 0.0)]  # fmt: skip
    page = verifiers_table("head", 6, sliced("m", PAIRS, SAID), speeds)
    assert "| exact | this process | 20,000 | 10,000 | pass |" in page and "| 1,500 | 2,000 | FAIL |" in page
    assert "| math | 2 workers | 90 |  |  |" in page and "| x |  | 0.500 [0.095, 0.905] (1/2) | 0 |" in page
