"""The task mixes of the noise bench: three families of worked arithmetic that pico can do, at several lengths."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from critica.environments.base import EnvironmentConfig
from critica.environments.catalogue import PICO_MAX_NEW_TOKENS, pico
from critica.environments.mixes import MixEntry
from critica.environments.reasoning_gym import ReasoningGym


def mix_of(
    name: str,
    terms: tuple[int, int],
    equation: tuple[int, int],
    animals: tuple[int, int],
    constants: int = 16,
    herd: int = 9,
) -> ReasoningGym:
    """Sums of so many terms, equations of so many with constants up to this, legs of so many kinds of animals in herds
    up to this; equally often."""
    entries = (
        MixEntry("chain_sum", 1.0, {"min_terms": terms[0], "max_terms": terms[1], "min_digits": 1, "max_digits": 1}),
        MixEntry(
            "simple_equations", 1.0,
            {
                "min_terms": equation[0], "max_terms": equation[1], "min_value": 1, "max_value": constants,
                "operators_weights": [0.5, 0.5, 0.0],
            },
        ),
        MixEntry(
            "leg_counting", 1.0,
            {"min_animals": animals[0], "max_animals": animals[1], "min_instances": 1, "max_instances": herd},
        ),
    )  # fmt: skip
    return ReasoningGym(entries, name=name, max_new_tokens=PICO_MAX_NEW_TOKENS, extract="after_equals")


def short() -> ReasoningGym:
    """Fewer steps than pico was shown."""
    return mix_of("short", (3, 4), (2, 3), (2, 3))


def long() -> ReasoningGym:
    """More steps than pico was shown."""
    return mix_of("long", (5, 7), (4, 5), (4, 5))


def uneven() -> ReasoningGym:
    """From fewer steps to more, with smaller numbers."""
    return mix_of("uneven", (3, 7), (2, 5), (2, 5), constants=12, herd=7)


# `long` is for the search of learning rates alone, and `uneven` is kept for a claim that is run once.
MIXES: Mapping[str, Callable[[], EnvironmentConfig]] = MappingProxyType(
    {"worked": pico, "short": short, "long": long, "uneven": uneven}
)
TUNING_MIX, CLAIM_MIX = "long", "uneven"
BENCH_MIXES = ("worked", "short")
