"""Config files, recipe names and `--set`, 10,000 inputs each, in a process that cannot hang or fill the memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError
from critica.recipes.config import from_tables
from critica.recipes.resolve import change_recipe, find_recipe
from critica.recipes.toml import read_toml, write_toml

# What must be accepted at least of each target: a fuzzer whose every input is refused has tested nothing.
ACCEPTED = {"tables": 500, "files": 100, "names": 0, "settings": 200, "paths": 400, "parts": 30, "texts": 100}


def test_config_survives_whatever_is_written(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.config_targets", *ACCEPTED],
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root / 'tests'}", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=600, check=False,  # 120 s of processor time end it before
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-8000:]
    counts = {name: int(count) for name, count in (line.split() for line in done.stdout.splitlines())}
    assert all(counts[name] >= least for name, least in ACCEPTED.items()), counts


def test_a_file_that_is_its_own_base_is_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(f'base = "{two}"\n')
    two.write_text(f'base = "{one}"\n')
    with pytest.raises(ConfigError, match="its own base"):
        find_recipe(str(one), RECIPES, PARTS)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("steps=" + "9" * 5000, "expected int"),
        ("steps=" + "9" * 400, "expected int"),
        ("steps=" + "[" * 3000, "expected int"),
        ("steps=3 # and more", "expected int"),
        ("steps=3\nseed=4", "expected int"),
        ("sampling.temperature=nan", "expected float"),
        ("sampling.temperature=1" + "0" * 400, "expected float"),
        ("objective.penalties.\u00b2=3", "has no"),
        ("policy.path=\udcff", "not UTF-8"),
        ("critic=" + "a" * 5000 + ".py:X", "no file"),
        ("critic=\0.py:X", "no file"),
    ],
)  # fmt: skip
def test_what_fuzzing_found_stays_mended(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        change_recipe(RECIPES["grpo"], [setting], PARTS)


def test_a_part_outside_of_every_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="outside of every part"):
        from_tables({"use": "gae"}, RECIPES["ppo"], PARTS)


def test_separators_of_other_scripts_do_not_cut_a_line(tmp_path: Path) -> None:
    tables = {"a": "one\u2028two\x85three", "b": 1}
    file = tmp_path / "t.toml"
    file.write_text(write_toml(tables, {"a": "said\x00so", "b": "x\x7f"}), encoding="utf-8", newline="")
    assert read_toml(file) == tables


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 3000 + "]" * 3000])
def test_toml_that_python_cannot_hold_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"t\.toml is not valid TOML"):
        read_toml(tmp_path / "t.toml")
