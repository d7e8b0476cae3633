"""The run folder: a step is a transaction, and its line in metrics.jsonl is the commit."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from critica.records.metrics import require_declared
from critica.records.run import FORMAT, RunManifest, StepRecord
from critica.store.checkpoints import CheckpointStore
from critica.store.errors import DamagedRun, NotARun, RunFolderBusy, full_disk_explained
from critica.store.files import sync_file, sync_folder, write_whole
from critica.store.journal import StepJournal
from critica.store.lines import StepLines, decode_number, encode_number
from critica.store.lock import WriterLock
from critica.store.poison import PoisonStore
from critica.store.rollouts import encode_rollouts, read_rollouts, rollout_path, write_rollouts

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "run.json"
NO_STEP = -1  # `last_step` of a run without steps, so that steps may be counted from 0 or from 1


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One line of metrics.jsonl. A metric that counted nothing is NaN."""

    step: int
    values: Mapping[str, float]

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def get(self, name: str) -> float:
        """The metric's value, NaN if this step has none of that name."""
        return self.values.get(name, float("nan"))


class RunFolder:
    """A run on disk. Reading never changes it; the first write takes the lock and repairs what a crash left."""

    def __init__(self, path: Path, manifest: RunManifest) -> None:
        self.path = path
        self.manifest = manifest
        self.checkpoints = CheckpointStore(
            path / "checkpoints", before_publish=self.sync, after_publish=self._drop_unreachable
        )
        self.journal = StepJournal(path / "journal", path)
        self.poison = PoisonStore(path / "poison")
        self._metrics = StepLines(path / "metrics.jsonl")
        self._ledger = StepLines(path / "ledger.jsonl")
        self._timing = StepLines(path / "timing.jsonl")
        self._lock: WriterLock | None = None
        self._synced_step = NO_STEP
        self._last_step: int | None = None  # known for certain only while this process holds the lock

    @classmethod
    def create(cls, path: Path | str, manifest: RunManifest, config_toml: str) -> "RunFolder":
        """Start a new run here. Raises `RunFolderBusy` if the folder already holds one; it is never overwritten."""
        path = Path(path)
        if (path / MANIFEST).exists():
            raise RunFolderBusy(
                f"{path} already holds a run: continue it with `critica resume {path}`, "
                f"or start another one elsewhere with `--run {path}-2`"
            )
        if path.exists() and not (path.is_dir() and all(map(_left_by_a_crash, path.iterdir()))):
            raise RunFolderBusy(
                f"{path} exists and is not an empty folder: choose a new folder with `--run {path}-2`, or empty it"
            )
        with full_disk_explained(path, 4096, path):
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path, manifest)
            run._lock = WriterLock(path)
            if (path / MANIFEST).exists():  # another process was faster between the look above and the lock
                run.close()
                raise RunFolderBusy(f"{path} was just begun by another process: choose another folder with `--run`")
            (path / "rollouts").mkdir(exist_ok=True)
            (path / "checkpoints").mkdir(exist_ok=True)
            write_whole(path / "config.toml", config_toml.encode())
            # The manifest comes last: a folder without it is no run, so a crash before here leaves nothing behind.
            write_whole(path / MANIFEST, (json.dumps(asdict(manifest), indent=2) + "\n").encode())
            sync_folder(path.parent)
        run._last_step = NO_STEP
        return run

    @classmethod
    def open(cls, path: Path | str, write: bool = False) -> "RunFolder":
        """A run that exists. With `write` it is locked and repaired now; else at the first write, if there is one."""
        path = Path(path)
        if not (path / MANIFEST).is_file():
            what = "is not a run folder (it holds no run.json)" if path.is_dir() else "does not exist"
            raise NotARun(f"{path} {what}: name a folder that `critica train … --run FOLDER` has made")
        run = cls(path, _read_manifest(path / MANIFEST))
        if write:
            run._begin_writing()
        return run

    @property
    def config_toml(self) -> str:
        """The resolved config, itself a valid recipe file."""
        return (self.path / "config.toml").read_text()

    @property
    def last_step(self) -> int:
        """The last committed step; -1 when there is none."""
        if self._last_step is not None:
            return self._last_step
        return max((line["step"] for line in self._metrics), default=NO_STEP)

    def metrics(self) -> Iterator[StepMetrics]:
        """Each committed step's metrics, in order."""
        for line in self._metrics:
            yield StepMetrics(line["step"], {k: decode_number(v) for k, v in line.items() if k != "step"})

    def ledger(self) -> Iterator[dict[str, object]]:
        """Each committed line of the ledger: step, kind, trajectory_id, task_id, state, reason."""
        last = self.last_step
        return (line for line in self._ledger if line["step"] <= last)

    def timing(self) -> Iterator[StepMetrics]:
        """Seconds by stage of each committed step."""
        last = self.last_step
        for line in self._timing:
            if line["step"] <= last:
                yield StepMetrics(line["step"], {k: float(v) for k, v in line.items() if k != "step"})

    def rollouts(self, step: int, columns: list[str] | None = None) -> "pa.Table":
        """Every trajectory of one step (see `store.rollouts`)."""
        return read_rollouts(self.path, step, columns)

    @property
    def rollout_steps(self) -> tuple[int, ...]:
        """The committed steps whose rollouts are there."""
        last = self.last_step  # reads every line of metrics.jsonl, so once
        found = (int(path.stem.removeprefix("step_")) for path in (self.path / "rollouts").glob("step_*.parquet"))
        return tuple(sorted(step for step in found if step <= last))

    def append(self, step: int, record: StepRecord) -> None:
        """Write one step. Its line in metrics.jsonl is written last: until then the step has not happened.

        Raises `DiskFull` and leaves the folder as it was; raises `UndeclaredMetric` for a name without a definition.
        """
        self._begin_writing()
        if record.step != step:
            raise DamagedRun(f"append was given step {step} and the record of step {record.step}")
        if step <= self.last_step:
            raise DamagedRun(f"step {step} cannot follow step {self.last_step}: truncate_after({step - 1}) comes first")
        require_declared(metric.name for metric in record.metrics)
        numbers = {metric.name: encode_number(float(metric.value)) for metric in record.metrics}
        rollouts = encode_rollouts(record)
        ledger = [
            {"step": step, "kind": entry.kind, "trajectory_id": entry.trajectory_id, "task_id": entry.task_id,
             "state": entry.state, "reason": entry.reason}
            for entry in record.ledger
        ]  # fmt: skip
        needed = len(rollouts) + 200 * len(ledger) + 4096
        try:
            with full_disk_explained(self.path, needed, self.path):
                write_rollouts(self.path, rollouts, step)
                self._ledger.append(ledger)
                self._timing.append([{"step": step} | {item.stage: item.seconds for item in record.seconds}])
                self._metrics.append([{"step": step} | numbers])
        except BaseException:
            self._drop_uncommitted()
            raise
        self._last_step = step

    def truncate_after(self, step: int) -> None:
        """Make `step` the last one: cut metrics, ledger, timing and rollouts. Stopped half-way, `open` finishes it.

        Raises `DamagedRun` if the lines do not reach that step: to go on would leave a hole in the books.
        """
        self._begin_writing()
        if self.last_step < step and step > 0:
            raise DamagedRun(
                f"{self.path}/metrics.jsonl ends at step {max(0, self.last_step)}, but step {step} was to be restored:"
                f" the file was cut or changed. An earlier checkpoint may do: `critica resume {self.path} --step N`"
            )
        self._metrics.cut_after(step)
        self._synced_step = min(self._synced_step, step)
        self._drop_uncommitted()

    def sync(self) -> None:
        """Make every committed step durable; each checkpoint does so before it is published, maybe in a thread."""
        last = self.last_step  # steps that come while this works are not counted as done
        for path in [lines.path for lines in (self._metrics, self._ledger, self._timing)]:
            if path.exists():
                sync_file(path)
        for step in self.rollout_steps:
            if self._synced_step < step <= last:
                sync_file(rollout_path(self.path, step))
        sync_folder(self.path / "rollouts")
        sync_folder(self.path)
        self._synced_step = last

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
            self._last_step = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drop_unreachable(self) -> None:
        """Answers that no checkpoint leads to any more will not be asked for again."""
        self.journal.drop_through(min(self.checkpoints.steps, default=NO_STEP))

    def _begin_writing(self) -> None:
        """Take the lock and repair, once."""
        if self._lock is None:
            self._lock = WriterLock(self.path)
        if self._last_step is None:
            self._drop_uncommitted()

    def _drop_uncommitted(self) -> None:
        """Whatever is later than the last line of metrics.jsonl belongs to a step that never happened."""
        self._last_step = None
        last = self.last_step
        self._metrics.cut_after(last)  # a torn last line
        self._ledger.cut_after(last)
        self._timing.cut_after(last)
        for path in (self.path / "rollouts").glob("*step_*.parquet"):
            if path.name.startswith(".tmp-") or int(path.stem.removeprefix("step_")) > last:
                path.unlink()
        self.poison.drop_after(last)
        self._last_step = last


def _left_by_a_crash(path: Path) -> bool:
    """Whether `create`, stopped before the manifest, may have left this: it holds nothing of anyone's."""
    if path.name in ("rollouts", "checkpoints"):
        return path.is_dir() and not any(path.iterdir())
    return path.name in (".lock", "config.toml", f".tmp-{MANIFEST}", ".tmp-config.toml")


def _read_manifest(path: Path) -> RunManifest:
    """Parse run.json; a format of a later Critica is refused."""
    try:
        content = json.loads(path.read_text())
        names = {item.name for item in fields(RunManifest)}
        if content.get("format", 1) > FORMAT:
            raise NotARun(
                f"{path} was written by a newer Critica ({content['critica_version']}): update Critica to read it"
            )
        return RunManifest(**{name: value for name, value in content.items() if name in names})
    except (json.JSONDecodeError, TypeError, AttributeError, ValueError) as error:
        raise NotARun(f"{path} is damaged ({error}): restore it from a copy of the run folder") from error
