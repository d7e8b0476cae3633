"""HL-Gauss: PPO whose value is a classification over atoms instead of a regression."""

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.categorical import CategoricalCritic
from critica.critics.targets import LambdaReturn
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

HL_GAUSS = Recipe(
    name="hl_gauss",
    paper=Paper("Stop Regressing: Training Value Functions via Classification for Scalable Deep RL", "2403.03950"),
    critic=CategoricalCritic(atoms=51, encoding="hl_gauss", sigma=0.75),
    target=LambdaReturn(discount=1.0, decay=0.95),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    wing="value critics",
    provenance={
        "critic.atoms": PaperSays("51 bins in its Atari experiments"),
        "critic.sigma": PaperSays("section 3.1: sigma / bin width = 0.75"),
        "target": OurChoice("PPO's, so that the head is all that differs", paper="one-step TD of off-policy agents"),
        "objective": OurChoice("PPO's, likewise", paper="value-based agents"),
    },
)
