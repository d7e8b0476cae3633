"""When checkpoints are written: every so many steps, at the end, and when the user asks to stop."""

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

from critica.records.run import Progress
from critica.store.checkpoints import CheckpointStore
from critica.training.state import TrainingState

ORIGIN = "origin.json"
CONFIG = "config.toml"
PUBLISH_SECONDS = 600.0


class SlowDisk(TimeoutError):
    """A checkpoint did not reach the disk in time."""


@dataclass(slots=True)
class Publishing:
    """A checkpoint on its way to the disk, in a thread. Its error is raised by whoever waits for it."""

    step: int
    thread: threading.Thread
    errors: list[BaseException] = field(default_factory=list)


class Saver:
    """Writes the training state through the checkpoint store.

    With `background`, the state is written to unpublished files at once, at the speed of memory, and a thread seals,
    syncs and publishes them while training goes on. Either way a checkpoint gets its name only when all is durable.
    """

    def __init__(
        self,
        store: CheckpointStore,
        state: TrainingState,
        every: int,
        background: bool = False,
        run_id: str = "",
        config: str = "",
    ) -> None:
        self.store, self.state, self.every, self.background = store, state, every, background
        self.run_id, self.config = run_id, config
        self.last_saved = -1
        self._publishing: Publishing | None = None

    def after(self, progress: Progress, last: bool) -> None:
        """Save if this step is due, or the last one before the run stops; not while one step after another is bad."""
        if last or (progress.step % self.every == 0 and not progress.skipped_in_a_row):
            self.now(progress)

    def now(self, progress: Progress) -> None:
        """Save this state unless it is saved already. Raises what an earlier save in the background ran into."""
        self.wait()
        if progress.step == self.last_saved:
            return
        self.store.stage(progress.step, lambda folder: self._fill(folder, progress))
        self.last_saved = progress.step
        if self.background:
            self._publish_in_background(progress.step)
        else:
            self.store.publish(progress.step)

    @property
    def waiting_for(self) -> str:
        """What is on its way to the disk; empty if nothing is."""
        return f"checkpoint {self._publishing.step} reaching the disk" if self._publishing else ""

    def wait(self) -> None:
        """Until nothing is on its way to the disk."""
        if self._publishing is not None:
            self._publishing.thread.join(PUBLISH_SECONDS)
            if self._publishing.thread.is_alive():
                raise SlowDisk(
                    f"{self.waiting_for} had not arrived after {PUBLISH_SECONDS:g} s: the disk of"
                    f" {self.store.folder} hangs or is very slow. The checkpoint before it is whole"
                )
            errors, self._publishing = self._publishing.errors, None
            if errors:
                self.last_saved = -1
                raise errors[0]

    def settle(self) -> None:
        """Until nothing is on its way, whatever becomes of it: the run is ending for another reason."""
        if self._publishing is not None:
            self._publishing.thread.join(PUBLISH_SECONDS)
            self._publishing = None

    def _publish_in_background(self, step: int) -> None:
        errors: list[BaseException] = []

        def publish() -> None:
            try:
                self.store.publish(step)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=publish, name=f"checkpoint {step}", daemon=True)
        self._publishing = Publishing(step, thread, errors)
        thread.start()

    def _fill(self, folder: Path, progress: Progress) -> None:
        self.state.save(folder, progress)
        (folder / ORIGIN).write_text(json.dumps({"run_id": self.run_id}) + "\n")
        (folder / CONFIG).write_text(self.config)
