"""Config files and `--set` under fuzz: junk is refused with a sentence; what is accepted says all that was written.

`test_fuzz_config.py` runs each target in a process of its own, without the checks of types that make every call ten
times slower, and under limits of time and memory.
"""

import dataclasses
import json
import math
import os
import random
import resource
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomli_w

from critica.recipes.base import Recipe
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.coercion import ConfigError, to_text
from critica.recipes.config import from_tables, to_tables
from critica.recipes.resolve import SPECS, change_recipe, find_recipe
from critica.recipes.toml import read_toml, write_toml
from fuzz.nasty import INPUTS, TEXTS, changed, flipped, mutated, text_like

TABLES = {name: to_tables(recipe, PARTS) for name, recipe in RECIPES.items()}


def leaves(tables: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of everything that is neither table nor list."""
    inside = tables.items() if isinstance(tables, Mapping) else enumerate(tables) if isinstance(tables, list) else None
    if inside is None:
        yield path, tables
        return
    for name, item in inside:
        yield from leaves(item, f"{path}.{name}" if path else str(name))


def same(a: Recipe, b: Recipe) -> bool:
    """Equal in everything that a config file keeps."""
    return all(getattr(a, item.name) == getattr(b, item.name) for item in fields(a) if item.name != "provenance")


def refused_well(error: ConfigError) -> bool:
    return len(str(error)) > 15 and " " in str(error)


def tables(folder: Path) -> int:
    """An accepted table is written back with every value that it held: nothing is dropped, rounded or defaulted."""
    rng = random.Random(11)
    accepted = 0
    for turn in range(INPUTS):
        name = rng.choice(list(RECIPES))
        whole = turn % 8 == 0
        tables = TABLES[name] if whole else {key: TABLES[name][key] for key in rng.sample(list(TABLES[name]), 2)}
        tables = mutated(rng, tables)
        if not isinstance(tables, dict):
            continue
        try:
            read = from_tables(tables, Recipe if whole else RECIPES[name], PARTS, specs=SPECS)
        except ConfigError as error:
            assert refused_well(error)
            continue
        accepted += 1
        if accepted % 8 == 0:
            kept_whole(tables, read)
    return accepted


def kept_whole(tables: Mapping[str, Any], read: Recipe) -> None:
    back = to_tables(read, PARTS)
    written = dict(leaves(back))
    for path, value in leaves(tables):
        if path in ("environment", "reward", "noise") or path.endswith((".use", "environment.path")):
            continue
        if path in written:
            assert written[path] == value and (type(written[path]) is type(value) or float(value) == written[path]), (
                path
            )
        else:  # a part by its short name alone is written as a table
            assert f"{path}.use" in written and written[f"{path}.use"] == value, path
    assert same(from_tables(back, Recipe, PARTS), read)


def files(folder: Path) -> int:
    """Bytes of a file: read or refused, naming the file; what is read and accepted survives being written."""
    rng = random.Random(12)
    texts = [write_toml(tables, {}).encode() for tables in TABLES.values()]
    short = [b'base = "dvpo"\nsteps = 3\n[critic]\nquantiles = 8\n', b'base = "ppo"\nnoise = "flip:0.2:group"\n']
    file = folder / "config.toml"
    accepted = 0
    for turn in range(INPUTS):
        data = flipped(rng, rng.choice(texts if turn % 8 == 0 else short))
        if rng.random() < 0.1:
            data = data.replace(b"3", rng.choice(TEXTS).encode("utf-8", "surrogatepass"))
        file.write_bytes(data)
        try:
            read = find_recipe(str(file), RECIPES, PARTS)
        except ConfigError as error:
            assert refused_well(error)
            assert str(file) in str(error)
            continue
        accepted += 1
        if accepted % 8 == 0:
            assert same(from_tables(to_tables(read, PARTS), Recipe, PARTS), read)
    return accepted


def names(folder: Path) -> int:
    """What is no recipe and no file is refused, whatever it is called."""
    rng = random.Random(13)
    for _ in range(INPUTS):
        name = text_like(rng, tuple(RECIPES))
        try:
            assert find_recipe(name, RECIPES, PARTS) is RECIPES[name]
        except ConfigError as error:
            assert refused_well(error)
    return 0


def settings(folder: Path) -> int:
    """`--set`: the value that stands at the path afterwards is the value that was typed."""
    rng = random.Random(14)
    paths = {name: [path for path, _ in leaves(TABLES[name])] for name in RECIPES}
    accepted = 0
    for _ in range(INPUTS):
        name = rng.choice(list(RECIPES))
        path = rng.choice(paths[name])
        path = changed(rng, path) if rng.random() < 0.2 else path.rpartition(".")[0] if rng.random() < 0.1 else path
        text = text_like(
            rng, ("3", "0.25", "none", "true", "[1, 2]", "gae", "mean", "{use = 'gae', decay = 0.5}", "a, b")
        )
        try:
            read = change_recipe(RECIPES[name], [f"{path}={text}"], PARTS)
        except ConfigError as error:
            assert refused_well(error), (path, text)
            continue
        accepted += 1
        said(read, path.partition("=")[0].strip(), text)
    return accepted


def said(read: Recipe, path: str, text: str) -> None:
    """Whether the number, the truth value or the word at the path is what the text says, read on its own."""
    value = dict(leaves(to_tables(read, PARTS))).get(path)
    plain = text.strip()
    if isinstance(value, bool):
        assert plain.lower() == str(value).lower()
    elif isinstance(value, int | float):
        based = plain.lstrip("+-").lower().startswith(("0x", "0o", "0b"))
        assert int(plain, 0) == value if based else math.isclose(float(plain), value)
    elif isinstance(value, str) and not path.endswith((".use", ".path")):
        assert (
            value == plain or json.dumps(value)[1:-1] in plain or value in plain or value in (plain[1:-1], repr(plain))
        )


def paths(folder: Path) -> int:
    """Every path of every recipe takes its own value back, as TOML and as the command prints it."""
    count = 0
    for name, recipe in RECIPES.items():
        settings = []
        for path, value in leaves(TABLES[name]):
            if path.endswith("use") or ".config." in path:  # a part is set whole; a dataset's settings are a table
                continue
            settings.append(f"{path}={tomli_w.dumps({'v': value}).removeprefix('v = ').strip()}")
            assert same(change_recipe(recipe, [f"{path}={to_text(value)}"], PARTS), recipe), path
        assert same(change_recipe(recipe, settings, PARTS), recipe)
        assert len(settings) > 40
        count += len(settings)
    return count


PLACES = {
    "body": "critic.body",
    "decay": "advantage.inner.decay",
    "surrogate": "objective.surrogate",
    "critique": "protocol.critic",
    "view": "advantage.view",
    "reduction": "objective.reduction",
    "optimizer": "learner.policy",
    "anchor": "learner.policy.anchor",
    "paper": "paper",
}
TEXT_OF = {
    "task_file": '{use="task_file", path="/data/tasks.jsonl", prompt="q"}',
    "function": "mine.py:judge",
    "flip": "flip:0.1:group",
    "reasoning_gym": "rg:lcm*2+gcd*0.3",
    "stated_value": '{use="stated_value", critic={use="generative"}}',
    "policy_loss": '{use="policy_loss", surrogate="policy_gradient"}',
    "regex": '{use="regex", pattern="a=(.*)", then={use="numeric", tolerance=0.5}}',
    "small": '{use="small", path="pico"}',
    "length": "length:64:16",
    "constant": '{use="constant", tokens=64}',
    "paper": '{title="a", arxiv="b"}',
    "several": '{use="several", sources=["exact", {use="numeric", tolerance=0.5}], names=["a", "b"]}',
    "each_objective": '{use="each_objective", corrections=["none", {use="backward", least=0.5}]}',
    "standardized": '{use="standardized", inner="outcome"}',
    "reward_model": "reward_model:/models/judge",
    "cross_entropy": "cross_entropy:/models/other",
    "token_reward": '{use="token_reward", objective="right"}',
    "sign_weighted": '{use="sign_weighted", inner="outcome"}',
    "adaptive_sign_weighted": '{use="adaptive_sign_weighted", inner="outcome"}',
    "contrast": '{use="contrast", inner="outcome"}',
    "another_context": '{use="another_context", name="guidance", instruction="x"}',
    "worst_prompts": '{use="worst_prompts", inner="outcome"}',
    "feedback_credit": '{use="feedback_credit", inner="outcome"}',
    "judge_critique": '{use="judge_critique", judge="scripted"}',
    "reference_kl": '[{use="reference_kl", weight=0.5}]',
    "entropy": '[{use="entropy", bonus=0.5}]',
}


def parts(folder: Path) -> int:
    """Every part of the catalogue survives the way through a file: by itself, or in a recipe that takes it."""
    count = 0
    for kind, named in PARTS.items():
        for name, part in named.items():
            if kind == "entry":  # a dataset of a mix, which `reasoning_gym` holds
                continue
            if any(required(item) for item in dataclasses.fields(part)):
                place = "objective.penalties" if kind == "penalty" else PLACES.get(kind, kind)
                kept = [
                    kept_in_file(recipe, f"{place}={TEXT_OF.get(name, name)}", folder) for recipe in RECIPES.values()
                ]
                assert any(kept), f"no recipe takes {kind} {name}: say in PLACES where it stands, and in TEXT_OF how"
            else:
                holder = dataclasses.make_dataclass("Holder", [(kind, part)], frozen=True)
                whole = holder(part())
                text = write_toml(to_tables(whole, PARTS), {})
                assert from_tables(tomllib.loads(text), holder, PARTS) == whole, (kind, name)
            count += 1
    return count


def required(item: dataclasses.Field) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def kept_in_file(recipe: Recipe, setting: str, folder: Path) -> bool:
    """Whether the recipe takes this setting; if it does, its file must say so."""
    try:
        changed = change_recipe(recipe, [setting], PARTS)
    except ConfigError:
        return False
    file = folder / "config.toml"
    file.write_text(write_toml(to_tables(changed, PARTS), {}), encoding="utf-8", newline="")
    assert same(from_tables(read_toml(file), Recipe, PARTS), changed), setting
    return True


def texts(folder: Path) -> int:
    """Texts with every odd character in them survive as a value, and as a comment change nothing."""
    rng = random.Random(15)
    file = folder / "config.toml"
    kept = 0
    for _ in range(400):
        pattern = "".join(rng.choice((*TEXTS[:60], "a", "b.", "#", '"')) for _ in range(3))
        tables = {"reward": {"use": "regex", "pattern": pattern}, "steps": 3}
        try:
            recipe = from_tables(tables, RECIPES["ppo"], PARTS)
        except ConfigError:
            continue  # no regular expression, or half a character
        file.write_text(write_toml(to_tables(recipe, PARTS), {"steps": pattern}), encoding="utf-8", newline="")
        assert same(from_tables(read_toml(file), Recipe, PARTS), recipe), repr(pattern)
        kept += 1
    return kept


TARGETS = {target.__name__: target for target in (tables, files, names, settings, paths, parts, texts)}


def main() -> None:
    """Carry out the named target within limits of memory and of processor time; print how many were accepted."""
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    warnings.simplefilter("ignore")  # a regular expression may look like one of the future
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in sys.argv[1:]:
            print(name, TARGETS[name](Path(folder)), flush=True)


if __name__ == "__main__":
    main()
