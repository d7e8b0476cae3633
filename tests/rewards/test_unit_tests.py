# ruff: noqa: E501 - programs are easier to read whole
"""Unit tests as a reward: what counts as the program, the forms of cases, how answers are compared, and the verdicts."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from critica.environments.chain import Chain
from critica.records.supervision import Outcome, Scored
from critica.records.words import Message, Task
from critica.rewards.base import ScoreRequest
from critica.rewards.catalogue import parse_reward
from critica.rewards.plain_values import NotPlain, decode, encode, same_output, same_value
from critica.rewards.programs import TaskProblem, extract_program, read_suite, split_assertion
from critica.rewards.unit_tests import UnitTests
from critica.rewards.verdicts import Report, Verdict
from critica.rewards.workers import WorkerLimits

ANYWHERE = Chain(length=2).build(0)
SUM = "a, b = map(int, input().split())\nprint(a + b)\n"


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("print(1)", "print(1)"),
        ("Here:\n```python\nprint(1)\n```\nDone.", "print(1)\n"),
        ("```python\nprint(1)\n```\nBetter:\n```py\nprint(2)\n```", "print(2)\n"),
        ("```python\nprint(1)\n```\nIts output:\n```\n1\n```", "print(1)\n"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("```Python\nprint(1)", "print(1)\n"),
        ("```cpp\nint x;\n```", "```cpp\nint x;\n```"),
        ('```python\nx = """\n  ```js\n"""\n```', 'x = """\n  ```js\n"""\n'),
        ("", ""),
    ],
)
def test_the_program_in_a_completion(text: str, program: str) -> None:
    assert extract_program(text) == program


@pytest.mark.parametrize(
    ("assertion", "expressions", "check", "wanted"),
    [
        ("assert f(1) == 2", ("f(1)",), "_0 == 2", (2,)),
        ("assert [1, 2] == f(x=[3])", ("f(x=[3])",), "[1, 2] == _0", ([1, 2],)),
        ("assert f(1) == f(2), 'same'", ("f(1)", "f(2)"), "_0 == _1", ()),
        ("assert not f(1)", ("f(1)",), "not _0", ()),
        ("assert abs(f(1) - 2.5) < 1e-6", ("f(1)",), "abs(_0 - 2.5) < 1e-06", ()),
        ("assert Solution().f(1).count('a') == 2", ("Solution().f(1)",), "_0.count('a') == 2", ()),
        ("assert f(1).__eq__(2)", ("f(1)",), "_0.__eq__(2)", ()),
        ("assert f(1)[0] == 2", ("f(1)",), "_0[0] == 2", ()),
        ("assert sorted(f([i for i in range(3)])) == [1]", ("f([i for i in range(3)])",), "sorted(_0) == [1]", ()),
        ("assert set(f(1)) == {1, 2}", ("f(1)",), "set(_0) == {1, 2}", ()),
        ("assert math.isclose(f(1), 2)", ("f(1)",), "math.isclose(_0, 2)", ()),
        ("assert table.size == 3", ("table.size",), "_0 == 3", (3,)),
        ("assert all(x > 0 for x in f(1))", ("f(1)",), "all((x > 0 for x in _0))", ()),
    ],
)
def test_an_assertion_is_parted(assertion: str, expressions: tuple[str, ...], check: str, wanted: tuple) -> None:
    case = split_assertion(assertion, frozenset({"math"}))
    assert (case.expressions, case.check, case.wanted) == (expressions, check, wanted)


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({}, "needs `inputs` and `outputs`, or `asserts`, in its info; this one has nothing"),
        ({"inputs": ["1"], "outputs": []}, "same length"),
        ({"inputs": [], "outputs": []}, "no case"),
        ({"inputs": [1], "outputs": ["1"]}, "must be a string or a list of lines"),
        ({"input_output": "{no"}, "is not JSON"),
        ({"input_output": "[]"}, "needs `inputs`"),
        ({"fn_name": "f", "inputs": ["[1"], "outputs": ["1"]}, "is not JSON"),
        ({"fn_name": "f", "inputs": [3], "outputs": ["1"]}, "list of arguments"),
        ({"asserts": "assert f(1)"}, "list of strings"),
        ({"asserts": ["f(1) == 2"]}, "not one assert"),
        ({"asserts": ["assert 1 == 1"]}, "asks nothing"),
        ({"asserts": ["assert f("]}, "is not Python"),
        ({"asserts": ["assert all(f(i) for i in (1, 2))"]}, "loop variable"),
        ({"asserts": ["assert (y := f(1)) == y"]}, "assigns or waits"),
        ({"asserts": ["assert f(1)"], "setup": "import"}, "set-up code is not Python"),
    ],
)
def test_unusable_cases_say_what_is_wrong(info: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskProblem, match=words.replace("(", r"\(")):
        read_suite(info)


@pytest.mark.parametrize(
    ("said", "wanted", "tolerance", "same"),
    [
        ("3\n", "3", 0.0, True),
        ("3  \n4\t\n\n", "3\n4\n", 0.0, True),
        (" 3", "3", 0.0, False),
        ("3 4", "3\n4", 0.0, False),
        ("3\n\n4", "3\n4", 0.0, False),
        ("0.30000000000000004", "0.3", 0.0, False),
        ("0.30000000000000004", "0.3", 1e-9, True),
        ("x 0.31", "x 0.3", 1e-3, False),
        ("nan", "0.3", 1.0, False),
        ("1000001", "1000000", 1e-5, True),
        ("-0.3", "0.3", 0.5, False),
        ("", "", 0.0, True),
        ("", "0", 0.0, False),
    ],
)
def test_outputs_are_compared_line_by_line(said: str, wanted: str, tolerance: float, same: bool) -> None:
    assert same_output(said, wanted, tolerance) is same


def test_plain_values_travel_and_others_do_not() -> None:
    values = [None, True, -7, 10**5000, 1.5, math.inf, -0.0, 2j, "a\ud800é", b"\x00\xff", [1, [2]], (1, (2,)),
              {1: "a", (2, 3): [4]}, {1, 2}, frozenset({3}), range(1, 9, 2)]  # fmt: skip
    for value in values:
        back = decode(json.loads(json.dumps(encode(value))))
        assert back == value and type(back) is type(value)
    assert math.isnan(decode(encode(math.nan)))

    class Sly(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    assert decode(encode(Sly(3))) == 3 and decode(encode(Sly(3))) != 4
    for nonsense in (encode(object()), encode([object()]), 7, [], ["i", "x"], ["d", [[["l", []], ["n"]]]], ["z", 1]):
        with pytest.raises(NotPlain):
            decode(nonsense)


def test_values_are_the_same_as_json_has_them() -> None:
    assert same_value((1, 2), [1, 2], 0.0) and same_value({1: "a"}, {"1": "a"}, 0.0)
    assert not same_value([2, 1], [1, 2], 0.0) and not same_value("1", 1, 0.0) and not same_value({1}, [1], 0.0)
    assert same_value([1.0, 2.00001], [1, 2], 1e-4) and not same_value([1.0, 2.1], [1, 2], 1e-4)


def scores(config: UnitTests, programs: list[str], info: dict[str, Any]) -> tuple[list[Outcome], list[str]]:
    with config.build(ANYWHERE, WorkerLimits(workers=2)) as source:
        requests = [
            ScoreRequest(Task(f"t{n}", "none", (Message("user", "q"),), "", info), f"r{n}", text)
            for n, text in enumerate(programs)
        ]
        outcomes = source.scores(requests)
        return outcomes, [str(report) for report in source.reports]


def test_all_or_the_share_of_cases() -> None:
    info = {"inputs": ["1 2\n", "3 4\n", "5 5\n"], "outputs": ["3\n", "7\n", "10\n"]}
    nearly = SUM.replace("a + b", "a + b if a != b else 0")
    programs = [SUM, nearly, "print(7)", f"Look:\n```python\n{SUM}```"]
    outcomes, told = scores(UnitTests(), programs, info)
    assert outcomes == [Scored(1.0), Scored(0.0), Scored(0.0), Scored(1.0)]
    assert told[1] == "passed 2 of 3; case 3: wrong (wrote '0\\n')"
    assert told[2] == "passed 0 of 3; case 1: wrong (wrote '7\\n')"  # the others were not run
    outcomes, told = scores(UnitTests(partial=True), programs, info)
    assert outcomes == [Scored(1.0), Scored(2 / 3), Scored(1 / 3), Scored(1.0)]
    assert told[2].startswith("passed 1 of 3; case 1: wrong (wrote '7\\n'); case 3")


def test_a_case_that_ends_the_process_does_not_take_the_others_along() -> None:
    """Calls share a process while it lives; after a case that ends it, the next starts afresh."""
    program = (
        "import time, os\ndef f(x):\n if x == 1: os._exit(3)\n if x == 2: time.sleep(9)\n if x == 3: 1 / 0\n return x"
    )
    info = {"fn_name": "f", "inputs": [[n] for n in range(6)], "outputs": list(range(6))}
    outcomes, told = scores(UnitTests(partial=True, case_seconds=0.5), [program], info)
    assert outcomes == [Scored(3 / 6)]
    assert "case 2: error (exit status 3" in told[0] and "case 3: timeout (0.5 s)" in told[0]
    assert "case 4: error (raised ZeroDivisionError" in told[0]


def test_the_whole_program_has_a_limit_too() -> None:
    info = {"inputs": [""] * 9, "outputs": ["1"] * 9}
    slow = "import time\ntime.sleep(0.4)\nprint(1)"
    outcomes, told = scores(UnitTests(partial=True, case_seconds=5.0, program_seconds=1.0), [slow], info)
    assert isinstance(outcomes[0], Scored) and 1 / 9 <= outcomes[0].value <= 2 / 9
    assert "timeout (1 s for the whole program)" in told[0] or "for the whole program" in told[0]


@pytest.mark.parametrize(
    ("info", "program", "right"),
    [
        ({"fn_name": "f", "inputs": [[1, 2]], "outputs": [3]}, "def f(a, b): return a + b", True),
        ({"fn_name": "f", "inputs": [[1, 2]], "outputs": [[3]]}, "class Solution:\n def f(self, a, b): return a + b", True),
        ({"fn_name": "f", "inputs": ["[1, 2]\n3"], "outputs": ["[1, 2, 3]"]}, "def f(a, b): return (*a, b)", True),
        ({"fn_name": "f", "inputs": [[1]], "outputs": [2]}, "def g(a): return 2", False),
        ({"input_output": '{"inputs": ["1 2"], "outputs": ["3"]}'}, SUM, True),
        ({"inputs": [["1", "2"]], "outputs": [["1", "2"]]}, "print(input())\nprint(input())", True),
        ({"test_list": ["assert f(4) == 2.0"], "test_imports": ["import math"]}, "def f(x): return math.sqrt(x)", True),
        ({"asserts": ["assert g(f(1)) == 3"], "setup": "def g(x): return x + 1"}, "def f(x): return 2", True),
        ({"asserts": ["assert g(f(1)) == 3"], "setup": "def g(x): return x + 1"},
         "g = lambda x: 3\ndef f(x): return 9", False),
        ({"asserts": ["assert f(1) is None"]}, "def f(x): return None", True),
        ({"asserts": ["assert f(1) is None"]}, "def f(x): return 0", False),
        ({"asserts": ["assert Counter(f('aab')) == {'a': 2, 'b': 1}"], "setup": "from collections import Counter"},
         "def f(x): return list(x)", True),
        ({"inputs": [""], "outputs": ["5"]}, "import sys\nsys.setrecursionlimit(10**6)\nimport threading\n"
         "def main():\n def f(n): return n if n == 0 else f(n - 1)\n f(20000)\n print(5)\n"
         "threading.stack_size(2**26)\nt = threading.Thread(target=main)\nt.start()", True),
        ({"inputs": ["é\n"], "outputs": ["É\n"]}, "print(input().upper())", True),
        ({"inputs": ["x" * 300000], "outputs": ["300000"]}, "import sys\nprint(len(sys.stdin.read()))", True),
        ({"inputs": ["x" * 300000], "outputs": ["1"]}, "print(1)", True),
        ({"inputs": ["3"], "outputs": ["3"]}, "if __name__ == '__main__':\n print(open(0).read())", True),
        ({"inputs": [""], "outputs": ["1"]}, "with open('note', 'w') as f: f.write('1')\nprint(open('note').read())", True),
        ({"inputs": [""], "outputs": ["[1, 2]"]}, "import asyncio, heapq, decimal, zoneinfo, sqlite3, ssl, dataclasses\n"
         "@dataclasses.dataclass\nclass A:\n x: int\nasync def f(): return [A(1).x, 2]\nprint(asyncio.run(f()))", True),
    ],
)  # fmt: skip
def test_ordinary_programs(info: dict[str, Any], program: str, right: bool) -> None:
    outcomes, told = scores(UnitTests(), [program], info)
    assert outcomes == [Scored(float(right))], told


def test_programs_draw_the_same_numbers_in_every_run() -> None:
    info = {"inputs": [""], "outputs": [""]}
    program = "import random\nprint(random.random(), list({'a', 'b', 'c', 'd', 'e'}))"
    assert scores(UnitTests(), [program, program], info)[1] == scores(UnitTests(), [program, program], info)[1]


def test_specs_and_settings() -> None:
    assert parse_reward("unit_tests") == UnitTests() and parse_reward("unit_tests:partial") == UnitTests(partial=True)
    for settings in ({"case_seconds": 0.0}, {"memory_mib": 0}, {"tolerance": -1.0}, {"program_seconds": math.inf}):
        with pytest.raises(ValueError, match=f"UnitTests.{next(iter(settings))} is"):
            UnitTests(**settings)


def test_what_runs_in_workers_needs_no_torch() -> None:
    names = "unit_judge, critica.rewards.probe, critica.rewards.program_server"
    code = f"import sys, critica.rewards.{names}\nprint('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_report_travels_in_a_note() -> None:
    report = Report((Verdict("passed"), Verdict("timeout", "1 s"), Verdict("not_run")))
    assert Report.from_note(report.to_note()) == report
    assert str(report) == "passed 1 of 3; case 2: timeout (1 s)" and report.share == 1 / 3
