"""Where answers are cut: by hand, and never by what is written later."""

import pytest

from critica.functional.boundaries import boundaries, spaced

LINES = ["3 + 4", " = 7", "\n", "7 * 2", " = 14", "\n\n", "14"]
TEXT = ["It", " is", " 3.", "14", ". ", "So", " what", "?", "\n", "Yes", '!"', " ", "No", "."]


def test_lines_begin_after_a_break_and_the_end_is_no_beginning():
    assert boundaries(LINES, "lines") == (0, 3, 6)
    assert boundaries([*LINES, "\n"], "lines") == (0, 3, 6)
    assert boundaries(["\n", "\n", "a"], "lines") == (0, 1, 2)
    assert boundaries([], "lines") == () == boundaries([], "tokens")
    assert boundaries(["a"], "lines") == (0,)


def test_sentences_end_at_a_mark_and_a_blank_and_a_number_goes_on():
    assert boundaries(TEXT, "sentences") == (0, 5, 9, 12)


def test_every_token_is_a_boundary_of_tokens():
    assert boundaries(TEXT, "tokens") == tuple(range(len(TEXT)))


@pytest.mark.parametrize("pieces", [LINES, TEXT, ["a.", "b. c", "!", " ", "\n", "\n", "x"]])
@pytest.mark.parametrize("rule", ["lines", "sentences", "tokens"])
@pytest.mark.parametrize("gap", [1, 2, 4])
def test_what_follows_changes_no_cut_before_it(pieces, rule, gap):
    whole = spaced(boundaries(pieces, rule), gap)
    for length in range(1, len(pieces) + 1):
        assert spaced(boundaries(pieces[:length], rule), gap) == tuple(place for place in whole if place < length)


def test_places_keep_their_distance_from_the_last_one_kept():
    assert spaced((0, 2, 3, 7, 8, 12), 4) == (0, 7, 12)
    assert spaced(range(9), 3) == (0, 3, 6)
    assert spaced((), 3) == ()
