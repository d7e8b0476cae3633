"""The warm start: it learns, it repeats to the bit, and the policy that ships is what its card promises."""

from dataclasses import replace
from itertools import islice
from math import sqrt
from pathlib import Path
from random import Random

import pytest
import torch

from critica.environments.demonstrations import Writers, demonstrate, items
from critica.environments.mixes import PICO_TASKS
from critica.environments.splits import split_of
from critica.policies.locate import asset_path
from critica.policies.tokenizer import train_tokenizer
from critica.training.assessment import assess
from critica.training.warm_start import (
    IGNORED,
    PicoRecipe,
    Row,
    TaskPool,
    WarmStartProgress,
    build_model,
    collect_items,
    draw_rows,
    fast_matmuls,
    make_pico,
    microbatches,
    pad_rows,
    summed_loss,
    warm_start,
)

SMALL = PicoRecipe(
    steps=20, rows=(6, 6, 6), warmup_steps=5, prompts_per_task=60, width=32, layers=2, feed_forward=64, heads=2
)


def test_the_loss_falls_and_the_folder_opens(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    told: list[WarmStartProgress] = []
    first = warm_start(replace(SMALL, steps=1, warmup_steps=1), 0, told.append)
    make_pico(tmp_path, 0, 1, SMALL, told.append, prompts_per_task=4)
    assert [(p.step, p.steps) for p in told] == [(1, 1), (20, 20)]
    assert told[1].loss < 0.9 * told[0].loss  # the mean of 20 steps against the first
    assert told[1].seconds_left == 0.0

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    again, _ = warm_start(SMALL, 0)
    ids = tokenizer("4 - 1 =", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert torch.allclose(model(ids).logits, again(ids).logits, atol=1e-5)
        assert not torch.allclose(model(ids).logits, first[0](ids).logits, atol=1e-2)
    text = (tmp_path / "README.md").read_text()
    assert all(f"| {entry.name} | 4 |" in text for entry in PICO_TASKS)


def test_two_runs_are_bit_equal_and_another_seed_is_not() -> None:
    short = replace(SMALL, steps=5)
    weights = [torch.cat([p.detach().flatten() for p in warm_start(short, seed)[0].parameters()]) for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_callers_random_state_and_precision_are_untouched() -> None:
    precision = torch.backends.mkldnn.matmul.fp32_precision
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    warm_start(replace(SMALL, steps=1), 0)
    assert torch.equal(torch.rand(3), expected)
    with pytest.raises(KeyError), fast_matmuls():
        raise KeyError
    assert torch.backends.mkldnn.matmul.fp32_precision == precision


@pytest.mark.parametrize("entry", PICO_TASKS, ids=lambda entry: entry.name)
def test_only_warm_start_prompts_are_read(entry) -> None:
    collected = collect_items(entry, 3, 100)
    assert {split_of(item["question"]) for item in collected} == {"warm_start"}
    held_out = {item["question"] for _, item in islice(items(entry, 77_000_000, "held_out"), 200)}
    assert not held_out & {item["question"] for item in collected}


def test_labels_are_the_completion_and_nothing_else() -> None:
    entry = PICO_TASKS[0]
    collected = collect_items(entry, 0, 10)
    tokenizer = train_tokenizer([item["question"] for item in collected], 300)
    prompts = tuple(tuple(ids) for ids in tokenizer([item["question"] for item in collected])["input_ids"])
    careful = Writers(hurried_share=0.0, careful_goes_on=1.0)
    rows = draw_rows(TaskPool(entry, collected, prompts), 1, 4, careful, tokenizer, 0)
    ids, labels = pad_rows(rows)
    assert ids.shape[1] % 8 == 0
    for row, item, tokens, wanted in zip(rows, collected[4:8], ids, labels, strict=True):
        answer = demonstrate(entry.name, item, careful, Random(0)).completion
        assert tokenizer.decode(row.tokens[1 : row.prompt_tokens]) == item["question"]
        assert tokenizer.decode(wanted[wanted != IGNORED][:-1]) == answer
        assert wanted[wanted != IGNORED][-1] == tokenizer.eos_token_id
        assert torch.equal(tokens[wanted != IGNORED], wanted[wanted != IGNORED])


def test_the_loss_is_transformers_own_whatever_the_padding_and_the_split() -> None:
    torch.manual_seed(0)
    model = build_model(SMALL, 300).eval()
    rng = Random(0)
    rows = [Row(tuple(rng.randrange(3, 300) for _ in range(n)), 3) for n in (5, 17, 9, 30, 12)]
    expected = 0.0
    for row in rows:
        ids = torch.tensor([row.tokens])
        labels = ids.clone()
        labels[:, : row.prompt_tokens] = IGNORED
        expected += model(ids, labels=labels).loss.item() * (len(row.tokens) - row.prompt_tokens)
    for parts in (1, 2, 5):
        batches = microbatches(rows, parts)
        assert sum(len(ids) for ids, _ in batches) == len(rows)
        assert sum(summed_loss(model, *batch).item() for batch in batches) == pytest.approx(expected, rel=1e-5)


def test_the_schedule() -> None:
    recipe = PicoRecipe(steps=100, warmup_steps=10, decay_share=0.5, learning_rate=1.0, careful_share_of_steps=0.3)
    assert recipe.learning_rate_at(0) == pytest.approx(0.1)
    assert recipe.learning_rate_at(30) == 1.0
    assert recipe.learning_rate_at(75) == pytest.approx(0.5)
    assert recipe.learning_rate_at(99) == pytest.approx(0.02)
    assert recipe.writers_at(29).hurried_share == 0.0
    assert recipe.writers_at(30) == recipe.writers


def test_rows_for_another_number_of_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="rows has 2 numbers, but there are 3 tasks"):
        warm_start(replace(SMALL, rows=(4, 4)), 0)


def test_a_vocabulary_without_room_for_all_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="vocabulary_size is 200"):
        train_tokenizer(["abc"], 200)


def test_the_shipped_files_are_small_and_read_any_text() -> None:
    from transformers import AutoTokenizer

    folder = asset_path("pico")
    assert sum(file.stat().st_size for file in folder.glob("*.safetensors")) <= 4 * 2**20
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) <= 512
    assert tokenizer.chat_template is None
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3
    text = 'caf\u00e9 \u6570 \U0001f600 "1234"\n\ttwo  blanks '
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert [tokenizer.decode([i]) for i in tokenizer("1234")["input_ids"][1:]] == ["1", "2", "3", "4"]


def test_the_shipped_policy_has_something_to_learn() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, prompts = asset_path("pico"), 200
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    measured = assess(model, AutoTokenizer.from_pretrained(folder), prompts)
    for task in measured:
        accuracy = task.sampled.correct / prompts
        slack = 3 * sqrt(0.24 / prompts)
        assert 0.2 - slack <= accuracy <= 0.6 + slack, task
        assert task.longest_prompt <= 64
    careful = sum(task.sampled.careful for task in measured)
    assert careful >= 0.1 * 3 * prompts
    assert sum(task.sampled.careful_correct for task in measured) / careful >= 0.75
    assert sum(task.greedy.careful for task in measured) <= 0.5 * 3 * prompts
