"""The folder of a fitted reward model: a transformers folder, with the report of its fit and what a resume needs."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from critica.policies.loading import fetchable, open_tokenizer
from critica.policies.locate import PolicyLoadError
from critica.rewards.reward_model_network import (
    NOTE,
    SEQUENCE,
    Level,
    RewardNetwork,
    new_attention,
    open_classifier,
    open_reward_network,
)
from critica.rewards.reward_model_text import RewardModelProblem
from critica.store.checkpoints import CheckpointStore
from critica.store.errors import StoreError, full_disk_explained
from critica.store.files import sync_folder, write_whole
from critica.training.claims import claim_folder

PLAN, REPORT, HIDDEN = "fit.json", "report.json", ".tmp-model"


class CannotFitReward(ValueError):
    """This model cannot be fitted to these pairs, or not into this folder."""


class NotARewardModel(StoreError, FileNotFoundError):
    """The path holds no fitted reward model, or one that is not finished."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Judgment:
    """The held-out pairs after so many updates: the share ordered right, and the mean loss in nats."""

    update: int
    accuracy: float
    loss: float


def start_network(path: str, level: Level, attention: int, seed: int) -> RewardNetwork:
    """What a fit starts from: a reward model as it is, or any other model under a head whose every score is 0.

    Raises `CannotFitReward` for a model that has no classifier, or one number alone where a level needs more.
    """
    torch.manual_seed(seed % 2**63)
    try:
        place = Path(fetchable(path))
        if (place / NOTE).is_file():
            return cast(RewardNetwork, open_reward_network(path).requires_grad_(True))
        model = open_classifier(place, SEQUENCE, num_labels=1)
        tokenizer = open_tokenizer(str(place))
    except (PolicyLoadError, RewardModelProblem) as error:
        raise CannotFitReward(str(error)) from error
    head = getattr(model, "score", None)
    if isinstance(head, nn.Module):
        if not _was_classifier(place):
            for weight in head.parameters():
                nn.init.zeros_(weight)
    elif level != "sequence":
        raise CannotFitReward(
            f"{type(model).__name__} says one number about a whole text: fit it with --level sequence, or take a"
            " decoder (a Llama, Qwen or GPT-2 folder)"
        )
    config = cast(Any, model.config)
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    wanted = level == "sentence" and attention > 0
    heads = new_attention(int(config.hidden_size), attention, seed) if wanted else None
    return RewardNetwork(model, tokenizer, level, 0, heads)


def _was_classifier(place: Path) -> bool:
    names = json.loads((place / "config.json").read_text()).get("architectures") or [""]
    return names[0].endswith(SEQUENCE)


def claim(out: Path, plan: Mapping[str, Any]) -> bool:
    """Make the folder, or make sure that it holds this very fit; whether it does. Raises `CannotFitReward`."""
    text = json.dumps(plan, indent=2, sort_keys=True) + "\n"
    return claim_folder(out, PLAN, text, CannotFitReward)


def is_finished(out: Path) -> bool:
    """Whether the report is there: it is written last."""
    return (out / REPORT).is_file()


def checkpoints_of(out: Path) -> CheckpointStore:
    """Where a fit keeps what a resume needs."""
    return CheckpointStore(out / "checkpoints", keep=2)


def publish(out: Path, network: RewardNetwork, report: Mapping[str, Any]) -> None:
    """Put the model's files into the folder, its config.json behind the others, and the report last of all."""
    hidden = out / HIDDEN
    with full_disk_explained(out, 1 << 20, out):
        shutil.rmtree(hidden, ignore_errors=True)
        network.save(hidden)
        for file in sorted(hidden.iterdir(), key=lambda file: (file.name == "config.json", file.name)):
            os.replace(file, out / file.name)
        hidden.rmdir()
        sync_folder(out)
        write_whole(out / REPORT, (json.dumps(report, indent=2) + "\n").encode())


def read_report(out: Path | str) -> dict[str, Any]:
    """The report of a finished fit. Raises `NotARewardModel`."""
    out = Path(out)
    if not is_finished(out):
        what = "holds a fit that is not finished: give the same `critica reward fit` command again" if (
            out / PLAN).is_file() else "holds no report of a fit"  # fmt: skip
        raise NotARewardModel(f"{out} {what}")
    return json.loads((out / REPORT).read_text())


def judgments_to_json(history: tuple[Judgment, ...] | list[Judgment]) -> list[dict[str, Any]]:
    """Plain JSON."""
    return [asdict(judgment) for judgment in history]
