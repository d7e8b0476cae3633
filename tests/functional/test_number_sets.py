"""Where a number is known, what merging moves, and what the released alignment gets wrong."""

import pytest

from critica.functional.number_sets import merge_close, number_boundaries, number_states, released_boundaries


def test_a_number_is_known_after_the_character_that_ends_it():
    pieces = ["1", "2", "+", "3", "=", "15", ";", "7"]
    assert number_boundaries(pieces, drop_last=False) == ((3, "12"), (5, "3"), (7, "15"), (8, "7"))
    assert number_boundaries(pieces) == ((3, "12"), (5, "3"), (7, "15"))


def test_pieces_may_hold_many_characters_and_numbers_cross_them():
    assert number_boundaries(["a1", "2b34c", "5", " 6."], drop_last=False) == (
        (2, "12"), (2, "34"), (4, "5"), (4, "6"),
    )  # fmt: skip


def test_numbers_count_once_and_leading_zeros_do_not_count():
    assert number_boundaries(["007", ",", "7", ",", "0", ","], drop_last=False) == ((2, "7"), (6, "0"))
    assert number_boundaries(["abc"], drop_last=False) == () == number_boundaries([])


def test_what_follows_never_changes_what_was_known():
    """The state before a piece depends on the pieces before it alone, unlike the released alignment."""
    pieces = ["4", "+", "1", "7", "=", "2", "1", ";"]

    def state(find, text, before):
        return [number for start, number in find(text, False) if start <= before]

    for cut in range(len(pieces)):
        for other in ("9", "x", "+"):
            changed = [*pieces[:cut], other, *pieces[cut + 1 :]]
            assert state(number_boundaries, pieces, cut) == state(number_boundaries, changed, cut)
    changed = [*pieces[:2], "9", *pieces[3:]]
    assert state(released_boundaries, pieces, 2) != state(released_boundaries, changed, 2)


def test_the_released_alignment_gives_the_choice_of_a_number_no_credit():
    """Writing 2 is right and writing 1 is wrong: before either is written, one half is all that can be expected."""
    answers = [(["1", ",", "9", "."], 0.0), (["2", ",", "9", "."], 1.0)]

    def first_advantages(find):
        paths = [number_states(find(pieces, True)) for pieces, _ in answers]
        table: dict[str, list[float]] = {}
        for path, (_, reward) in zip(paths, answers, strict=True):
            for _, state in path:
                table.setdefault(state, []).append(reward)
        before = [[state for start, state in path if start <= 0][-1] for path in paths]
        return [
            reward - sum(table[state]) / len(table[state]) for state, (_, reward) in zip(before, answers, strict=True)
        ]

    assert first_advantages(number_boundaries) == [-0.5, 0.5]
    assert first_advantages(released_boundaries) == [0.0, 0.0]


def test_merging_moves_the_earlier_onto_the_later_from_the_last_to_the_first():
    boundaries = ((10, "1"), (40, "2"), (80, "3"))
    assert merge_close(boundaries, 50) == ((10, "1"), (80, "2"), (80, "3"))
    assert merge_close(boundaries, 0) == merge_close(boundaries, 1) == boundaries
    assert merge_close(boundaries, 100) == ((80, "1"), (80, "2"), (80, "3"))
    assert merge_close((), 50) == ()


@pytest.mark.parametrize("order", [("2", "10"), ("10", "2")])
def test_a_state_is_a_set_whatever_its_order(order):
    states = number_states(((1, order[0]), (4, order[1])))
    assert states[0] == (0, "") and states[2] == (4, "10,2")
