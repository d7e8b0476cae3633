"""`critica policy mix`: policies of one base mixed by their weights, between or beyond them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from critica.cli.output import say, show
from critica.recipes.coercion import ConfigError


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
    weights: Annotated[str, arg(metavar="W,W,…", help_behavior_hint="")]

    # The folder to write.
    out: Annotated[str, arg(metavar="DIR", help_behavior_hint="")]

    def __call__(self) -> int:
        """Read, mix, publish the folder whole, and say what was mixed."""
        if len(self.policies) < 2:
            raise ConfigError(
                "a mixture has a base and a policy at least: `critica policy mix BASE POLICY --weights 1.3 --out DIR`."
            )
        weights = numbers(self.weights)
        if len(weights) != len(self.policies) - 1:
            raise ConfigError(
                f"--weights {self.weights} has {len(weights)} numbers, and {len(self.policies) - 1} policies stand"
                " beside the base: give one for each."
            )
        folder = Path(self.out)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} is not empty: name a new folder with --out.")
        from critica.policies.locate import locate
        from critica.policies.mixing import mix_folders
        from critica.store.files import publish_folder

        places = [locate(policy_of(named)) for named in self.policies]
        written: list[int] = []
        publish_folder(folder, lambda fresh: written.append(mix_folders(places[0], places[1:], weights, fresh)))
        for place, weight in zip(places, (1 - sum(weights), *weights), strict=True):
            show(f"{weight:+.3f}  {place}")
        say(f"{written[0]} tensors saved in {folder}: `critica evaluate {folder}` measures it")
        return 0


def policy_of(named: str) -> str:
    """The last policy of a run folder; anything else as it is."""
    if not (Path(named) / "run.json").is_file():
        return named
    from critica.store.run_folder import RunFolder

    return str(RunFolder.open(Path(named)).checkpoints.latest(allow_fallback=True).path / "policy")


def numbers(text: str) -> list[float]:
    """The numbers between the commas. Raises `ConfigError`."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--weights {text}: write numbers with commas between, such as 0.5,0.5.") from error
