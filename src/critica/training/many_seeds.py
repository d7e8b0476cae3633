"""One recipe under several seeds: one run folder after the other, each picked up where it stood."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from critica.recipes.base import Recipe
from critica.records.run import Progress
from critica.store.run_folder import RunFolder
from critica.training.listeners import Listener
from critica.training.notebook import automatic
from critica.training.rates import with_rates
from critica.training.run import Notify, ReporterFactory, TrainResult, quiet, resume, train
from critica.training.saved_recipe import config_text
from critica.training.saving import CONFIG


class OtherRun(ValueError):
    """A seed's folder holds a run of another config."""


def train_seeds(
    recipe: Recipe,
    folder: Path,
    count: int,
    reporter: ReporterFactory = automatic,
    notify: Notify = quiet,
    critic_from: str = "",
    listeners: Callable[[], Sequence[Listener]] = tuple,
) -> Iterator[TrainResult]:
    """Train seeds `recipe.seed`, + 1, … into folder/seed-0, …; what is there is finished first, never done again.

    Ends after a run that was stopped. Raises `OtherRun` before anything is trained if a folder holds something else.
    """
    runs = [(replace(recipe, seed=recipe.seed + i), folder / f"seed-{recipe.seed + i}") for i in range(count)]
    for one, place in runs:
        refuse_other(one, place)
    for number, (one, place) in enumerate(runs, 1):
        done = RunFolder.open(place).last_step if (place / "run.json").is_file() else None
        if done is not None and done >= one.steps:
            notify(f"seed {one.seed} ({number} of {count}) is done: {place}")
            yield TrainResult(place, Progress(step=done), True)
            continue
        notify(f"seed {one.seed}, {number} of {count}: {place}")
        if done is None:
            result = train(one, place, reporter, notify, critic_from=critic_from, listeners=listeners())
        else:
            result = resume(place, reporter=reporter, notify=notify, listeners=listeners())
        yield result
        if not result.finished:
            return


def refuse_other(recipe: Recipe, place: Path) -> None:
    """Raise `OtherRun` if there is a run of another config here."""
    if not (place / "run.json").is_file():
        return
    if config_text(with_rates(recipe)) != (place / CONFIG).read_text():
        raise OtherRun(
            f"{place} holds a run of another config: name another folder with --run, or remove it. (`critica resume"
            f" {place}` goes on with that one)"
        )
