"""A folder as a data set with named splits: one that `datasets` saved, or Parquet and JSON-lines files.

The splits of plain files are read off their names, as the hub does: `train.jsonl`, `data/train-00000-of-00002.parquet`,
`test/part1.parquet`. `valid`, `val` and `dev` mean validation, `eval` means test.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from critica.environments.parquet import arrow_records, parquet_records
from critica.environments.rows import TaskFileProblem, shown
from critica.environments.sources import JSONL, SUFFIXES, Records, jsonl_records

WORDS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
SHARD = re.compile(r"-\d+-of-\d+$")
SAVED, SAVED_SPLITS = "state.json", "dataset_dict.json"  # of one data set, and of several splits


def folder_splits(folder: Path) -> dict[str, Records]:
    """What gives the rows of each split. Raises `TaskFileProblem` for a folder that is no data set."""
    if (folder / SAVED_SPLITS).is_file():
        names = read_json(folder / SAVED_SPLITS).get("splits", [])
        return {str(name): saved_records(folder / str(name)) for name in names}
    if (folder / SAVED).is_file():
        return {str(read_json(folder / SAVED).get("_split") or "train"): saved_records(folder)}
    return file_splits(folder)


def saved_records(folder: Path) -> Records:
    """The rows that `save_to_disk` wrote into this folder."""
    state = read_json(folder / SAVED)
    if state.get("_indices_data_files"):
        raise TaskFileProblem(
            f"{folder} was saved with row indices by an old version of datasets: load and save it again"
        )
    files = [folder / str(entry["filename"]) for entry in state.get("_data_files", [])]
    return partial(chained, [partial(arrow_records, file) for file in files])


def file_splits(folder: Path) -> dict[str, Records]:
    """The Parquet and JSON-lines files below the folder, by split."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        inner = file.relative_to(folder)
        if file.suffix.lower() in SUFFIXES and not any(part.startswith((".", "_")) for part in inner.parts):
            found.setdefault(split_name(inner), []).append(file)
    if not found:
        raise TaskFileProblem(
            f"{folder} holds no data set: name a folder with {' or '.join(SUFFIXES)} files, such as train.jsonl and"
            " test.jsonl, or one that datasets' save_to_disk wrote"
        )
    for name, files in found.items():
        if len({(file.parent, file.suffix.lower()) for file in files}) > 1:
            both = " and ".join(shown(str(file.relative_to(folder))) for file in (files[0], files[-1]))
            raise TaskFileProblem(f"{folder}: {both} both say split {shown(name)}: name the folder of one of them")
    return {name: partial(chained, list(map(file_records, files))) for name, files in found.items()}


def split_name(file: Path) -> str:
    """The split that a file's name says, or else its folders' names; one without such a word is called as it is."""
    stem = SHARD.sub("", file.stem)
    for text in (stem, *reversed(file.parts[:-1])):
        said = {WORDS[word] for word in re.split("[^a-z]+", text.lower()) if word in WORDS}
        if len(said) == 1:
            return said.pop()
    return stem


def file_records(path: Path) -> Records:
    """The rows of one file."""
    return partial(jsonl_records if path.suffix.lower() == JSONL else parquet_records, path)


def chained(records: Iterable[Records]) -> Iterator[dict[str, Any]]:
    """One after the other."""
    for one in records:
        yield from one()


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON file. Raises `TaskFileProblem` naming it."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise TaskFileProblem(f"{path} cannot be read ({error}): save the data set again with save_to_disk") from error
