"""How long the prompts are in the policy's tokens, and how many leave no room for an answer: said before a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from critica.environments.base import Environment
from critica.environments.splits import Split
from critica.policies.base import Conversing, Policy
from critica.policies.language_model import LanguagePolicy
from critica.policies.loading import open_tokenizer
from critica.policies.locate import resolve
from critica.policies.shape import config_file
from critica.recipes.base import Recipe
from critica.records.words import Message

MEASURED = 20_000  # prompts of a finite source at most
TRIED = 64  # of an endless one
FINITE: tuple[Split, ...] = ("train", "held_out")

Encode = Callable[[Sequence[Message]], Sequence[int]]


class PromptsTooLong(ValueError):
    """Some prompts leave no room for an answer in the policy's context; the text says how to leave them out."""


@dataclass(frozen=True, slots=True)
class PromptLengths:
    """Tokens of the prompts, the chat template included.

    `room` is what the context leaves for a prompt beside an answer of full length; `too_long` prompts exceed it.
    `total` is how many prompts the source has (0: it is endless); `measured` of them were looked at.
    """

    measured: int
    total: int
    median: int
    most: int
    longest: int
    room: int
    too_long: int
    longest_task: str

    def sentence(self) -> str:
        """For people."""
        of = "" if self.measured == self.total else f" of {self.total:,}" if self.total else ", drawn at random"
        fits = f"{self.too_long:,} of them do not fit" if self.too_long else "all fit"
        return (
            f"{self.measured:,}{of}: median {self.median} tokens, 95% at most {self.most}, longest {self.longest};"
            f" {fits} into the {self.room:,} that the answer leaves"
        )


def prompt_lengths(
    environment: Environment, encode: Encode, room: int, splits: Sequence[Split] = FINITE, tried: int = TRIED
) -> PromptLengths:
    """Measure the prompts of these splits: up to 20,000 of a finite source, the first `tried` of an endless one."""
    environment.fit(encode)
    sizes = [environment.size(split) for split in splits]
    known = [size for size in sizes if size is not None]
    endless: list[tuple[Split, int | None]] = [("train", tried)]
    asked = list(zip(splits, sizes, strict=True)) if known else endless
    share = min(1.0, MEASURED / max(1, sum(known)))
    found = [
        (len(encode(task.messages)), task.task_id)
        for split, size in asked if size
        for task in islice(environment.tasks(split), max(1, int(size * share)))
    ]  # fmt: skip
    lengths = sorted(length for length, _ in found)
    longest, task_id = max(found)
    return PromptLengths(
        len(found), sum(known), lengths[(len(found) - 1) // 2], lengths[-(-95 * len(found) // 100) - 1], longest, room,
        sum(length > room for length in lengths), task_id,
    )  # fmt: skip


def measured_lengths(recipe: Recipe, environment: Environment, policy: Policy) -> PromptLengths | None:
    """Those of a finite source, before a run; None for an endless one. Raises `PromptsTooLong`."""
    environment.fit(policy.encode)
    splits = FINITE if recipe.held_out.prompts else FINITE[:1]
    if environment.size("train") is None or not isinstance(policy, Conversing):
        return None
    answer = recipe.sampling.max_new_tokens or environment.max_new_tokens
    found = prompt_lengths(environment, policy.encode, policy.context_length - answer, splits)
    if found.too_long:
        raise PromptsTooLong(
            f"{found.too_long:,} of {found.measured:,} prompts are longer than {max(0, found.room):,} tokens, which is"
            f" what an answer of {answer:,} leaves of the policy's context of {policy.context_length:,} (the longest,"
            f" {found.longest_task}, has {found.longest:,}). Leave them out with --set"
            f" 'environment.keep=prompt_tokens<={max(1, found.room)}', lower the token limit"
            " (environment.max_new_tokens), or take a policy with a longer context"
        )
    return found


def planned_lengths(recipe: Recipe) -> tuple[PromptLengths, tuple[str, ...]]:
    """Those of a recipe, and what its tasks warn of; read without the policy's weights. Raises `PolicyLoadError`."""
    environment = recipe.environment.build(recipe.seed)
    reader = unweighted(recipe.policy.path)
    answer = recipe.sampling.max_new_tokens or environment.max_new_tokens
    return prompt_lengths(environment, reader.encode, reader.context_length - answer), environment.warnings


def unweighted(path: str) -> LanguagePolicy:
    """The policy without a weight: all that it can do is read. Raises `PolicyLoadError`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(config_file(path).parent, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return LanguagePolicy(model, open_tokenizer(resolve(path)))
