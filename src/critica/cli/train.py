"""`critica train`: a recipe, a policy and tasks become a run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from critica.cli.choice import Choice, free_folder, resolve
from critica.cli.output import quiet_libraries, say, show, show_json
from critica.cli.results import STOPPED, describe_result, result_json


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy by a recipe and write a run folder.

    Ctrl-C stops after the current step with a checkpoint; twice: at once. `critica resume RUN` goes on.

    Examples:
      critica train dvpo --noise flip:0.2:group --steps 100 --run runs/first
      critica train grpo --policy Qwen/Qwen3-0.6B --environment rg:chain_sum --set policy.lora.rank=16
      critica train dvpo --set critic.quantiles=32 --set checkpoint.every=20
      critica train ppo --set critic=my_file.py:MyCritic
    """

    choice: Choice

    # The run folder to make; by default runs/RECIPE-SEED, with a number if there is one already.
    run: Annotated[str, arg(metavar="DIR", help_behavior_hint="")] = ""

    # A folder that `critica critic fit` wrote: the critic starts with its weights.
    critic_from: Annotated[str, arg(metavar="DIR", help_behavior_hint="")] = ""

    # Write the result as JSON to stdout.
    json: bool = False

    @property
    def folder(self) -> Path | None:
        """The run folder, when it was named."""
        return Path(self.run) if self.run else None

    def __call__(self) -> int:
        """Resolve, train, say what came out."""
        recipe = resolve(self.choice)
        from critica.training.progress import Lines
        from critica.training.run import train

        quiet_libraries()
        folder = self.folder or free_folder(recipe.name, recipe.seed)
        result = train(recipe, folder, reporter=Lines, notify=say, critic_from=self.critic_from)
        if self.json:
            show_json(result_json(result))
        else:
            say(describe_result(result))
            show(str(result.run))
        return 0 if result.finished else STOPPED
