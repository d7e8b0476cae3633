"""REINFORCE: the score function times the outcome, nothing expected beforehand."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import NoBaseline
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenSums

REINFORCE = Recipe(
    name="reinforce",
    paper=Paper("Simple statistical gradient-following algorithms for connectionist reinforcement learning"),
    critic=NoBaseline(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(PolicyGradient(), reduction=SequenceMeanOfTokenSums()),
    provenance={
        "critic": PaperSays("Williams 1992, section 4, with reinforcement baseline 0"),
        "objective.reduction": PaperSays("the score of the whole sequence, section 5"),
        "objective.mismatch": OurChoice("sampler and trainer agree to 1e-4 here; the cap only guards other samplers"),
    },
)
