"""A model's size read from its config.json: parameters and memory, without loading a weight."""

import json
from dataclasses import dataclass
from pathlib import Path

from critica.functional.head import pays, tokens_at_once
from critica.policies.locate import PolicyLoadError, locate, resolve


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

    def activation_bytes(self, tokens: int, longest: int, bf16: bool = False, checkpoint: bool = False) -> float:
        """Activations kept for the backward pass of one micro-batch, attention scores and logits included.

        `bf16`: what products read and write takes two bytes a number, not four; the residual stream and the norms stay
        fp32. `checkpoint`: every layer's input, and the rest of one layer at a time.
        """
        products = 3 * self.intermediate + 4 * self.heads * self.head_width + 2 * self.heads * longest
        layer = 4.0 * 6 * self.width + (2.0 if bf16 else 4.0) * products
        body = 4.0 * self.width * self.layers + layer if checkpoint else layer * self.layers
        return tokens * body + self.head_bytes(tokens)

    def head_bytes(self, tokens: int) -> float:
        """fp32 logits and what is made of them: two chunks, where chunks pay."""
        whole = 3 * tokens * self.vocabulary
        if not pays(tokens, self.vocabulary):
            return 4.0 * whole
        return 4.0 * 2 * tokens_at_once(self.vocabulary) * self.vocabulary

    def cache_bytes(self, rows: int, longest: int) -> float:
        """fp32 keys and values of a decoding batch."""
        return 4.0 * rows * longest * self.layers * 2 * self.key_value_heads * self.head_width


def read_shape(name: str) -> ModelShape:
    """The shape of a model folder, short name, or hub name (its config.json alone is fetched if it is not cached).

    A folder of saved adapters has its base model's shape. Raises `PolicyLoadError`.
    """
    content = json.loads(config_file(name).read_text())
    try:
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
    except KeyError as error:
        raise PolicyLoadError(
            f"the config.json of {name!r} does not say {error}: it is no decoder-only language model of a known kind"
        ) from error


def config_file(name: str) -> Path:
    """Where the config.json is that says a policy's size."""
    place = Path(resolve(name))
    if place.is_dir() and not (place / "config.json").is_file():
        return config_file(json.loads((place / "adapter_config.json").read_text())["base_model_name_or_path"])
    try:
        return locate(name) / "config.json"
    except PolicyLoadError as missing:
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(resolve(name), "config.json"))
        except Exception as error:  # the hub's own many kinds: all mean that it is not to be had
            raise missing from error
