"""reasoning-gym's datasets by (name, settings, seed, index), and its scorers, on plain JSON. Imports no torch."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from critica.environments.answers import extract_answer
from critica.environments.numbers import parse_number

CHUNK = 1000  # reasoning-gym seeds item i with seed + i, and some datasets make all items at birth


class GymMissing(ImportError):
    """reasoning-gym is not installed."""


class GymDatasets:
    """Datasets made when first asked for. Item i of a dataset is item i % 1000 of a dataset seeded by i // 1000."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[int, Any]] = {}

    def entry(self, name: str, settings: Mapping[str, Any], seed: int, index: int) -> dict[str, Any]:
        """Question, answer and metadata of one item."""
        chunk, place = divmod(index, CHUNK)
        text = f"{seed}/{name}/{chunk}".encode()
        digest = hashlib.blake2b(text, digest_size=4, person=b"critica.gym").digest()
        return self._dataset(name, settings, int.from_bytes(digest, "big") >> 1)[place]

    def score(self, name: str, settings: Mapping[str, Any], entry: Mapping[str, Any], answer: str) -> float:
        """The dataset's own scorer."""
        return float(self.prepare(name, settings).score_answer(answer=answer, entry=entry))

    def prepare(self, name: str, settings: Mapping[str, Any]) -> Any:
        """A dataset of these settings, whatever its seed: scorers do not depend on it."""
        kept = self._made.get(_key(name, settings))
        return kept[1] if kept else self._dataset(name, settings, 0)

    def _dataset(self, name: str, settings: Mapping[str, Any], seed: int) -> Any:
        key = _key(name, settings)
        kept = self._made.get(key)
        if kept is None or kept[0] != seed:
            kept = self._made[key] = seed, make_dataset(name, settings, seed)
        return kept[1]


def make_dataset(name: str, settings: Mapping[str, Any], seed: int) -> Any:
    """A reasoning-gym dataset of 1000 items. Raises `GymMissing`, or ValueError for a name or setting it refuses."""
    gym = gym_module()
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    try:
        return gym.create_dataset(name, seed=seed, size=CHUNK, **plain)
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"reasoning-gym refuses the dataset {name!r} with settings {plain}: {error}") from error


def gym_module() -> Any:
    """reasoning-gym itself, imported now."""
    try:
        import reasoning_gym
    except ImportError as error:
        raise GymMissing(
            "this environment needs reasoning-gym, which is not installed: pip install 'critica[environments]'"
        ) from error
    return reasoning_gym


def dataset_names() -> tuple[str, ...]:
    """Every dataset that reasoning-gym knows."""
    gym_module()
    from reasoning_gym.factory import DATASETS

    return tuple(sorted(DATASETS))


def make_scorer(settings: Mapping[str, Any]) -> Callable[[str, Mapping[str, Any], str], float]:
    """`score(answer, info, text)` for tasks of a reasoning-gym environment; `settings` maps each dataset to its own.

    Makes the datasets at once: a worker is forked with them, so that no item pays for loading within its deadline.
    """
    datasets = GymDatasets()
    for name, own in settings["datasets"].items():
        datasets.prepare(name, own)

    def score(answer: str, info: Mapping[str, Any], text: str) -> float:
        name = info["dataset"]
        entry = {
            "answer": None if info["answer_is_open"] else answer,
            "question": info["question"],
            "metadata": unpack(info["metadata"]),
        }
        said = extract_answer(text, settings["extract"], answer)
        return 0.0 if misread(said, answer) else datasets.score(name, settings["datasets"][name], entry, said)

    return score


def misread(said: str, answer: str) -> bool:
    """Whether separators stand where no number has them: reasoning-gym reads `1,2` and `1_2` as 12."""
    separated = "," in said or "_" in said
    return separated and parse_number(answer) is not None and parse_number(said.strip()) is None


def pack(value: Any) -> Any:
    """JSON that `unpack` turns back into the same value: tuples, and mappings with keys that are not strings, survive.

    Raises TypeError for anything else that JSON does not hold.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list):
        return [pack(item) for item in value]
    if isinstance(value, tuple):
        return {"(tuple)": [pack(item) for item in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: pack(item) for key, item in value.items()}
        return {"(items)": [[pack(key), pack(item)] for key, item in value.items()]}
    raise TypeError(f"a task's metadata holds a {type(value).__name__}, which JSON cannot carry")


def unpack(value: Any) -> Any:
    """The value that `pack` was given."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if isinstance(value, Mapping):
        if set(value) == {"(tuple)"}:
            return tuple(unpack(item) for item in value["(tuple)"])
        if set(value) == {"(items)"}:
            return {unpack(key): unpack(item) for key, item in value["(items)"]}
        return {key: unpack(item) for key, item in value.items()}
    return value


def _key(name: str, settings: Mapping[str, Any]) -> str:
    return f"{name} {sorted((key, repr(value)) for key, value in settings.items())}"
