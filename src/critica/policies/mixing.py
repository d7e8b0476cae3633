"""Policies mixed by their weights: between them, and beyond them, along what each learned since their common base."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from critica.policies.loading import open_tokenizer
from critica.policies.locate import PolicyLoadError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".msgpack", ".h5")


def mixed(base: Tensor, aspects: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """base + sum_k w_k (aspect_k - base), worked out in fp32 or better, in the dtype of base.

    Weights that add to 1 interpolate (a model soup: base drops out); beyond, what an aspect learned since base is
    extrapolated (task arithmetic, ExPO). PEO (arXiv 2503.01233): w = lambda + phi, a soup lambda moved by phi.
    Tensors of whole numbers must agree, and are kept. Raises ValueError.
    """
    if not base.is_floating_point():
        if any(not torch.equal(base, other) for other in aspects):
            raise ValueError("its whole numbers differ, and they cannot be mixed")
        return base
    kind = torch.promote_types(base.dtype, torch.float32)
    start = base.to(kind)
    moved = start.clone()
    for other, weight in zip(aspects, weights, strict=True):
        moved += weight * (other.to(kind) - start)
    return moved.to(base.dtype)


def mix_folders(base: Path, aspects: Sequence[Path], weights: Sequence[float], out: Path) -> int:
    """Write into `out` (an existing folder) the policy `mixed` from these transformers folders; its tensors' count.

    Everything but the weights is copied from `base`, and so is how they are spread over files: no more than one file's
    tensors are in memory. Raises `PolicyLoadError` for adapters, other tokenizers, other tensors or shapes, weights
    that are not finite, or a mixture that is not.
    """
    refuse_weights(aspects, weights)
    places = [tensor_files(folder) for folder in (base, *aspects)]
    for folder, there in zip(aspects, places[1:], strict=True):
        refuse_unlike_tokenizer(base, folder)
        refuse_unlike_names(base, places[0], folder, there)
    for file in sorted(base.iterdir()):
        if file.is_file() and file.suffix not in WEIGHTS:
            shutil.copy2(file, out / file.name)
    return sum(mix_file(name, (base, *aspects), places, weights, out) for name in sorted(set(places[0].values())))


def mix_file(
    file: str, folders: Sequence[Path], places: Sequence[Mapping[str, str]], weights: Sequence[float], out: Path
) -> int:
    """Write the mixture of the tensors that the base keeps in `file`; how many there are."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    names = [name for name, at in places[0].items() if at == file]
    made = {}
    for name in names:
        read = []
        for folder, there in zip(folders, places, strict=True):
            with safe_open(folder / there[name], framework="pt") as opened:
                read.append(opened.get_tensor(name))
        first, *others = read
        for folder, other in zip(folders[1:], others, strict=True):
            if other.shape != first.shape:
                raise PolicyLoadError(
                    f"{name!r} is {tuple(first.shape)} at {folders[0]} and {tuple(other.shape)} at {folder}: only"
                    " policies of one architecture can be mixed"
                )
        try:
            made[name] = mixed(first, others, weights)
        except ValueError as error:
            raise PolicyLoadError(f"{name!r}: {error}") from error
        if made[name].is_floating_point() and not bool(made[name].isfinite().all()):
            raise PolicyLoadError(f"{name!r} is not finite in the mixture: take smaller weights")
    save_file(made, out / file, metadata={"format": "pt"})
    return len(made)


def tensor_files(folder: Path) -> dict[str, str]:
    """Tensor name -> the safetensors file of the folder that holds it. Raises `PolicyLoadError`."""
    from safetensors import SafetensorError, safe_open

    if (folder / "adapter_config.json").is_file():
        raise PolicyLoadError(
            f"{folder} holds adapters, whose mixture is not the mixture of what they do: merge them into their base"
            " (peft's merge_and_unload) and give the merged folders"
        )
    try:
        if (folder / INDEX).is_file():
            return dict(json.loads((folder / INDEX).read_text())["weight_map"])
        with safe_open(folder / SINGLE, framework="pt") as opened:
            return dict.fromkeys(opened.keys(), SINGLE)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise PolicyLoadError(
            f"{folder} has no readable {SINGLE} ({error}): give a policy's folder, saved as safetensors"
        ) from error


def refuse_weights(aspects: Sequence[Path], weights: Sequence[float]) -> None:
    """Raise `PolicyLoadError` unless there is one finite weight for each aspect."""
    if len(weights) != len(aspects) or not aspects:
        raise PolicyLoadError(f"{len(aspects)} policies besides the base need as many weights, got {len(weights)}")
    if not all(math.isfinite(weight) for weight in weights):
        raise PolicyLoadError(f"weights must be finite numbers, got {', '.join(map(str, weights))}")


def refuse_unlike_tokenizer(base: Path, other: Path) -> None:
    """Raise `PolicyLoadError` if a token, or a prompt, would mean something else."""
    first, second = open_tokenizer(str(base)), open_tokenizer(str(other))
    if first.get_vocab() != second.get_vocab():
        raise PolicyLoadError(f"{base} and {other} have different tokenizers: row i of their weights is not one token")
    if first.chat_template != second.chat_template:
        raise PolicyLoadError(f"{base} and {other} put prompts differently: their chat templates differ")


def refuse_unlike_names(base: Path, mine: Mapping[str, str], other: Path, theirs: Mapping[str, str]) -> None:
    """Raise `PolicyLoadError` if they do not have the same tensors."""
    strange = sorted(set(mine) ^ set(theirs))
    if strange:
        holder = base if strange[0] in mine else other
        raise PolicyLoadError(
            f"{len(strange)} tensors are in one of {base} and {other} only (the first, {strange[0]!r}, at {holder}):"
            " only policies of one architecture can be mixed"
        )
