"""`critica policy make pico`: the tiny policy that ships, or one that plays the token games."""

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
    """Make a tiny policy: `pico`, as it ships with Critica, or `player`, which can play the token games.

    pico: a tokenizer, a model, a supervised warm start; up to 15 minutes on two cores, and with the defaults the policy
    that ships. player: pico, shown for some minutes how the exact games are played by one who often slips; pico alone
    never wins them. It knows digit_sum (3 or 4 digits below 5, offsets to 9), binary_tree, chain (8 bits), two_branch.

    Examples:
      critica policy make pico --out my_pico
      critica policy make pico --out rough --steps 300
      critica policy make player --out player
      critica train vine_ppo --policy player --environment chain --set environment.length=8
    """

    # Which: pico or player.
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME", help_behavior_hint="")]

    # The folder to write; by default the policy's name.
    out: Annotated[str, arg(metavar="DIR", help_behavior_hint="")] = ""

    # Of the weights, the demonstrations and their order.
    seed: Natural = 0

    # Training steps; by default those of the policy that ships, or of the player of the benchmarks.
    steps: Count = None

    # Threads; the weights depend on them in their last bits.
    threads: Positive = 1

    def __call__(self) -> int:
        """Warm-start and save; for pico one line a task: how well it does before any reinforcement learning."""
        if self.words not in (("pico",), ("player",)):
            raise ConfigError("write `critica policy make pico --out DIR`, or player: only these two can be made.")
        name = self.words[0]
        folder = Path(self.out or name)
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty: name a new folder with --out.")
        (self._pico if name == "pico" else self._player)(folder)
        return 0

    def _pico(self, folder: Path) -> None:
        from critica.training.assessment import as_table
        from critica.training.warm_start import PicoRecipe, make_pico

        recipe = PicoRecipe() if self.steps is None else PicoRecipe(steps=self.steps)
        show(as_table(make_pico(folder, self.seed, self.threads, recipe, report)))
        say(f"saved in {folder}: `critica train dvpo --policy {folder}` trains it")

    def _player(self, folder: Path) -> None:
        from critica.benches.critics_fields import TAUGHT
        from critica.benches.critics_player import Lessons, player
        from critica.policies.numerics import configure

        configure(self.threads)
        lessons = Lessons(seed=self.seed) if self.steps is None else Lessons(updates=self.steps, seed=self.seed)
        say(f"{lessons.updates} updates on {', '.join(TAUGHT)}: some minutes")
        player(folder, TAUGHT, lessons)
        say(
            f"saved in {folder}: `critica train vine_ppo --policy {folder} --environment chain"
            " --set environment.length=8` trains it"
        )


def report(progress: "WarmStartProgress") -> None:
    """One line of progress."""
    left = f"{progress.seconds_left:.0f} s left"
    say(f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f} nats a token  {left}")
