"""A run goes on from wherever it was stopped, to the same bits, in a process that knows nothing but the folder."""

import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.critics.bodies import SharedTrunk
from critica.policies.language_model import LanguagePolicy
from critica.policies.part import Lora
from critica.recipes.base import Checkpoints
from critica.store.checkpoints import CheckpointStore
from critica.store.errors import DiskFull
from critica.store.run_folder import RunFolder
from critica.training.held_out import load_target
from critica.training.progress import Lines, Silent
from critica.training.run import resume, train
from critica.training.saved_recipe import ForeignCheckpoint


class Stops(Silent):
    """Ends the run at this step as a crash would."""

    def __init__(self, step):
        self.at = step

    def step(self, record):
        if record.step == self.at:
            raise KeyboardInterrupt


def files(run, step):
    folder = run / "checkpoints" / f"step_{step}"
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.safetensors"))}


def test_adapters_with_dropout_resume_to_the_same_bits(small, tmp_path):
    """Dropout draws from torch's global generator, which is set anew for every step."""
    lora = replace(small("dvpo").policy, lora=Lora(rank=2, dropout=0.3))
    critic = replace(small("dvpo").critic, body=SharedTrunk())
    recipe = small("dvpo", policy=lora, critic=critic)
    train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", reporter=lambda steps, done: Stops(3))
    torch.manual_seed(99)
    resume(tmp_path / "cut")
    assert files(tmp_path / "whole", 4) == files(tmp_path / "cut", 4)
    other = replace(recipe, policy=replace(lora, lora=Lora(rank=2, dropout=0.0)))
    train(other, tmp_path / "dry")
    assert files(tmp_path / "whole", 4) != files(tmp_path / "dry", 4)  # the dropout was really on


@pytest.mark.parametrize("adapters", [False, True])
def test_a_checkpoint_loaded_and_saved_by_a_fresh_process_is_the_same_file(adapters, small, tmp_path):
    """Policy or adapters, critic with its head, optimizers, curriculum, progress: byte for byte."""
    lora = Lora(rank=2) if adapters else Lora()
    train(small("dvpo", steps=2, policy=replace(small("dvpo").policy, lora=lora)), tmp_path / "run")
    program = (
        "import sys, pathlib\n"
        "from critica.store.run_folder import RunFolder\n"
        "from critica.training.assemble import assemble\n"
        "from critica.training.saved_recipe import recipe_of\n"
        "run, out = map(pathlib.Path, sys.argv[1:])\n"
        "store = RunFolder.open(run)\n"
        "assembly = assemble(recipe_of(store))\n"
        "progress = assembly.state.load(store.checkpoints.latest().path)\n"
        "out.mkdir(); assembly.state.save(out, progress); assembly.close()\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "run", tmp_path / "again"], check=True, timeout=120)
    first, second = tmp_path / "run/checkpoints/step_2", tmp_path / "again"
    names = {str(p.relative_to(second)) for p in second.rglob("*") if p.is_file()}
    weights = "policy/adapter_model.safetensors" if adapters else "policy/model.safetensors"
    assert {"progress.json", weights, "critic/value_head.safetensors"} <= names
    assert {"policy_optimizer.safetensors", "critic_optimizer.safetensors"} <= names
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_a_run_stopped_before_its_first_checkpoint_starts_in_its_own_folder(small, tmp_path):
    train(small("grpo"), tmp_path / "whole")
    train(small("grpo"), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    for name in ("metrics.jsonl", "ledger.jsonl", "timing.jsonl"):
        (tmp_path / "run" / name).unlink()
    assert resume(tmp_path / "run").finished
    assert files(tmp_path / "whole", 4) == files(tmp_path / "run", 4)


def test_a_run_killed_before_it_was_one_is_begun_again(small, tmp_path):
    run = tmp_path / "run"
    (run / "rollouts").mkdir(parents=True)
    (run / ".tmp-config.toml").write_text("half")
    assert train(small("grpo", steps=1), run).finished


def test_a_checkpoint_of_another_run_is_refused(small, tmp_path):
    train(small("grpo"), tmp_path / "run")
    train(small("grpo", seed=8), tmp_path / "other")
    shutil.rmtree(tmp_path / "run/checkpoints/step_4")
    shutil.copytree(tmp_path / "other/checkpoints/step_4", tmp_path / "run/checkpoints/step_4")
    with pytest.raises(ForeignCheckpoint, match="written by another run"):
        resume(tmp_path / "run", steps=6)
    assert resume(tmp_path / "run", steps=6, step=2).progress.step == 6


@pytest.mark.parametrize("stop", [None, 3, 5])
def test_saving_in_the_background_gives_the_same_bits(stop, small, tmp_path):
    train(small("dvpo", steps=6), tmp_path / "plain")
    recipe = small("dvpo", steps=6, checkpoint=Checkpoints(every=1, keep=3, background=True))
    if stop is None:
        train(recipe, tmp_path / "run")
    else:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run", reporter=lambda steps, done: Stops(stop))
        assert max(RunFolder.open(tmp_path / "run").checkpoints.steps) in (stop - 1, stop)
        resume(tmp_path / "run")
    store = RunFolder.open(tmp_path / "run")
    assert store.checkpoints.steps == (4, 5, 6) and all(store.checkpoints.verify(s) for s in (4, 5, 6))
    assert files(tmp_path / "plain", 6) == files(tmp_path / "run", 6)
    assert (tmp_path / "plain/metrics.jsonl").read_bytes() == (tmp_path / "run/metrics.jsonl").read_bytes()


def test_what_goes_wrong_in_the_background_is_raised_and_loses_nothing(small, tmp_path, monkeypatch):
    publish = CheckpointStore.publish

    def full(self, step):
        if step == 3:
            shutil.rmtree(self.folder / f".tmp-step_{step}")
            raise DiskFull(self.folder, 10, str(self.folder.parent))
        return publish(self, step)

    monkeypatch.setattr(CheckpointStore, "publish", full)
    recipe = small("grpo", steps=6, checkpoint=Checkpoints(every=1, keep=2, background=True))
    with pytest.raises(DiskFull, match="critica resume"):
        train(recipe, tmp_path / "run")
    monkeypatch.undo()
    assert RunFolder.open(tmp_path / "run").checkpoints.steps == (1, 2)
    resume(tmp_path / "run")
    train(small("grpo", steps=6), tmp_path / "whole")
    assert files(tmp_path / "whole", 6) == files(tmp_path / "run", 6)


def test_training_goes_on_while_a_checkpoint_reaches_the_disk(small, tmp_path, monkeypatch):
    """The second step is recorded before the first checkpoint is published."""
    publish, held = CheckpointStore.publish, threading.Event()
    order = []

    def slow(self, step):
        if step == 1:
            held.wait(30)
        order.append(f"published {step}")
        return publish(self, step)

    class Watches(Silent):
        def step(self, record):
            order.append(f"recorded {record.step}")
            held.set()

    monkeypatch.setattr(CheckpointStore, "publish", slow)
    recipe = small("grpo", steps=2, checkpoint=Checkpoints(every=1, keep=3, background=True))
    train(recipe, tmp_path / "run", reporter=lambda steps, done: Watches())
    assert order.index("recorded 1") < order.index("published 1")


def test_the_size_of_the_pieces_changes_rounding_only_in_double_precision(small, tmp_path):
    """Through the real model: weights after two steps, to 1e-6 relative to how far they moved."""
    runs = []
    for tokens in (24, 10_000):
        recipe = small("dvpo", steps=2, policy=replace(small("dvpo").policy, dtype="float64"))
        recipe = replace(recipe, learner=replace(recipe.learner, tokens_per_microbatch=tokens))
        train(recipe, tmp_path / str(tokens))
        runs.append(load_file(tmp_path / str(tokens) / "checkpoints/step_2/policy/model.safetensors"))
    start = LanguagePolicy.load(recipe.policy.path, dtype="float64").model.state_dict()
    for name, weight in runs[0].items():
        assert weight.dtype == torch.float64
        moved = float((weight - start[name]).abs().max())
        assert moved > 1e-6
        assert float((weight - runs[1][name]).abs().max()) <= 1e-6 * max(moved, 1.0), name


def test_a_long_wait_is_shown_with_its_name(monkeypatch, tmp_path):
    monkeypatch.setattr("critica.training.progress.LOG_PATIENCE", 0.05)
    path = tmp_path / "log"
    with path.open("w") as stream:
        lines = Lines(10, 0, stream)
        lines.watch(lambda: "step 3: gather for 12 s: 7 answers of reward judge (2 workers busy, 288 s left)")
        deadline = time.monotonic() + 10
        while not path.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        lines.close()
    assert "7 answers of reward judge (2 workers busy, 288 s left)" in path.read_text()


def test_a_policy_of_a_run_whose_newest_checkpoint_is_corrupt_is_the_one_before(small, tmp_path):
    train(small("grpo"), tmp_path / "run")
    (tmp_path / "run/checkpoints/step_4/progress.json").write_text(json.dumps({}))
    policy, _ = load_target(tmp_path / "run")
    assert policy.version == 2
