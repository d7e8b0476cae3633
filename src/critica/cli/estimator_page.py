"""docs/estimators.md: by what each group estimator weighs prompts, worked out anew from the parts themselves.

`make pages` writes it. Nothing there is written by hand: a changed estimator changes the page, or a test fails.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from critica.recipes.base import Recipe
from critica.recipes.catalogue import PARTS, RECIPES
from critica.recipes.resolve import change_recipe
from critica.training.estimator_claims import VARIANTS, claim_of
from critica.training.group_estimator import GroupEstimator, NotEnumerable
from critica.training.prompt_weight import Curve, Expected, Game, by_counts, by_groups

SIZE = 8
RATES = (0.02, 0.1, 0.3, 0.6, 0.95)
SPREAD_AT = (0.1, 0.6)
# Two right answers and two wrong ones; in each pair one is long.
RAGGED = Game((0.15, 0.25, 0.4, 0.2), (1.0, 1.0, 0.0, 0.0), (1, 4, 2, 6))
RAGGED_SIZE = 4
HEAD = """# Group estimators

<!-- Made by `make pages` from the parts themselves; do not edit. -->

With right and wrong answers, every estimator that compares a prompt's answers with each other has the expected
gradient W(p) grad p: p is how often the prompt is solved, and W(p) says how much such prompts count. W = 1 is the
gradient of the success rate itself. An estimator that stands below with W = 1 is unbiased for it; one with another
closed form is unbiased for the objective whose derivative by p is W. Numbers come from each recipe's own critic,
advantage and objective, walked through all compositions of a group of {size}; closed forms are checked against every
single group of small games, to 1e-10 (`tests/training/test_prompt_weight.py`). Corrections, admission, penalties and
costs by length are left out.

`critica recipes weight NAME --samples-per-prompt 16 --set …` prints the same for any configuration.
"""


def subjects() -> Iterator[tuple[str, Recipe]]:
    """Every recipe of the catalogue whose credit follows from outcomes, then the variants."""
    for name, recipe in RECIPES.items():
        try:
            GroupEstimator(recipe)
        except NotEnumerable:
            continue
        yield name, recipe
    for name, (base, settings) in VARIANTS.items():
        yield name, change_recipe(RECIPES[base], settings, PARTS)


def alike(found: dict[str, Curve]) -> list[list[str]]:
    """Names by equal curves, in order of first appearance."""
    rows: dict[tuple[float, ...], list[str]] = {}
    for name, curve in found.items():
        key = tuple(round(number, 9) for one in curve.weights for number in (one.weight, one.deviation))
        rows.setdefault(key, []).append(name)
    return list(rows.values())


def page() -> str:
    """The whole page."""
    recipes, known = dict(subjects()), Known()
    curves = {name: known.curve(recipe) for name, recipe in recipes.items()}
    alone = {name: curve for name, curve in curves.items() if not curve.couples}
    coupled = {name: curve for name, curve in curves.items() if curve.couples}
    pieces = [
        HEAD.format(size=SIZE),
        "## Estimators that look at one prompt alone\n\n"
        f"{weights_table(alone, recipes, claims=True)}\n\n"
        "*Deviation*: of one group's estimate along grad p, in units of its mean: how noisy the direction is.",
        "## Estimators that look at the whole step\n\n"
        f"These divide by a spread of the step, or count its answers, so that W depends on the other prompts too. Here"
        f" the step has one other prompt, solved half of the time, with {SIZE} answers of its own.\n\n"
        f"{weights_table(coupled, recipes, claims=False)}",
        "## Answers of unlike length\n\n"
        "One-token answers do not show what a reduction does. Here the policy picks one of four answers by their first"
        f" token (chances {spaced(RAGGED.chances)}; {spaced(RAGGED.outcomes)} right; {spaced(RAGGED.lengths)} tokens"
        f" long), in groups of {RAGGED_SIZE}. *Astray* is the share of the expected gradient that does not point along"
        " the gradient of the success rate: a mean over each answer's own tokens weighs short answers more, a mean over"
        " all tokens of the step ties each answer's weight to its siblings' lengths, and a baseline by length is no"
        " baseline of the answer alone. Weights are those of a step of this one group.\n\n"
        + ragged_table(recipes, known),
    ]
    return "\n\n".join(piece.strip() for piece in pieces) + "\n"


class Known:
    """Numbers by what makes them, so that recipes which differ elsewhere are worked out once."""

    def __init__(self) -> None:
        self.curves: dict[object, Curve] = {}
        self.ragged: dict[object, Expected] = {}

    def curve(self, recipe: Recipe) -> Curve:
        """Over groups of answers of one token."""
        estimator = GroupEstimator(recipe)
        key = (estimator.recipe.critic, estimator.recipe.advantage, *estimator.key[3:])  # reductions agree on one token
        if key not in self.curves:
            self.curves[key] = by_counts(estimator, SIZE, RATES)
        return self.curves[key]

    def astray(self, recipe: Recipe) -> Expected:
        """Over groups of answers of unlike length."""
        estimator = GroupEstimator(recipe)
        if estimator.key not in self.ragged:
            self.ragged[estimator.key] = by_groups(estimator, RAGGED, RAGGED_SIZE, exchangeable=True)
        return self.ragged[estimator.key]


def weights_table(curves: dict[str, Curve], recipes: dict[str, Recipe], claims: bool) -> str:
    """One row for each estimator, those with equal numbers together."""
    heads = ["estimator", *(["W(p)"] if claims else []), *(f"p = {p:g}" for p in RATES)]
    heads += [f"deviation at {p:g}" for p in SPREAD_AT]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for names in alike(curves):
        curve = curves[names[0]]
        claim = next((found for found in map(claim_of, map(recipes.__getitem__, names)) if found), None)
        cells = [", ".join(f"`{name}`" if name in RECIPES else name for name in names)]
        cells += [claim.text if claim else "no closed form known to us"] if claims else []
        cells += [f"{one.weight:.3f}" for one in curve.weights]
        cells += [f"{one.deviation:.2f}" for one in curve.weights if one.p in SPREAD_AT]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ragged_table(recipes: dict[str, Recipe], known: Known) -> str:
    """What unlike lengths do to the recipes of the catalogue, those with equal numbers together."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name, recipe in recipes.items():
        if name in RECIPES:
            found = known.astray(recipe)
            key = (f"{found.weight:.3f}", f"{found.astray:.1%}", f"{found.deviation:.2f}")
            rows.setdefault(key, []).append(name)
    lines = ["| estimator | along grad p | astray | deviation |", "|---|---|---|---|"]
    lines += [f"| {', '.join(f'`{name}`' for name in names)} | {' | '.join(key)} |" for key, names in rows.items()]
    return "\n".join(lines)


def spaced(numbers: Sequence[float | int]) -> str:
    """As 0.1, 0.2."""
    return ", ".join(f"{number:g}" for number in numbers)


def write_page(root: Path) -> None:
    """Write docs/estimators.md."""
    (root / "docs" / "estimators.md").write_text(page())


if __name__ == "__main__":
    write_page(Path.cwd())
