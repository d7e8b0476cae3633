"""Groups that grow while a run goes on, and are as large after a resume; recipes with a bonus or a price on entropy."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from critica.curricula.growing import GrowingGroups
from critica.objectives.noise_entropy import NoiseEntropy
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import Checkpoints, Sampling
from critica.rewards.correction_base import Uncorrected
from critica.rewards.corrections import Watched
from critica.rewards.noise import NoNoise
from critica.rewards.rates import Audited
from critica.training.observe import UnmetNeed
from critica.training.progress import Silent
from critica.training.run import resume, train


class Stops(Silent):
    """Ends the run at this step as a crash would."""

    def __init__(self, step):
        self.at = step

    def step(self, record):
        if record.step == self.at:
            raise KeyboardInterrupt


def read(run, name):
    return [json.loads(line).get(name) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_silent_groups_double_and_a_resume_knows_it(small, tmp_path):
    """The random policy is never right: after each two steps prompts halve, until there is one."""
    recipe = small(
        "aryabhata2", curriculum=GrowingGroups(doublings=3, share=0.4, window=2), sampling=Sampling(4, 2, 1.0, 4),
        steps=6, checkpoint=Checkpoints(every=1, keep=2), noise=NoNoise(),
    )  # fmt: skip
    train(recipe, tmp_path / "whole")
    assert read(tmp_path / "whole", "samples/most") == [2.0, 2.0, 4.0, 4.0, 8.0, 8.0]
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", reporter=lambda steps, done: Stops(4))
    resume(tmp_path / "cut")
    assert read(tmp_path / "cut", "samples/most") == read(tmp_path / "whole", "samples/most")
    ends = [load_file(tmp_path / run / "checkpoints/step_6/policy/model.safetensors") for run in ("whole", "cut")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("name", ["novelty", "policy_cliff"])
def test_the_recipe_trains(name, small, tmp_path):
    recipe = small(name, steps=2, checkpoint=Checkpoints(every=2, keep=9))
    train(recipe, tmp_path / "run")
    start, end = (load_file(tmp_path / f"run/checkpoints/step_{n}/policy/model.safetensors") for n in (0, 2))
    assert any(not torch.equal(start[key], end[key]) for key in start)
    entropy = read(tmp_path / "run", "loss/entropy")
    assert all(value is not None and value < 0 for value in entropy) == (name == "policy_cliff")


def test_the_entropy_follows_what_audits_find(small, tmp_path):
    """A fifth of the verdicts is flipped and every one is checked: the noise is the larger rate found, with 4
    imagined checks of each kind at .05; without a correction that reckons: refused."""
    recipe = small(
        "policy_cliff", steps=3, correction=Watched(Audited(share=1.0, prior=0.05, strength=4.0, kept=1.0)),
        objective=PolicyLoss(
            ClippedRatio(), penalties=(NoiseEntropy(noise=1.0, allowed_log_ratio=1.0, source="audited"),)
        ),
    )  # fmt: skip
    train(recipe, tmp_path / "run")
    rates = [
        max(a, b)
        for a, b in zip(read(tmp_path / "run", "correction/false_positives"),
                        read(tmp_path / "run", "correction/false_negatives"), strict=True)
    ]  # fmt: skip
    entropies = read(tmp_path / "run", "policy/entropy")
    losses = read(tmp_path / "run", "loss/entropy")
    assert len(set(rates)) == 3
    for rate, entropy, loss in zip(rates, entropies, losses, strict=True):
        assert loss == pytest.approx(-rate * entropy, rel=1e-4)  # before its weight, 2 / 1 nats
    with pytest.raises(UnmetNeed, match=r"watch:0\.05"):
        train(replace(recipe, correction=Uncorrected()), tmp_path / "refused")
