"""The peers' own Python environments under .peers/, made when missing; without a network the bench does without."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TORCH = "torch==2.13.0"
ROOT = Path(".peers")


@dataclass(frozen=True, slots=True)
class PeerEnvironment:
    """A virtual environment with one version of TRL."""

    name: str
    packages: tuple[str, ...]

    def python(self, root: Path = ROOT) -> Path:
        """Its interpreter."""
        return (root / self.name / "bin" / "python").absolute()


GRPO_PEER = PeerEnvironment("trl116", ("trl==1.16.0", "transformers==5.23.0", "datasets", "accelerate"))
PPO_PEER = PeerEnvironment("trl112", ("trl==1.12.0", "transformers==5.23.0", "datasets", "accelerate"))


def ensure(environment: PeerEnvironment, say: Callable[[str], None], root: Path = ROOT) -> Path | None:
    """Its interpreter, made now if need be; None, and a sentence, if it cannot be made."""
    python = environment.python(root)
    if imports_trl(python):
        return python
    say(f"making {root / environment.name} with {environment.packages[0]}: a minute or two, once")
    pip = (str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check")
    steps = (
        (sys.executable, "-m", "venv", str(python.parents[1])),
        (*pip, TORCH),  # alone and first, so that its dependencies are not chosen by another package
        (*pip, TORCH, *environment.packages),
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            say(f"{environment.packages[0]} could not be installed ({last}): its matches are run without the peer")
            return None
    if imports_trl(python):
        return python
    say(f"{environment.packages[0]} was installed but cannot be imported: its matches are run without the peer")
    return None


def imports_trl(python: Path) -> bool:
    """Whether the environment is whole."""
    if not python.is_file():
        return False
    return subprocess.run((str(python), "-c", "import trl"), capture_output=True, check=False).returncode == 0
