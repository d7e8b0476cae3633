"""VAPO end to end, and the plasticity readings that training takes now and then."""

import math

import pytest

from critica.store.run_folder import RunFolder
from critica.training.run import train


def test_vapo_imitates_what_it_was_told_is_right(small, tmp_path):
    train(small("vapo", steps=3), tmp_path / "vapo")
    lines = list(RunFolder.open(tmp_path / "vapo").metrics())
    told = [line["reward/told"] > 0 for line in lines]
    assert any(told[1:])
    for line, some in zip(lines[1:], told[1:], strict=True):  # the first step warms the critic up
        assert (line["loss/positive_examples"] > 0) is some


@pytest.mark.parametrize("name", ["ppo", "vrpo", "grpo"])
def test_plasticity_is_read_every_tenth_step(name, small, tmp_path):
    train(small(name, steps=10), tmp_path / name)
    lines = list(RunFolder.open(tmp_path / name).metrics())
    for metric in ("critic/dormant_units", "critic/feature_rank", "critic/weight_norm"):
        assert all(math.isnan(line.get(metric)) for line in lines[:9])
        assert math.isfinite(lines[9].get(metric)) is (name != "grpo")
