"""Everything that a resume restores, as files that others can open: model folders, tensors, and JSON. No pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from critica.critics.base import HasWeights, ValueCritic
from critica.curricula.base import Curriculum
from critica.policies.base import TrainablePolicy
from critica.records.protocols import Stateful
from critica.records.run import Progress
from critica.rewards.base import RewardSource
from critica.rewards.correction_base import LiveCorrection
from critica.rollout.control import Control
from critica.training.evolution import Evolution
from critica.training.observe import Observer
from critica.training.optimizer import Optimizer
from critica.training.replay_ratio import ReplayRatio


@dataclass(frozen=True, slots=True)
class TrainingState:
    """The live objects whose state a checkpoint holds."""

    policy: TrainablePolicy
    critic: ValueCritic
    observer: Observer
    optimizers: tuple[Optimizer | Evolution, Optimizer | None]
    curriculum: Curriculum
    source: RewardSource
    control: Control
    replay: ReplayRatio
    correction: LiveCorrection

    def save(self, folder: Path, progress: Progress) -> None:
        """Write every part under `folder`; the caller publishes it atomically."""
        self.policy.save(folder / "policy")
        if isinstance(self.critic, HasWeights):
            self.critic.save(folder / "critic")
        if self.observer.reference is not None:
            self.observer.save(folder / "reference")
        for name, optimizer in self._named():
            save_file(optimizer.tensors(), folder / f"{name}_optimizer.safetensors")
        memories = {name: part.state_dict() for name, part in self._stateful()}
        write_json(folder / "progress.json", {"progress": asdict(progress), **memories})

    def load(self, folder: Path) -> Progress:
        """Restore every part; returns how far the run had come."""
        kept = json.loads((folder / "progress.json").read_text())
        progress = Progress(**kept["progress"])
        self.policy.restore(folder / "policy")
        self.policy.version = progress.policy_version
        if isinstance(self.critic, HasWeights):
            self.critic.load(folder / "critic")
        if self.observer.reference is not None:
            self.observer.restore(folder / "reference")
        for name, optimizer in self._named():
            optimizer.load_tensors(load_file(folder / f"{name}_optimizer.safetensors"))
        for name, part in self._stateful():
            part.load_state_dict(kept[name])
        return progress

    def _stateful(self) -> list[tuple[str, Stateful]]:
        """The parts with memory beside weights: curriculum, decode control, a critic, source or ratio that has some."""
        parts = (
            ("curriculum", self.curriculum), ("critic", self.critic),
            ("source", self.source), ("correction", self.correction), ("control", self.control),
            ("replay", self.replay),
        )  # fmt: skip
        return [(name, part) for name, part in parts if isinstance(part, Stateful)]

    def _named(self) -> list[tuple[str, Optimizer | Evolution]]:
        policy, critic = self.optimizers
        return [("policy", policy), *([("critic", critic)] if critic is not None else [])]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Indented, sorted, one trailing newline."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
