"""Dr. GRPO: GRPO without its two biases, the division by the group's spread and by the answer's length."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import Constant

DR_GRPO = Recipe(
    name="dr_grpo",
    paper=Paper("Understanding R1-Zero-Like Training: A Critical Perspective", "2503.20783"),
    critic=GroupMean(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), reduction=Constant(tokens=64)),
    provenance={
        "advantage.scale": PaperSays("section 3.2: no division by the standard deviation"),
        "objective.reduction": PaperSays("section 3.2: a constant in place of the length; 64 tokens is pico's scale"),
        "objective.penalties": PaperSays("section 3.1: no KL term"),
        "objective.surrogate": OurChoice("the usual clip", paper="0.2"),
    },
)
