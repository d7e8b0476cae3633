"""Start, resume and evaluate runs: what the command and the Python API call."""

import datetime
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import critica
from critica.environments.catalogue import parse_environment
from critica.evaluation.outcome import evaluate_policy
from critica.policies.base import Policy
from critica.policies.language_model import LanguagePolicy
from critica.policies.numerics import configure, training_matmuls
from critica.recipes.base import Recipe
from critica.recipes.catalogue import PARTS
from critica.recipes.config import from_tables, to_tables
from critica.recipes.notes import provenance_notes
from critica.recipes.toml import read_toml, write_toml
from critica.records.outcome import OutcomeReport
from critica.records.run import Progress, RunManifest
from critica.store.evaluations import save_evaluation
from critica.store.files import write_whole
from critica.store.run_folder import RunFolder
from critica.training.assemble import Assembly, assemble
from critica.training.contention import contention_warning, others_busy_cores
from critica.training.interrupt import Interrupt
from critica.training.loop import Parts, run_loop
from critica.training.memory import refuse_too_large
from critica.training.progress import Reporter, Silent
from critica.training.rates import with_rates
from critica.training.saving import Saver

EVALUATION_SEED = 20_251
HELD_OUT_SEED = 0  # every run is measured on the same held-out prompts, whatever its own seed


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
    """The learner's threads: as declared, or every core (reward workers idle while the learner works)."""
    return recipe.threads or len(os.sched_getaffinity(0))


def warn_of_neighbors(recipe: Recipe, notify: Notify) -> None:
    """Say so if other processes are busy on the cores that this run wants."""
    warning = contention_warning(threads_of(recipe), others_busy_cores(), len(os.sched_getaffinity(0)))
    if warning:
        notify(warning)


def train(
    recipe: Recipe,
    run: Path | str,
    reporter: ReporterFactory = lambda steps, done: Silent(),
    notify: Notify = quiet,
    parent: str = "",
) -> TrainResult:
    """Train by this recipe into a new run folder. Raises `RunFolderBusy` if it already holds a run."""
    configure(threads_of(recipe))
    recipe = with_rates(recipe)
    refuse_too_large(recipe)
    warn_of_neighbors(recipe, notify)
    assembly = assemble(recipe)  # before the folder: what cannot be built leaves no run behind
    try:
        with RunFolder.create(run, manifest_of(recipe, parent), config_text(recipe)) as store, training_matmuls():
            return _train(recipe, assembly, store, Progress(), reporter, notify)
    finally:
        assembly.close()


def resume(
    run: Path | str,
    steps: int | None = None,
    step: int | None = None,
    reporter: ReporterFactory = lambda steps, done: Silent(),
    notify: Notify = quiet,
) -> TrainResult:
    """Continue a run from its newest good checkpoint (or from `step`), up to `steps` (default: as configured)."""
    with RunFolder.open(run, write=True) as store:
        recipe = recipe_of(store)
        if steps is not None:
            recipe = replace(recipe, steps=steps)
        configure(threads_of(recipe))
        found = store.checkpoints.verify(step) if step is not None else store.checkpoints.latest(allow_fallback=False)
        assembly = assemble(recipe)
        try:
            progress = assembly.state.load(found.path)
            if recipe.steps < progress.step:
                raise StepsBehind(
                    f"{run} is at step {progress.step} and {recipe.steps} steps were asked for: name more with"
                    f" --steps, or an earlier checkpoint with --step"
                )
            if steps is not None:  # the next resume must know where this one was going
                write_whole(store.path / "config.toml", config_text(recipe).encode())
            # Checkpoints first: cut off between the two, the next resume finds more lines than it needs, never fewer.
            store.checkpoints.drop_after(progress.step)
            store.truncate_after(progress.step)
            notify(f"resuming {run} after step {progress.step} of {recipe.steps}")
            with training_matmuls():
                return _train(recipe, assembly, store, progress, reporter, notify)
        finally:
            assembly.close()


def _train(
    recipe: Recipe, assembly: Assembly, store: RunFolder, start: Progress, reporter: ReporterFactory, notify: Notify
) -> TrainResult:
    checkpoints = replace(store.checkpoints, keep=recipe.checkpoint.keep)
    saver = Saver(checkpoints, assembly.state, recipe.checkpoint.every)
    display = reporter(recipe.steps, start.step)
    parts = Parts(assembly.state, assembly.supervision, assembly.learner, store, saver, display)
    before: tuple[OutcomeReport, ...] = ()
    with Interrupt() as interrupt:
        if start.step == 0:
            saver.now(start)  # before anything that takes long: from here on the run can be resumed
        if recipe.held_out.prompts and start.step == 0:
            notify(f"measuring accuracy on {recipe.held_out.prompts} held-out prompts before training")
            before = evaluate_both(recipe, assembly.state.policy, store.path, "before")
        try:
            progress = run_loop(recipe, parts, start, interrupt)
        finally:
            display.close()
        finished = progress.step >= recipe.steps
    after: tuple[OutcomeReport, ...] = ()
    if finished and recipe.held_out.prompts:
        notify("measuring accuracy after training")
        after = evaluate_both(recipe, assembly.state.policy, store.path, "after")
    return TrainResult(store.path, progress, finished, before, after)


def evaluate_both(recipe: Recipe, policy: Policy, run: Path, name: str) -> tuple[OutcomeReport, ...]:
    """Held-out accuracy at temperature 1 and greedy, saved with the run under these names."""
    reports = []
    environment = recipe.environment.build(HELD_OUT_SEED)
    limit = recipe.sampling.max_new_tokens or environment.max_new_tokens
    for label, temperature, samples in (("temperature_1", 1.0, recipe.held_out.samples), ("greedy", 0.0, 1)):
        report = evaluate_policy(
            policy, environment, recipe.held_out.prompts, samples, temperature, EVALUATION_SEED, max_new_tokens=limit
        )
        save_evaluation(run, f"{name}-{label}", report)
        reports.append(report)
    return tuple(reports)


def load_target(target: str | Path) -> tuple[LanguagePolicy, Recipe | None]:
    """A policy to evaluate: a run folder's newest checkpoint, a model folder, or a name; with the run's recipe."""
    path = Path(target)
    if (path / "run.json").is_file():
        store = RunFolder.open(path)
        recipe = recipe_of(store)
        found = store.checkpoints.latest(allow_fallback=True)
        policy = LanguagePolicy.load(str(found.path / "policy"), recipe.policy.lora)
        policy.version = found.step
        return policy, recipe
    return LanguagePolicy.load(str(target)), None


def evaluate(
    target: str | Path,
    environment: str = "",
    prompts: int = 1000,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = EVALUATION_SEED,
) -> OutcomeReport:
    """Held-out accuracy of a run's last policy, a model folder, or a named policy; saved with the run if it is one."""
    configure(len(os.sched_getaffinity(0)))
    policy, recipe = load_target(target)
    config = parse_environment(environment) if environment or recipe is None else recipe.environment
    where = config.build(HELD_OUT_SEED)
    limit = (recipe.sampling.max_new_tokens if recipe and not environment else 0) or where.max_new_tokens
    report = evaluate_policy(policy, where, prompts, samples, temperature, seed, max_new_tokens=limit)
    if recipe is not None:
        label = "greedy" if temperature == 0 else f"temperature_{temperature:g}"
        save_evaluation(target, f"last-{label}-{where.name.replace(':', '_').replace('+', '_')}", report)
    return report


def recipe_of(store: RunFolder) -> Recipe:
    """The resolved recipe that a run folder keeps."""
    return from_tables(read_toml(store.path / "config.toml"), Recipe, PARTS, folder=store.path)


def config_text(recipe: Recipe) -> str:
    """The resolved config: itself a valid RECIPE, each value with its provenance."""
    return write_toml(to_tables(recipe, PARTS), provenance_notes(recipe))


def manifest_of(recipe: Recipe, parent: str = "") -> RunManifest:
    """What identifies this run."""
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
        environment=recipe.environment.build(recipe.seed).name,
        noise=recipe.noise.name,
        parent_run=parent,
    )
