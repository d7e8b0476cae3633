"""Tiny random models that judge, saved as transformers folders; every byte is a token, none is learned."""

from pathlib import Path

import torch

CHAT = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def byte_tokenizer(chat: bool = False):
    """A byte-level tokenizer; with `chat` a template whose turn marks are special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<eos>", "<|start|>", "<|end|>"]
    vocabulary = {token: i for i, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", additional_special_tokens=special[2:]
    )
    if chat:
        made.chat_template = CHAT
    return made


def tiny_folder(folder: Path, kind: str = "ForSequenceClassification", family: str = "Qwen3", chat: bool = False,
                seed: int = 0, labels: int = 1) -> Path:  # fmt: skip
    """A random two-layer model of this kind with weights large enough to tell texts apart, and its tokenizer."""
    import transformers as hf

    tokenizer = byte_tokenizer(chat)
    shape = dict(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                 intermediate_size=24, max_position_embeddings=160, pad_token_id=0)  # fmt: skip
    if family in ("Qwen3", "Llama"):
        shape |= dict(num_key_value_heads=1, head_dim=8, eos_token_id=1, bos_token_id=None)
    if "Classification" in kind:
        shape["num_labels"] = labels
    torch.manual_seed(seed)
    model = getattr(hf, family + kind)(getattr(hf, family + "Config")(**shape))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
