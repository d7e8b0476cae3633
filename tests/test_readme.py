"""The README's Python example runs as it stands, and every command that it shows is one that exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

from critica.cli.main import VERBS
from critica.recipes.catalogue import RECIPES

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_example_runs(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(example.splitlines()) <= 30
    script = tmp_path / "example.py"
    script.write_text(example)
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),  # beside another test process
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "runs" / "api" / "report.html").is_file()
    assert len([line for line in done.stdout.splitlines() if re.match(r"\d+ ", line)]) == 10


def test_every_command_is_a_verb_and_every_recipe_is_listed():
    shown = [line.split() for line in re.findall(r"^critica (.+)$", README, flags=re.MULTILINE)]
    verbs = [verb.split() for verb in VERBS]
    assert all(any(words[: len(verb)] == verb for verb in verbs) for words in shown) and len(shown) > 8
    assert re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE) == list(RECIPES)
