"""VRPO: PPO whose critic is kept from learning the reward's noise, by a bottleneck and by a frozen language head."""

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.bottleneck import Bottleneck
from critica.critics.scalar import ScalarCritic
from critica.critics.semantic import SemanticAnchor
from critica.critics.targets import LambdaReturn
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

VRPO = Recipe(
    name="vrpo",
    paper=Paper("VRPO: Rethinking Value Modeling for Robust RL Training under Noisy Supervision", "2508.03058"),
    critic=ScalarCritic(hidden=128, regularizers=(SemanticAnchor(), Bottleneck())),
    target=LambdaReturn(discount=1.0, decay=0.95),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    wing="value critics",
    provenance={
        "critic": PaperSays("abstract: squared error, a variational information bottleneck, and a frozen language head"),
        "critic.hidden": OurChoice("as wide as the code", paper="a light MLP"),
        "critic.regularizers": OurChoice("formulas, weights and thresholds are not public", paper="not stated"),
        "target.decay": OurChoice("as the advantage's", paper="not stated"),
        "advantage.inner": PaperSays("abstract: GAE"),
        "advantage.inner.decay": OurChoice("PPO's", paper="not stated"),
        "objective.surrogate": OurChoice("PPO's clip", paper="not stated"),
    },
)
