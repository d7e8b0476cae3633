"""The folder of a fitted critic: what it is, how it was fitted, its weights, and what a resume needs."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from critica.recipes.base import Recipe
from critica.recipes.catalogue import PARTS
from critica.recipes.config import from_tables
from critica.recipes.toml import read_toml
from critica.store.checkpoints import CheckpointStore
from critica.store.errors import StoreError, full_disk_explained
from critica.store.files import sync_folder, write_whole

MANIFEST, CONFIG, WEIGHTS, CARD = "critic.json", "config.toml", "critic", "README.md"


class NotACritic(StoreError, FileNotFoundError):
    """The path holds no fitted critic, or one that is not finished."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class CriticManifest:
    """What a fitted critic was fitted on, and how well it does there. Errors are mean squares per token, held out."""

    source: str
    policy: str
    critic: str
    rows: int
    prompts: int
    held_out_prompts: int
    low: float
    high: float
    seed: int
    updates: int
    best_update: int
    best_error: float
    first_error: float
    constant_error: float
    why_stopped: str


@dataclass(frozen=True, slots=True)
class CriticFolder:
    """A finished fit on disk."""

    path: Path
    manifest: CriticManifest

    @classmethod
    def open(cls, path: Path | str) -> "CriticFolder":
        """Raises `NotACritic`."""
        path = Path(path)
        if not is_critic_folder(path):
            half = (path / CONFIG).is_file() and (path / "checkpoints").is_dir()
            what = "holds a fit that is not finished: give the same `critica critic fit` command again" if half else (
                "holds no fitted critic (no critic.json): name a folder that `critica critic fit … --out` has written"
            )  # fmt: skip
            raise NotACritic(f"{path} {what}")
        return cls(path, CriticManifest(**json.loads((path / MANIFEST).read_text())))

    @property
    def recipe(self) -> Recipe:
        """The parts that it was fitted with."""
        return from_tables(read_toml(self.path / CONFIG), Recipe, PARTS, folder=self.path)

    @property
    def weights(self) -> Path:
        """The best weights: the body as a transformers folder, the head beside it."""
        return self.path / WEIGHTS

    @property
    def memory(self) -> Path:
        """A fitted critic has weights and no memory; the path of none."""
        return self.path / "memory.json"


def is_critic_folder(path: Path) -> bool:
    """Whether a finished fit is here."""
    return (path / MANIFEST).is_file() and (path / WEIGHTS).is_dir()


def checkpoints_of(path: Path) -> CheckpointStore:
    """Where a fit keeps what a resume needs."""
    return CheckpointStore(path / "checkpoints", keep=2)


def publish(path: Path, manifest: CriticManifest, card: str, save: Callable[[Path], None]) -> None:
    """Write the weights, then the card, then the manifest that makes the folder a critic; each whole or not at all."""
    hidden, final = path / f".tmp-{WEIGHTS}", path / WEIGHTS
    with full_disk_explained(path, 1 << 20, path):
        shutil.rmtree(hidden, ignore_errors=True)
        save(hidden)
        (path / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        os.rename(hidden, final)
        sync_folder(path)
        write_whole(path / CARD, card.encode())
        write_whole(path / MANIFEST, (json.dumps(asdict(manifest), indent=2) + "\n").encode())
