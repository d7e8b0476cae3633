"""Start and resume runs: what the command and the Python API call."""

import datetime
import os
import platform
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import critica
from critica.policies.numerics import configure, training_matmuls
from critica.recipes.base import Recipe
from critica.recipes.catalogue import PARTS
from critica.recipes.config import to_tables
from critica.records.outcome import OutcomeReport
from critica.records.run import Progress, RunManifest, StepRecord
from critica.store.checkpoints import VerifiedCheckpoint
from critica.store.files import write_whole
from critica.store.run_folder import NO_STEP, RunFolder
from critica.training.assemble import Assembly, assemble
from critica.training.clock import Clock
from critica.training.contention import contention_warning, others_busy_cores
from critica.training.interrupt import Interrupt
from critica.training.listeners import Listener, Overheard, listener_of
from critica.training.loop import run_loop
from critica.training.memory import refuse_too_large
from critica.training.notebook import automatic
from critica.training.parts import equip
from critica.training.progress import Reporter
from critica.training.prompt_lengths import measured_lengths
from critica.training.rates import with_rates
from critica.training.rehearsal import rehearse
from critica.training.saved_recipe import changed, changes_since, config_text, recipe_of, refuse_foreign
from critica.training.saving import CONFIG, Saver
from critica.training.warm_start_critic import warm_start_critic


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a run ended. `finished` is false when it was asked to stop early."""

    run: Path
    progress: Progress
    finished: bool
    before: tuple[OutcomeReport, ...] = ()
    after: tuple[OutcomeReport, ...] = ()


class StepsBehind(ValueError):
    """A run was asked to stop at a step that it has passed."""


ReporterFactory = Callable[[int, int], Reporter]
Notify = Callable[[str], None]


def quiet(message: str) -> None:
    """Say nothing."""


def threads_of(recipe: Recipe) -> int:
    """The learner's threads: as declared, or as many as OMP_NUM_THREADS allows, or every core.

    Reward workers idle while the learner works.
    """
    cores = len(os.sched_getaffinity(0))
    allowed = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return recipe.threads or (min(int(allowed), cores) if allowed.isdecimal() and int(allowed) else cores)


def warn_of_neighbors(recipe: Recipe, notify: Notify) -> None:
    """Say so if other processes are busy on the cores that this run wants."""
    warning = contention_warning(threads_of(recipe), others_busy_cores(), len(os.sched_getaffinity(0)))
    if warning:
        notify(warning)


def train(
    recipe: Recipe,
    run: Path | str,
    reporter: ReporterFactory = automatic,
    notify: Notify = quiet,
    parent: str = "",
    critic_from: str = "",
    listeners: Sequence[Listener | Callable[[StepRecord], object]] = (),
) -> TrainResult:
    """Train by this recipe into a new run folder. Raises `RunFolderBusy` if it already holds a run.

    `critic_from` is a folder that `critica critic fit` wrote: the critic starts with its weights. The run's first
    checkpoint holds them, so that a resume needs the folder no more. `listeners` are told of every finished step:
    functions of a `StepRecord`, or trackers.
    """
    configure(threads_of(recipe))
    recipe = with_rates(recipe)
    refuse_too_large(recipe)
    warn_of_neighbors(recipe, notify)
    assembly = assemble(recipe)  # before the folder: what cannot be built leaves no run behind
    try:
        check_parts(recipe, assembly, notify)
        start_critic(recipe, assembly, critic_from, notify)
        manifest = manifest_of(recipe, assembly.environment.name, parent, critic_from)
        with RunFolder.create(run, manifest, config_text(recipe)) as store, training_matmuls():
            return _train(recipe, assembly, store, Progress(), reporter, notify, listeners)
    finally:
        assembly.close()


def resume(
    run: Path | str,
    steps: int | None = None,
    step: int | None = None,
    settings: Sequence[str] = (),
    reporter: ReporterFactory = automatic,
    notify: Notify = quiet,
    listeners: Sequence[Listener | Callable[[StepRecord], object]] = (),
) -> TrainResult:
    """Continue a run from its newest good checkpoint (or from `step`), up to `steps` (default: as configured).

    `settings` (`path=value`) change the recipe from here on. A run that was stopped before its first checkpoint
    starts again in its own folder.
    """
    with RunFolder.open(run, write=True) as store:
        recipe = changed(recipe_of(store), steps, settings)
        configure(threads_of(recipe))
        found = starting_point(store, step)
        assembly = assemble(recipe)
        try:
            check_parts(recipe, assembly, notify)
            progress = assembly.state.load(found.path) if found else Progress()
            if found is None:  # stopped before its first checkpoint: it starts as it started
                start_critic(recipe, assembly, store.manifest.critic_from, notify)
            if recipe.steps < progress.step:
                raise StepsBehind(
                    f"{run} is at step {progress.step} and {recipe.steps} steps were asked for: name more with"
                    f" --steps, or an earlier checkpoint with --step"
                )
            if found:
                say_where_from(store, recipe, found, notify)
            if steps is not None or settings:  # the next resume must know where this one was going
                write_whole(store.path / CONFIG, config_text(recipe).encode())
            # Checkpoints first: cut off between the two, the next resume finds more lines than it needs, never fewer.
            store.checkpoints.drop_after(progress.step)
            store.truncate_after(progress.step)
            with training_matmuls():
                return _train(recipe, assembly, store, progress, reporter, notify, listeners)
        finally:
            assembly.close()


def starting_point(store: RunFolder, step: int | None) -> VerifiedCheckpoint | None:
    """The checkpoint to go on from; None for a run that did nothing yet."""
    if step is None and not store.checkpoints.steps and store.last_step == NO_STEP:
        return None
    found = store.checkpoints.verify(step) if step is not None else store.checkpoints.latest(allow_fallback=False)
    refuse_foreign(found, store.manifest.run_id)
    return found


def say_where_from(store: RunFolder, recipe: Recipe, found: VerifiedCheckpoint, notify: Notify) -> None:
    """Where the run goes on, what it will not ask again, and what is no longer as it was."""
    told = [step for step in store.journal.steps if step > found.step]
    answers = f"; the answers of steps {told[0]} to {told[-1]} come from its journal" if told else ""
    notify(f"resuming {store.path} after step {found.step} of {recipe.steps}{answers}")
    changes = changes_since(found.path, recipe)
    if changes:
        notify("changed since that checkpoint, so this is no longer the run of one config: " + "; ".join(changes))


def start_critic(recipe: Recipe, assembly: Assembly, folder: str, notify: Notify) -> None:
    """Give the critic the weights of a fitted one, if one was named."""
    if folder:
        for warning in warm_start_critic(assembly.state.critic, recipe, folder):
            notify(warning)


def check_parts(recipe: Recipe, assembly: Assembly, notify: Notify) -> None:
    """Before anything is learned: what is weak about this machine or these parts, said or refused."""
    lengths = measured_lengths(recipe, assembly.environment, assembly.state.policy)
    if lengths is not None:
        notify(f"prompts: {lengths.sentence()}")
    for warning in assembly.warnings:
        notify(warning)
    if recipe.safety.rehearsal:
        with training_matmuls():
            for warning in rehearse(assembly, recipe):
                notify(warning)


def _train(
    recipe: Recipe,
    assembly: Assembly,
    store: RunFolder,
    start: Progress,
    reporter: ReporterFactory,
    notify: Notify,
    listeners: Sequence[Listener | Callable[[StepRecord], object]],
) -> TrainResult:
    display = Overheard(reporter(recipe.steps, start.step), [listener_of(one) for one in listeners], notify)
    display.begin(store.path, recipe.name, to_tables(recipe, PARTS) if listeners else {}, start.step)
    parts = equip(recipe, assembly, store, display)
    saver = parts.saver
    display.watch(lambda: activity(parts.clock, assembly, saver))
    before: tuple[OutcomeReport, ...] = ()
    after: tuple[OutcomeReport, ...] = ()
    measured = parts.examiner.measure
    parts.examiner.begin(start.step)
    try:
        with Interrupt() as interrupt:
            if start.step == 0:
                saver.now(start)  # before anything that takes long: from here on the run can be resumed
            if recipe.held_out.prompts and start.step == 0:
                notify(f"measuring accuracy on {recipe.held_out.prompts} held-out prompts before training")
                with parts.clock.stage("held-out accuracy"):
                    before = measured("before")
            progress = run_loop(recipe, parts, start, interrupt)
            saver.wait()
        finished = progress.step >= recipe.steps
        if finished and recipe.held_out.prompts:
            notify("measuring accuracy after training")
            with parts.clock.stage("held-out accuracy"):
                after = measured("after")
    finally:
        display.close()
        saver.settle()
    return TrainResult(store.path, progress, finished, before, after)


def activity(clock: Clock, assembly: Assembly, saver: Saver) -> str:
    """What the run is doing or waiting for at this moment, and for how long; empty between steps."""
    stage, seconds = clock.now
    if not stage:
        return ""
    waiting = assembly.source.waiting_for or saver.waiting_for
    return f"step {clock.step}: {stage} for {seconds:.0f} s{': ' + waiting if waiting else ''}"


def manifest_of(recipe: Recipe, environment: str, parent: str = "", critic_from: str = "") -> RunManifest:
    """What identifies this run; `environment` is the live environment's name."""
    return RunManifest(
        recipe=recipe.name,
        seed=recipe.seed,
        critica_version=critica.__version__,
        torch_version=torch.__version__,
        python_version=platform.python_version(),
        machine=f"{platform.machine()} {os.cpu_count()} cores",
        threads=threads_of(recipe),
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        policy=recipe.policy.path,
        environment=environment,
        noise=recipe.noise.name,
        parent_run=parent,
        critic_from=critic_from,
        run_id=uuid.uuid4().hex,
    )
