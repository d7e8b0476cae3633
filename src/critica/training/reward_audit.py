"""A reward model measured on preference pairs, and the pairs measured too: accuracy by slice, and poisoned slices."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from critica.rewards.reward_model_network import open_reward_network
from critica.training.reward_features import LETTERS, pair_differences
from critica.training.reward_folder import is_finished, read_report
from critica.training.reward_learning import read_answers, score_answers
from critica.training.reward_pairs import read_pairs, slices_of
from critica.training.reward_slices import SliceReading, read_margins, read_slices
from critica.training.reward_suspicion import Points, Suspicion, suspect_slices


@dataclass(frozen=True, slots=True)
class RewardAudit:
    """What an audit found. `fitted_on` is the SHA-256 of the pairs that the model was fitted to, empty if not known."""

    folder: str
    pairs: str
    pairs_sha256: str
    fitted_on: str
    slices: tuple[SliceReading, ...]
    suspicions: tuple[Suspicion, ...]
    yardstick: str
    alarm_rate: float

    @property
    def same_file(self) -> bool:
        """Whether these very pairs taught the model: its accuracy on them is then no estimate."""
        return self.fitted_on == self.pairs_sha256

    @property
    def alarms(self) -> tuple[str, ...]:
        """Slices that raised one."""
        return tuple(suspicion.name for suspicion in self.suspicions if suspicion.alarm)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what is not known is null."""
        made = asdict(self) | {"same_file": self.same_file, "alarms": list(self.alarms)}
        return _known(made)


def audit_reward_model(
    folder: Path | str,
    pairs: Path | str,
    columns: Sequence[str] = (),
    clean: Path | str = "",
    features: str = LETTERS,
    alarm_rate: float = 0.05,
    seed: int = 0,
    cells: int = 8192,
) -> RewardAudit:
    """Measure the reward model of a folder on a file of pairs. Nothing is searched for poison without slices.

    Raises `BadPairs`, `RewardModelProblem`.
    """
    network = open_reward_network(str(folder))
    file = read_pairs(pairs)
    slices = slices_of(file.pairs, columns)
    with torch.inference_mode():
        margins = read_margins(score_answers(network, read_answers(network, file.pairs), cells)).clone()
    suspicions: tuple[Suspicion, ...] = ()
    if len(slices) > 1 or (slices and clean):
        told = Points(pair_differences(file.pairs, features, cells), file.pairs, slices)
        known = None
        if clean:
            other = read_pairs(clean)
            known = Points(pair_differences(other.pairs, features, cells), other.pairs, slices_of(other.pairs, columns))
        suspicions = suspect_slices(told, known, alarm_rate, seed)
    fitted_on = str(read_report(folder)["pairs_sha256"]) if is_finished(Path(folder)) else ""
    return RewardAudit(
        str(folder), file.path, file.sha256, fitted_on, read_slices(margins, file.pairs, slices, seed), suspicions,
        str(clean) if clean else "the other slices", alarm_rate,
    )  # fmt: skip


def _known(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _known(value) for key, value in content.items()}
    return [_known(item) for item in content] if isinstance(content, list | tuple) else content
