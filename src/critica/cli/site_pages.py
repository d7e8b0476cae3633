"""The pages of the site that are made, not written: recipes, papers, metrics and commands.

`make pages` writes them to docs/reference/. What a page lacks, the recipe, the glossary or the command lacks.
"""

import contextlib
import io
import os
from collections.abc import Mapping
from pathlib import Path

from critica.cli.main import VERBS, main
from critica.policies.model_list import REFUSED, TRAINED
from critica.recipes.base import CodeSays, OurChoice, PaperSays, Recipe, Source
from critica.records.metrics import GLOSSARY

MARK = "<!-- Made by `make pages`; do not edit. -->"
WIDTH = "100"  # of the help texts
KINDS = {PaperSays: "paper", CodeSays: "code", OurChoice: "our choice"}


def reference(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Every made page by its name under docs/reference/."""
    return {
        "recipes.md": recipe_page(recipes),
        "papers.md": paper_page(recipes),
        "metrics.md": metric_page(),
        "commands.md": command_page(),
        "models.md": model_page(),
    }


def recipe_page(recipes: Mapping[str, Recipe]) -> str:
    """What each recipe is made of, and where every value that matters comes from."""
    parts = [
        "# Recipes", MARK,
        "A recipe is a sentence that picks parts. `critica recipes show NAME` prints all of one as a file that can be"
        " edited and trained; here are its parts, and the origin of each value that matters.",
    ]  # fmt: skip
    for wing in dict.fromkeys(recipe.wing for recipe in recipes.values()):
        parts.append(f"## {wing.capitalize()}")
        parts += [recipe_section(recipe) for recipe in recipes.values() if recipe.wing == wing]
    return "\n\n".join(parts) + "\n"


def recipe_section(recipe: Recipe) -> str:
    """One recipe: its paper, its parts, its origins."""
    made = [(kind, type(getattr(recipe, kind)).__name__) for kind in ("critic", "target", "advantage", "objective")]
    said = ", ".join(f"{kind} `{name}`" for kind, name in made)
    lines = [f"### {recipe.name}", f"{paper_of(recipe)}. Made of {said}."]
    if recipe.provenance:
        rows = ["| value | origin | |", "|---|---|---|"]
        rows += [f"| `{path}` | {KINDS[type(source)]} | {cell(words_of(source))} |"
                 for path, source in recipe.provenance.items()]  # fmt: skip
        lines.append("\n".join(rows))
    return "\n\n".join(lines)


def words_of(source: Source) -> str:
    """What a source says, with what the paper had where we chose otherwise."""
    if isinstance(source, OurChoice):
        return source.because + (f" (paper: {source.paper})" if source.paper else "")
    return source.where


def paper_of(recipe: Recipe) -> str:
    """Title and link."""
    number = recipe.paper.arxiv
    return f"{recipe.paper.title}, [{number}](https://arxiv.org/abs/{number})" if number else recipe.paper.title


def cell(text: str) -> str:
    """Text that does not break a table."""
    return " ".join(text.split()).replace("|", "\\|")


def paper_page(recipes: Mapping[str, Recipe]) -> str:
    """Every published system, newest first, with the recipe that runs it."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, recipe in recipes.items():
        if recipe.paper.arxiv:
            found.setdefault((recipe.paper.arxiv, recipe.paper.title), []).append(name)
    rows = ["| paper | recipe |", "|---|---|"]
    rows += [
        f"| {cell(title)}, [{number}](https://arxiv.org/abs/{number}) | {', '.join(f'`{name}`' for name in names)} |"
        for (number, title), names in sorted(found.items(), reverse=True)
    ]
    head = "Each of these systems is one file in `src/critica/recipes/`, with the origin of its values."
    return "\n\n".join(["# Papers", MARK, head, "\n".join(rows)]) + "\n"


def metric_page() -> str:
    """The glossary."""
    head = (
        "Every number that a run may log, in `metrics.jsonl` and in the report. A name that ends in `/*` is a family."
        " A mean is kept as total and count, so that it is exact over micro-batches."
    )
    parts = ["# Metrics", MARK, head]
    for family in dict.fromkeys(name.partition("/")[0] for name in GLOSSARY):
        rows = ["| metric | unit | |", "|---|---|---|"]
        rows += [f"| `{one.name}` | {one.unit} | {cell(one.sentence)} |"
                 for one in GLOSSARY.values() if one.name.partition("/")[0] == family]  # fmt: skip
        parts += [f"## {family}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def model_page() -> str:
    """The families of models that a test trains."""
    head = (
        "Any causal language model folder of transformers can be named with `--policy`. Of each family below a small"
        " random model is trained in the tests: sampler and trainer agree to 1e-5, transformers opens the checkpoint."
        " *Packed* families have our decoder and a packed training pass, several times faster; the others use their"
        " own forward pass and cache, and take no decode control such as early stopping or guidance (Mistral with a"
        " sliding window is one of these); [Models](../models.md) says what else stands between a model and a run."
        " `--set policy.lora.rank=16` trains adapters; where layers have other names than in Llama and Qwen,"
        " `policy.lora.target_modules` names them."
    )
    rows = ["| family (`model_type`) | packed |", "|---|---|"]
    rows += [f"| `{family.name}` | {'yes' if family.packed else ''} |" for family in TRAINED]
    refused = "\n".join(f"- `{name}`: {why}" for name, why in REFUSED.items())
    return "\n\n".join(["# Models", MARK, head, "\n".join(rows), "Refused, with the reason:", refused]) + "\n"


def command_page() -> str:
    """What every verb says when it is asked for help."""
    head = "What `critica VERB --help` says. Data goes to stdout, words to stderr; 0 is done, 1 failed, 2 wrong usage."
    parts = ["# Commands", MARK, head]
    parts += [f"## critica {verb}\n\n```text\n{help_of(verb)}\n```" for verb in VERBS]
    return "\n\n".join(parts) + "\n"


def help_of(verb: str) -> str:
    """The help text of a verb, as wide here as on any terminal."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            main([*verb.split(), "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return "\n".join(line.rstrip() for line in said.getvalue().strip().splitlines())


def write_pages(root: Path) -> None:
    """docs/reference/, whole."""
    from critica.recipes.catalogue import RECIPES

    folder = root / "docs" / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in reference(RECIPES).items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write_pages(Path(__file__).resolve().parents[3])
