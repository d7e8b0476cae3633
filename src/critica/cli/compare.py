"""`critica compare`: runs side by side, prompt by prompt."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from critica.cli.output import show, show_json, table

if TYPE_CHECKING:
    from critica.evaluation.compare import ComparisonReport


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare runs on the prompts that they share, in pairs, with 95% intervals.

    Example: critica compare runs/dvpo-seed0 runs/grpo-seed0
    """

    # Two or more run folders; the first is what the others are compared with.
    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN")]

    # Write JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Read the saved evaluations, pair them, print."""
        from critica.evaluation.compare import compare
        from critica.recipes.coercion import ConfigError
        from critica.store.evaluations import load_result

        if len(self.runs) < 2:
            raise ConfigError("compare needs two runs or more, for example `critica compare runs/a runs/b`.")
        found = compare([load_result(Path(run)) for run in self.runs])
        if self.json:
            show_json(found.to_json())
        else:
            show(describe_comparison(found))
        return 0


def describe_comparison(found: "ComparisonReport") -> str:
    """Accuracies, paired differences, means over seeds and notes, as text."""
    parts = []
    if found.rows:
        rows = [("run", "recipe", "noise", "evaluation", "decoding", "prompts", "accuracy [95% interval]")]
        rows += [
            (row.run, row.recipe, row.noise, row.evaluation, row.how, str(row.prompts), str(row.accuracy))
            for row in found.rows
        ]
        parts.append(table(rows))
    if found.differences:
        parts.append("differences, in pairs by prompt")
        parts += [f"  {item.after} - {item.before}: {item}, {item.prompts} prompts" for item in found.differences]
    if found.seeds:
        parts.append("means over seeds")
        parts += [
            f"  {row.recipe}, noise {row.noise}, {row.evaluation}: {row.accuracy} {row.how}, {len(row.seeds)} seeds"
            for row in found.seeds
        ]
    if found.seed_curves:
        rows = [("recipe", "noise", "metric", "last tenth, mean over seeds [95% interval]", "seeds")]
        rows += [
            (row.recipe, row.noise, row.metric, f"{row.last.estimate:.4f} [{row.last.low:.4f}, {row.last.high:.4f}]",
             str(len(row.seeds)))
            for row in found.seed_curves
        ]  # fmt: skip
        parts.append(table(rows))
    elif found.curves:
        rows = [("run", "metric", "first tenth", "last tenth")]
        rows += [(row.run, row.metric, f"{row.first:.4f}", f"{row.last:.4f}") for row in found.curves]
        parts.append(table(rows))
    return "\n".join([*parts, *(f"note: {note}" for note in found.notes)])
