"""Who else is told of a run: every step once, with its numbers; one that fails is named and the run goes on."""

import sys
from dataclasses import FrozenInstanceError, fields
from types import ModuleType

import pytest
import torch

from critica.cli.track import listeners_of
from critica.recipes.coercion import ConfigError
from critica.records.run import StepRecord
from critica.store.run_folder import RunFolder
from critica.training.listeners import listener_of
from critica.training.run import resume, train


class FakeProject(ModuleType):
    """What trackio and wandb have in common."""

    def __init__(self, name):
        super().__init__(name)
        self.said = []

    def init(self, project, name, config):
        self.said.append((project, name, config["steps"]))

    def log(self, metrics, step):
        self.said.append((step, metrics["reward/told"]))

    def finish(self):
        self.said.append("end")


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_tracker_is_told_of_every_step_and_of_the_end(name, small, tmp_path, monkeypatch):
    project = FakeProject(name)
    monkeypatch.setitem(sys.modules, name, project)
    train(small("grpo", steps=2), tmp_path / "mine", listeners=listeners_of([name]))
    told = [line["reward/told"] for line in RunFolder.open(tmp_path / "mine").metrics()]
    assert project.said == [("critica", "mine", 2), (1, told[0]), (2, told[1]), "end"]
    resume(tmp_path / "mine", steps=3, listeners=listeners_of([name]))
    assert [entry[0] for entry in project.said[4:6]] == ["critica", 3]


def test_tensorboard_gets_every_number_under_its_step(small, tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run = tmp_path / "run"
    train(small("grpo", steps=1), run, listeners=listeners_of(["tensorboard"]))
    (line,) = RunFolder.open(run).metrics()
    assert written[0] == (str(run / "tensorboard"), 1) and written[-1] == "closed"
    assert ("reward/told", line["reward/told"], 1) in written


def test_a_function_from_a_file_sees_each_step_and_one_that_fails_ends_nothing(small, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("steps = []\n\n\ndef noted(record):\n    steps.append(record.step)\n\n\nnothing = 3\n")
    seen, said = [], []

    def broken(record: StepRecord) -> None:
        seen.append(record.step)
        raise KeyError("away")

    (noted,) = listeners_of([f"{file}:noted"])
    result = train(small("grpo", steps=3), tmp_path / "run", notify=said.append, listeners=[broken, noted])
    assert result.finished and seen == [1]
    assert noted.function.__globals__["steps"] == [1, 2, 3]
    assert any("broken failed" in line and "KeyError" in line for line in said)
    with pytest.raises(ConfigError, match="listen to nothing"):
        listeners_of([f"{file}:nothing"])


def test_a_tracker_that_is_not_there_is_refused_before_training(monkeypatch):
    packages = {"trackio": "trackio", "wandb": "wandb", "tensorboard": "torch.utils.tensorboard"}
    for name, package in packages.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ConfigError, match=rf"--track {name} needs .*pip install {name}$"):
            listeners_of([name])
    with pytest.raises(ConfigError, match="tensorboard, trackio, wandb"):
        listeners_of(["mlflow"])


@pytest.mark.parametrize("name", ["ppo", "hista"])
def test_nothing_that_a_listener_does_to_a_step_reaches_the_training(name, small, tmp_path):
    """Records are frozen; a tensor in one is not, and what is written into it changes no later step."""

    def vandal(record: StepRecord) -> None:
        with pytest.raises(FrozenInstanceError):
            record.step = 7  # type: ignore[misc]
        for part in (record.batch, record.told, record.values, record.credit):
            for item in fields(part):
                value = getattr(part, item.name)
                if isinstance(value, torch.Tensor) and value.numel():
                    value.zero_()

    train(small(name, steps=3), tmp_path / "alone")
    result = train(small(name, steps=3), tmp_path / "watched", listeners=[vandal])
    assert result.finished
    one, other = (RunFolder.open(tmp_path / run) for run in ("alone", "watched"))
    for step in (1, 2, 3):
        assert one.rollouts(step).equals(other.rollouts(step))
    last = "checkpoints/step_3/policy/model.safetensors"
    assert (tmp_path / "alone" / last).read_bytes() == (tmp_path / "watched" / last).read_bytes()


def test_what_cannot_listen_is_refused():
    with pytest.raises(TypeError, match="StepRecord"):
        listener_of(5)
