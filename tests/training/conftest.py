"""A tiny random policy folder and recipes small enough to train in a test."""

from dataclasses import replace

import pytest
import torch

from critica.environments.digit_sum import DigitSum
from critica.policies.part import LocalPolicy
from critica.recipes.base import Checkpoints, Sampling
from critica.recipes.catalogue import RECIPES
from critica.rewards.noise_specs import parse_noise
from critica.updaters.gradient import Adam


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A random two-layer Qwen3 with a byte tokenizer, saved as a transformers folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16, intermediate_size=48, max_position_embeddings=256,
            tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, bos_token_id=None,
        )
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny")
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>").save_pretrained(folder)
    return folder


@pytest.fixture
def small(tiny_folder):
    """A recipe by name, cut down to seconds: 3 prompts, 4 samples, 6 tokens, on the digit-sum game."""

    def make(name, **changes):
        recipe = RECIPES[name]
        learner = replace(
            recipe.learner, policy=Adam(3e-3), critic=Adam(3e-3), tokens_per_microbatch=256,
            critic_warmup_steps=min(1, recipe.learner.critic_warmup_steps),
        )  # fmt: skip
        admission = replace(recipe.admission, max_rounds=1) if recipe.name != "dapo" else RECIPES["grpo"].admission
        made = replace(
            recipe, policy=LocalPolicy(str(tiny_folder)), environment=DigitSum(), sampling=Sampling(3, 4, 1.0, 6),
            noise=parse_noise("none" if name in ("proact", "sft", "eksft") else "flip:0.2:sample"), learner=learner,
            admission=admission, steps=4, seed=3,
            checkpoint=Checkpoints(every=2, keep=2), threads=1,
        )  # fmt: skip
        return replace(made, **changes)

    return make
