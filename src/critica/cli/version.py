"""`critica version`: the versions that matter in a bug report."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from critica.cli.output import show, show_json

PACKAGES = ("critica", "torch", "transformers", "tokenizers", "peft", "numpy", "pyarrow", "reasoning-gym")


@dataclass(frozen=True, kw_only=True)
class Version:
    """Print the versions that matter in a bug report.

    Example: critica version --json
    """

    # Write JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Read the installed packages' own records; nothing is imported."""
        found = {"python": platform.python_version()} | {name: installed(name) for name in PACKAGES}
        if self.json:
            show_json(found)
        else:
            show("\n".join(f"{name} {number}" for name, number in found.items()))
        return 0


def installed(name: str) -> str:
    """The package's version, or `not installed`."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
