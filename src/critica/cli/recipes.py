"""`critica recipes`: the catalogue, and one recipe with the origin of its values."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from critica.cli.output import show, show_json, table

if TYPE_CHECKING:
    from critica.recipes.base import Recipe


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """List the recipes, or show one with the origin of its values.

    Examples:
      critica recipes
      critica recipes show dvpo > mine.toml      # a valid RECIPE: edit it, then `critica train mine.toml`
      critica recipes --json
    """

    # Nothing or `list`, or `show NAME`.
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="[list | show NAME]", help_behavior_hint="")] = ()

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
        raise ConfigError("write `critica recipes`, `critica recipes list` or `critica recipes show NAME`.")

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
        from critica.recipes.catalogue import PARTS, RECIPES
        from critica.recipes.config import to_tables
        from critica.recipes.notes import provenance_notes
        from critica.recipes.resolve import find_recipe
        from critica.recipes.toml import write_toml

        recipe = find_recipe(name, RECIPES, PARTS)
        if self.json:
            show_json(summary(name, recipe) | {"config": to_tables(recipe, PARTS)})
        else:
            show(write_toml(to_tables(recipe, PARTS), provenance_notes(recipe)).rstrip())
        return 0


def summary(name: str, recipe: "Recipe") -> dict[str, Any]:
    """The catalogue's line: name, title, paper, wing, status."""
    paper = f"arXiv:{recipe.paper.arxiv}" if recipe.paper.arxiv else ""
    return {"name": name, "title": recipe.paper.title, "paper": paper, "wing": recipe.wing, "status": "available"}
