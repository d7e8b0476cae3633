"""Programs in completions, and the cases that a task holds against them: plain data, before anything runs.

`Task.info` holds the cases, in the forms of public data sets:

- standard input and output: `{"inputs": ["1 2\\n", ...], "outputs": ["3\\n", ...]}` (a list of lines will do, too);
- calls: the same with `"fn_name": "add"`; an input is a list of arguments (or a string with one JSON value a line),
  an output the value returned (or its JSON);
- assertions: `{"asserts": ["assert add(1, 2) == 3", ...], "setup": "import math"}`, also as MBPP names them
  (`test_list`, `test_setup_code`, `test_imports`).

The first two may also stand under `"input_output"`, as a mapping or its JSON. Imports no torch.
"""

import ast
import builtins
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PYTHON_FENCES = ("python", "python3", "py")


class TaskProblem(ValueError):
    """A task's cases cannot be used as written; the text says what to change."""


@dataclass(frozen=True, slots=True)
class ScriptCase:
    """What a program reads, and what it must write."""

    given: str
    wanted: str


@dataclass(frozen=True, slots=True)
class CallCase:
    """Arguments of a function, and what it must return."""

    arguments: tuple[Any, ...]
    wanted: Any


@dataclass(frozen=True, slots=True)
class AssertCase:
    """An assertion in two halves: expressions for the program's process, and a `check` of their values elsewhere.

    `check` is an expression over `_0`, `_1`, ...: the program never sees it. `wanted` is set instead if the assertion
    merely compares one value with a literal.
    """

    expressions: tuple[str, ...]
    check: str
    wanted: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Suite:
    """A task's cases, all of one kind."""

    cases: tuple[ScriptCase, ...] | tuple[CallCase, ...] | tuple[AssertCase, ...]
    function: str = ""
    setup: str = ""


def extract_program(text: str) -> str:
    """The last fenced block marked as Python; else the last unmarked one; else the whole text.

    A block that is never closed reaches to the end of the text.
    """
    blocks: list[tuple[str, list[str]]] = []
    open_block = False
    for line in text.split("\n"):
        mark = line.strip()
        if open_block and mark == "```":
            open_block = False
        elif not open_block and mark.startswith("```") and mark.count("`") == 3:
            blocks.append((mark[3:].strip().lower(), []))
            open_block = True
        elif open_block:
            blocks[-1][1].append(line)
    for languages in (PYTHON_FENCES, ("",)):
        for language, lines in reversed(blocks):
            if language in languages:
                return "\n".join(lines) + "\n"
    return text


def read_suite(info: Mapping[str, Any]) -> Suite:
    """The cases of a task. Raises `TaskProblem`."""
    asserts = info.get("asserts", info.get("test_list"))
    if asserts is not None:
        own = str(info.get("setup", info.get("test_setup_code", "")))
        setup = "\n".join([*_texts(info.get("test_imports", ())), own])
        bound = _bound_by(setup)
        return Suite(_some(tuple(split_assertion(text, bound) for text in _texts(asserts))), setup=setup)
    pairs = info.get("input_output", info)
    if isinstance(pairs, str):
        pairs = _json(pairs, "input_output")
    if not isinstance(pairs, Mapping) or "inputs" not in pairs or "outputs" not in pairs:
        raise TaskProblem(
            f"a task for unit tests needs `inputs` and `outputs`, or `asserts`, in its info; this one has "
            f"{', '.join(sorted(map(str, info))) or 'nothing'}"
        )
    inputs, outputs = pairs["inputs"], pairs["outputs"]
    if not isinstance(inputs, list | tuple) or not isinstance(outputs, list | tuple) or len(inputs) != len(outputs):
        raise TaskProblem("`inputs` and `outputs` must be lists of the same length")
    both = list(zip(inputs, outputs, strict=True))
    function = str(pairs.get("fn_name") or "")
    if not function:
        return Suite(_some(tuple(ScriptCase(_lines(given), _lines(wanted)) for given, wanted in both)))
    return Suite(_some(tuple(CallCase(_arguments(given), _value(wanted)) for given, wanted in both)), function)


def split_assertion(text: str, bound: frozenset[str] = frozenset()) -> AssertCase:
    """Part what the program must compute from how it is judged.

    `bound` are names that the set-up code defines: they are not the program's. Raises `TaskProblem` for an assertion
    that only the program's own process could judge.
    """
    try:
        statements = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TaskProblem(f"the assertion {text[:80]!r} is not Python: {error}") from error
    if len(statements) != 1 or not isinstance(statements[0], ast.Assert):
        raise TaskProblem(f"{text[:80]!r} is not one assert statement: write each case as `assert f(1) == 2`")
    splitter = _Splitter(text, bound)
    test = splitter.visit(statements[0].test)
    if not splitter.expressions:
        raise TaskProblem(f"the assertion {text[:80]!r} asks nothing of the program")
    return AssertCase(tuple(splitter.expressions), ast.unparse(test), _literal_wanted(test))


class _Splitter(ast.NodeTransformer):
    """Replaces each expression that starts from one of the program's names by `_0`, `_1`, ...

    It reaches to the first call, `f(1)`; from a name with a capital letter to the second, `Solution().f(1)`. What
    follows, such as `.startswith("a")`, is done to the plain value outside, where the program cannot redefine it.
    """

    def __init__(self, text: str, known: frozenset[str]) -> None:
        self.expressions: list[str] = []
        self._text = text
        self._known = known | frozenset(dir(builtins))
        self._local: list[str] = []

    def visit(self, node: ast.AST) -> ast.AST:
        root, calls = node, 0
        while isinstance(root, ast.Call | ast.Attribute | ast.Subscript):
            calls += isinstance(root, ast.Call)
            root = root.func if isinstance(root, ast.Call) else root.value
        ours = isinstance(root, ast.Name) and root.id not in self._known and root.id not in self._local
        if isinstance(root, ast.Name) and ours:
            reach = 2 if root.id[:1].isupper() else 1
            if calls < reach or (calls == reach and isinstance(node, ast.Call)):
                return self._take(node)
        if isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
            self._refuse("assigns or waits inside")
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda):
            return self._visit_scope(node)
        return self.generic_visit(node)

    def _visit_scope(self, node: ast.AST) -> ast.AST:
        inside = list(ast.walk(node))
        names = [inner.id for inner in inside if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)]
        names += [inner.arg for inner in inside if isinstance(inner, ast.arg)]
        self._local += names
        visited = self.generic_visit(node)
        del self._local[len(self._local) - len(names) :]
        return visited

    def _take(self, node: ast.AST) -> ast.AST:
        if any(isinstance(inner, ast.Name) and inner.id in self._local for inner in ast.walk(node)):
            self._refuse("calls the program with a loop variable")
        self.expressions.append(ast.unparse(node))
        return ast.copy_location(ast.Name(f"_{len(self.expressions) - 1}", ast.Load()), node)

    def _refuse(self, what: str) -> None:
        raise TaskProblem(
            f"the assertion {self._text[:80]!r} {what}, so that only the program's own process could judge it: "
            "write it as comparisons of single calls, `assert f(1) == 2`"
        )


def _literal_wanted(test: ast.AST) -> tuple[Any, ...]:
    """The literal of `_0 == literal` or `literal == _0`, in a tuple; empty for anything else."""
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return ()
    for side, other in ((test.left, test.comparators[0]), (test.comparators[0], test.left)):
        if isinstance(side, ast.Name) and side.id == "_0":
            try:
                return (ast.literal_eval(other),)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                return ()
    return ()


def _bound_by(setup: str) -> frozenset[str]:
    try:
        tree = ast.parse(setup)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise TaskProblem(f"the task's set-up code is not Python: {error}") from error
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return frozenset(names)


def _some(cases: tuple) -> tuple:
    if not cases:
        raise TaskProblem("a task for unit tests has no case: give it at least one, or leave it out")
    return cases


def _texts(value: object) -> Sequence[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise TaskProblem(f"assertions and imports must be a list of strings, not {str(value)[:80]!r}")
    return value


def _lines(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    raise TaskProblem(f"an input or output must be a string or a list of lines, not {str(value)[:80]!r}")


def _arguments(value: object) -> tuple[Any, ...]:
    if isinstance(value, str):
        return tuple(_json(line, "an input") for line in value.split("\n") if line.strip())
    if isinstance(value, list | tuple):
        return tuple(value)
    raise TaskProblem(f"the input of a call must be a list of arguments, not {str(value)[:80]!r}")


def _value(value: object) -> object:
    """A string is read as JSON if it is JSON: data sets write values so."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TaskProblem(f"{what} is not JSON ({error}): {text[:80]!r}") from error
