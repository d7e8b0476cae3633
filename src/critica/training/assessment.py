"""How good a policy is on a mix's held-out prompts, and how careful: accuracy at temperature 1 and greedy, by task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from critica.environments.demonstrations import final_answer, items, shown_steps
from critica.environments.mixes import PICO_TASKS, MixEntry
from critica.functional.statistics import wilson_interval

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

HELD_OUT_SEED = 77_000_000  # far from the items that warm start reads, though the split alone keeps prompts apart
MAX_NEW_TOKENS = 72
ROWS = 256  # prompts answered at once


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over one answer to each prompt; `careful` answers show every step."""

    correct: int
    careful: int
    careful_correct: int
    tokens: int
    longest: int


@dataclass(frozen=True, slots=True)
class TaskAssessment:
    """What one policy does on `prompts` held-out prompts of one task."""

    task: str
    prompts: int
    longest_prompt: int
    sampled: Tally
    greedy: Tally


def assess(
    model: "Qwen3ForCausalLM",
    tokenizer: "PreTrainedTokenizerFast",
    prompts_per_task: int = 256,
    seed: int = 0,
    tasks: Sequence[MixEntry] = PICO_TASKS,
) -> tuple[TaskAssessment, ...]:
    """Accuracy (scorer >= .999 on the final answer) on the first held-out prompts of each task."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tuple(_assess_task(model, tokenizer, entry, prompts_per_task) for entry in tasks)


def as_table(assessments: Sequence[TaskAssessment]) -> str:
    """The assessments and their total as a Markdown table."""
    head = (
        "| task | n | temperature 1 | greedy | careful share | correct if careful | mean tokens | longest |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    lines = [head]
    for a in (*assessments, _total(assessments)):
        longest = max(a.sampled.longest, a.greedy.longest)
        lines.append(
            f"| {a.task} | {a.prompts} | {_share(a.sampled.correct, a.prompts)} | "
            f"{_share(a.greedy.correct, a.prompts)} | {a.sampled.careful / a.prompts:.3f} "
            f"(greedy {a.greedy.careful / a.prompts:.3f}) | {_share(a.sampled.careful_correct, a.sampled.careful)} | "
            f"{a.sampled.tokens / a.prompts:.1f} | {a.longest_prompt} + {longest} |"
        )
    return "\n".join(lines)


def _share(successes: int, n: int) -> str:
    if n == 0:
        return "none"
    interval = wilson_interval(successes, n)
    return f"{successes / n:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _total(assessments: Sequence[TaskAssessment]) -> TaskAssessment:
    return TaskAssessment(
        "all",
        sum(a.prompts for a in assessments),
        max(a.longest_prompt for a in assessments),
        _add([a.sampled for a in assessments]),
        _add([a.greedy for a in assessments]),
    )


def _add(tallies: Sequence[Tally]) -> Tally:
    return Tally(
        sum(t.correct for t in tallies),
        sum(t.careful for t in tallies),
        sum(t.careful_correct for t in tallies),
        sum(t.tokens for t in tallies),
        max(t.longest for t in tallies),
    )


def _assess_task(
    model: "Qwen3ForCausalLM", tokenizer: "PreTrainedTokenizerFast", entry: MixEntry, count: int
) -> TaskAssessment:
    asked = [item for _, item in islice(items(entry, HELD_OUT_SEED, "held_out"), count)]
    longest = max(len(ids) for ids in tokenizer([item["question"] for item in asked])["input_ids"])
    sampled, greedy = (_answer_all(model, tokenizer, entry.name, asked, temperature) for temperature in (1.0, 0.0))
    return TaskAssessment(entry.name, count, longest, sampled, greedy)


def _answer_all(
    model: "Qwen3ForCausalLM",
    tokenizer: "PreTrainedTokenizerFast",
    name: str,
    asked: Sequence[Mapping[str, Any]],
    temperature: float,
) -> Tally:
    import reasoning_gym

    scorer = reasoning_gym.create_dataset(name, seed=0, size=1)
    tallies = []
    for start in range(0, len(asked), ROWS):
        part = asked[start : start + ROWS]
        rows = complete(model, tokenizer, [item["question"] for item in part], temperature)
        for item, row in zip(part, rows, strict=True):
            text = tokenizer.decode(row, skip_special_tokens=True)
            correct = scorer.score_answer(final_answer(text), item) >= 0.999
            shown, steps = shown_steps(name, item, text)
            careful = shown >= steps
            tallies.append(Tally(int(correct), int(careful), int(correct and careful), len(row), len(row)))
    return _add(tallies)


@torch.inference_mode()
def complete(
    model: "Qwen3ForCausalLM", tokenizer: "PreTrainedTokenizerFast", prompts: Sequence[str], temperature: float
) -> list[tuple[int, ...]]:
    """One completion per prompt, end-of-text included; temperature 0 is greedy. Draws from torch's random state."""
    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left")
    how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    out = model.generate(
        input_ids=encoded["input_ids"],
        attention_mask=encoded["attention_mask"],
        max_new_tokens=MAX_NEW_TOKENS,
        **how,
    )
    end = tokenizer.eos_token_id
    rows = out[:, encoded["input_ids"].shape[1] :].tolist()
    return [tuple(row[: row.index(end) + 1] if end in row else row) for row in rows]
