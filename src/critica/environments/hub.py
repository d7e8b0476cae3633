"""A data set of the hub by name, loaded with the library `datasets` (an optional extra), which runs no remote code."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from critica.environments.parquet import BATCH_ROWS, require_json_types
from critica.environments.rows import TaskFileProblem, shown
from critica.environments.sources import Records

PREFIX = "hf:"
FORM = re.compile(r"hf:(?P<name>[^:@\s]+)(:(?P<subset>[^:@\s]+))?(@(?P<revision>[^:@\s]+))?")


@dataclass(frozen=True, slots=True)
class HubName:
    """`hf:NAME`, `hf:NAME:SUBSET`, `hf:NAME@REVISION` (a branch, tag or commit), or all three."""

    name: str
    subset: str
    revision: str

    @property
    def short(self) -> str:
        """What the tasks are called after: the name without its owner, and the subset."""
        return "-".join(filter(None, (self.name.rstrip("/").rpartition("/")[2], self.subset)))


def hub_name(text: str) -> HubName:
    """What is meant by the words of the command line. Raises `TaskFileProblem`."""
    found = FORM.fullmatch(text)
    if found is None:
        raise TaskFileProblem(
            f"{shown(text)} names no data set: write hf:OWNER/NAME, hf:NAME:SUBSET or hf:NAME@REVISION"
        )
    return HubName(found["name"], found["subset"] or "", found["revision"] or "")


def hub_splits(hub: HubName) -> dict[str, Records]:
    """What gives the rows of each split. Raises `TaskFileProblem` without the library, or if nothing can be loaded."""
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise TaskFileProblem(
            f"hf:{hub.name} is loaded with the library datasets, which is not here ({error}): pip install"
            " 'critica[data]'; a folder of Parquet or JSON-lines files needs nothing"
        ) from error
    try:
        loaded = datasets.load_dataset(hub.name, hub.subset or None, revision=hub.revision or None)
    except Exception as error:  # of the library, the hub or the network: it is not to be had
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise TaskFileProblem(
            f"data set {shown(hub.name)} cannot be loaded: {said}. Look whether the name, the subset and the network"
            " are right; without a network, name a folder that save_to_disk wrote, or its Parquet files"
        ) from error
    return {str(name): partial(records_of, split, f"hf:{hub.name}") for name, split in loaded.items()}


def records_of(split: Any, label: str) -> Iterator[dict[str, Any]]:
    """The rows of a loaded split as plain records."""
    require_json_types(split.features.arrow_schema, label)
    for table in split.with_format("arrow").iter(batch_size=BATCH_ROWS):
        yield from table.to_pylist()
