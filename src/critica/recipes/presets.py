"""Other libraries' conventions as settings: `--preset trl` makes of a recipe what that library's defaults make of it.

Libraries give one name to different losses: they divide by deviations with different epsilons, average over other
things, charge KL elsewhere, and correct a sampler's mismatch differently. A preset changes these alone; it leaves
critic, data, sizes and rates. Read from trl f2cd577, verl b178a3c, OpenRLHF 3c3be62 and prime-rl 559b447. All four take
standard deviations with ddof=1, as we do.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from critica.advantages.outcome import Outcome
from critica.critics.scalar import ScalarCritic
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio, ClippedWeight
from critica.recipes.base import CodeSays, Recipe
from critica.recipes.coercion import ConfigError, nearest
from critica.recipes.config import Catalogue
from critica.recipes.resolve import change_recipe
from critica.records.losses import Constant

KL_OFF = "no KL term by default"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting, and what the library does."""

    path: str
    value: str
    says: str


Changes = Iterator[Change]


def trl(recipe: Recipe) -> Changes:
    """GRPOTrainer's defaults and, for `rloo`, RLOOTrainer's."""
    yield from epsilon(recipe, 1e-4)
    if recipe.name == "rloo":
        yield Change("objective.surrogate", '{use="clipped_ratio", low=0.2, high=0.2}', "RLOOTrainer: epsilon 0.2")
        yield Change("objective.level", "sequence_sum", "RLOOTrainer: the ratio of whole completions")
        yield Change("objective.mismatch", "[]", "RLOOTrainer corrects no mismatch")
        yield Change("placement.reference_kl", "0.05", "RLOOTrainer: beta 0.05, k1 in the reward")
        return
    yield from clip(recipe, 0.2, 0.0)
    yield from weight_clip(recipe, 0.0, 5.0, "epsilon_high bounds the ratio itself, from above alone")
    yield from reduction(recipe, "loss_type dapo: a mean over the tokens of the step")
    yield from without_kl(recipe, "beta 0")
    yield from mismatch(recipe, '[{use="masked", low=0.0, high=3.0, per="sequence"}]', "sequence_mask, at most 3")


def verl(recipe: Recipe) -> Changes:
    """The trainer's default configuration."""
    yield from epsilon(recipe, 1e-6)
    yield from clip(recipe, 0.2, 3.0)
    yield from weight_clip(recipe, 0.8, 1.2, "both sides, by the usual clip range")
    yield from reduction(recipe, "loss_agg_mode token-mean")
    yield from without_kl(recipe, "use_kl_loss off, and no KL in the reward")
    yield from value_critic(recipe, "cliprange_value 0.5")
    yield from mismatch(recipe, '[{use="truncated", cap=2.0, per="sequence"}]', "rollout_is sequence, 2")


def openrlhf(recipe: Recipe) -> Changes:
    """The command line's defaults."""
    yield from epsilon(recipe, 1e-9)
    yield from clip(recipe, 0.2, 0.0)
    yield from reduction(recipe, "a mean over the tokens of the batch")
    yield from without_kl(recipe, "the KL cost is in the reward")
    yield Change("placement.reference_kl", "0.01", "init_kl_coef 0.01, k1 in the reward")
    yield from value_critic(recipe, "value_clip 0.5")
    yield Change("objective.mismatch", "[]", "no correction of the sampler unless asked for")


def prime_rl(recipe: Recipe) -> Changes:
    """The trainer's default loss, for recipes that clip a token's ratio."""
    path = outcome_path(recipe)
    if path and recipe.name in ("grpo", "dapo"):
        yield Change(f"{path}.scale", "none", "the group's mean is subtracted, and nothing divided by")
    if recipe.name == "max_rl":
        yield Change("critic", "group_mean", "max_rl: (R - mean) / mean")
        yield Change("advantage", '{use="outcome", scale="mean", epsilon=0.0}', "prompts that all fail are dropped")
    objective = recipe.objective
    if (
        isinstance(objective, PolicyLoss)
        and isinstance(objective.surrogate, ClippedRatio)
        and objective.level == "token"
    ):
        yield Change("objective.mismatch", "[]", "the sampler is the center of the ratio")
        yield Change("objective.center", "behavior", "ratios are taken against the sampler")
        yield Change(
            "objective.surrogate", '{use="masked_shift", width=0.2, drift=0.001}',
            "a token that moved by 0.2 in probability where its credit pushes on is dropped; 1e-3 (log ratio)^2",
        )  # fmt: skip
    yield from reduction(recipe, "a mean over the tokens of the step")
    yield from without_kl(recipe, KL_OFF)


def outcome_path(recipe: Recipe) -> str:
    """Where the recipe divides an outcome, as advantage or advantage.inner; empty if it does not."""
    rule, path = recipe.advantage, "advantage"
    while not isinstance(rule, Outcome):
        rule, path = getattr(rule, "inner", None), f"{path}.inner"
        if rule is None:
            return ""
    return path


def epsilon(recipe: Recipe, value: float) -> Changes:
    """Beside a standard deviation."""
    path = outcome_path(recipe)
    if path and "group" in _scale(recipe):
        yield Change(f"{path}.epsilon", f"{value:g}", f"{value:g} beside the group's deviation")


def _scale(recipe: Recipe) -> str:
    rule = recipe.advantage
    while not isinstance(rule, Outcome):
        rule = getattr(rule, "inner")  # noqa: B009
    return rule.scale


def clip(recipe: Recipe, width: float, dual: float) -> Changes:
    """Of a token's ratio. A wider upper side (DAPO) and a clip of whole answers (GSPO) are the method's own."""
    objective = recipe.objective
    if not isinstance(objective, PolicyLoss) or not isinstance(objective.surrogate, ClippedRatio):
        return
    if objective.level == "token" and objective.surrogate.low == objective.surrogate.high:
        yield Change("objective.surrogate.low", f"{width:g}", f"clip range {width:g}")
        yield Change("objective.surrogate.high", f"{width:g}", f"clip range {width:g}")
    yield Change("objective.surrogate.dual", f"{dual:g}", f"dual clip {dual:g}" if dual else "no dual clip")


def weight_clip(recipe: Recipe, low: float, high: float, says: str) -> Changes:
    """Of CISPO's weights."""
    if isinstance(recipe.objective, PolicyLoss) and isinstance(recipe.objective.surrogate, ClippedWeight):
        yield Change("objective.surrogate.low", f"{low:g}", says)
        yield Change("objective.surrogate.high", f"{high:g}", says)


def reduction(recipe: Recipe, says: str) -> Changes:
    """The mean over tokens, but for methods that are another reduction: Dr. GRPO, and ratios of whole answers."""
    objective = recipe.objective
    own = isinstance(objective, PolicyLoss) and (
        objective.level != "token" or isinstance(objective.reduction, Constant) or recipe.name in ("sapo", "gmpo")
    )
    if not own:
        yield Change("objective.reduction", "token_mean", says)


def mismatch(recipe: Recipe, value: str, says: str) -> Changes:
    """Of sampler and trainer, unless ratios are taken against the sampler as it is."""
    if isinstance(recipe.objective, PolicyLoss) and recipe.objective.center == "proximal":
        yield Change("objective.mismatch", value, says)


def without_kl(recipe: Recipe, says: str) -> Changes:
    """No KL to the reference in the loss."""
    objective = recipe.objective
    if isinstance(objective, PolicyLoss) and any(isinstance(one, ReferenceKl) for one in objective.penalties):
        rest = [one for one in objective.penalties if not isinstance(one, ReferenceKl)]
        if not rest:
            yield Change("objective.penalties", "[]", says)


def value_critic(recipe: Recipe, says: str) -> Changes:
    """PPO with a value head: gamma and lambda 1, and the value's clip."""
    if recipe.name == "ppo" and isinstance(recipe.critic, ScalarCritic):
        yield Change("critic.clip", "0.5", says)
        yield Change("advantage.inner.decay", "1.0", "lambda 1")


PRESETS: Mapping[str, Callable[[Recipe], Changes]] = MappingProxyType(
    {"trl": trl, "verl": verl, "openrlhf": openrlhf, "prime-rl": prime_rl}
)


def apply_preset(recipe: Recipe, name: str, parts: Catalogue) -> Recipe:
    """The recipe under that library's conventions, each with its origin. Raises `ConfigError` for an unknown name, or
    for a recipe whose objective has no such conventions."""
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name!r}{nearest(name, PRESETS)}. There are: {', '.join(PRESETS)}.")
    if not isinstance(recipe.objective, PolicyLoss):
        raise ConfigError(
            f"--preset {name} is about policy losses, and {recipe.name} trains by {type(recipe.objective).__name__}:"
            " leave it out."
        )
    changes = tuple(PRESETS[name](recipe))
    changed = change_recipe(recipe, [f"{change.path}={change.value}" for change in changes], parts)
    said = {change.path: CodeSays(f"{name}: {change.says}") for change in changes}
    return replace(changed, provenance=MappingProxyType({**changed.provenance, **said}))
