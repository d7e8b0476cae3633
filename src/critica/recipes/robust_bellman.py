"""Robust Bellman PPO: targets bootstrap from the least that any head expects (the baseline that DVPO names)."""

from critica.advantages.gae import Gae
from critica.advantages.risk import WorstHead
from critica.advantages.standardized import Standardized
from critica.critics.quantile import NO_TAIL, QuantileCritic
from critica.critics.targets import LambdaReturn
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

ROBUST_BELLMAN = Recipe(
    name="robust_bellman",
    paper=Paper("DVPO: Distributional Value Modeling-based Policy Optimization (its worst-case baseline)", "2512.03847"),
    critic=QuantileCritic(heads=3, quantiles=20, consistency=0.0, tail=NO_TAIL),
    target=LambdaReturn(discount=1.0, decay=0.95, risk=WorstHead()),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    wing="value critics",
    provenance={
        "target.risk": OurChoice("the value target is a minimum; over what is not said, so over the heads", paper="a minimum"),
        "target.decay": OurChoice("as PPO's: one-step targets carry an end reward back one token an update", paper="not stated"),
        "critic": OurChoice("DVPO's critic without what makes it DVPO, so that the two differ in one thing", paper="not stated"),
        "critic.consistency": OurChoice("off: it would pull together the heads whose minimum is taken"),
        "advantage": PaperSays("PPO's, on the critic's mean"),
    },
)
