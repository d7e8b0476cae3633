"""The folder `journal/`: what each step was told, durable before anything is learned from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from critica.records.journal import Answer
from critica.store.errors import full_disk_explained
from critica.store.files import append_whole, sync_file, sync_folder, write_whole
from critica.store.lines import StepLines


@dataclass(frozen=True, slots=True)
class StepJournal:
    """One file of JSON lines a step, `step_N.jsonl`. A step done again is told what is written here.

    The files of steps that no checkpoint can lead to any more are dropped with that checkpoint.
    """

    folder: Path
    run: Path

    def path_of(self, step: int) -> Path:
        """Where the answers of this step are."""
        return self.folder / f"step_{step}.jsonl"

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps with answers, in order."""
        found = (path.stem.removeprefix("step_") for path in self.folder.glob("step_*.jsonl"))
        return tuple(sorted(int(name) for name in found if name.isdigit()))

    def recall(self, step: int) -> tuple[Answer, ...]:
        """The answers of this step in the order in which they came; a torn last line is not there."""
        return tuple(self._read(step))

    def _read(self, step: int) -> Iterator[Answer]:
        for line in StepLines(self.path_of(step)):
            yield Answer.from_json(line)

    def record(self, step: int, answers: Sequence[Answer]) -> None:
        """Add these answers and make them durable. Raises `DiskFull`."""
        if not answers:
            return
        path = self.path_of(step)
        new = not path.exists()
        payload = self._encode(step, answers)
        with full_disk_explained(path, len(payload), self.run):
            if not self.folder.is_dir():
                self.folder.mkdir()
                sync_folder(self.run)
            StepLines(path).cut_after(step)  # what a crash left of a line must not run into the next one
            append_whole(path, payload)
        sync_file(path)
        if new:
            sync_folder(self.folder)

    def forget_failures(self, step: int) -> None:
        """Ask again, next time, about what failed: a step that was given up must not fail forever."""
        kept = [answer for answer in self._read(step) if not answer.failed]
        if self.path_of(step).exists():
            write_whole(self.path_of(step), self._encode(step, kept))

    def drop_through(self, step: int) -> None:
        """Remove the answers of this and earlier steps."""
        for earlier in self.steps:
            if earlier <= step:
                self.path_of(earlier).unlink(missing_ok=True)

    @staticmethod
    def _encode(step: int, answers: Sequence[Answer]) -> bytes:
        return StepLines.encode([{"step": step, **answer.to_json()} for answer in answers])
