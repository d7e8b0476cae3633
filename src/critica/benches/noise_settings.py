"""What the noise bench runs: noises, arms, mixes, and the grids that pick among them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from critica.benches.noise_arms import ARMS, CORE_ARMS, CORRECTED_ARMS, FURTHER_ARMS, SWEEP_ARMS, Lengths, Run
from critica.benches.noise_mixes import BENCH_MIXES, MIXES
from critica.rewards.noise_specs import parse_noise

CLEAN = "none"
CORE_NOISES = (
    CLEAN, "flip:0.2:sample", "flip:0.4:sample", "flip:0.2:group", "flip:0.4:group", "wrong_labels:0.2",
)  # fmt: skip
# Worked answers are 17 tokens long and the limit is 64: at 48 tokens a longer answer still pays.
FURTHER_NOISES = ("wrong_labels:0.4", "flip:0.3/0:sample", "favor:0.3:length:48", "majority:8")
CONTROLS = ("random:0.5", "inverse")
Grid = Literal["core", "controls", "sweep", "full"]
GRIDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "core": (CORE_NOISES, CORE_ARMS, ("worked",)),
    "controls": (CONTROLS, CORE_ARMS, ("worked",)),
    "sweep": ((CLEAN, "flip:0.2:sample", "flip:0.4:sample", "flip:0.4:group"), SWEEP_ARMS, ("worked",)),
    "full": ((*CORE_NOISES, *FURTHER_NOISES, *CONTROLS), (*CORE_ARMS, *FURTHER_ARMS, *CORRECTED_ARMS), BENCH_MIXES),
}


@dataclass(frozen=True, slots=True)
class NoiseSettings:
    """How the noise bench runs; the defaults are the committed edition.

    `grid` says which runs; `noises`, `arms` and `mixes` replace its own where they are not empty. `lengths` are what
    all runs share. An arm that the search of learning rates does not know takes `learning_rate`. `first_seed`: fresh
    seeds for a claim begin elsewhere. `most_seeds` 0: all that were asked for. `jobs` runs at once, one thread each.
    """

    grid: Grid = "core"
    noises: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    mixes: tuple[str, ...] = ()
    lengths: Lengths = field(default_factory=Lengths)
    learning_rate: float = 2e-4
    first_seed: int = 0
    most_seeds: int = 0
    jobs: int = 2

    def __post_init__(self) -> None:
        if self.grid not in GRIDS:
            raise ValueError(f"there is no grid {self.grid!r}; there are {', '.join(GRIDS)}")
        refuse_unknown(self.arms, ARMS, "arms")
        refuse_unknown(self.mixes, MIXES, "mixes")
        for noise in self.noises:
            if parse_noise(noise).name != noise:
                raise ValueError(f"noise {noise!r} is written {parse_noise(noise).name!r}: one noise, one name")
        if self.jobs < 1 or self.first_seed < 0 or self.most_seeds < 0 or not self.learning_rate > 0:
            raise ValueError("jobs must be at least 1, learning_rate above 0, first_seed and most_seeds not negative")


def refuse_unknown(names: Sequence[str], known: Sequence[str] | dict | object, what: str) -> None:
    """Raise ValueError for names that are not among the known ones."""
    unknown = [name for name in names if name not in known]  # type: ignore[operator]
    if unknown:
        raise ValueError(f"there are no {what} {', '.join(unknown)}; there are {', '.join(known)}")  # type: ignore[arg-type]


def runs_of(seeds: int, settings: NoiseSettings, rates: dict[str, float]) -> list[Run]:
    """The grid's runs, whole seeds one after the other, so that a cut-off bench has whole seeds."""
    noises, arms, mixes = GRIDS[settings.grid]
    wanted = (settings.mixes or mixes, settings.noises or noises, settings.arms or arms)
    return product_of(seeds, settings, rates, *wanted)


def every_run(seeds: int, settings: NoiseSettings, rates: dict[str, float]) -> list[Run]:
    """Whatever a page may show: all grids and what is named beside them. Most of it was perhaps never run."""
    grids = list(GRIDS.values())
    noises, arms, mixes = (tuple(dict.fromkeys(name for grid in grids for name in grid[i])) for i in range(3))
    return product_of(
        seeds, settings, rates,
        tuple(dict.fromkeys((*mixes, *settings.mixes))),
        tuple(dict.fromkeys((*noises, *settings.noises))),
        tuple(dict.fromkeys((*arms, *settings.arms))),
    )  # fmt: skip


def product_of(
    seeds: int,
    settings: NoiseSettings,
    rates: dict[str, float],
    mixes: tuple[str, ...],
    noises: tuple[str, ...],
    arms: tuple[str, ...],
) -> list[Run]:
    """Every combination, seeds outermost."""
    seeds = min(seeds, settings.most_seeds or seeds)
    return [
        Run(mix, noise, arm, seed, rates.get(ARMS[arm].tuned_as, settings.learning_rate))
        for seed in range(settings.first_seed, settings.first_seed + seeds)
        for mix in mixes
        for noise in noises
        for arm in arms
    ]
