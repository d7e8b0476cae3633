"""Flips: exact binomial rates, draws by identity whatever the order, units, and refusals that teach."""

import math
import random

import pytest

from critica.functional.random import uniforms
from critica.records.supervision import Abstained, Failed, Reward, Scored
from critica.records.words import ContextTurn, Group, Message, StopReason, Task, Trajectory
from critica.rewards.noise import PURPOSE, Binarize, Flip, NoNoise
from critica.rewards.noise_base import NoiseProblem
from critica.rewards.noise_specs import parse_noise


def make(groups: int, size: int, values=None) -> tuple[list[Group], list[Reward]]:
    made, rewards = [], []
    for g in range(groups):
        task = Task(f"task{g}", "none", (Message("user", "q"),), "")
        rows = tuple(
            Trajectory(
                f"g{g}r{i}",
                "e",
                task.task_id,
                f"g{g}",
                "solver",
                (ContextTurn(task.messages[0], (1,)),),
                StopReason.TOKEN_LIMIT,
            )
            for i in range(size)
        )
        made.append(Group(f"g{g}", task, rows))
        for i, row in enumerate(rows):
            value = float((g + i) % 2) if values is None else values[i]
            rewards.append(Reward("rule", row.trajectory_id, Scored(value)))
    return made, rewards


def binomial_interval(n: int, p: float, tail: float = 1e-6) -> tuple[int, int]:
    """The counts outside of which the exact binomial law has less than `tail` on each side."""

    def log_mass(k: int) -> float:
        chosen = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        return chosen + k * math.log(p) + (n - k) * math.log1p(-p)

    total, low = 0.0, 0
    while (total := total + math.exp(log_mass(low))) < tail:
        low += 1
    total, high = 0.0, n
    while (total := total + math.exp(log_mass(high))) < tail:
        high -= 1
    return low, high


@pytest.mark.parametrize(("up", "down"), [(0.2, 0.2), (0.1, 0.3)])
def test_rates_by_class_are_the_declared_ones(up: float, down: float) -> None:
    groups, rewards = make(250, 8)
    told = Flip(up, down, "sample").tamper(rewards, groups, step=3, seed=1)
    for clean, rate in ((0.0, up), (1.0, down)):
        flips = [r.tampering.flipped for r in told if r.tampering.clean_value == clean]
        low, high = binomial_interval(len(flips), rate)
        assert len(flips) == 1000 and low <= sum(flips) <= high
    for before, after in zip(rewards, told, strict=True):
        assert after.clean_value == before.outcome.value
        assert after.outcome.value == (1 - before.outcome.value if after.tampering.flipped else before.outcome.value)


def test_a_group_is_flipped_whole_at_its_rate() -> None:
    groups, rewards = make(1000, 4)
    told = Flip(0.2, 0.2, "group").tamper(rewards, groups, step=0, seed=5)
    rows = [[r.tampering.flipped for r in told[start : start + 4]] for start in range(0, len(told), 4)]
    assert all(len(set(row)) == 1 for row in rows)
    low, high = binomial_interval(1000, 0.2)
    assert low <= sum(row[0] for row in rows) <= high


def test_the_group_draw_is_shared_and_compared_with_each_class_rate() -> None:
    groups, rewards = make(300, 2, values=(0.0, 1.0))
    told = Flip(0.1, 0.3, "group").tamper(rewards, groups, step=2, seed=9)
    for g in range(300):
        draw = uniforms(9, PURPOSE, "group", 2, f"g{g}", count=1)[0]
        assert [r.tampering.flipped for r in told[2 * g : 2 * g + 2]] == [draw < 0.1, draw < 0.3]


@pytest.mark.parametrize("unit", ["sample", "group", "prompt"])
def test_order_of_arrival_changes_nothing(unit) -> None:
    groups, rewards = make(40, 4)
    noise = Flip(0.3, 0.4, unit)
    told = {r.trajectory_id: r for r in noise.tamper(rewards, groups, 1, 2)}
    shuffled, mixed = list(rewards), list(groups)
    random.Random(0).shuffle(shuffled)
    random.Random(1).shuffle(mixed)
    assert {r.trajectory_id: r for r in noise.tamper(shuffled, mixed, 1, 2)} == told
    assert [r.trajectory_id for r in noise.tamper(shuffled, mixed, 1, 2)] == [r.trajectory_id for r in shuffled]
    part = noise.tamper(rewards[8:12], groups[2:3], 1, 2)
    assert part == [told[r.trajectory_id] for r in rewards[8:12]]


@pytest.mark.parametrize(("unit", "persists"), [("sample", False), ("group", False), ("prompt", True)])
def test_only_prompt_flips_persist_over_steps(unit, persists: bool) -> None:
    groups, rewards = make(100, 2)
    first, second, other = (
        [r.tampering.flipped for r in Flip(0.5, 0.5, unit).tamper(rewards, groups, step, seed)]
        for step, seed in ((0, 1), (1, 1), (0, 2))
    )
    assert (first == second) is persists and first != other


def test_missing_outcomes_stay_missing() -> None:
    groups, rewards = make(1, 3)
    rewards = [rewards[0], Reward("rule", "g0r1", Failed("x")), Reward("rule", "g0r2", Abstained("y"))]
    told = Flip(1.0, 1.0, "sample").tamper(rewards, groups, 0, 0)
    assert told[0].outcome == Scored(1.0) and told[0].tampering.flipped and told[1:] == rewards[1:]


def test_no_rate_no_change_and_certain_rate_every_change() -> None:
    groups, rewards = make(5, 4)
    assert [r.outcome for r in Flip(0.0, 0.0, "sample").tamper(rewards, groups, 0, 0)] == [r.outcome for r in rewards]
    assert all(r.tampering.flipped for r in Flip(1.0, 1.0, "group").tamper(rewards, groups, 0, 0))
    assert NoNoise().tamper(rewards, groups, 0, 0) == rewards


def test_other_ranges_flip_between_their_ends() -> None:
    groups, rewards = make(1, 2, values=(-1.0, 3.0))
    told = Flip(1.0, 1.0, "sample").tamper(rewards, groups, 0, 0, low=-1.0, high=3.0)
    assert [r.outcome.value for r in told] == [3.0, -1.0]


def test_refusals() -> None:
    groups, rewards = make(1, 2, values=(0.0, 0.33))
    noise = Flip(0.2, 0.2, "sample")
    with pytest.raises(NoiseProblem, match=r"0.33 about trajectory 'g0r1'.*Binarize\(threshold=0.5\)"):
        noise.tamper(rewards, groups, 0, 0)
    with pytest.raises(NoiseProblem, match="none of the groups"):
        noise.tamper([Reward("rule", "stranger", Scored(1.0))], groups, 0, 0)
    with pytest.raises(NoiseProblem, match="before"):
        noise.tamper(noise.tamper(rewards[:1], groups, 0, 0), groups, 0, 0)


def test_binarize() -> None:
    found = Binarize(0.5).apply([Scored(0.49), Scored(0.5), Scored(2.0, confidence=0.7), Failed("x"), Abstained("y")])
    assert found == [Scored(0.0), Scored(1.0), Scored(1.0, confidence=0.7), Failed("x"), Abstained("y")]


@pytest.mark.parametrize(
    ("spec", "model"),
    [
        ("none", NoNoise()),
        ("flip:0.2:group", Flip(0.2, 0.2, "group")),
        ("flip:0.2:prompt", Flip(0.2, 0.2, "prompt")),
        ("flip:0.1/0.3:sample", Flip(0.1, 0.3, "sample")),
    ],
)
def test_specs_are_read_and_written_back(spec: str, model) -> None:
    assert parse_noise(spec) == model and model.name == spec


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("flop:0.2:group", "no kind of noise"),
        ("flip:0.2", "a rate and a unit"),
        ("flip:1.2:group", "between 0 and 1"),
        ("flip:nan:group", "between 0 and 1"),
        ("flip:x:group", "no rate"),
        ("flip:0.1/0.2/0.3:group", "two rates at most"),
        ("flip:0.2:token", "no unit"),
        ("", "no kind of noise"),
    ],
)
def test_wrong_specs_name_the_way_out(spec: str, words: str) -> None:
    with pytest.raises(NoiseProblem, match=f"{words}.*flip:0.2:group"):
        parse_noise(spec)
