"""`critica resume`: continue a run from its last checkpoint."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Count, Every, Step
from critica.cli.output import quiet_libraries, say, show, show_json
from critica.cli.results import STOPPED, describe_result, result_json
from critica.cli.track import listeners_of


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Continue a run from its last checkpoint, with the config saved in it.

    Examples:
      critica resume runs/first
      critica resume runs/first --steps 400     # train on, to 400 steps in all
      critica resume runs/first --step 150      # from an earlier checkpoint; what came after it is cut back
      critica resume runs/first --set learner.policy.learning_rate=1e-5
    """

    # The run folder.
    run: Annotated[Positional[str], arg(metavar="RUN")]

    # Steps in all; by default what the run's config says.
    steps: Count = None

    # The checkpoint to continue from, as a step; by default the last one.
    step: Step = None

    # Change a setting from here on (the run is then no longer that of one config, and says so).
    set: Annotated[tuple[str, ...], arg(metavar="PATH=VALUE")] = ()

    # Also tell tensorboard, trackio, wandb, or my_file.py:my_function, called with every finished step.
    track: Annotated[tuple[str, ...], arg(metavar="WHO")] = ()

    # Steps between two tables of a few answers; 0: none. By default 20 on a terminal, and none in a log or with --json.
    samples: Every = None

    # Write the result as JSON to stdout.
    json: bool = False

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.run)

    @property
    def samples_every(self) -> int | None:
        """Steps between two tables of answers; None: as the place where it is said has it."""
        return 0 if self.json and self.samples is None else self.samples

    def __call__(self) -> int:
        """Restore, train on, say what came out."""
        from critica.training.progress import Lines
        from critica.training.run import resume

        quiet_libraries()
        told = listeners_of(self.track)
        lines = partial(Lines, samples_every=self.samples_every)
        result = resume(self.folder, self.steps, self.step, self.set, reporter=lines, notify=say, listeners=told)
        if self.json:
            show_json(result_json(result))
        else:
            say(describe_result(result))
            show(str(result.run))
        return 0 if result.finished else STOPPED
