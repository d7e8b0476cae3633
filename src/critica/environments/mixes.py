"""Named mixes of reasoning-gym datasets: which tasks, how hard, how often.

`PICO_TASKS` is what the shipped pico policy was warm-started on and what the demo trains on. Its prompts
are short and rarely repeat, and worked answers fit in a few dozen tokens. An answer is what follows the
last `=` of a completion: `critica.environments.demonstrations.final_answer` takes it, and the environment
calls it before the dataset's scorer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class MixEntry:
    """One reasoning-gym dataset of a mix: registered name, share of draws, config keywords."""

    name: str
    weight: float
    config: Mapping[str, Any] = field(hash=False)


PICO_TASKS: tuple[MixEntry, ...] = (
    MixEntry(
        name="chain_sum",
        weight=1.0,
        config=MappingProxyType({"min_terms": 4, "max_terms": 6, "min_digits": 1, "max_digits": 1}),
    ),
    MixEntry(
        name="simple_equations",
        weight=1.0,
        config=MappingProxyType(
            {
                "min_terms": 3,
                "max_terms": 4,
                "min_value": 1,
                "max_value": 16,
                "operators_weights": [
                    0.5,
                    0.5,
                    0.0,
                ],  # a product of two constants would leave the small range
            }
        ),
    ),
    MixEntry(
        name="leg_counting",
        weight=1.0,
        config=MappingProxyType({"min_animals": 3, "max_animals": 4, "min_instances": 1, "max_instances": 9}),
    ),
)
