"""The folder `poison/`: steps in which a number was not finite, with all that it takes to do them again."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from critica.records.run import Fault
from critica.store.errors import DamagedRun
from critica.store.files import write_whole
from critica.store.journal import StepJournal


@dataclass(frozen=True, slots=True)
class PoisonStore:
    """`step_N/`: `fault.json`, the batch and the offending tensor, a checkpoint from before, and the answers since.

    The checkpoint is `from/step_M`, hard-linked: rotation may drop its original.
    """

    folder: Path

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that are kept, in order."""
        found = (path.name.removeprefix("step_") for path in self.folder.glob("step_*"))
        return tuple(sorted(int(name) for name in found if name.isdigit()))

    def path_of(self, step: int) -> Path:
        """Where this step is kept."""
        return self.folder / f"step_{step}"

    def keep(self, step: int, fault: Fault, tensors: Mapping[str, Tensor], base: Path, journal: StepJournal) -> Path:
        """Keep this step. `base` is the newest checkpoint from before it, `journal` the run's."""
        temporary = self.folder / f".tmp-step_{step}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write_whole(temporary / "fault.json", (json.dumps(asdict(fault), indent=2) + "\n").encode())
        own = {name: value.contiguous().clone() for name, value in tensors.items()}  # some are one and the same
        save_file(own, temporary / "batch.safetensors")
        shutil.copytree(base, temporary / "from" / base.name, copy_function=_link_or_copy)
        (temporary / "journal").mkdir()
        for earlier in journal.steps:
            if int(base.name.removeprefix("step_")) < earlier <= step:
                shutil.copyfile(journal.path_of(earlier), temporary / "journal" / journal.path_of(earlier).name)
        shutil.rmtree(self.path_of(step), ignore_errors=True)
        os.replace(temporary, self.path_of(step))
        return self.path_of(step)

    def fault(self, step: int) -> Fault:
        """What was wrong in this step. Raises `DamagedRun` if that cannot be read."""
        path = self.path_of(step) / "fault.json"
        try:
            said = json.loads(path.read_text())
            return Fault(**{**said, "rows": tuple(said["rows"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DamagedRun(f"{path} cannot be read ({error}): without it, replay starts at a checkpoint") from error

    def base_of(self, step: int) -> Path:
        """The folder that holds the checkpoint from before this step, as a `CheckpointStore` folder."""
        return self.path_of(step) / "from"

    def drop_after(self, step: int) -> None:
        """Forget later steps: they belong to a course that was left, or are done again."""
        for later in self.steps:
            if later > step:
                shutil.rmtree(self.path_of(later))


def _link_or_copy(source: str, target: str) -> None:
    """No second copy of the weights where the file system can do without."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
