"""Wrongs are made where formulas are and nowhere else, and a dozen of them is noticed by the tests beside them."""

import ast

import pytest

from critica.benches.mutant_reasons import REASONS, reason_for
from critica.benches.mutants import PACKAGE, MutantsSettings, bar, digest_of, every, judged, nearest_tests
from critica.benches.mutation import mutants

SOURCE = '''
RATE = 2 * 3

def f(x: float, y: float = -x) -> float:
    """a - b"""
    if x < y:
        raise ValueError(f"{x - y}")
    é = "ü" + "b"
    return -x * y + (x -
        y) / 3.0
'''


def test_every_wrong_is_one_change_of_a_formula():
    found = mutants(SOURCE, "a.py")
    assert sorted((one.line, one.after) for one in found) == [
        (6, "x > y"),
        (9, "-x"),
        (9, "-x * y - (x - y) / 3.0"),
        (9, "x"),
        (9, "x + y"),
        (9, "x - y"),
        (9, "y"),
    ]
    for one in found:
        changed = one.applied(SOURCE)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(SOURCE)), one.name
        assert changed.count("\n") <= SOURCE.count("\n")
        assert changed.startswith(SOURCE[: SOURCE.index("def")])


def test_a_wrong_says_what_it_changes():
    (one,) = [one for one in mutants(SOURCE, "a.py") if one.after == "x + y"]
    scope = {}
    exec(compile(one.applied(SOURCE).replace("y: float = -x", "y: float = 0"), "a.py", "exec"), scope)
    assert scope["f"](5.0, 2.0) == pytest.approx(-10 + 7 / 3)
    assert one.name == "a.py:9:21: x - y -> x + y"


def test_the_nearest_tests_are_those_that_import_a_module(root):
    near = nearest_tests("functional/success_counts.py", root)
    assert near[0] == "tests/functional/test_success_counts.py"
    assert "tests/objectives/test_mismatch.py" in nearest_tests("objectives/mismatch.py", root)
    assert "tests/objectives/test_surrogates.py" in nearest_tests("functional/ratios.py", root) + nearest_tests(
        "objectives/surrogates.py", root
    )
    assert all("/objectives/" in file for file in nearest_tests("objectives/penalties.py", root))
    assert digest_of("functional/ratios.py", near, root) != digest_of("functional/groups.py", near, root)


def test_the_order_is_drawn_once(root):
    settings = MutantsSettings(only=("functional/groups",))
    names = [one.name for one in every(settings, root)]
    assert names == [one.name for one in every(settings, root)] and names != sorted(names)
    assert len(names) == len(set(names)) > 10


def test_every_excuse_is_for_a_mutant_that_there_is(root):
    names = {f"{one.path}: {one.name.partition(': ')[2]}" for one in every(MutantsSettings(), root)}
    assert set(REASONS) <= names, set(REASONS) - names
    assert reason_for("functional/ratios.py:1:2: a -> b") == ""


TEST = "tests/functional/test_surrogates.py"
DOZEN = [
    "-ratio -> ratio",
    "ratio > 1 + reach -> ratio < 1 + reach",
    "1 - reach -> 1 + reach",
    "-4.0 / tau * torch.sigmoid(tau * (ratio - 1)) * advantage -> advantage",
    "ratio - 1 -> ratio + 1",
    "tau * (ratio - 1) -> ratio - 1",
    "-4.0 / tau -> -4.0",
    "log_ratio > high -> log_ratio < high",
    "advantage > 0 -> advantage < 0",
    "math.exp(rate) * w.pow(shape) -> w.pow(shape)",
    "-rate * w -> w",
    "total / mask.sum(-1, keepdim=True).clamp(min=1) -> total",
]


def test_a_dozen_wrongs_are_noticed(root):
    path = "functional/ratios.py"
    known = {one.name.partition(": ")[2]: one for one in mutants((root / PACKAGE / path).read_text(), path)}
    assert set(DOZEN) <= set(known), set(DOZEN) - set(known)
    with bar(root) as opened:
        assert opened.judge("", "", [TEST], 200.0)["code"] == 0
        for change in DOZEN:
            assert judged(known[change], opened, [TEST], "", 200.0).killed, change
        assert opened.judge("", "", [TEST], 200.0)["code"] == 0  # the copy is as it was
