"""How a transformers causal LM of the Llama, Mistral, Qwen2 and Qwen3 families is read as one plain stack of layers."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class Layer:
    """One transformer layer, as the modules that own its weights. `query_norm`, `key_norm` exist in Qwen3 only."""

    attention_norm: nn.Module
    query: nn.Module
    key: nn.Module
    value: nn.Module
    output: nn.Module
    query_norm: nn.Module | None
    key_norm: nn.Module | None
    mlp_norm: nn.Module
    gate: nn.Module
    up: nn.Module
    down: nn.Module

    @property
    def linears(self) -> tuple[nn.Module, ...]:
        """The seven projections."""
        return (self.query, self.key, self.value, self.output, self.gate, self.up, self.down)


@dataclass(frozen=True, slots=True)
class Stack:
    """Embedding, layers, final norm and head. H query heads and `key_heads` key-value heads of `head_width` each."""

    embedding: nn.Module
    layers: tuple[Layer, ...]
    final_norm: nn.Module
    head: nn.Module | None
    epsilon: float
    heads: int
    key_heads: int
    head_width: int
    rope_theta: float

    @property
    def width(self) -> int:
        """D, the hidden width."""
        return self.final_norm.weight.shape[0]  # type: ignore[union-attr,return-value]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.final_norm.weight.dtype  # type: ignore[union-attr,return-value]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.final_norm.weight.device  # type: ignore[union-attr,return-value]

    def inverse_frequencies(self) -> Float[Tensor, "half"]:
        """theta^(-2i/d) for i < d/2, in fp32 whatever the weights are (Su et al. 2021, arXiv 2104.09864)."""
        exponent = torch.arange(0, self.head_width, 2, dtype=torch.float, device=self.device) / self.head_width
        return 1.0 / (self.rope_theta**exponent)


def base_model(model: nn.Module) -> nn.Module:
    """The transformers model inside a peft wrapper; the model itself when there is none."""
    peft = sys.modules.get("peft")
    return model.get_base_model() if peft is not None and isinstance(model, peft.PeftModel) else model  # type: ignore[operator]


def supports(model: nn.Module) -> str | None:
    """Why this model cannot be read as a `Stack`; None when it can."""
    inner = base_model(model)
    config = getattr(inner, "config", None)
    family = getattr(config, "model_type", None)
    if family not in FAMILIES:
        return f"the family {family!r} is none of {', '.join(FAMILIES)}"
    rope = config.rope_parameters or {}  # type: ignore[union-attr]
    if rope.get("rope_type", "default") != "default":
        return f"rope scaling {rope['rope_type']!r} is not the default one"
    if config.hidden_act not in ("silu", "swish"):  # type: ignore[union-attr]
        return f"the activation {config.hidden_act!r} is not silu"  # type: ignore[union-attr]
    if _slides(config):
        return "some layers attend through a sliding window"
    if getattr(config, "attention_dropout", 0.0):
        return "attention dropout is on"
    strange = {type(linear).__name__ for linear in _projections(inner) if not readable(linear)}
    return f"its projections are of type {', '.join(sorted(strange))}" if strange else None


def _slides(config: object) -> bool:
    if getattr(config, "model_type", "") == "mistral":
        return getattr(config, "sliding_window", None) is not None
    return "sliding_attention" in (getattr(config, "layer_types", None) or ())


def _projections(inner: nn.Module) -> Iterator[nn.Module]:
    for layer in _trunk(inner).layers:  # type: ignore[union-attr]
        yield from (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj, layer.self_attn.o_proj)
        yield from (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj)


def _trunk(inner: nn.Module) -> nn.Module:
    return inner.model if _has_head(inner) else inner  # type: ignore[return-value]


def _has_head(inner: nn.Module) -> bool:
    return "lm_head" in dict(inner.named_children())


def read_stack(model: nn.Module) -> Stack:
    """The model's own modules, in order: nothing is copied. Raises ValueError with the reason when unsupported."""
    reason = supports(model)
    if reason is not None:
        raise ValueError(f"read_stack: {type(model).__name__} cannot be read as a plain stack: {reason}")
    inner = base_model(model)
    trunk, config = _trunk(inner), inner.config
    heads = config.num_attention_heads  # type: ignore[union-attr]
    normed = config.model_type == "qwen3"  # type: ignore[union-attr]
    layers = tuple(
        Layer(
            attention_norm=layer.input_layernorm,
            query=layer.self_attn.q_proj,
            key=layer.self_attn.k_proj,
            value=layer.self_attn.v_proj,
            output=layer.self_attn.o_proj,
            query_norm=layer.self_attn.q_norm if normed else None,
            key_norm=layer.self_attn.k_norm if normed else None,
            mlp_norm=layer.post_attention_layernorm,
            gate=layer.mlp.gate_proj,
            up=layer.mlp.up_proj,
            down=layer.mlp.down_proj,
        )
        for layer in trunk.layers  # type: ignore[union-attr]
    )
    return Stack(
        embedding=trunk.embed_tokens,  # type: ignore[arg-type]
        layers=layers,
        final_norm=trunk.norm,  # type: ignore[arg-type]
        head=inner.lm_head if _has_head(inner) else None,  # type: ignore[arg-type]
        epsilon=config.rms_norm_eps,  # type: ignore[union-attr,arg-type]
        heads=heads,  # type: ignore[arg-type]
        key_heads=config.num_key_value_heads,  # type: ignore[union-attr,arg-type]
        head_width=layers[0].query.out_features // heads,  # type: ignore[union-attr,operator]
        rope_theta=float(config.rope_parameters["rope_theta"]),  # type: ignore[union-attr,index]
    )


def is_plain(linear: nn.Module) -> bool:
    """Whether calling the module is F.linear with its weight and bias, nothing more."""
    return type(linear) is nn.Linear


def _is_adapter(linear: nn.Module) -> bool:
    """Whether this is peft's linear with one active, unmerged, plain LoRA adapter."""
    lora = sys.modules.get("peft.tuners.lora.layer")
    if lora is None or type(linear) is not lora.Linear:
        return False
    return is_plain(linear.get_base_layer()) and not linear.lora_variant  # type: ignore[operator]


def readable(linear: nn.Module) -> bool:
    """Whether `effective_weight` knows this module."""
    return is_plain(linear) or _is_adapter(linear)


def effective_weight(linear: nn.Module) -> Float[Tensor, "out in"]:
    """The matrix that the module multiplies by: W, or W + scale * B A under a LoRA adapter (Hu et al. 2021)."""
    if is_plain(linear):
        return linear.weight  # type: ignore[return-value]
    weight = linear.get_base_layer().weight  # type: ignore[operator]
    if linear.disable_adapters:  # type: ignore[truthy-function]
        return weight
    for name in linear.active_adapters:  # type: ignore[union-attr]
        weight = weight + linear.get_delta_weight(name).to(weight.dtype)  # type: ignore[operator]
    return weight


def effective_bias(linear: nn.Module) -> Float[Tensor, "out"] | None:
    """The bias that the module adds, if any."""
    return (linear if is_plain(linear) else linear.get_base_layer()).bias  # type: ignore[operator,return-value]
