"""Metrics to where others look: TensorBoard, trackio, Weights & Biases. The run folder keeps all of it in any case."""

import importlib
from pathlib import Path
from typing import Any

from critica.records.run import StepRecord

PACKAGES = {"tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb"}


class TrackerMissing(ImportError):
    """A tracker was asked for whose package is not installed."""


def tracker(name: str) -> "TensorBoard | Project":
    """The tracker of this name. Raises `TrackerMissing`, before anything is trained, with what to install."""
    if name not in PACKAGES:
        raise ValueError(f"there is no tracker {name!r}; there are {', '.join(PACKAGES)}, or my_file.py:my_function")
    try:
        module = importlib.import_module("torch.utils.tensorboard" if name == "tensorboard" else name)
    except ImportError as error:
        raise TrackerMissing(
            f"--track {name} needs a package that is not here ({error}): pip install {name}"
        ) from error
    return TensorBoard(module) if name == "tensorboard" else Project(name, module)


def finite_metrics(record: StepRecord) -> dict[str, float]:
    """Every metric of the step that is a number, by its name in the glossary."""
    found = {metric.name: metric.value for metric in record.metrics}
    return {name: value for name, value in found.items() if abs(value) < float("inf")}


class TensorBoard:
    """Event files in RUN/tensorboard: `tensorboard --logdir runs`."""

    name = "tensorboard"

    def __init__(self, module: Any) -> None:
        self.module = module
        self.writer: Any = None

    def begin(self, run: Path, recipe: str, config: dict[str, Any], done: int) -> None:
        """Lines of an earlier attempt after `done` are hidden."""
        self.writer = self.module.SummaryWriter(str(run / "tensorboard"), purge_step=done + 1)

    def step(self, record: StepRecord) -> None:
        for name, value in finite_metrics(record).items():
            self.writer.add_scalar(name, value, record.step)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


class Project:
    """A project `critica`, one run of it by the run folder's name; trackio keeps it on this machine, wandb sends it."""

    def __init__(self, name: str, module: Any) -> None:
        self.name, self.module = name, module

    def begin(self, run: Path, recipe: str, config: dict[str, Any], done: int) -> None:
        self.module.init(project="critica", name=run.name, config=config)

    def step(self, record: StepRecord) -> None:
        self.module.log(finite_metrics(record), step=record.step)

    def close(self) -> None:
        self.module.finish()
