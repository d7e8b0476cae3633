"""Where a policy is: a short name, a folder, or a name on the hub; every failure as a sentence."""

import difflib
from pathlib import Path

from critica.records.names import odd_letter

SHIPPED = ("pico",)


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
    folder = newest_of_run(Path(path).expanduser())
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
    raise PolicyLoadError(
        f"there is no policy {path!r}: it is no folder and no hub name (owner/name); {_nearest(path)}"
    )


def newest_of_run(folder: Path) -> Path:
    """The policy of a run folder's last checkpoint; any other folder as it is."""
    if not (folder / "run.json").is_file():
        return folder
    made = [one for one in folder.glob("checkpoints/step_*/policy") if one.parent.name[5:].isdigit()]
    return max(made, key=lambda one: int(one.parent.name[5:])).absolute() if made else folder


def _nearest(path: str) -> str:
    beside = Path(path).expanduser().parent
    folders = [str(beside / f.name) for f in beside.iterdir() if f.is_dir()] if beside.is_dir() else []
    near = difflib.get_close_matches(path, [*SHIPPED, *folders], n=1, cutoff=0.5)
    found = f"the nearest name is {near[0]!r}" if near else f"the shipped names are: {', '.join(SHIPPED)}"
    return found if "/" in path else found + odd_letter(path)


def locate(path: str) -> Path:
    """The folder that holds the policy's config.json, without the network: hub names must be in the local cache."""
    place = resolve(path)
    if Path(place).is_dir():
        return Path(place)
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(place, "config.json")
    if not isinstance(found, str):
        raise PolicyLoadError(
            f"the policy {path!r} is no local folder, and the hub's cache here does not hold it: "
            "check the name, or download it once (`hf download`) and pass the folder"
        )
    return Path(found).parent
