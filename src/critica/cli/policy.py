"""`critica policy make pico`: the tiny policy that ships, from nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from critica.cli.numbers import Count, Natural, Positive
from critica.cli.output import say, show
from critica.recipes.coercion import ConfigError

if TYPE_CHECKING:
    from critica.training.warm_start import WarmStartProgress


@dataclass(frozen=True, kw_only=True)
class MakePolicy:
    """Make the tiny policy that ships with Critica: a tokenizer, a model, a supervised warm start.

    With the defaults it takes up to 15 minutes on two cores and reproduces the policy that ships.

    Examples:
      critica policy make pico --out my_pico
      critica policy make pico --out rough --steps 300
    """

    # `make pico`.
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="make pico", help_behavior_hint="")]

    # The folder to write.
    out: Annotated[str, arg(metavar="DIR")] = "pico"

    # Of the weights, the demonstrations and their order.
    seed: Natural = 0

    # Training steps; by default those of the policy that ships.
    steps: Count = None

    # Threads; the weights depend on them in their last bits.
    threads: Positive = 1

    def __call__(self) -> int:
        """Warm-start, save, and print one line a task: how well it does before any reinforcement learning."""
        if self.words != ("make", "pico"):
            raise ConfigError("write `critica policy make pico --out DIR`; pico is the only policy that can be made.")
        folder = Path(self.out)
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty: name a new folder with --out.")
        from critica.training.assessment import as_table
        from critica.training.warm_start import PicoRecipe, make_pico

        recipe = PicoRecipe() if self.steps is None else PicoRecipe(steps=self.steps)
        show(as_table(make_pico(folder, self.seed, self.threads, recipe, report)))
        say(f"saved in {folder}: `critica train dvpo --policy {folder}` trains it")
        return 0


def report(progress: "WarmStartProgress") -> None:
    """One line of progress."""
    left = f"{progress.seconds_left:.0f} s left"
    say(f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f} nats a token  {left}")
