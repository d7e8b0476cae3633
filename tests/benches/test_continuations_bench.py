"""The continuations bench: sides differ in what they read alone, ratios are of one round, a breach is said."""

import json

import pytest

from critica.benches.base import Order
from critica.benches.continuations import (
    SIDES,
    ContinuationsSettings,
    Reading,
    measured,
    ratios_of,
    requests_of,
    write,
)

SMALL = ContinuationsSettings(("1m",), 4, 2, 5, 6, 6, 2, 2)


def readings(shared: float) -> list[Reading]:
    """Two rounds, the second on a machine twice as slow: a plain sample takes 1, a whole answer 2.5."""
    seconds = {"plain": 1.0, "shared": shared, "unshared": 2.0, "along": 1.1, "whole": 2.5}
    return [Reading("1m", n, side, 10 * n * s, n * s) for n in (1, 2) for side, s in seconds.items()]


def test_every_side_has_the_same_rows_and_reads_its_own_prefixes():
    asked = requests_of(SMALL, 50)
    rows = {side: [stream for want in wants for stream in want.streams] for side, wants in asked.items()}
    assert set(asked) == set(SIDES) and len(set(map(tuple, rows.values()))) == 1
    assert len(rows["plain"]) == len(set(rows["plain"])) == 8
    lengths = {side: [len(want.prompt_ids) for want in wants] for side, wants in asked.items()}
    assert lengths["plain"] == lengths["whole"] == [5] * 4 and lengths["shared"] == [11] * 4
    assert lengths["unshared"] == [11] * 8 and lengths["along"] == [5, 11, 5, 11]
    short, long = (want.prompt_ids for want in asked["along"][:2])
    assert long[:5] == short  # two prefixes of one answer


def test_ratios_are_of_the_same_round_and_late_tokens_are_whole_answers_less_their_beginnings():
    found = {ratio.what: ratio for ratio in ratios_of(readings(1.2), SMALL)}
    assert found["continuations of one prefix a prompt"].cpu == pytest.approx(1.2)
    assert found["the same, beside plain tokens at the same places"].cpu == pytest.approx(1.2 / 1.5)
    assert found["continuations that each read their prefix anew"].wall == pytest.approx(2.0)
    assert found["continuations that each read their prefix anew"].kept is None


def test_a_breach_of_the_promise_is_written_down(tmp_path):
    page = write(Order(out=tmp_path), SMALL, readings(1.4)).read_text()
    assert "| 1m | continuations of one prefix a prompt | 1.40 (1.40 to 1.40) | 1.40 | 44 | FAIL |" in page
    assert "same places | 0.93 (0.93 to 0.93) | 0.93 | 44 | pass |" in page
    assert len(json.loads((tmp_path / "continuations.json").read_text())["readings"]) == 10


def test_it_measures_what_it_says():
    found = measured("1m", SMALL)
    assert len(found) == 2 * len(SIDES) and {reading.round for reading in found} == {1, 2}
    assert all(reading.cpu_seconds > 0 for reading in found)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="no multiple"):
        ContinuationsSettings(prefixes=6, nodes=4)
