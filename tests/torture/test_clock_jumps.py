"""Clocks that jump: the wall clock by days, the steady one by seconds. The bits stay, no ETA is negative."""

import itertools
import random
import re
import time
from pathlib import Path

import pytest

from critica.benches.torture_compare import compare_runs
from critica.benches.torture_trial import Reference, System, recipe_of
from critica.training.progress import Lines, clock
from critica.training.run import train
from store.synthetic_run import synthetic_step
from torture.conftest import SMALL


def jumpy(real, span: float, seed: int):
    """The clock, off by up to `span` seconds either way, anew at each look."""
    dice = random.Random(seed)
    return lambda: real() + dice.uniform(-span, span)


def test_a_run_under_jumping_clocks_has_the_same_bits(
    undisturbed: tuple[Reference, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", jumpy(time.time, 30 * 86_400.0, 1))
    monkeypatch.setattr(time, "monotonic", jumpy(time.monotonic, 4.0, 2))  # a call has 10 s: less is no timeout
    recipe = recipe_of(System("dvpo"), SMALL)
    with (tmp_path / "said").open("w") as said:
        assert train(recipe, tmp_path / "run", lambda steps, done: Lines(steps, done, said, 0.0)).finished
    verdict = compare_runs(undisturbed[0].run, tmp_path / "run", ("config.toml",))  # that one came from a file
    assert verdict.same, verdict.first
    etas = re.findall(r"eta (\S+)", (tmp_path / "said").read_text())
    assert etas and not [eta for eta in etas if "-" in eta]


@pytest.mark.parametrize("moments", [[100.0, 100.0], [100.0, 90.0], [100.0, 100.0, 400.0, 50.0]])
def test_no_estimate_is_negative_and_none_divides_by_zero(
    moments: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.chain(moments, itertools.repeat(moments[-1]))
    steps = [synthetic_step(number, steps=10, prompts=2, samples=2) for number in (1, 2, 3)]
    with (tmp_path / "said").open("w") as said, monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: next(ticks))
        lines = Lines(10, 0, said, 0.0)
        for step in steps:
            lines.step(step)
    etas = re.findall(r"eta (\S+)", (tmp_path / "said").read_text())
    assert etas and not [eta for eta in etas if "-" in eta]


def test_the_estimate_by_hand() -> None:
    assert [clock(seconds) for seconds in (0.0, 59.9, 60.0, 3600.0, 7325.0)] == [
        "0:00",
        "0:59",
        "1:00",
        "1:00:00",
        "2:02:05",
    ]
