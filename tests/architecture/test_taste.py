"""Rules of the house that a reader can rely on without checking."""

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "critica"
FILES = sorted(SOURCE.rglob("*.py"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 1)}"


def test_the_loop_is_a_box_without_branches_on_the_recipe() -> None:
    path = SOURCE / "training" / "loop.py"
    text = path.read_text()
    assert len(text.splitlines()) < 120
    names = [
        where(path, node)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        if re.fullmatch(r"(self\.)?recipe(\.name)?", ast.unparse(side))
    ]
    assert not names, f"the loop compares the recipe: {names}"
    calls = [
        where(path, n)
        for n in ast.walk(tree(path))
        if isinstance(n, ast.Call) and "isinstance(recipe" in ast.unparse(n)
    ]
    assert not calls


def test_no_pickle_is_loaded() -> None:
    wrong = []
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
                wrong += [
                    where(path, node)
                    for name in names
                    if name.split(".")[0] in ("pickle", "dill", "cloudpickle", "shelve")
                ]
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "numpy.load"):
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                safe = options.get("weights_only") == "True" or options.get("allow_pickle") == "False"
                wrong += [] if safe else [where(path, node)]
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code" and ast.unparse(node.value) == "True":
                wrong.append(where(path, node.value))
    assert not wrong, f"pickle, an unguarded load, or remote code: {wrong}"


def test_every_module_opens_with_its_idea() -> None:
    missing = [
        str(path.relative_to(SOURCE))
        for path in FILES
        if path.read_text().strip() and not ast.get_docstring(tree(path))
    ]
    assert not missing, f"no docstring: {missing}"


def test_every_public_formula_is_documented() -> None:
    missing = [
        where(path, node)
        for path in sorted((SOURCE / "functional").glob("*.py"))
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if not ast.get_docstring(node)
    ]
    assert not missing, f"no docstring: {missing}"


def test_nothing_is_left_to_do_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    left = [
        f"{path.relative_to(SOURCE)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if marks.search(line)
    ]
    assert not left, f"left for later: {left}"


def test_only_one_file_shifts_by_one_token() -> None:
    """`[:, 1:]` beside `[:, :-1]` on logits or token ids is the classic way to be off by one."""
    shifting = []
    for path in FILES:
        if path.relative_to(SOURCE).as_posix() == "functional/logprobs.py":
            continue
        for node in ast.walk(tree(path)):
            cut = isinstance(node, ast.Subscript) and ast.unparse(node.slice) in ("(:, :-1)", "(..., :-1, :)")
            if cut and "logits" in ast.unparse(node.value):
                shifting.append(where(path, node))
    assert not shifting, f"logits are shifted outside functional/logprobs.py: {shifting}"


def test_no_file_outgrows_its_idea() -> None:
    long = {str(path.relative_to(SOURCE)): n for path in FILES if (n := len(path.read_text().splitlines())) > 450}
    assert not long, f"more than 450 lines: {long}"


def test_the_license_and_the_pins_are_whole() -> None:
    root = SOURCE.parents[1]
    assert "END OF TERMS AND CONDITIONS" in (root / "LICENSE").read_text()
    pins = [line for line in (root / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert "torch==2.13.0" in pins
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line) for line in pins)
