"""Tasks depend on (environment, seed, index) alone, splits are disjoint by text, cursors resume exactly."""

from itertools import islice

import pytest

from critica.environments.base import Environment, EnvironmentProblem, TaskStream
from critica.environments.catalogue import parse_environment
from critica.environments.splits import SPLITS, normalize, split_of
from critica.records.words import Message, Task

SPECS = (
    "pico",
    "rg:chain_sum",
    "rg:chain_sum*2+lcm*1",
    "digit_sum",
    "binary_tree",
    "chain",
    "two_branch",
    "arithmetic:4",
)


class FewPrompts(Environment):
    """Repeats a given list of prompts for ever."""

    def __init__(self, prompts: list[str]) -> None:
        self.name, self.seed, self.max_new_tokens, self.prompts = "few", 0, 4, prompts

    def candidate(self, index: int) -> Task:
        prompt = self.prompts[index % len(self.prompts)]
        return Task(f"few/{index}", "few", (Message("user", prompt),), "")

    def score(self, task: Task, text: str) -> float:
        return 0.0


@pytest.mark.parametrize("spec", SPECS)
def test_candidates_do_not_depend_on_what_was_asked_before(spec: str) -> None:
    one, other = parse_environment(spec).build(7), parse_environment(spec).build(7)
    order = (5, 1203, 0, 5, 44)
    seen = {index: one.candidate(index) for index in order}
    for index in sorted(set(order)):
        again = other.candidate(index)
        assert again == seen[index] and dict(again.info) == dict(seen[index].info)


@pytest.mark.parametrize("spec", SPECS)
def test_seeds_differ_and_splits_are_disjoint_even_between_seeds(spec: str) -> None:
    texts = {split: set() for split in SPLITS}
    for seed in (1, 2):
        environment = parse_environment(spec).build(seed)
        for split in SPLITS:
            for task in islice(environment.tasks(split), 60):
                assert split_of(task.prompt) == split
                texts[split].add(normalize(task.prompt))
    assert all(texts.values())
    assert not (texts["train"] & texts["held_out"] or texts["train"] & texts["warm_start"])
    first = [parse_environment(spec).build(seed).candidate(i).prompt for seed in (1, 2) for i in range(8)]
    assert first[:8] != first[8:]


def test_adjacent_seeds_do_not_share_shifted_items() -> None:
    """reasoning-gym seeds item i with seed + i; taking its seeds as they are would make seed 2 repeat seed 1."""
    one, two = (parse_environment("rg:chain_sum").build(seed) for seed in (1, 2))
    assert not {one.candidate(i).prompt for i in range(50)} & {two.candidate(i).prompt for i in range(50)}


def test_a_stream_resumes_with_the_very_next_task() -> None:
    environment = parse_environment("rg:chain_sum+letter_counting").build(3)
    stream = TaskStream(environment, "train")
    whole = [stream.next().task_id for _ in range(20)]
    stopped = TaskStream(environment, "train")
    head = [stopped.next().task_id for _ in range(9)]
    resumed = TaskStream(parse_environment("rg:chain_sum+letter_counting").build(3), "train")
    resumed.load_state_dict(stopped.state_dict())
    assert head + [resumed.next().task_id for _ in range(11)] == whole
    assert [task.task_id for task in islice(environment.tasks("train", stopped.cursor), 11)] == whole[9:]


def test_a_stream_refuses_another_seed() -> None:
    stream = TaskStream(parse_environment("chain").build(3), "train")
    with pytest.raises(EnvironmentProblem, match="seed 4"):
        stream.load_state_dict(TaskStream(parse_environment("chain").build(4), "train").state_dict())


def test_held_out_prompts_are_distinct_by_normalized_text() -> None:
    held = [f"prompt {i}" for i in range(60) if split_of(f"prompt {i}") == "held_out"]
    shouted = [text.upper().replace(" ", "  ") for text in held]
    environment = FewPrompts(shouted + held)
    tasks = environment.held_out(len(held))
    assert sorted(normalize(task.prompt) for task in tasks) == sorted(held)
    with pytest.raises(EnvironmentProblem, match=rf"only {len(held)} distinct .* {len(held) + 1} were asked"):
        environment.held_out(len(held) + 1)


def test_a_split_without_prompts_is_an_error_not_a_hang() -> None:
    train = next(f"p{i}" for i in range(99) if split_of(f"p{i}") == "train")
    assert TaskStream(FewPrompts([train]), "train").next().prompt == train
    with pytest.raises(EnvironmentProblem, match="held_out"):
        TaskStream(FewPrompts([train]), "held_out").next()


def test_only_full_marks_are_correct() -> None:
    environment = FewPrompts(["x"])
    assert environment.is_correct(0.999) and not environment.is_correct(0.998)


def test_pico_gives_a_thousand_distinct_held_out_prompts() -> None:
    tasks = parse_environment("pico").build(0).held_out(1000)
    assert len({normalize(task.prompt) for task in tasks}) == 1000


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("pica", "'pico'"),
        ("arithmetik:2", "'arithmetic'"),
        ("rg", "rg:DATASET"),
        ("rg:", "DATASET"),
        ("rg:chain_sum*0", "weight above 0"),
        ("rg:chain_sum*x", "weight above 0"),
        ("rg:chain_sum+chain_sum", "twice"),
        ("arithmetic:9", "1 to 5"),
        ("arithmetic:2/prose", "running, rewrite, results"),
        ("nowhere.py:Thing", "no file"),
        ("nowhere.py", "ClassName"),
    ],
)
def test_wrong_specs_teach(spec: str, words: str) -> None:
    with pytest.raises(EnvironmentProblem, match=words.replace("*", r"\*")):
        parse_environment(spec)


def test_an_unknown_dataset_names_the_nearest() -> None:
    with pytest.raises(EnvironmentProblem, match="'chain_sum'"):
        parse_environment("rg:chain_sun").build(0)


def test_a_users_own_class_by_path(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from critica.environments.base import EnvironmentConfig\n"
        "from critica.environments.chain import Chain\n"
        "@dataclass(frozen=True)\nclass Mine(EnvironmentConfig):\n"
        "    def build(self, seed):\n        return Chain(length=5).build(seed)\n"
    )
    assert len(parse_environment(f"{file}:Mine").build(1).candidate(0).prompt) == len("copy 01010: ")
    with pytest.raises(EnvironmentProblem, match="subclass"):
        parse_environment(f"{file}:Other")
