"""`critica recipes`: the catalogue, and one recipe with the origin of its values."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from critica.cli.numbers import Count
from critica.cli.output import say, show, show_json, table

if TYPE_CHECKING:
    from critica.recipes.base import Recipe

RATES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """List the recipes, show one with the origin of its values, or say how it weighs prompts.

    `weight NAME` prints W(p): the expected gradient of a prompt that is solved with probability p is W(p) grad p.

    Examples:
      critica recipes
      critica recipes show dvpo > mine.toml      # a valid RECIPE: edit it, then `critica train mine.toml`
      critica recipes weight grpo --samples-per-prompt 16
      critica recipes weight rl2ml --set advantage.weights.power=1.5
      critica recipes weight rl2ml --choose-for runs/first --tries 4
      critica recipes --json
    """

    # Nothing or `list`, or `show NAME`, or `weight NAME`.
    words: Annotated[
        Positional[tuple[str, ...]], arg(metavar="[list | show NAME | weight NAME]", help_behavior_hint="")
    ] = ()

    # Apply a library's conventions to the recipe: trl, verl, openrlhf or prime-rl.
    preset: Annotated[str, arg(metavar="LIBRARY", help_behavior_hint="")] = ""

    # Change one value of the recipe, as for `critica train`.
    set: Annotated[tuple[str, ...], arg(metavar="PATH=VALUE")] = ()

    # Answers of a group, for `weight`; by default the recipe's own.
    samples_per_prompt: Count = None

    # Score the powers of rl2ml or max_rl for the prompts of this run, by how often they were solved.
    choose_for: Annotated[str, arg(metavar="RUN", help_behavior_hint="")] = ""

    # What the power is chosen for: pass@K.
    tries: Count = None

    # Write JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Read the catalogue; no model is loaded."""
        from critica.recipes.coercion import ConfigError

        match self.words:
            case () | ("list",):
                return self._list()
            case ("show", name):
                return self._show(name)
            case ("weight", name):
                return self._weight(name)
        raise ConfigError(
            "write `critica recipes`, `critica recipes list`, `critica recipes show NAME` or"
            " `critica recipes weight NAME`."
        )

    def _list(self) -> int:
        from critica.recipes.catalogue import RECIPES

        entries = [summary(name, recipe) for name, recipe in RECIPES.items()]
        if self.json:
            show_json(entries)
            return 0
        rows = [("name", "wing", "title", "paper")]
        rows += [(e["name"], e["wing"], e["title"], e["paper"]) for e in entries]
        show(table(rows))
        return 0

    def _show(self, name: str) -> int:
        from critica.recipes.catalogue import PARTS
        from critica.recipes.config import to_tables
        from critica.recipes.notes import provenance_notes
        from critica.recipes.toml import write_toml

        recipe = self._recipe(name)
        if self.json:
            show_json(summary(name, recipe) | {"config": to_tables(recipe, PARTS)})
        else:
            show(write_toml(to_tables(recipe, PARTS), provenance_notes(recipe)).rstrip())
        return 0

    def _recipe(self, name: str) -> "Recipe":
        from critica.cli.choice import Choice, resolve

        return resolve(Choice(recipe=name, preset=self.preset, set=self.set))

    def _weight(self, name: str) -> int:
        from critica.recipes.coercion import ConfigError
        from critica.training.estimator_claims import claim_of
        from critica.training.group_estimator import GroupEstimator, NotEnumerable
        from critica.training.prompt_weight import by_counts

        recipe = self._recipe(name)
        size = self.samples_per_prompt or recipe.sampling.samples_per_prompt
        if size < 2:
            raise ConfigError("a weight is that of a group: write --samples-per-prompt 8.")
        if self.choose_for:
            return self._choose(recipe, size)
        try:
            curve = by_counts(GroupEstimator(recipe), size, RATES)
        except NotEnumerable as error:
            raise ConfigError(f"{error}: only credit that follows from a group's outcomes has a weight.") from error
        claim = None if curve.couples else claim_of(recipe)
        if self.json:
            show_json(
                {"name": name, "samples_per_prompt": size, "whole_step": curve.couples,
                 "closed_form": claim.text if claim else None, "weights": [asdict(one) for one in curve.weights]}
            )  # fmt: skip
            return 0
        rows = [("p", "W(p)", "deviation / mean")]
        rows += [(f"{one.p:g}", f"{one.weight:.4f}", f"{one.deviation:.3f}") for one in curve.weights]
        show(table(rows))
        if claim:
            say(f"W(p) = {claim.text}, n = {size}")
        if curve.couples:
            say(
                f"a step of two prompts, {size} answers each, the other one solved half of the time: its outcomes count"
            )
        return 0

    def _choose(self, recipe: "Recipe", size: int) -> int:
        from critica.recipes.coercion import ConfigError
        from critica.training.power_choice import choose_power, fit_rates
        from critica.training.route import RouteProblem, read_told

        try:
            counts = [(one.count, one.total) for one in read_told(self.choose_for)]
            choice = choose_power(recipe, fit_rates(counts), size, self.tries or 1)
        except (ValueError, RouteProblem) as error:
            raise ConfigError(f"{error}.") from error
        if self.json:
            show_json({"best": choice.best, "law": asdict(choice.law), "scores": dict(choice.scores)})
            return 0
        show(table([("power", "score"), *((f"{power:g}", f"{score:.3f}") for power, score in choice.scores)]))
        say(
            f"prompts are solved {choice.law.mean:.0%} of the time, Beta({choice.law.a:.2g}, {choice.law.b:.2g}):"
            f" --set advantage.weights.power={choice.best:g}"
        )
        return 0


def summary(name: str, recipe: "Recipe") -> dict[str, Any]:
    """The catalogue's line: name, title, paper, wing, status."""
    paper = f"arXiv:{recipe.paper.arxiv}" if recipe.paper.arxiv else ""
    return {"name": name, "title": recipe.paper.title, "paper": paper, "wing": recipe.wing, "status": "available"}
