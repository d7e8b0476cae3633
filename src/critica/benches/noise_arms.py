"""The arms of the noise bench: recipes as they are but for the sizes that all share, and variants that sweep a part."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.benches.noise_mixes import MIXES
from critica.critics.quantile import NO_TAIL, QuantileCritic
from critica.critics.targets import LambdaReturn
from critica.recipes.base import Checkpoints, Recipe, Safety
from critica.recipes.catalogue import RECIPES
from critica.rewards.answer_posterior import AnswerPosterior
from critica.rewards.noise_specs import parse_noise
from critica.rewards.posterior import Posterior

WARMUP_PARTS = 8  # a critic's warm-up is at most this part of a run


@dataclass(frozen=True, slots=True)
class Arm:
    """A recipe in the race. `tuned_as`: whose learning rate it takes; `about` says for the page what it is."""

    name: str
    recipe: Recipe
    tuned_as: str
    about: str


def plain(name: str) -> Arm:
    """A recipe of the catalogue."""
    return Arm(name, RECIPES[name], name, f"the recipe `{name}`")


def variant(name: str, of: str, about: str, **changes: Any) -> Arm:
    """A recipe with some parts replaced, at that recipe's learning rate."""
    return Arm(name, replace(RECIPES[of], **changes), of, f"`{of}` with {about}")


def ppo_decay(decay: float) -> Arm:
    """PPO with both decays at this."""
    return variant(
        f"ppo_decay_{decay:g}", "ppo", f"decay {decay:g} in target and advantage",
        target=LambdaReturn(discount=1.0, decay=decay), advantage=Standardized(Gae(discount=1.0, decay=decay)),
    )  # fmt: skip


def dvpo_without_tails() -> Arm:
    """DVPO's critic without its tail terms."""
    critic = RECIPES["dvpo"].critic
    assert isinstance(critic, QuantileCritic)
    return variant("dvpo_no_tails", "dvpo", "its tail terms off", critic=replace(critic, tail=NO_TAIL))


CORE_ARMS = ("reinforce", "rloo", "grpo", "ppo", "vc_ppo", "dvpo", "surprise", "answer_posterior")
FURTHER_ARMS = ("dapo", "vapo", "vrpo", "robust_bellman", "hl_gauss")
CORRECTED = (
    variant("ppo_answer_posterior", "ppo", "answers' posterior as its correction", correction=AnswerPosterior()),
    variant("dvpo_answer_posterior", "dvpo", "answers' posterior as its correction", correction=AnswerPosterior()),
    variant(
        "count_posterior", "answer_posterior", "the posterior of counts alone: nobody looks at answers",
        correction=Posterior(),
    ),
)  # fmt: skip
# Recipes that differ in what they make of a group's outcomes, for the bench of estimators: at so many updates a step.
ESTIMATORS = (
    "reinforce", "rloo", "reinforce_pp", "reinforce_pp_baseline", "grpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo",
    "gmpo", "opo", "remax", "gvpo", "max_rl", "pkpo", "rl2ml", "hpo", "a_hpo", "tempo",
)  # fmt: skip
UPDATES = (1, 4)


def updated(name: str, updates: int) -> Arm:
    """The recipe with each step's answers cut into so many updates."""
    learner = replace(RECIPES[name].learner, updates_per_epoch=updates)
    return variant(updated_name(name, updates), name, f"{updates} updates a step", learner=learner)


def updated_name(name: str, updates: int) -> str:
    """What that arm is called."""
    return f"{name}@{updates}"


SWEEP = (ppo_decay(0.8), ppo_decay(1.0), dvpo_without_tails())
ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        arm.name: arm
        for arm in (
            *(plain(name) for name in (*CORE_ARMS, *FURTHER_ARMS)), *CORRECTED, *SWEEP,
            *(updated(name, updates) for name in ESTIMATORS for updates in UPDATES),
        )
    }
)  # fmt: skip
CORRECTED_ARMS = tuple(arm.name for arm in CORRECTED)
SWEEP_ARMS = ("ppo", "dvpo", *(arm.name for arm in SWEEP))


@dataclass(frozen=True, slots=True)
class Lengths:
    """What every run shares: `steps` of prompts times samples each, measured on `held_out` prompts every so often.

    `every` is in steps' worth of samples: a recipe that samples more in a step is measured at the same samples drawn.
    """

    steps: int = 48
    prompts_per_step: int = 8
    samples_per_prompt: int = 8
    every: int = 6
    held_out: int = 320

    def __post_init__(self) -> None:
        if min(self.steps, self.prompts_per_step, self.every, self.held_out) < 1 or self.samples_per_prompt < 2:
            raise ValueError(
                "steps, prompts_per_step, every and held_out must be at least 1, and samples_per_prompt 2: half of the"
                " arms compare siblings"
            )

    @property
    def samples(self) -> int:
        """What every run draws in all."""
        return self.steps * self.prompts_per_step * self.samples_per_prompt


@dataclass(frozen=True, slots=True)
class Run:
    """One arm on one mix under one noise, at one seed and learning rate."""

    mix: str
    noise: str
    arm: str
    seed: int
    learning_rate: float


def recipe_of(run: Run, lengths: Lengths) -> Recipe:
    """The arm's own critic, target, advantage, objective and admission at the shared sizes and its learning rate."""
    own = ARMS[run.arm].recipe
    warmup = min(own.learner.critic_warmup_steps, lengths.steps // WARMUP_PARTS)
    return replace(
        own,
        environment=MIXES[run.mix](),
        noise=parse_noise(run.noise),
        learner=replace(
            own.learner,
            policy=replace(own.learner.policy, learning_rate=run.learning_rate),
            critic_warmup_steps=warmup,
        ),
        sampling=replace(
            own.sampling, prompts_per_step=lengths.prompts_per_step, samples_per_prompt=lengths.samples_per_prompt
        ),
        checkpoint=Checkpoints(every=1_000_000),
        safety=replace(Safety(), rehearsal=False),
        steps=lengths.steps,
        seed=run.seed,
        threads=1,
        provenance={},
    )
