"""REINFORCE++: no group, no critic: returns of each token, a KL cost among them, whitened over the whole step."""

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.counted import NoBaseline
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean
from critica.rollout.place import Placement

REINFORCE_PP = Recipe(
    name="reinforce_pp",
    paper=Paper("REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global Advantage Normalization", "2501.03262"),
    critic=NoBaseline(),
    advantage=Standardized(Gae(discount=1.0, decay=1.0)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), reduction=TokenMean()),
    placement=Placement(reference_kl=1e-3),
    provenance={
        "critic": PaperSays("none"),
        "advantage.inner": CodeSays("OpenRLHF and verl: the sum of what is paid from each token on, discount 1"),
        "advantage": PaperSays("normalized over the whole batch of tokens"),
        "placement.reference_kl": OurChoice("verifiable rewards need a short leash: 1e-3 a nat", paper="k1 in the reward; OpenRLHF starts from 0.01"),
        "objective.surrogate": PaperSays("PPO's clip, 0.2"),
        "objective.reduction": CodeSays("OpenRLHF's default: the mean over tokens"),
        "sampling.samples_per_prompt": OurChoice("as the other recipes; one will do", paper="1"),
    },
)
