"""Learning rates that the recipe leaves open, settled from the model's size before the run starts."""

from dataclasses import replace

from critica.policies.shape import read_shape
from critica.recipes.base import Recipe
from critica.updaters.gradient import CRITIC_FACTOR, rate_by_size


def with_rates(recipe: Recipe) -> Recipe:
    """The recipe with every learning rate a number: those left at 0 follow from the policy's parameter count."""
    learner = recipe.learner
    if learner.policy.learning_rate and learner.critic.learning_rate:
        return recipe
    size = read_shape(recipe.policy.path).parameters
    policy, critic = learner.policy, learner.critic
    if not policy.learning_rate:
        policy = replace(policy, learning_rate=round_rate(rate_by_size(size, recipe.policy.lora.rank > 0)))
    if not critic.learning_rate:
        critic = replace(critic, learning_rate=round_rate(CRITIC_FACTOR * rate_by_size(size)))
    return replace(recipe, learner=replace(learner, policy=policy, critic=critic))


def updates_of(recipe: Recipe) -> tuple[int, int]:
    """How many optimizer steps policy and critic make in the whole run, skips and adaptive replay aside."""
    learner = recipe.learner
    warming = learner.critic_warmup_steps
    policy = learner.policy_epochs * learner.updates_per_epoch
    own = learner.critic_epochs * learner.updates_per_epoch
    return max(1, recipe.steps - warming) * policy, recipe.steps * max(policy, own)


def round_rate(rate: float) -> float:
    """Two significant digits: nobody should read more into it."""
    return float(f"{rate:.1e}")
