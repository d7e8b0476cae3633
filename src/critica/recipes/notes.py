"""A recipe's provenance as comments for its config file."""

from critica.recipes.base import CodeSays, PaperSays, Recipe, Source


def describe_source(source: Source) -> str:
    """One line: who says so, and why."""
    if isinstance(source, PaperSays):
        return f"paper: {source.where}"
    if isinstance(source, CodeSays):
        return f"code: {source.where}"
    return f"our choice: {source.because}" + (f" (paper: {source.paper})" if source.paper else "")


def provenance_notes(recipe: Recipe) -> dict[str, str]:
    """Path of a value -> where it comes from."""
    return {path: describe_source(source) for path, source in recipe.provenance.items()}


