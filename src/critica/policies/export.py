"""A trained policy as a folder that other libraries open: whole weights, or adapters beside the name of their base."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from critica.policies.adapters import holds_adapters
from critica.policies.families import base_model
from critica.policies.language_model import LanguagePolicy
from critica.policies.loading import DTYPES, open_model, quiet_transformers
from critica.policies.locate import PolicyLoadError, resolve

PROBE_ROWS, PROBE_TOKENS = 2, 24
AGREE = {torch.float32: 1e-3, torch.float64: 1e-6, torch.bfloat16: 0.5}  # logits of one computation, done in two ways


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: `adapters` or whole weights, in which dtype, and how far other libraries' logits are off."""

    source: str
    adapters: bool
    base: str  # of adapters
    dtype: str
    largest_gap: float  # logits, on random tokens


def write_policy(source: str, folder: Path, merge: bool = False, dtype: str = "") -> Exported:
    """Write the policy at `source` (a run, a folder, a name) into `folder`, and open it again to compare.

    Adapters stay adapters, as peft reads them, with their base by its absolute path or hub name; `merge` adds them into
    the base's weights instead. `dtype` casts whole weights; adapters keep theirs. The folder is then opened by
    transformers (and peft) alone, and its logits compared with ours on random tokens. Needs the memory of one copy.
    Raises PolicyLoadError if it cannot be opened, is to be merged without adapters, or does not agree.
    """
    policy = LanguagePolicy.load(source, device="cpu", dtype=written_dtype(source))
    adapters = holds_adapters(policy.model)
    if merge and not adapters:
        raise PolicyLoadError(
            f"the policy {source!r} has no adapters to merge: its weights are whole; leave --merge out"
        )
    if dtype and adapters and not merge:
        raise PolicyLoadError("adapters are exported as they are: say --merge for whole weights in another dtype")
    if dtype and dtype not in DTYPES:
        raise PolicyLoadError(f"there is no dtype {dtype!r}: write one of {', '.join(DTYPES)}")
    ids = probe(int(base_model(policy.model).config.vocab_size))  # type: ignore[union-attr,arg-type]
    ours = logits_of(policy.model, ids)
    model = policy.model.merge_and_unload() if merge else policy.model  # type: ignore[operator]
    if dtype:
        model = model.to(DTYPES[dtype])
    policy.model = model
    policy.save(folder)
    kept = adapters and not merge
    base = settle_base(folder) if kept else ""
    kind = next(base_model(model).parameters()).dtype
    del model, policy
    gap = float((logits_of(opened(folder, kept, kind), ids) - ours).abs().max())
    if not gap <= AGREE[kind]:
        raise PolicyLoadError(
            f"{folder} gives other logits than the policy that was written (by {gap:.3g}): do not use it"
        )
    return Exported(resolve(source), kept, base, str(kind).removeprefix("torch."), gap)


def written_dtype(source: str) -> str:
    """The dtype that a policy's weights were saved in; fp32 for what is not known here."""
    place = Path(resolve(source))
    if (place / "adapter_config.json").is_file():
        return written_dtype(json.loads((place / "adapter_config.json").read_text())["base_model_name_or_path"])
    config = json.loads((place / "config.json").read_text()) if (place / "config.json").is_file() else {}
    said = str(config.get("dtype", config.get("torch_dtype", "float32")))
    return said if said in DTYPES else "float32"


def settle_base(folder: Path) -> str:
    """Write the base of these adapters so that it is found from any folder: a path becomes absolute. Its name."""
    config = folder / "adapter_config.json"
    said = json.loads(config.read_text())
    base = Path(said["base_model_name_or_path"])
    if base.is_dir():
        said["base_model_name_or_path"] = str(base.absolute())
        config.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")
    return str(said["base_model_name_or_path"])


def probe(vocabulary: int) -> Int[Tensor, "n T"]:
    """Random tokens, always the same."""
    return torch.randint(0, vocabulary, (PROBE_ROWS, PROBE_TOKENS), generator=torch.Generator().manual_seed(0))


def opened(folder: Path, adapters: bool, dtype: torch.dtype) -> nn.Module:
    """The folder as others open it."""
    name = next(name for name, kind in DTYPES.items() if kind == dtype)
    if not adapters:
        return open_model(str(folder), name)
    from peft import PeftModel

    base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    with quiet_transformers():
        return PeftModel.from_pretrained(open_model(base, name), str(folder))


@torch.no_grad()
def logits_of(model: nn.Module, ids: Int[Tensor, "n T"]) -> Float[Tensor, "n T V"]:
    """By the model's own forward pass."""
    return model.eval()(input_ids=ids, use_cache=False).logits.float()
