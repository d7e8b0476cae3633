"""A running record of each prompt as baseline: no group is needed, one sample a prompt will do."""

from critica.advantages.outcome import Outcome
from critica.advantages.standardized import Standardized
from critica.critics.posterior import BetaPosterior
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

BETA_BASELINE = Recipe(
    name="beta_baseline",
    paper=Paper("Single-stream Policy Optimization", "2509.13232"),
    critic=BetaPosterior(strength=4.0, half_life_steps=100.0),
    advantage=Standardized(Outcome(scale="none")),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.28)),
    wing="value critics",
    provenance={
        "critic": PaperSays("a persistent Bayesian tracker of each prompt's success rate in place of the group"),
        "critic.half_life_steps": OurChoice("fades by steps; nothing to measure", paper="by the policy's KL from then"),
        "critic.strength": OurChoice("a new prompt is the base rate until about four outcomes say otherwise", paper="not known to us"),
        "critic.siblings": OurChoice("off: one sample a prompt has none", paper="none"),
        "advantage": PaperSays("advantages are normalized over the whole batch"),
        "objective.surrogate": OurChoice("clip-higher, as DAPO", paper="not known to us"),
        "sampling.samples_per_prompt": OurChoice("as the other recipes; set it to 1 with 8 times the prompts", paper="1"),
    },
)
