"""A policy with random weights and batches of random tokens: what a step costs does not hang on what it learns."""

from collections.abc import Sequence
from typing import Any

import torch

from critica.policies.body_mode import PLAIN, BodyMode
from critica.policies.language_model import LanguagePolicy
from critica.records.arrays import TokenBatch
from critica.records.words import StopReason


def random_policy(
    vocabulary: int,
    width: int,
    layers: int,
    longest: int,
    dtype: torch.dtype = torch.float32,
    mode: BodyMode = PLAIN,
) -> LanguagePolicy:
    """A Qwen3 with tied embeddings, heads of 32 or 64 numbers, and no tokenizer."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    heads = max(1, width // 64)
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2), head_dim=width // heads, intermediate_size=3 * width,
        max_position_embeddings=longest, tie_word_embeddings=True, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    made: Any = Qwen3ForCausalLM(config)
    return LanguagePolicy(made.to(dtype), None, None, mode)


def random_batch(
    lengths: Sequence[int], prompts: Sequence[int], vocabulary: int, seed: int = 0, group: int = 1
) -> TokenBatch:
    """Rows of random tokens, of these lengths with these prompts in front; `group` rows after each other share one."""
    rows, width = len(lengths), max(lengths)
    made = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (rows, width), generator=made)
    groups = torch.arange(rows) // group
    places = torch.arange(width)[None, :]
    ends, starts = torch.tensor(lengths)[:, None], torch.tensor(prompts)[:, None]
    shared = ids[groups * group]
    ids = torch.where(places < starts, shared, ids)
    valid, sampled = places < ends, (places >= starts) & (places < ends)
    index = torch.arange(rows)
    return TokenBatch(
        torch.where(valid, ids, 0), valid, sampled, torch.where(valid, sampled.long(), -1),
        torch.where(sampled, places - starts, -1), torch.ones(rows, width), torch.where(sampled, -1.0, 0.0),
        torch.tensor(prompts), groups, groups, torch.zeros(rows, dtype=torch.long),
        torch.full((rows,), -1), index, torch.zeros(rows, dtype=torch.long),
        (StopReason.END_OF_TEXT,) * rows, tuple(f"t{i}" for i in range(rows)),
    )  # fmt: skip
