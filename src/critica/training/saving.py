"""When checkpoints are written: every so many steps, at the end, and when the user asks to stop."""

from critica.records.run import Progress
from critica.store.checkpoints import CheckpointStore
from critica.training.state import TrainingState


class Saver:
    """Writes the training state through the checkpoint store."""

    def __init__(self, store: CheckpointStore, state: TrainingState, every: int) -> None:
        self.store, self.state, self.every = store, state, every
        self.last_saved = -1

    def after(self, progress: Progress, last: bool) -> None:
        """Save if this step is due, or the last one before the run stops."""
        if last or progress.step % self.every == 0:
            self.now(progress)

    def now(self, progress: Progress) -> None:
        """Save this state unless it is saved already."""
        if progress.step != self.last_saved:
            self.store.write(progress.step, lambda folder: self.state.save(folder, progress))
            self.last_saved = progress.step
