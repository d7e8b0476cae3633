"""Do a recorded step again, from the checkpoint before it and the answers in its journal, and compare the bits."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from critica.policies.numerics import configure, training_matmuls
from critica.recipes.base import Recipe, Safety
from critica.records.journal import Answer
from critica.records.run import Fault
from critica.store.checkpoints import CheckpointStore, VerifiedCheckpoint
from critica.store.errors import NoCheckpoint, StoreError
from critica.store.journal import StepJournal
from critica.store.run_folder import RunFolder
from critica.training.assemble import assemble
from critica.training.interrupt import Interrupt
from critica.training.loop import run_loop
from critica.training.parts import equip
from critica.training.progress import Silent
from critica.training.run import Notify, ReporterFactory, manifest_of, quiet, threads_of
from critica.training.saved_recipe import changes_since, config_text, recipe_of


@dataclass(frozen=True, slots=True)
class Replay:
    """What doing it again gave. `differences` is empty if every step is bit for bit as it was recorded."""

    step: int
    base: int
    differences: tuple[str, ...]
    fault: Fault | None  # what was not finite in the recorded step
    asked_again: int  # answers that the journal did not hold any more


@dataclass
class ReplayJournal:
    """Answers from a run's journal; what it lacks is asked for and kept apart, never written to the run."""

    recorded: StepJournal
    asked_again: int = 0
    _new: dict[int, list[Answer]] = field(default_factory=dict)

    def recall(self, step: int) -> Sequence[Answer]:
        """The recorded answers, and those asked for meanwhile."""
        return (*self.recorded.recall(step), *self._new.get(step, ()))

    def record(self, step: int, answers: Sequence[Answer]) -> None:
        """Keep these for as long as the replay lasts."""
        self.asked_again += len(answers)
        self._new.setdefault(step, []).extend(answers)

    def forget_failures(self, step: int) -> None:
        """Nothing: the run's own journal stays as it is."""


def replay(
    run: Path | str,
    step: int,
    scratch: Path,
    reporter: ReporterFactory = lambda steps, done: Silent(),
    notify: Notify = quiet,
) -> Replay:
    """Do `step` of this run again into the new run folder `scratch`, starting at the nearest earlier checkpoint.

    Raises `NoCheckpoint` if none is left from before the step, naming the steps that can be replayed.
    """
    original = RunFolder.open(run)
    recipe = recipe_of(original)
    found, journal = starting_point(original, step)
    changes = changes_since(found.path, recipe)
    if changes:
        notify("the config was changed after the checkpoint that this starts from: " + "; ".join(changes))
    answers = ReplayJournal(journal)
    again = replace(recipe, steps=step, safety=Safety(skips_in_a_row=2**31, kept_batches=2**31, rehearsal=False))
    configure(threads_of(again))
    notify(f"replaying steps {found.step + 1} to {step} of {run} from its checkpoint {found.step}")
    run_again(again, found, scratch, answers, reporter)
    done = RunFolder.open(scratch)
    differences = compared(original, done, range(found.step + 1, step + 1))
    fault = original.poison.fault(step) if step in original.poison.steps else None
    if fault is not None and (step not in done.poison.steps or done.poison.fault(step) != fault):
        differences.append(f"step {step}: the fault did not come back as it was")
    return Replay(step, found.step, tuple(differences), fault, answers.asked_again)


def starting_point(run: RunFolder, step: int) -> tuple[VerifiedCheckpoint, StepJournal]:
    """The nearest good checkpoint before the step, and the journal of the steps since."""
    if not 1 <= step <= run.last_step:
        raise StoreError(f"{run.path} holds steps 1 to {run.last_step}: there is no step {step} to replay")
    kept = [(run.checkpoints, run.journal)]
    if step in run.poison.steps:
        folder = run.poison.path_of(step)
        kept.append((CheckpointStore(run.poison.base_of(step)), StepJournal(folder / "journal", folder)))
    for checkpoints, journal in kept:
        for before in sorted((other for other in checkpoints.steps if other < step), reverse=True):
            with contextlib.suppress(StoreError):
                return checkpoints.verify(before), journal
    first = min(run.checkpoints.steps, default=run.last_step)
    can = [f"{first + 1} to {run.last_step}"] if first < run.last_step else []
    can += [str(other) for other in run.poison.steps]
    raise NoCheckpoint(
        f"no checkpoint of {run.path} from before step {step} is left: steps that can be replayed are"
        f" {', '.join(can) or 'none'}. A run keeps more of them with `--set checkpoint.keep=10`"
    )


def run_again(
    recipe: Recipe, found: VerifiedCheckpoint, scratch: Path, answers: ReplayJournal, reporter: ReporterFactory
) -> None:
    """The loop itself, from this checkpoint to `recipe.steps`."""
    assembly = assemble(recipe)
    try:
        progress = assembly.state.load(found.path)
        manifest = manifest_of(recipe, assembly.environment.name)
        with RunFolder.create(scratch, manifest, config_text(recipe)) as store, training_matmuls():
            display = reporter(recipe.steps, progress.step)
            parts = equip(recipe, assembly, store, display, answers)
            parts.saver.now(progress)
            try:
                with Interrupt() as interrupt:
                    run_loop(recipe, parts, progress, interrupt)
            finally:
                display.close()
                parts.saver.settle()
    finally:
        assembly.close()


def compared(first: RunFolder, second: RunFolder, steps: range) -> list[str]:
    """Where the two runs differ in these steps: metrics, ledger, rollouts, and the weights of shared checkpoints."""
    differences = []
    lines = [({m.step: repr(m.values) for m in run.metrics()}, ledger_lines(run)) for run in (first, second)]
    for step in steps:
        if lines[0][0].get(step) != lines[1][0].get(step):
            differences.append(f"step {step}: the metrics differ")
        if lines[0][1].get(step) != lines[1][1].get(step):
            differences.append(f"step {step}: the ledger differs")
        if step not in second.rollout_steps or not first.rollouts(step).equals(second.rollouts(step)):
            differences.append(f"step {step}: the rollouts differ")
    for step in set(first.checkpoints.steps) & set(second.checkpoints.steps) & set(steps):
        folders = [run.checkpoints.path_of(step) for run in (first, second)]
        names = sorted({str(path.relative_to(folders[0])) for path in folders[0].rglob("*.safetensors")})
        for name in names:
            if (folders[0] / name).read_bytes() != (folders[1] / name).read_bytes():
                differences.append(f"checkpoint {step}: {name} differs")
    return differences


def ledger_lines(run: RunFolder) -> dict[int, list[dict[str, object]]]:
    """The ledger's lines by step."""
    found: dict[int, list[dict[str, object]]] = {}
    for line in run.ledger():
        found.setdefault(int(str(line["step"])), []).append(line)
    return found
