"""Where a policy's weights come from: a short name, a folder, or the hub; every failure as a sentence."""

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SHIPPED = ("pico",)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


class PolicyLoadError(ValueError):
    """A policy could not be opened; the message says what was looked for, where, and what to do."""


def asset_path(name: str) -> Path:
    """The folder of a policy that ships with Critica."""
    return Path(__file__).resolve().parent.parent / "assets" / name


def resolve(path: str) -> str:
    """A short name or a folder as a folder, anything shaped like `owner/name` as it is. Raises PolicyLoadError."""
    if path in SHIPPED:
        folder = asset_path(path)
        if not folder.is_dir():
            raise PolicyLoadError(
                f"the shipped policy {path!r} is not at {folder}: make it with `critica policy make {path}`"
            )
        return str(folder)
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise PolicyLoadError(
                f"{folder} holds no config.json, so it is no transformers model (or it is half-written): "
                "give the folder that `save` wrote"
            )
        return str(folder)
    if folder.exists():
        raise PolicyLoadError(f"{folder} is a file: a policy is a folder with config.json and *.safetensors")
    if path.count("/") == 1 and not path.startswith((".", "/", "~")) and not folder.parent.is_dir():
        return path
    raise PolicyLoadError(f"there is no policy {path!r}: it is no folder, no hub name (owner/name) and {_nearest(path)}")


def _nearest(path: str) -> str:
    beside = Path(path).expanduser().parent
    folders = [str(beside / f.name) for f in beside.iterdir() if f.is_dir()] if beside.is_dir() else []
    near = difflib.get_close_matches(path, [*SHIPPED, *folders], n=1, cutoff=0.5)
    return f"the nearest name is {near[0]!r}" if near else f"none of the shipped names ({', '.join(SHIPPED)})"


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


def open_model(path: str, dtype: str, headless: bool = False) -> "PreTrainedModel":
    """The transformers model at `path`, from safetensors only and without remote code. Raises PolicyLoadError."""
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoModelForCausalLM

    if dtype not in DTYPES:
        raise PolicyLoadError(f"policy.dtype {dtype!r} is unknown: write one of {', '.join(DTYPES)}")
    place = resolve(path)
    opener = AutoModel if headless else AutoModelForCausalLM
    try:
        model = opener.from_pretrained(place, dtype=DTYPES[dtype], use_safetensors=True, trust_remote_code=False)
    except (SafetensorError, json.JSONDecodeError, EOFError) as error:
        raise PolicyLoadError(f"the weights at {place} are corrupt or half-written ({error}): copy them again") from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise PolicyLoadError(_why(path, place, error)) from error
    return model.eval()


def open_tokenizer(path: str) -> "PreTrainedTokenizerBase":
    """The tokenizer at `path`. Raises PolicyLoadError."""
    from transformers import AutoTokenizer

    place = resolve(path)
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PolicyLoadError(_why(path, place, error)) from error


def _why(path: str, place: str, error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if Path(place).is_dir():
        return f"the policy at {place} cannot be opened ({first}): is the folder complete and a causal language model?"
    return (
        f"the policy {path!r} is no local folder, and the hub could not give it ({first}): "
        "check the name and the network, or download it once and pass the folder"
    )
