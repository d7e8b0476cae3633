"""`critica doctor`: is this machine fit, and if not, what to do."""

from dataclasses import asdict, dataclass
from pathlib import Path

from critica.cli.output import show, show_json


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Check this machine and say what to fix. Exit status 1 when something would stop a run.

    Examples:
      critica doctor
      critica doctor --json
    """

    # Write JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Run every check, print what was found."""
        from critica.cli.checks import all_findings

        findings = all_findings(Path.cwd())
        if self.json:
            show_json([asdict(finding) for finding in findings])
        else:
            width = max(len(finding.name) for finding in findings)
            for finding in findings:
                show(f"{finding.state:<8} {finding.name:<{width}}  {finding.fact}")
                if finding.fix:
                    show(f"{'':<8} {'':<{width}}  to do: {finding.fix}")
        return 1 if any(finding.state == "bad" for finding in findings) else 0
