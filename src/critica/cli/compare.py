"""`critica compare`: runs side by side, prompt by prompt."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from critica.cli.output import say, show, show_json, table

if TYPE_CHECKING:
    from critica.evaluation.compare import ComparisonReport
    from critica.viewer.page import Table


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare runs on the prompts that they share, in pairs, with 95% intervals.

    Examples:
      critica compare runs/dvpo-seed0 runs/grpo-seed0
      critica compare runs/clean runs/noisy --html side_by_side.html   # curves, settings and answers side by side
    """

    # Two or more run folders; the first is what the others are compared with.
    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN")]

    # Also write a page with what differs: settings, curves, where the time and the samples went, the same prompts.
    html: Annotated[str, arg(metavar="FILE", help_behavior_hint="")] = ""

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
        if self.html:
            from critica.viewer.side_by_side import write_side_by_side

            say(f"written: {write_side_by_side(self.runs, Path(self.html), tables_of(found))}")
        return 0


def tables_of(found: "ComparisonReport") -> "tuple[Table, ...]":
    """Held-out accuracy of every run, and the paired differences, for the page."""
    from critica.viewer.page import Table

    rows = tuple((row.run, row.evaluation, row.how, str(row.prompts), str(row.accuracy)) for row in found.rows)
    pairs = tuple((f"{item.after} - {item.before}", str(item), str(item.prompts)) for item in found.differences)
    return (
        Table("Held-out accuracy", "Exact match, with 95% intervals.",
              ("run", "evaluation", "decoding", "prompts", "accuracy"), rows),
        Table("Differences", "In pairs by prompt; an interval that holds 0 decides nothing.",
              ("difference", "accuracy [95% interval]", "prompts"), pairs),
    )  # fmt: skip


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
