"""`critica report`: a run's report.html."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from critica.cli.output import show


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a run's report.html: curves, critic panel, sampled text colored by value and credit. Opens offline.

    Example: critica report runs/first
    """

    # The run folder.
    run: Annotated[Positional[str], arg(metavar="RUN")]

    def __call__(self) -> int:
        """Read the run folder, write the page, print its path."""
        from critica.viewer.report import write_report

        show(str(write_report(Path(self.run))))
        return 0
