"""`critica train`: a recipe, a policy and tasks become a run folder."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from critica.cli.choice import Choice, free_folder, resolve
from critica.cli.numbers import Every, Positive
from critica.cli.output import quiet_libraries, say, show, show_json
from critica.cli.results import STOPPED, describe_result, result_json
from critica.cli.track import listeners_of

if TYPE_CHECKING:
    from critica.recipes.base import Recipe


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy by a recipe and write a run folder.

    Ctrl-C stops after the current step with a checkpoint; twice: at once. `critica resume RUN` goes on.

    Examples:
      critica train dvpo --noise flip:0.2:group --steps 100 --run runs/first
      critica train grpo --policy Qwen/Qwen3-0.6B --environment rg:chain_sum --set policy.lora.rank=16
      critica train dvpo --set critic.quantiles=32 --set checkpoint.every=20
      critica train ppo --set critic=my_file.py:MyCritic
      critica train ppo --seeds 5 --run runs/five --set held_out.prompts=200
    """

    choice: Choice

    # The run folder to make; by default runs/RECIPE-SEED, with a number if there is one already.
    run: Annotated[str, arg(metavar="DIR", help_behavior_hint="")] = ""

    # A folder that `critica critic fit` wrote: the critic starts with its weights.
    critic_from: Annotated[str, arg(metavar="DIR", help_behavior_hint="")] = ""

    # Train so many seeds, one after the other, into DIR/seed-0, … and say means with intervals. Given again: goes on.
    seeds: Positive = 1

    # Also tell tensorboard, trackio, wandb, or my_file.py:my_function, called with every finished step.
    track: Annotated[tuple[str, ...], arg(metavar="WHO")] = ()

    # Steps between two tables of a few answers; 0: none. By default 20 on a terminal, and none in a log or with --json.
    samples: Every = None

    # Write the result as JSON to stdout.
    json: bool = False

    @property
    def folder(self) -> Path | None:
        """The run folder, when it was named."""
        return Path(self.run) if self.run else None

    @property
    def samples_every(self) -> int | None:
        """Steps between two tables of answers; None: as the place where it is said has it."""
        return 0 if self.json and self.samples is None else self.samples

    def __call__(self) -> int:
        """Resolve, train, say what came out."""
        recipe = resolve(self.choice)
        from critica.training.progress import Lines
        from critica.training.run import train

        quiet_libraries()
        if self.seeds > 1:
            return self._several(recipe)
        folder = self.folder or free_folder(recipe.name, recipe.seed)
        told = listeners_of(self.track)
        lines = partial(Lines, samples_every=self.samples_every)
        result = train(recipe, folder, reporter=lines, notify=say, critic_from=self.critic_from, listeners=told)
        if self.json:
            show_json(result_json(result))
        else:
            say(describe_result(result))
            show(str(result.run))
        return 0 if result.finished else STOPPED

    def _several(self, recipe: "Recipe") -> int:
        """Every seed, then what they came to together."""
        from critica.cli.compare import describe_comparison
        from critica.evaluation.compare import compare
        from critica.store.evaluations import load_result
        from critica.training.many_seeds import train_seeds
        from critica.training.progress import Lines

        folder = self.folder or Path("runs") / f"{recipe.name}-seeds"
        told = partial(listeners_of, self.track)
        lines = partial(Lines, samples_every=self.samples_every)
        results = list(train_seeds(recipe, folder, self.seeds, lines, say, self.critic_from, told))
        if not all(result.finished for result in results):
            say(f"stopped in {results[-1].run}; the same command goes on")
            return STOPPED
        found = compare([load_result(result.run) for result in results])
        if self.json:
            show_json({"runs": [result_json(result) for result in results]} | found.to_json())
        else:
            show(describe_comparison(replace(found, differences=())))
        return 0
