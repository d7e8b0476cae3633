"""What a person is told while a run goes."""

from dataclasses import replace

import pytest

from critica.records.arrays import Metric
from critica.training.progress import ALIKE_STEPS, Lines
from store.synthetic_run import synthetic_step


@pytest.fixture
def said(tmp_path):
    """The lines of a run whose steps have these spreads of told rewards."""

    def lines_of(spreads, steps=10, done=0):
        with (tmp_path / "said").open("w") as stream:
            lines = Lines(steps, done, stream, 0.0)
            for number, spread in enumerate(spreads, done + 1):
                metrics = (Metric("reward/told", 0.5, 1.0), Metric("reward/told_std", spread, 1.0))
                lines.step(replace(synthetic_step(number, steps=steps, prompts=2, samples=2), metrics=metrics))
        return (tmp_path / "said").read_text()

    return lines_of


def test_a_run_in_which_no_two_answers_are_told_apart_says_so_once_and_early(said):
    assert said([0.0] * (ALIKE_STEPS - 1)).count("warning") == 0
    found = said([0.0] * 6)
    assert found.count("warning") == 1 and "of the first 3 steps was told 0.500" in found
    assert found.index("warning") < found.index("step 3/10") > found.index("step 2/10")


def test_a_run_in_which_anything_differed_or_that_goes_on_says_nothing_of_it(said):
    assert "warning" not in said([0.0, 0.2, 0.0, 0.0, 0.0])
    assert "warning" not in said([0.0] * 5, done=4)
    assert "warning" not in said([0.0] * 3, steps=3), "it is over"
