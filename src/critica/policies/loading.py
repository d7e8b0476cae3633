"""Opening a policy's model and tokenizer with transformers: safetensors only, no remote code, errors as sentences."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError
from torch import nn

from critica.policies.families import base_model
from critica.policies.locate import PolicyLoadError, locate, resolve

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def resolve_device(device: str) -> torch.device:
    """`auto` is the first CUDA device if there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        made = torch.device(device)
    except RuntimeError as error:
        raise PolicyLoadError(f"policy.device {device!r} is no torch device: write auto, cpu or cuda:0") from error
    if made.type == "cuda" and not torch.cuda.is_available():
        raise PolicyLoadError(f"policy.device is {device!r}, but torch sees no CUDA device: write cpu or auto")
    return made


def fetchable(path: str) -> str:
    """`resolve`, and for a hub name that is not cached a quick look whether the hub answers at all.

    Without it, transformers retries an unreachable hub for about a minute before it says so.
    """
    place = resolve(path)
    proxied = any(name.lower() in ("https_proxy", "all_proxy") for name in os.environ)
    if Path(place).is_dir() or proxied:
        return place
    try:
        return str(locate(path))
    except PolicyLoadError:
        pass
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((address.hostname or "", address.port or 443), timeout=5).close()
    except OSError as error:
        raise PolicyLoadError(_why(path, place, error)) from error
    return place


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Within: no progress bars for files that are read or written in a moment."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def open_model(path: str, dtype: str, headless: bool = False) -> "PreTrainedModel":
    """The transformers model at `path`, from safetensors only and without remote code. Raises PolicyLoadError."""
    from transformers import AutoModel, AutoModelForCausalLM

    if dtype not in DTYPES:
        raise PolicyLoadError(f"policy.dtype {dtype!r} is unknown: write one of {', '.join(DTYPES)}")
    place = fetchable(path)
    opener = AutoModel if headless else AutoModelForCausalLM
    try:
        with quiet_transformers():
            model = opener.from_pretrained(place, dtype=DTYPES[dtype], use_safetensors=True, trust_remote_code=False)
    except (SafetensorError, json.JSONDecodeError, EOFError) as error:
        problem = f"the weights at {place} are corrupt or half-written ({error}): copy them again"
        raise PolicyLoadError(problem) from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise PolicyLoadError(_why(path, place, error)) from error
    return model.eval()


def open_tokenizer(path: str) -> "PreTrainedTokenizerBase":
    """The tokenizer at `path`. Raises PolicyLoadError."""
    from transformers import AutoTokenizer

    place = fetchable(path)
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PolicyLoadError(_why(path, place, error)) from error


def refill(model: nn.Module, folder: Path) -> None:
    """Copy the weights saved in `folder` into the model's own tensors. Raises PolicyLoadError if they do not fit."""
    inner = base_model(model)
    try:
        if inner is not model:
            _refill_adapters(model, folder)
            return
        with quiet_transformers():
            saved = type(inner).from_pretrained(folder, dtype=inner.dtype, use_safetensors=True)  # type: ignore[attr-defined,operator,arg-type]
        inner.load_state_dict(saved.state_dict())
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise PolicyLoadError(_why(str(folder), str(folder), error)) from error


def _refill_adapters(model: nn.Module, folder: Path) -> None:
    from peft import load_peft_weights, set_peft_model_state_dict

    problems = set_peft_model_state_dict(model, load_peft_weights(str(folder)))
    if problems.unexpected_keys:
        strange = problems.unexpected_keys[0]
        raise PolicyLoadError(f"the adapters at {folder} do not fit this model: {strange} is unknown to it")


def _why(path: str, place: str, error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if Path(place).is_dir():
        return f"the policy at {place} cannot be opened ({first}): is the folder complete and a causal language model?"
    return (
        f"the policy {path!r} is no local folder, and the hub could not give it ({first}): "
        "check the name and the network, or download it once and pass the folder"
    )
