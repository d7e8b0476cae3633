"""A model's size read from its config.json: parameters and memory, without loading a weight."""

import json
from dataclasses import dataclass
from pathlib import Path

from critica.policies.loading import resolve


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The numbers of a decoder-only transformer that memory depends on."""

    width: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    intermediate: int
    vocabulary: int
    tied: bool
    typical_prompt_tokens: int = 64

    @property
    def body_parameters(self) -> int:
        """Embedding, layers and final norm (query/key norms counted as present)."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.key_value_heads)
        layer = attention + 3 * self.width * self.intermediate + 2 * self.width + 2 * self.head_width
        return self.vocabulary * self.width + self.layers * layer + self.width

    @property
    def parameters(self) -> int:
        """The body, and an untied head if there is one."""
        return self.body_parameters + (0 if self.tied else self.vocabulary * self.width)

    def activation_bytes(self, tokens: int, longest: int) -> float:
        """fp32 activations kept for the backward pass of one micro-batch, attention scores and logits included."""
        per_layer = 6 * self.width + 3 * self.intermediate + 4 * self.heads * self.head_width
        scores = 2 * self.heads * longest
        return 4.0 * tokens * (self.layers * (per_layer + scores) + 3 * self.vocabulary)

    def cache_bytes(self, rows: int, longest: int) -> float:
        """fp32 keys and values of a decoding batch."""
        return 4.0 * rows * longest * self.layers * 2 * self.key_value_heads * self.head_width


def read_shape(name: str) -> ModelShape:
    """The shape of a model folder, short name, or cached hub name. Raises what `resolve` raises."""
    content = json.loads((Path(resolve(name)) / "config.json").read_text())
    heads = content.get("num_attention_heads") or content["n_head"]
    width = content.get("hidden_size") or content["n_embd"]
    return ModelShape(
        width=width,
        layers=content.get("num_hidden_layers") or content["n_layer"],
        heads=heads,
        key_value_heads=content.get("num_key_value_heads") or heads,
        head_width=content.get("head_dim") or width // heads,
        intermediate=content.get("intermediate_size") or 4 * width,
        vocabulary=content["vocab_size"],
        tied=content.get("tie_word_embeddings", False),
    )
