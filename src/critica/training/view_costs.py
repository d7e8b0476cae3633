"""What second readings of the same tokens cost, worked out from the recipe alone."""

from critica.recipes.base import Recipe
from critica.records.views import AnotherLayer, ContextView, FrozenReference, ViewSpec
from critica.updaters.gradient import Adam

MIB = 2**20


def views_declared(recipe: Recipe) -> tuple[ViewSpec, ...]:
    """Every other reading of the tokens that a part wants, once; an evolution strategy reads no objective."""
    learned = recipe.objective.views if isinstance(recipe.learner.policy, Adam) else ()
    return tuple(dict.fromkeys((*recipe.advantage.views, *learned)))


def view_bytes(recipe: Recipe, sampled_tokens: int, width: int) -> float:
    """fp32 states before every sampled token of the step, for each view."""
    return 4.0 * len(views_declared(recipe)) * sampled_tokens * width


def view_remarks(recipe: Recipe, rows: int, answer: int, width: int) -> list[str]:
    """A sentence for each view, and what it does to the gradient."""
    said = []
    states = 4 * rows * answer * width / MIB
    for spec in views_declared(recipe):
        copies = "by a frozen copy of the model" if isinstance(spec, FrozenReference) else "no second copy of the model"
        said.append(
            f"the view {spec.name!r} costs one more forward pass a step over {rows} rows{how(spec)}, and"
            f" {states:,.1f} MiB of states at most; {copies}"
        )
    if recipe.objective.depths and isinstance(recipe.learner.policy, Adam):
        said.append(
            "inner layers are read in the update's own forward pass, which then cannot be that of a critic's prediction"
        )
    if recipe.advantage.reads_own_tokens:
        said.append(
            "the advantage weighs a token by what was drawn there: the expected gradient is not that of the return"
        )
    return said


def how(spec: ViewSpec) -> str:
    """What is different about this pass."""
    if isinstance(spec, AnotherLayer):
        return f" up to {spec.depth:.0%} of the layers"
    return " after other words" if isinstance(spec, ContextView) else ""
