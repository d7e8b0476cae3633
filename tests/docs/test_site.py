"""The documentation: made pages are up to date, the site builds, and what it tells people to write works."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from critica.cli.choice import resolve
from critica.cli.main import VERBS, parse
from critica.cli.site_pages import reference
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.resolve import find_recipe

ROOT = Path(__file__).parents[2]
PAGES = (
    "index",
    "first_steps",
    "report",
    "own_parts",
    "python",
    "preferences",
    "coming_from",
    "noise",
    "reliability",
    "performance",
    "faq",
    "choosing_a_critic",
    "models",
)
# Each script in a process of its own, forked from one that has imported what takes seconds and computed nothing.
ONE_AFTER_ANOTHER = """
import os, runpy, sys
import critica, critica.training.run, transformers.models.qwen3.modeling_qwen3

for script in sys.argv[1:]:
    child = os.fork()
    if not child:
        sys.argv[:] = [script]
        runpy.run_path(script, run_name="__main__")
        sys.exit()
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(f"{script} ended with status {status}")
"""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page, language):
    return [text for tag, text in BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text()) if tag == language]


def commands(page):
    """Every command line of the page, as words."""
    lines = [line for text in blocks(page, "") for line in text.splitlines() if line.startswith("critica ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the files that the pages speak of, as they show them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks.jsonl").write_text("".join(blocks("first_steps", "json")))
    pq.write_table(pa.table({"prompt": ["1+1="], "answer": ["2"]}), tmp_path / "train.parquet")
    (tmp_path / "pairs.jsonl").write_text("".join(blocks("preferences", "json")))
    (tmp_path / "answers.jsonl").write_text("".join(blocks("own_parts", "json")))
    (tmp_path / "polite.py").write_text("def score(completions, **columns):\n    return [1.0 for _ in completions]\n")
    (tmp_path / "sums").mkdir()
    for name in ("train", "test"):
        (tmp_path / "sums" / f"{name}.jsonl").write_text("".join(blocks("first_steps", "json")))
    for page in PAGES:
        for text in blocks(page, "python"):
            if (name := re.match(r"# (\w+\.py)\n", text)) is not None:
                (tmp_path / name[1]).write_text(text)
    (tmp_path / "patient.py").write_text(
        (ROOT / "src/critica/assets/new/critic.py").read_text().replace("MyCritic", "Patient")
    )
    return tmp_path


@pytest.mark.parametrize("name", ["recipes.md", "papers.md", "metrics.md", "commands.md", "models.md"])
def test_made_pages_are_up_to_date(name):
    assert (ROOT / "docs" / "reference" / name).read_text() == reference(RECIPES)[name], "run `make pages`"


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "first_steps.html").read_text()
    assert "fonts.googleapis" not in page and "Your own tasks" in page
    assert (tmp_path / "benchmarks" / "noise.html").is_file()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_shows_is_one_that_exists(page, desk):
    for words in commands(page):
        if words[0] == "bench" or any(word.isupper() and len(word) > 2 for word in words):
            continue  # NAME, RUN, RECIPE stand for something
        name = " ".join(words[:2]) if " ".join(words[:2]) in VERBS else words[0]
        verb = parse(name, words[len(name.split()) :])
        if hasattr(verb, "choice"):
            assert resolve(verb.choice).steps >= 1


def test_recipe_files_that_the_pages_show_are_valid(desk):
    shown = [text for page in PAGES for text in blocks(page, "toml")]
    (desk / "my_rewards.py").write_text("def close(completions, **columns):\n    return [0.0 for _ in completions]\n")
    for number, text in enumerate(shown):
        file = desk / f"shown_{number}.toml"
        file.write_text(text)
        assert find_recipe(str(file), RECIPES, PARTS).name
    assert len(shown) >= 2


def test_python_that_the_pages_show_runs(desk):
    shown = [text for page in PAGES for text in blocks(page, "python")]
    assert len(shown) >= 4
    scripts = [desk / f"script_{number}.py" for number in range(len(shown))]
    for script, text in zip(scripts, shown, strict=True):
        script.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_ANOTHER, *map(str, scripts)],
        cwd=desk,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (desk / "runs" / "python" / "metrics.jsonl").is_file()


def test_what_own_parts_shows_can_be_trained(desk):
    import critica

    settings = ["sampling.prompts_per_step=2", "sampling.samples_per_prompt=2", "threads=1"]
    result = critica.train(critica.recipe("ppo", "critic=halfway.py:Halfway", *settings, steps=1), desk / "half")
    (step,) = critica.RunFolder.open(result.run).metrics()
    assert step["critic/value_mean"] == 0.5
    assert critica.train(critica.recipe("my_recipe.py:SOFT_DVPO", *settings, steps=1), desk / "soft").finished
