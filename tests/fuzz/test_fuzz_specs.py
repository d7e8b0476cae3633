"""Short specs of the command line: whatever is typed, it is read as it is written or refused with a sentence."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from critica.environments.base import EnvironmentConfig, EnvironmentProblem
from critica.environments.catalogue import NAMED, parse_environment
from critica.recipes.coercion import ConfigError
from critica.recipes.resolve import read_environment
from critica.rewards.base import RewardConfig
from critica.rewards.catalogue import RewardProblem, parse_reward
from critica.rewards.noise import Flip, NoNoise
from critica.rewards.noise_base import NoiseProblem
from critica.rewards.noise_specs import parse_noise
from fuzz.nasty import INPUTS, bounded, text_like

NOISES = ("none", "flip:0.2:group", "flip:0.1/0.3:prompt", "flip:1:sample", "flip:.5e-1/0:group")
REWARDS = ("environment", "environment:partial", "exact", "numeric", "numeric:1e-3", r"regex:(a+)\d{2}", "my.py:f",
           "math:strict", "json_schema:a.json", "doubt:log:numeric", "distraction:exact",
           "constraints:all")  # fmt: skip
ENVIRONMENTS = (
    *(name for name, _ in NAMED),
    "rg:chain_sum",
    "rg:chain_sum*2+lcm*1.5",
    "arithmetic:3/rewrite",
    "mine.py:A",
)


def survives(parse: Callable[[str], Any], valid: tuple[str, ...], errors: tuple[type, ...], seed: int) -> list[tuple]:
    """(spec, what it was read as) of every spec that was accepted; an error of another class is a crash."""
    rng = random.Random(seed)
    accepted = []
    with bounded(60):
        for _ in range(INPUTS):
            spec = text_like(rng, valid)
            try:
                accepted.append((spec, parse(spec)))
            except errors as error:
                assert type(error).__module__.startswith("critica.") and len(str(error)) > 20 and " " in str(error), (
                    spec,
                    error,
                )
    assert len(accepted) < INPUTS
    return accepted


def test_noise_specs() -> None:
    """Accepted rates are exactly the decimal numbers that are written there."""
    for spec, read in survives(parse_noise, NOISES, (NoiseProblem,), 1):
        assert parse_noise(read.name) == read
        if isinstance(read, NoNoise):
            assert spec == "none"
            continue
        kind, rates, unit = spec.split(":")
        first, _, second = rates.partition("/")
        written = re.compile(r"[0-9.]+([eE][-+]?[0-9]+)?")
        assert kind == "flip" and unit == read.unit and written.fullmatch(first)
        assert (read.rate_low_to_high, read.rate_high_to_low) == (float(first), float(second or first))
        assert min(float(first), float(second or first)) >= 0.0 and max(float(first), float(second or first)) <= 1.0


def test_noise_names_read_back_as_the_same_noise() -> None:
    rng = random.Random(2)
    special = [0.0, -0.0, 1.0, 0.1, 1 / 3, 1e-7, 5e-324, 0.1 + 1e-9, 1 - 2**-53]
    for _ in range(INPUTS):
        up, down = (rng.choice(special) if rng.random() < 0.3 else rng.random() ** rng.randrange(1, 9) for _ in "ud")
        noise = Flip(up, rng.choice((up, down)), rng.choice(("sample", "group", "prompt")))
        assert parse_noise(noise.name) == noise


def test_reward_specs() -> None:
    for spec, read in survives(parse_reward, REWARDS, (RewardProblem,), 3):
        assert isinstance(read, RewardConfig) and spec.partition(":")[0] in (
            "environment", "exact", "numeric", "regex", "math", "json_schema", "doubt", "distraction", "constraints",
            spec.partition(":")[0].removesuffix(".py") + ".py",
        )  # fmt: skip


def test_environment_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for spec, read in survives(parse_environment, ENVIRONMENTS, (EnvironmentProblem,), 4):
        assert isinstance(read, EnvironmentConfig)
        level = re.match(r"arithmetic:(.*?)(?:/|$)", spec)
        assert not level or level[1].isascii()
    survives(read_environment, ENVIRONMENTS, (EnvironmentProblem, ConfigError), 5)


def test_task_file_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks.jsonl").write_text('{"prompt": "a", "answer": "b"}\n')
    from critica.environments.rows import TaskFileProblem

    rng = random.Random(6)
    accepted = 0
    for _ in range(INPUTS):
        spec = rng.choice(("", text_like(rng, ("tasks", "./tasks")))) + rng.choice((".jsonl", ".parquet", ".JSONL"))
        spec = "tasks.jsonl" if rng.random() < 0.01 else spec
        try:
            accepted += Path(parse_environment(spec).path).samefile(tmp_path / "tasks.jsonl")
        except (TaskFileProblem, EnvironmentProblem) as error:
            assert "task file" in str(error) or "no file" in str(error)
    assert accepted > 50
