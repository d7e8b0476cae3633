"""How good, and how careful, a policy is on held-out prompts: accuracy at temperature 1 and greedy, by task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from critica.environments.demonstrations import final_answer, items, shown_steps
from critica.environments.mixes import PICO_TASKS, MixEntry
from critica.functional.statistics import wilson_interval
from critica.policies.base import SampleLimits, SampleRequest
from critica.policies.language_model import LanguagePolicy
from critica.records.words import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

HELD_OUT_SEED = 77_000_000  # far from the items that warm start reads, though the split alone keeps prompts apart
MAX_NEW_TOKENS = 72


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
    policy = LanguagePolicy(model, tokenizer)
    return tuple(_assess_task(policy, entry, prompts_per_task, seed) for entry in tasks)


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


def _assess_task(policy: LanguagePolicy, entry: MixEntry, count: int, seed: int) -> TaskAssessment:
    asked = [item for _, item in islice(items(entry, HELD_OUT_SEED, "held_out"), count)]
    longest = max(len(policy.encode([Message("user", item["question"])])) for item in asked)
    sampled, greedy = (_answer_all(policy, entry.name, asked, temperature, seed) for temperature in (1.0, 0.0))
    return TaskAssessment(entry.name, count, longest, sampled, greedy)


def _answer_all(
    policy: LanguagePolicy, name: str, asked: Sequence[Mapping[str, Any]], temperature: float, seed: int
) -> Tally:
    import reasoning_gym

    scorer = reasoning_gym.create_dataset(name, seed=0, size=1)
    tallies = []
    for item, row in zip(asked, complete(policy, [i["question"] for i in asked], temperature, seed), strict=True):
        text = policy.decode_text(row)
        correct = scorer.score_answer(final_answer(text), dict(item)) >= 0.999
        shown, steps = shown_steps(name, item, text)
        careful = shown >= steps
        tallies.append(Tally(int(correct), int(careful), int(correct and careful), len(row), len(row)))
    return _add(tallies)


def complete(policy: LanguagePolicy, prompts: Sequence[str], temperature: float, seed: int) -> list[tuple[int, ...]]:
    """One completion per prompt, end-of-text included; temperature 0 is greedy."""
    requests = [
        SampleRequest(policy.encode([Message("user", prompt)]), ((index,),)) for index, prompt in enumerate(prompts)
    ]
    limits = SampleLimits(max_new_tokens=MAX_NEW_TOKENS, temperature=temperature)
    return [samples[0].token_ids for samples in policy.sample(requests, limits, seed)]
