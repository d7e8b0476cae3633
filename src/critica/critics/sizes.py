"""How many numbers a critic's head holds, and how many critics a combination is: what a plan needs before any model."""

from collections.abc import Iterator
from dataclasses import dataclass

from critica.critics.base import CriticPart
from critica.critics.blend import Blend
from critica.critics.bottleneck import Bottleneck
from critica.critics.bounded import BoundedCritic
from critica.critics.categorical import CategoricalCritic
from critica.critics.chunk import ChunkCritic
from critica.critics.ensemble import Ensemble
from critica.critics.gaussian import GaussianCritic
from critica.critics.lagged import Lagged
from critica.critics.outcome_classes import OutcomeClasses
from critica.critics.privileged import Privileged
from critica.critics.quantile import QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.sentence_reward import SentenceReward
from critica.critics.success import SuccessCritic
from critica.critics.surprise import SurpriseCritic
from critica.critics.taught_ends import TaughtEnds
from critica.critics.token_values import TokenValues
from critica.functional.surprise import SURPRISE_COLUMNS

REGULARIZED = (ScalarCritic, BoundedCritic, QuantileCritic, CategoricalCritic, GaussianCritic, SuccessCritic)


@dataclass(frozen=True, slots=True)
class Holding:
    """A learned critic inside of a configuration: how often its weights are trained, and how often held in all."""

    part: CriticPart
    trained: int
    held: int


def holdings(part: CriticPart, trained: int = 1, held: int = 1) -> Iterator[Holding]:
    """The learned critics that a configuration builds; none for one that counts, or for a user's own."""
    match part:
        case Ensemble(critic=inner, members=members):
            yield from holdings(inner, trained * members, held * members)
        case Lagged(critic=inner):
            yield from holdings(inner, trained, 2 * held)
        case Privileged(critic=inner) | TaughtEnds(critic=inner):
            yield from holdings(inner, trained, held)
        case Blend(first=first, second=second):
            yield from holdings(first, trained, held)
            yield from holdings(second, trained, held)
        case (
            ScalarCritic()
            | BoundedCritic()
            | QuantileCritic()
            | CategoricalCritic()
            | GaussianCritic()
            | SurpriseCritic()
            | OutcomeClasses()
            | TokenValues()
            | SuccessCritic()
            | ChunkCritic()
            | SentenceReward()
        ):
            yield Holding(part, trained, held)
        case _:
            return


def head_parameters(part: CriticPart, width: int, vocabulary: int = 0) -> int:
    """Numbers trained beside the body of a learned critic that reads states of this width; 0 for any other.

    `vocabulary` counts only for a head that has a row for every token.
    """
    if isinstance(part, TokenValues):
        return part.hidden * (width + 1) + vocabulary * part.atoms * ((part.hidden or width) + 1)
    layers = 0
    if isinstance(part, REGULARIZED):
        for regularizer in part.regularizers:
            layers += 2 * regularizer.latent * (width + 1) if isinstance(regularizer, Bottleneck) else 0
            width = regularizer.reaches(width)
    return layers + output_parameters(part, width)


def output_parameters(part: CriticPart, width: int) -> int:
    """The same without regularizers."""
    match part:
        case ScalarCritic(hidden=hidden) | BoundedCritic(hidden=hidden) | SuccessCritic(hidden=hidden):
            return hidden * (width + 1) + (hidden or width) + 1
        case ChunkCritic(hidden=hidden):
            return 2 * (hidden * (width + 1) + (hidden or width) + 1)
        case SentenceReward(hidden=hidden, attention=attention):
            return hidden * (width + 1) + (hidden or width) + 1 + 2 * attention * width
        case QuantileCritic(heads=heads, quantiles=quantiles, hidden=hidden):
            return heads * (hidden * (width + 1 + quantiles) + quantiles)
        case CategoricalCritic(atoms=atoms):
            return atoms * (width + 1)
        case OutcomeClasses(rewards=rewards):
            return len(rewards) * (width + 1)
        case SurpriseCritic(hidden=hidden, states=states):
            return hidden * (SURPRISE_COLUMNS + (width if states else 0) + hidden + 3) + 1
        case GaussianCritic(hidden=hidden, fixed=fixed):
            return hidden * (width + 1) + (hidden + 1) * (1 if fixed else 2)
        case _:
            return 0


def law_numbers(part: CriticPart) -> int:
    """Numbers per token that a law takes on the step's grid: its values, and samples and weights of its targets."""
    match part:
        case QuantileCritic(heads=heads, quantiles=quantiles):
            return quantiles * (heads + 3)
        case CategoricalCritic(atoms=atoms) | TokenValues(atoms=atoms):
            return atoms * 4
        case OutcomeClasses(rewards=rewards):
            return len(rewards) * 4
        case _:
            return 0
