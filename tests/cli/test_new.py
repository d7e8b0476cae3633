"""`critica new`: what it writes runs as it is, under any name, and its own tests pass."""

import ast
import subprocess
import sys

import pytest

from critica.cli.main import main
from critica.cli.new import TEMPLATES

KINDS = ("critic", "reward", "environment", "advantage", "objective", "recipe")


def test_what_it_writes_passes_its_own_tests(tmp_path):
    for kind in KINDS:
        assert main(["new", kind, f"odd_{kind}", "--into", str(tmp_path)]) == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:]
    tests = sum(
        isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        for file in tmp_path.glob("test_*.py") for node in ast.parse(file.read_text()).body
    )  # fmt: skip
    assert tests >= 11 and f"{tests + 4} passed" in done.stdout  # one of them has five cases


def test_every_template_has_a_kind_and_a_test():
    assert {file.stem for file in TEMPLATES.glob("*.py")} == {*KINDS, *(f"test_{kind}" for kind in KINDS)}


def test_nothing_that_exists_is_overwritten(tmp_path, capsys):
    (tmp_path / "test_mine.py").write_text("precious")
    assert main(["new", "critic", "mine", "--into", str(tmp_path)]) == 2
    assert "test_mine.py exists" in capsys.readouterr().err
    assert (tmp_path / "test_mine.py").read_text() == "precious" and not (tmp_path / "mine.py").exists()


@pytest.mark.parametrize("name", ["My Critic", "class", "Upper", "../up", "test_me", "9lives", ""])
def test_a_name_that_python_cannot_import_is_refused(name, tmp_path, capsys):
    assert main(["new", "critic", name, "--into", str(tmp_path)]) == 2
    assert "lower-case Python name" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
