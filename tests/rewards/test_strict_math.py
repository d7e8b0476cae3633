"""The strict math checker: normal forms, one final answer, exact equality; and what it must not pay for."""

import json

import pytest

from critica.benches.verifier_pairs import CATEGORIES, FILE, read_pairs
from critica.rewards.math_reader import read_value
from critica.rewards.math_ring import Unreadable
from critica.rewards.strict_math import gold_form, is_right

SAME = [
    (r"\frac{1}{\sqrt2}", r"\sqrt{2}/2"), ("(x+1)^2", "x^2+2x+1"), ("2^{1/2}", r"\sqrt 2"), (r"\sqrt{12}", r"2\sqrt3"),
    (r"\frac{1}{1+\sqrt2}", r"\sqrt2-1"), (r"\sqrt[3]{16}", r"2\sqrt[3]{2}"),
    (r"\frac{1}{\sqrt[3]{2}}", r"\frac{\sqrt[3]{4}}{2}"),
    (r"1\frac{3}{4}", "7/4"), (r"\frac34", "0.75"), (r"1.2\times10^{3}", "1200"), ("1/x", "x^-1"), ("i^2", "-1"),
    (r"\frac{3}{2i}", r"-\frac{3i}{2}"), ("(x^2-1)/(x-1)", "x+1"), (r"\sqrt{3}\sqrt{6}", r"3\sqrt2"), ("|-5|", "5"),
    (r"\sqrt{-4}", "2i"), (r"\sin^2 x", r"(\sin x)^2"), (r"\cos 2\theta", r"\cos(2\theta)"), ("5!", "120"),
]  # fmt: skip
DIFFERENT = [("-3", "3"), ("2x", "2y"), (r"\sqrt2", "1.41421356"), (r"\log_2 8", r"\log_3 8"), ("x^2", "2x"),
("i", "-i"),
             (r"\sqrt[3]{2}", r"\sqrt2"), (r"\pi", "22/7"), ("1/(x+1)", "1/x+1")]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_values(one: str, other: str) -> None:
    assert read_value(one).value == read_value(other).value


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_values(one: str, other: str) -> None:
    assert read_value(one).value != read_value(other).value


@pytest.mark.parametrize(
    "text", ["", "2+", "--2", "(2", "2)", "1/0", "0^0", "9^{9^{9}}", "2 3", "(a+b+c+d+e)^{40}", r"\frac{1}", "a" * 500,
             "(" * 100 + "1" + ")" * 100, r"\sqrt{99999999999999999999}", "5 % 2", "1..2"],
)  # fmt: skip
def test_what_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read_value(text)


@pytest.mark.parametrize(
    ("text", "work"), [("5", 0), ("1/2", 0), ("10/2", 1), ("2+3", 1), ("2^4", 1), ("1.2*10^3", 0), (r"\sqrt{16}", 1),
                       (r"2\sqrt3", 0), ("x+1", 0), ("2*3", 1), ("4!", 1), (r"\frac{1}{2}+\frac13", 1), ("-7", 0)],
)  # fmt: skip
def test_what_was_left_to_be_calculated_is_counted(text: str, work: int) -> None:
    assert read_value(text).work == work


RIGHT = [
    ("5", r"\boxed{4}? No. \boxed{5}"), ("5", "<think>\\boxed{6}</think> The answer is 5."),
    ("5", "She has 5 apples left over."),
    (r"\{1,2\}", r"\boxed{\{2, 1\}}"), ("1,2", r"\boxed{x=1 \text{ or } x=2}"), (r"(1,\infty)", r"\boxed{x > 1}"),
    ("(1,3]", r"\boxed{1 < x \le 3}"), (r"(-\infty,1)\cup(2,\infty)", r"\boxed{x<1 \text{ or } x>2}"),
    ("50\\%", r"\boxed{0.5}"),
    ("5 cm", "50 mm"), ("1/2", "1/2 or 0.5"), ("y=2x+1", r"\boxed{2x+1}"), ("2x+3y=6", r"\boxed{4x+6y=12}"),
    ("-5", "−5"),
    ("Natalia sold 72.\n#### 72", "#### 72"), ("(x, y) = (4, -1)", r"\boxed{(4, -1)}"), ("1234", "1,234"),
]  # fmt: skip
WRONG = [
    ("5", r"\boxed{4} or \boxed{5}"), ("5", r"\boxed{5}. Wait, it is 6."), ("5", "It is not \\boxed{5}"), ("5", "2+3"),
    (r"\{1,2\}", r"\boxed{1}"), (r"\pm 3", "3"), ("(1,2)", "(2,1)"), ("[1,3]", r"1 < x \le 3"), ("5 cm", "5 m"),
    ("50", "0.5"),
    ("1/3", "0.333"), ("x=3", "y=3"), ("x=2, x=-3", "x=2, y=-3"), ("(1, 1234)", "(1,1,234)"), ("5", ""),
    ("5", "about 5"),
    ("2x+3y=6", "4x+6y=6"), ("1011_2", "1011_3"), ("5", "The answer could be 5."), ("30", "Roughly 30."),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "response"), RIGHT)
def test_right(gold: str, response: str) -> None:
    assert is_right(gold, response)


@pytest.mark.parametrize(("gold", "response"), WRONG)
def test_wrong(gold: str, response: str) -> None:
    assert not is_right(gold, response)


@pytest.mark.parametrize("gold", ["", "4 or perhaps 5", "the smallest number that works, plus 1", "x+", "5?"])
def test_a_gold_that_cannot_be_read_is_an_error(gold: str) -> None:
    with pytest.raises(ValueError, match="own answer"):
        gold_form(gold)


def test_every_gold_passes_its_own_check() -> None:
    for pair in read_pairs():
        assert is_right(pair.gold, f"\\boxed{{{pair.gold}}}"), pair.gold


def test_the_labeled_pairs_are_whole() -> None:
    pairs = read_pairs()
    assert len(pairs) >= 400 and len({(pair.gold, pair.response) for pair in pairs}) == len(pairs)
    assert {pair.category for pair in pairs} == set(CATEGORIES) and {pair.split for pair in pairs} == {"tuned", "fresh"}
    assert sum(pair.right for pair in pairs) > 250 < sum(not pair.right for pair in pairs)
    assert all(set(json.loads(line)) == {"gold", "response", "right", "category", "split"}
               for line in FILE.read_text().splitlines())  # fmt: skip


def test_nothing_wrong_among_the_labeled_pairs_is_paid() -> None:
    assert [pair for pair in read_pairs() if not pair.right and is_right(pair.gold, pair.response)] == []


def test_right_answers_are_rarely_refused() -> None:
    right = [pair for pair in read_pairs() if pair.right]
    assert sum(not is_right(pair.gold, pair.response) for pair in right) <= 0.02 * len(right)
