"""Tiny random models and ragged batches for the tests of the policies."""

import numpy as np
import torch

from critica.records.arrays import TokenBatch
from critica.records.words import StopReason

VOCAB = 37


def tiny_model(family: str, tied: bool = True, seed: int = 0, dtype: torch.dtype = torch.float32, **more):
    """A random causal LM with weights large enough that attention is far from uniform."""
    import transformers as hf

    shape = dict(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        max_position_embeddings=96,
        tie_word_embeddings=tied,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config, model = {
        "llama": (hf.LlamaConfig, hf.LlamaForCausalLM),
        "mistral": (hf.MistralConfig, hf.MistralForCausalLM),
        "qwen2": (hf.Qwen2Config, hf.Qwen2ForCausalLM),
        "qwen3": (hf.Qwen3Config, hf.Qwen3ForCausalLM),
        "gpt2": (hf.GPT2Config, hf.GPT2LMHeadModel),
    }[family]
    if family == "gpt2":
        shape = dict(vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=96, bos_token_id=1, eos_token_id=2)
        shape |= dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, pad_token_id=0)
    if family == "qwen3":
        shape["head_dim"] = 6  # heads * head_dim differs from hidden_size, as in the real ones
    if family == "mistral":
        shape["sliding_window"] = None
    torch.manual_seed(seed)
    made = model(config(**(shape | more)))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.35 if parameter.dim() == 2 else 0.2))
            if parameter.dim() == 1:
                parameter.add_(1.0)
    made.set_attn_implementation("eager")
    return made.to(dtype).eval()


def token_batch(rows: list[list[tuple[int, str]]], groups: list[int], prefix: list[int]) -> TokenBatch:
    """A batch from rows of (token, kind): kind is "c" for context and "s" for sampled."""
    count, width = len(rows), max(map(len, rows))
    ids = torch.zeros(count, width, dtype=torch.long)
    valid = torch.zeros(count, width, dtype=torch.bool)
    sampled = torch.zeros(count, width, dtype=torch.bool)
    for i, row in enumerate(rows):
        for j, (token, kind) in enumerate(row):
            ids[i, j], valid[i, j], sampled[i, j] = token, True, kind == "s"
    zeros = torch.zeros(count, dtype=torch.long)
    return TokenBatch(
        token_ids=ids,
        valid_mask=valid,
        sampled_mask=sampled,
        turn_index=torch.zeros_like(ids),
        node_index=torch.where(sampled, sampled.cumsum(-1) - 1, torch.full_like(ids, -1)),
        temperature=torch.ones(count, width),
        behavior_logprobs=torch.zeros(count, width),
        prefix_length=torch.tensor(prefix),
        group_index=torch.tensor(groups),
        task_index=torch.tensor(groups),
        role_index=zeros,
        parent_index=zeros - 1,
        episode_index=torch.arange(count),
        policy_version=zeros,
        stop=(StopReason.END_OF_TEXT,) * count,
        trajectory_ids=tuple(str(i) for i in range(count)),
    )


def ragged_batch(seed: int = 0, share: bool = True) -> TokenBatch:
    """Three groups: one of four ragged single-turn rows, one of two multi-turn rows, one row alone."""
    rng = np.random.default_rng(seed)

    def draw(count: int, kind: str) -> list[tuple[int, str]]:
        return [(int(token), kind) for token in rng.integers(3, VOCAB, count)]

    rows, groups, prefix = [], [], []
    prompt = draw(6, "c")
    for size in (5, 1, 9, 5):
        rows.append(prompt + draw(size, "s"))
        groups.append(0)
        prefix.append(6)
    prompt = draw(3, "c")
    for first, between, second in ((4, 2, 3), (2, 5, 1)):
        rows.append(prompt + draw(first, "s") + draw(between, "c") + draw(second, "s") + draw(first % 3, "c"))
        groups.append(1)
        prefix.append(3)
    rows.append(draw(4, "c") + draw(7, "s"))
    groups.append(2)
    prefix.append(4)
    return token_batch(rows, groups, prefix if share else [0] * len(rows))


def references(model, batch: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """States before the sampled tokens and after the last ones, row by row through transformers, without padding."""
    trunk = model.base_model
    before, last = [], []
    for ids, size, sampled in zip(batch.token_ids, batch.lengths.tolist(), batch.sampled_mask, strict=True):
        hidden = trunk(input_ids=ids[None, :size], use_cache=False).last_hidden_state[0]
        before.append(hidden[[t - 1 for t in range(size) if sampled[t]]])
        last.append(hidden[-1])
    return torch.cat(before), torch.stack(last)


def in_double(model):
    """The same model with norms and attention in fp64 throughout (transformers casts both to fp32)."""
    model = model.double()
    model.set_attn_implementation("sdpa")
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):

            def forward(x, module=module):
                return module.weight * x / (x.square().mean(-1, keepdim=True) + module.variance_epsilon).sqrt()

            module.forward = forward
    return model


def small_tokenizer(chat_template: str | None = None):
    """A byte-level BPE trained on a few lines."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<eos>", "<|user|>", "<|assistant|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["what is the sum of one and two", "the answer is three"] * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
        extra_special_tokens=["<|user|>", "<|assistant|>"],
    )  # fmt: skip
    made.chat_template = chat_template
    return made
