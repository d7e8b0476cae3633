"""V_0.5: V_0's prior and the outcomes of a few siblings, fused as far as the prior proves reliable."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.advantages.standardized import Standardized
from critica.critics.fused_value import FusedValue
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe, Sampling

V0_5 = Recipe(
    name="v0_5",
    paper=Paper("V_0.5: Generalist Value Model as a Prior for Sparse RL Rollouts", "2603.10848"),
    critic=FusedValue(tolerance=2.5, most=32.0),
    advantage=Standardized(Outcome(scale="none")),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.28)),
    sampling=replace(Sampling(), prompts_per_step=32, samples_per_prompt=4),
    wing="value critics",
    provenance={
        "critic": PaperSays("a prior fused with the mean of sparse rollouts; a hypothesis test of the prior's reliability"),
        "critic.tolerance": OurChoice("a prior is dropped by mistake once in eighty prompts", paper="not known to us"),
        "critic.most": OurChoice("no prior outweighs 32 outcomes; below that its track record decides", paper="not known to us"),
        "critic.prior": OurChoice("the dependency-free V_0 of recipe v0", paper="the pretrained V_0"),
        "advantage": OurChoice("scaled over the step: the group is no longer the yardstick", paper="not known to us"),
        "objective.surrogate": OurChoice("clip-higher, as DAPO", paper="not known to us"),
        "sampling.samples_per_prompt": PaperSays("group size 4; recipe v0_5_budget has its extra samples on demand"),
    },
)
