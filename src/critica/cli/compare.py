"""`critica compare`: runs side by side, prompt by prompt."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from critica.cli.output import show, show_json


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
            show(str(found))
        return 0
