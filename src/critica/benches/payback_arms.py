"""The arms of the payback bench: one base recipe; each arm replaces critic, its passes, target and advantage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from critica.advantages.base import AdvantageRule
from critica.advantages.outcome import Outcome
from critica.advantages.standardized import Standardized
from critica.advantages.tempo import TreeDifference
from critica.critics.base import CriticPart
from critica.critics.counted import LeaveOneOut, NoBaseline
from critica.critics.targets import MonteCarlo, TargetRule
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import Checkpoints, Learner, Paper, Recipe, Safety, Sampling
from critica.recipes.catalogue import RECIPES
from critica.records.losses import TokenMean
from critica.rewards.noise_specs import parse_noise
from critica.updaters.gradient import Adam

GROUP = "group"


@dataclass(frozen=True, slots=True)
class Arm:
    """What an arm keeps of its own. `alone` stands in for `critic` at one sample a prompt; `fewest` samples it takes.

    `critic_epochs`: passes of the critic over each step's answers, as its recipe has them.
    `keeps` says for the page what the critic is and where its values come from.
    """

    name: str
    keeps: str
    critic: CriticPart
    advantage: AdvantageRule
    target: TargetRule = MonteCarlo()
    alone: CriticPart | None = None
    fewest: int = 1
    critic_epochs: int = 1


def arm_of(name: str, keeps: str, fewest: int = 1) -> Arm:
    """The arm with the critic, target and advantage of the recipe of this name."""
    recipe = RECIPES[name]
    passes = recipe.learner.critic_epochs
    return Arm(name, keeps, recipe.critic, recipe.advantage, recipe.target, fewest=fewest, critic_epochs=passes)


ARMS: Mapping[str, Arm] = MappingProxyType({arm.name: arm for arm in (
    Arm(
        GROUP,
        "mean of the siblings (leave-one-out; standardized it is GRPO's group mean without its division by the group's"
        " spread). At 1 sample there is no group: no baseline but the step's mean, which standardizing takes out",
        LeaveOneOut(), Standardized(Outcome(scale="none")), alone=NoBaseline(), fewest=1,
    ),
    arm_of("ppo", "scalar value at every token, a body of its own, lambda-returns, GAE (decay .95), value clip .2"),
    arm_of("dvpo", "3 heads of 20 quantiles, a body of its own, lambda-mixture targets, quantile-wise GAE (decay .95)"),
    arm_of("hl_gauss", "51-atom categorical value, a body of its own, lambda-returns, GAE (decay .95)"),
    arm_of("surprise", "a small network on the policy's own surprise and entropies, eight passes, GAE (decay .95)"),
    arm_of("beta_baseline", "the prompt's own past outcomes; no prompt comes back here, so it is the faded base rate"),
    arm_of("v0", "the outcomes of earlier prompts that resemble this one (kernel over character n-grams)"),
    arm_of("v0_5", "v0's value as a prior, fused with the siblings; at 1 sample it is v0 itself", fewest=2),
    Arm(
        "tempo", "prefix tree over the siblings, tree differences (its own division by the group's spread left out)",
        RECIPES["tempo"].critic, Standardized(TreeDifference(scale="none")), fewest=2,
    ),
)})  # fmt: skip


def base(samples_per_step: int, learning_rate: float) -> Recipe:
    """What all arms share: on-policy clipped ratio, one update a step, mean over the step's tokens, no penalties."""
    return Recipe(
        name="payback",
        paper=Paper("a benchmark"),
        critic=NoBaseline(),
        advantage=Standardized(Outcome(scale="none")),
        objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), reduction=TokenMean()),
        learner=replace(Learner(), policy=Adam(learning_rate=learning_rate)),
        sampling=Sampling(samples_per_step, 1),
        checkpoint=Checkpoints(every=1_000_000),
        safety=replace(Safety(), rehearsal=False),
        threads=1,
    )


def recipe_of(name: str, samples: int, shared: Recipe, noise: str, seed: int) -> Recipe:
    """The arm at `samples` a prompt. Raises ValueError if it cannot be, or if the step's samples do not divide."""
    arm, total = ARMS[name], shared.sampling.prompts_per_step * shared.sampling.samples_per_prompt
    if samples < arm.fewest:
        raise ValueError(f"{name} compares siblings and needs at least {arm.fewest} samples a prompt, not {samples}")
    if total % samples:
        raise ValueError(f"{total} samples a step cannot be {samples} a prompt: choose samples_per_step as a multiple")
    critic = arm.alone if samples == 1 and arm.alone is not None else arm.critic
    return replace(
        shared,
        critic=critic,
        target=arm.target,
        advantage=arm.advantage,
        learner=replace(shared.learner, critic_epochs=arm.critic_epochs),
        sampling=replace(shared.sampling, prompts_per_step=total // samples, samples_per_prompt=samples),
        noise=parse_noise(noise),
        seed=seed,
    )
