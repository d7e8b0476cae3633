"""What must hold of the rule in my_advantage.py: pytest test_my_advantage.py"""

from pathlib import Path

import critica
import pytest
from my_advantage import MyAdvantage

FILE = Path(__file__).with_name("my_advantage.py")


def test_what_fell_short_counts_half(tmp_path):
    settings = [f"advantage={FILE}:MyAdvantage", "sampling.prompts_per_step=4", "sampling.samples_per_prompt=8"]
    recipe = critica.recipe("grpo", *settings, steps=1, seed=1)
    run = critica.RunFolder.open(critica.train(recipe, tmp_path / "run").run)
    rows = run.rollouts(1).to_pylist()
    assert {row["reward_told"] for row in rows} == {0.0, 1.0}, "some answers fall short and some do not"
    for row in rows:
        mean = sum(r["reward_told"] for r in rows if r["group_id"] == row["group_id"]) / 8
        gap = row["reward_told"] - mean
        credit = [a for a, wrote in zip(row["advantage"], row["sampled_mask"], strict=True) if wrote]
        assert credit == pytest.approx([gap if gap >= 0 else gap / 2] * len(credit), abs=1e-6)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="below"):
        MyAdvantage(below=2.0)
