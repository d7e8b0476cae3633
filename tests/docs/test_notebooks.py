"""The notebooks run from top to bottom, shortened by their own first cell's names."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = '["held_out.prompts=8", "sampling.prompts_per_step=2", "sampling.samples_per_prompt=4"]'
SHORT = {
    "train_under_noisy_rewards": f"STEPS = 2\nSETTINGS = {SMALL}\n",
    "look_inside_a_critic": 'STEPS = 2\nAUDIT = {"prompts": 4, "samples": 2, "continuations": 2}\n',
}


def cells(name, kind="code"):
    notebook = json.loads((EXAMPLES / f"{name}.ipynb").read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("name", SHORT)
def test_a_notebook_runs(name, tmp_path):
    first, *rest = cells(name)
    changed = {target.id for node in ast.parse(SHORT[name]).body for target in node.targets}
    assert changed <= {target.id for node in ast.parse(first).body for target in node.targets}
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join([first, SHORT[name], *rest, 'print("to the end")']))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "to the end" in done.stdout, done.stderr[-3000:]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    assert path.stem in SHORT
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
