"""One page for each critic, made of its docstring, its fields, the recipes that use it, and what benchmarks measured.

`make pages` writes docs/critics/. Nothing there is written by hand: what a page lacks, the part's docstring lacks.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from critica.recipes.base import Recipe

USE, NOT, COSTS = "When to use it", "When not", "What it costs"
HEADS = (("Use it", USE), ("Not ", NOT), ("It costs", COSTS), ("Costs", COSTS))
USUAL = {  # settings that many critics have, and whose docstring need not say them again
    "body": "Where it reads its features: a copy of the policy's body, the policy's own states, or a small model.",
    "critic": "The critic inside.",
    "heads": "M, how many heads there are.",
    "hidden": "Units of the hidden layers before the output; 0, where allowed: none.",
    "quantiles": "K, quantiles of each head.",
    "atoms": "K, atoms of the law.",
    "members": "M, critics in the ensemble.",
    "regularizers": "What stands between body and head.",
    "steps": "What a step of an answer is.",
    "tail": "DVPO's regularizers of the two tails.",
    "half_life_steps": "After so many steps a memory counts half.",
    "strength": "Outcomes that the prior is worth.",
}
SHORT = 140  # a sentence of so many characters is shown whole
MARK = "<!-- Made by `make pages` from the docstring of `{name}`; do not edit. -->"


@dataclass(frozen=True, slots=True)
class Prose:
    """A docstring sorted: what comes first is the equation; `parts` maps a heading to its sentences."""

    equation: str
    rest: str
    parts: Mapping[str, str]


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph: a full stop, a blank, and a capital or a code mark begin the next."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`])", " ".join(text.split()))


def read_prose(part: type) -> Prose:
    """The docstring of a part, sorted by how its sentences begin; `Use it ...; not ...` is told apart."""
    paragraphs = inspect.cleandoc(part.__doc__ or "").split("\n\n")
    found: dict[str, list[str]] = {USE: [], NOT: [], COSTS: []}
    rest: list[str] = []
    told = [line for paragraph in paragraphs for line in sentences(paragraph)]
    for line in told[1:]:
        head = next((title for start, title in HEADS if line.startswith(start)), "")
        if head == USE and "; not " in line:
            use, _, refusal = line.partition("; not ")
            found[USE].append(f"{use}.")
            found[NOT].append(f"Not {refusal}")
        elif head:
            found[head].append(line)
        else:
            rest.append(line)
    if not found[COSTS]:  # said in passing
        found[COSTS] = [line for line in told[1:] if re.search(r"\bcosts?\b", line)][:1]
    return Prose(told[0], " ".join(rest), {title: " ".join(lines) for title, lines in found.items()})


def parts_within(value: Any) -> Iterator[type]:
    """The kinds of a part and of everything that it is made of."""
    if is_dataclass(value) and not isinstance(value, type):
        yield type(value)
        for field in fields(value):
            yield from parts_within(getattr(value, field.name))


def users_of(part: type, recipes: Mapping[str, Recipe]) -> list[str]:
    """The recipes whose critic is, or has inside, this one."""
    return [name for name, recipe in recipes.items() if part in parts_within(recipe.critic)]


def default_of(field: Field) -> str:
    """A field's default as one would write it; empty for one that must be given."""
    if field.default is not MISSING:
        return repr(field.default)
    return repr(field.default_factory()) if field.default_factory is not MISSING else ""


def meaning_of(name: str, told: str) -> str:
    """What everyone calls it, or the part of the first sentence that names the field: up to a colon or semicolon."""
    if name in USUAL:
        return USUAL[name]
    line = next((line for line in sentences(told) if f"`{name}`" in line), "")
    clauses = [line] if len(line) <= SHORT else re.split(r"(?<=[;:])\s+", line)
    said = next((clause for clause in clauses if f"`{name}`" in clause), "").rstrip(";:,. ")
    return f"{said[:1].upper()}{said[1:]}." if said and not said.startswith("`") else f"{said}." if said else ""


def defaults_table(part: type) -> str:
    """Every field, its default, and the sentence about it."""
    told = (part.__doc__ or "").replace("|", "\\|")
    rows = [f"| `{field.name}` | `{default_of(field)}` | {meaning_of(field.name, told)} |" for field in fields(part)]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows]) if rows else "It has no settings."


def readings(folder: Path, name: str) -> Any:
    """A benchmark's results; None where there are none, or none that can be read."""
    try:
        return json.loads((folder / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None


def rows_about(content: Any, key: str, wanted: set[str]) -> Iterator[Mapping[str, Any]]:
    """Every object, however deep, whose `key` is one of these names."""
    if isinstance(content, dict):
        if content.get(key) in wanted if isinstance(content.get(key), str) else False:
            yield content
        for inner in content.values():
            yield from rows_about(inner, key, wanted)
    elif isinstance(content, list):
        for inner in content:
            yield from rows_about(inner, key, wanted)


def figures(name: str, users: list[str], benchmarks: Path) -> str:
    """What the committed benchmarks measured of this critic, or of the recipes that use it."""
    lines = []
    for row in rows_about(readings(benchmarks, "counted_cost"), "recipe", set(users)):
        if isinstance(row.get("share"), float):
            lines.append(f"- `{row['recipe']}`: predict and estimate take {100 * row['share']:.1f}% of a step"
                         " ([counted_cost](../../benchmarks/counted_cost.md)).")  # fmt: skip
    gains: dict[str, list[float]] = {}
    for row in rows_about(readings(benchmarks, "recipes"), "recipe", set(users)):
        if isinstance(row.get("before"), float) and isinstance(row.get("after"), float):
            gains.setdefault(row["recipe"], []).append(row["after"] - row["before"])
    for recipe, own in gains.items():
        lines.append(f"- `{recipe}` raises the exact return of a tiny policy by {sum(own) / len(own):.3f}"
                     f" ({len(own)} seeds, [recipes](../../benchmarks/recipes.md)).")  # fmt: skip
    if next(rows_about(readings(benchmarks, "critics"), "critic", {name}), None) is not None:
        lines.append("- Its errors against the truth, next to other critics': [critics](../../benchmarks/critics.md).")
    return "\n".join(lines)


def page_of(name: str, part: type, recipes: Mapping[str, Recipe], benchmarks: Path) -> str:
    """The page of one critic."""
    prose, users = read_prose(part), users_of(part, recipes)
    measured = figures(name, users, benchmarks)
    using = ", ".join(f"`{user}`" for user in users) or f"None of the catalogue; any takes it: `--set critic={name}`."
    pieces = [f"# {name}", MARK.format(name=part.__name__), prose.equation, prose.rest]
    pieces += [f"## {title}\n\n{prose.parts[title]}" for title in (USE, NOT, COSTS)]
    pieces[-1] += "\n\n`critica plan RECIPE` works the cost out for a policy and a step of given sizes."
    pieces += [f"## Settings\n\n{defaults_table(part)}", f"## Recipes that use it\n\n{using}"]
    pieces += [f"## Measured\n\n{measured}"] if measured else []
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def pages(critics: Mapping[str, type], recipes: Mapping[str, Recipe], benchmarks: Path) -> dict[str, str]:
    """Every page by file name, the index among them."""
    made = {f"{name}.md": page_of(name, part, recipes, benchmarks) for name, part in critics.items()}
    rows = [f"| [{name}]({name}.md) | {_first_line(part)} |" for name, part in critics.items()]
    made["README.md"] = "\n".join(
        ["# Critics", "", "<!-- Made by `make pages`; do not edit. -->", "",
         "Any recipe takes any critic that suits its targets: `critica train ppo --set critic=NAME`.", "",
         "| critic | what it says |", "|---|---|", *rows, ""]
    )  # fmt: skip
    return made


def _first_line(part: type) -> str:
    return read_prose(part).equation.replace("|", "\\|")


def write_pages(root: Path) -> None:
    """Write docs/critics/, and remove pages of critics that are no more."""
    from critica.recipes.catalogue import PARTS, RECIPES

    folder = root / "docs" / "critics"
    folder.mkdir(parents=True, exist_ok=True)
    made = pages(PARTS["critic"], RECIPES, root / "benchmarks")
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write_pages(Path.cwd())
