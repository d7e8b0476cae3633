"""RLOO: REINFORCE against the mean of the siblings, an unbiased baseline that needs no model."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import LeaveOneOut
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenSums
from critica.rollout.place import Placement

RLOO = Recipe(
    name="rloo",
    paper=Paper("Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback", "2402.14740"),
    critic=LeaveOneOut(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(PolicyGradient(), reduction=SequenceMeanOfTokenSums()),
    placement=Placement(reference_kl=0.0),
    provenance={
        "critic": PaperSays("eq. 8"),
        "objective.reduction": PaperSays("the whole completion is one action, section 3"),
        "placement.reference_kl": OurChoice("verifiable rewards need no leash; TRL's trainer uses 0.05", paper="0.03-0.1"),
        "sampling.samples_per_prompt": CodeSays("8 as in this library's other recipes; TRL's RLOOTrainer uses 2"),
    },
)
