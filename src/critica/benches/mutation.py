"""Small wrongs in formulas: a flipped sign, a dropped factor, a comparison the other way round."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

SIGNS = {ast.Add: ast.Sub, ast.Sub: ast.Add}
TURNED = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong: what stood at `line` (columns in bytes) of `path`, and what stands there now."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """Distinct within a version of the sources."""
        return f"{self.path}:{self.line}:{self.column}: {self.before} -> {self.after}"

    def applied(self, source: str) -> str:
        """The source with this wrong in it."""
        lines = source.encode().split(b"\n")
        head = lines[self.line - 1][: self.column]
        tail = lines[self.end_line - 1][self.end_column :]
        made = [*lines[: self.line - 1], head + b"(" + self.after.encode() + b")" + tail, *lines[self.end_line :]]
        return b"\n".join(made).decode()


def mutants(source: str, path: str) -> list[Mutant]:
    """Every wrong that can be put into the bodies of this module's functions, in order of place."""
    found: dict[str, Mutant] = {}
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            for node in _spoken(function):
                for after in _wrongs(node):
                    one = Mutant(
                        path, node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or 0,
                        ast.unparse(node), after,
                    )  # fmt: skip
                    found.setdefault(one.name, one)
    return sorted(found.values(), key=lambda one: (one.line, one.column, one.after))


def _spoken(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """Expressions of the body, but for what is only said in errors, annotations and formatted text."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
            continue
        if isinstance(node, ast.expr):
            yield node
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list"):
                children = value if isinstance(value, list) else [value]
                stack.extend(child for child in children if isinstance(child, ast.AST))


def _wrongs(node: ast.expr) -> Iterator[str]:
    """What may stand in the place of this expression."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield ast.unparse(node.operand)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in TURNED:
        turned = ast.Compare(node.left, [TURNED[type(node.ops[0])]()], node.comparators)
        yield ast.unparse(turned)
    if not isinstance(node, ast.BinOp) or _text(node.left) or _text(node.right):
        return
    if type(node.op) in SIGNS:
        yield ast.unparse(ast.BinOp(node.left, SIGNS[type(node.op)](), node.right))
    if isinstance(node.op, ast.Mult):
        yield ast.unparse(node.left)
        yield ast.unparse(node.right)
    if isinstance(node.op, ast.Div):
        yield ast.unparse(node.left)


def _text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr | ast.List | ast.Tuple) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
