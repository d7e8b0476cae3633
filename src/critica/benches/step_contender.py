"""Contender: whole training steps of Critica's own loop, reward workers and run folder included, checkpoints not."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from critica.benches.peers.pacing import Pace
from critica.benches.peers.task import arguments
from critica.benches.sums import RunningSums
from critica.records.run import StepRecord

FOREVER = 1_000_000


class PacedReporter:
    """Ends a unit of work with every finished step."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace

    def step(self, record: StepRecord) -> None:
        """A step is done, its record is on disk."""
        stages = [(item.stage, item.seconds) for item in record.seconds]
        self.pace.tick(int(record.batch.sampled_mask.sum()), stages)

    def watch(self, activity: Callable[[], str]) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Nothing to close."""


def main() -> None:
    """Run until told to stop."""
    given = arguments()
    pace = Pace()
    import torch

    from critica.curricula.base import Budget
    from critica.policies.base import SampleLimits
    from critica.policies.numerics import configure, training_matmuls
    from critica.recipes.named import recipe as named
    from critica.records.run import Progress
    from critica.store.run_folder import RunFolder
    from critica.training.assemble import assemble
    from critica.training.interrupt import Interrupt
    from critica.training.loop import run_loop
    from critica.training.parts import equip
    from critica.training.run import manifest_of

    recipe = named(
        given.recipe, f"policy.path={given.policy}", f"sampling.prompts_per_step={given.prompts}",
        f"sampling.samples_per_prompt={given.group}", f"threads={given.threads}", f"steps={FOREVER}",
        f"checkpoint.every={FOREVER}", *given.set,
    )  # fmt: skip
    recipe = replace(recipe, environment=RunningSums(max_new_tokens=given.max_new))
    report = configure(given.threads)
    assembly = assemble(recipe)
    least = 0 if given.natural else given.max_new
    budget = Budget(given.prompts, given.group, SampleLimits(given.max_new, 1.0, least), 0, True)
    state = replace(assembly.state, curriculum=recipe.curriculum.build(assembly.environment, budget))
    manifest = manifest_of(recipe, assembly.environment.name)
    try:
        with (
            tempfile.TemporaryDirectory() as place,
            RunFolder.create(Path(place) / "run", manifest, "# a benchmark\n") as store,
        ):
            parts = equip(recipe, replace(assembly, state=state), store, PacedReporter(pace))
            pace.ready(torch=torch.__version__, onednn_matmul=report.paths.onednn_matmul, recipe=recipe.name)
            pace.begin()
            with training_matmuls():
                run_loop(recipe, parts, Progress(), Interrupt())
    finally:
        assembly.close()


if __name__ == "__main__":
    main()
