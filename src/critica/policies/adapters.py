"""Adapters on weights that several models hold together: a frozen twin, and a critic's body, without a second copy."""

import copy
import json
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from critica.policies.families import base_model
from critica.policies.locate import PolicyLoadError
from critica.policies.part import Lora

OWN = ("lora_", "modules_to_save")  # what peft adds to a base, by name


def holds_adapters(model: nn.Module) -> bool:
    """Whether this is a peft model around a base."""
    return base_model(model) is not model


def base_weights(model: nn.Module) -> Iterable[nn.Parameter]:
    """The parameters below the adapters; nobody trains them."""
    return (weight for name, weight in model.named_parameters() if not any(part in name for part in OWN))


def frozen_twin(model: nn.Module) -> nn.Module:
    """The model as it is now, taking no gradient; with adapters, a copy of these alone over the very same base.

    The base of adapters is never written to, so that the twin stays as it is. A model without adapters is copied whole.
    """
    shared = {id(weight): weight for weight in base_weights(model)} if holds_adapters(model) else {}
    made = copy.deepcopy(model, shared)
    return made.requires_grad_(False)


def adapted_body(model: nn.Module, lora: Lora) -> nn.Module:
    """Fresh adapters on the body of this model, head left out, over the very same base and without its own adapters.

    Raises ValueError for a model without adapters: its weights are trained, and would move below the new ones.
    """
    if not holds_adapters(model):
        raise ValueError(
            "critic.body=lora stands on weights that nobody trains, and this policy trains all of its own: set"
            " policy.lora.rank=16, or critic.body=own"
        )
    twin = copy.deepcopy(model, {id(weight): weight for weight in base_weights(model)})
    body = twin.unload().base_model.requires_grad_(False)  # type: ignore[operator,union-attr]
    return with_new_adapters(body, lora, "FEATURE_EXTRACTION")  # type: ignore[arg-type]


def with_new_adapters(model: nn.Module, lora: Lora, task: str = "CAUSAL_LM") -> nn.Module:
    """The model with fresh adapters, which change nothing yet. Raises PolicyLoadError where they find no place."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type=task,
    )
    try:
        return get_peft_model(model, config)  # type: ignore[arg-type]
    except ValueError as error:
        raise PolicyLoadError(
            f"LoRA cannot be put on {type(model).__name__} ({error}): set policy.lora.target_modules to its linears"
        ) from error


def settle_adapter_config(folder: Path) -> None:
    """Sort what peft writes in the order of its hashes, which differs between processes: one state, one file.

    Nothing where the folder holds no adapters.
    """
    config = folder / "adapter_config.json"
    if config.is_file():
        said = json.loads(config.read_text())
        if isinstance(said.get("target_modules"), list):
            said["target_modules"].sort()
        config.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")
