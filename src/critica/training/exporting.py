"""A trained policy published as a folder: whole, compared, or not there at all."""

from pathlib import Path

from critica.policies.export import Exported, write_policy
from critica.store.files import publish_folder


class FolderTaken(ValueError):
    """Something is where a new folder is to be."""


def export_policy(source: str | Path, folder: str | Path, merge: bool = False, dtype: str = "") -> Exported:
    """Write the policy of a run (its last checkpoint), of a folder, or of a name, for other libraries to open.

    See `policies.export.write_policy`. Raises `FolderTaken` for a folder that holds something, `PolicyLoadError`.
    """
    place = Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise FolderTaken(f"{place} is not empty: name a new folder.")
    written: list[Exported] = []
    publish_folder(place, lambda fresh: written.append(write_policy(str(source), fresh, merge, dtype)))
    return written[0]
