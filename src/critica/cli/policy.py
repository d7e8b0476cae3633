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


@dataclass(frozen=True, kw_only=True)
class MixPolicies:
    """Mix policies that began from one base: base + sum of weight * (policy - base), tensor by tensor.

    Weights that add to 1 interpolate (a soup); larger ones go on in the direction that a policy took since the base.

    Examples:
      critica policy mix pico runs/polite runs/right --weights 0.5,0.5 --out soup
      critica policy mix pico runs/polite runs/right --weights 0.5,1.0 --out righter
      critica policy mix pico runs/right --weights 1.3 --out beyond
    """

    # The base, then the policies: folders, or run folders (their last policy), or names.
    policies: Annotated[Positional[tuple[str, ...]], arg(metavar="BASE POLICY [POLICY …]", help_behavior_hint="")]

    # One number a policy besides the base, with commas between.
    weights: Annotated[str, arg(metavar="W,W,…")]

    # The folder to write.
    out: Annotated[str, arg(metavar="DIR")]

    def __call__(self) -> int:
        """Mix into a new folder, which appears once it is whole; one line a policy: its weight in the mixture."""
        import shutil
        from tempfile import mkdtemp

        from critica.policies.mixing import mix_folders

        weights, folder = self._weights(), Path(self.out)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} is not empty: name a new folder with --out.")
        base, *others = (policy_folder(name) for name in self.policies)
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.absolute().parent))
        try:
            count = mix_folders(base, others, weights, part)
            part.chmod(0o755)
            part.replace(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        for name, weight in zip(self.policies, (1 - sum(weights), *weights), strict=True):
            show(f"{weight:+.3f}  {name}")
        say(f"{count} tensors saved in {folder}: `critica evaluate {folder} --environment pico` measures it")
        return 0

    def _weights(self) -> list[float]:
        """The weights as numbers, one for each policy besides the base."""
        if len(self.policies) < 2:
            raise ConfigError(
                "name a base and a policy or more: critica policy mix pico runs/right --weights 1.3 --out DIR"
            )
        try:
            weights = [float(word) for word in self.weights.split(",")]
        except ValueError as error:
            raise ConfigError(
                f"--weights is {self.weights!r}: write numbers with commas between, as 0.5,0.5."
            ) from error
        if len(weights) != len(self.policies) - 1:
            raise ConfigError(
                f"--weights has {len(weights)} numbers, and there are {len(self.policies) - 1} policies besides the"
                " base: write one for each."
            )
        return weights


def policy_folder(name: str) -> Path:
    """The folder of a policy: a run's last one, a folder, or a name."""
    from critica.policies.locate import locate
    from critica.store.run_folder import RunFolder

    if (Path(name) / "run.json").is_file():
        return RunFolder.open(name).checkpoints.latest(allow_fallback=True).path / "policy"
    return locate(name)
