"""Ours against wrong verdicts: what is told is how probably the answer is right, given its siblings' answers."""

from critica.advantages.outcome import Outcome
from critica.advantages.standardized import Standardized
from critica.critics.counted import LeaveOneOut
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, Recipe
from critica.rewards.answer_posterior import AnswerPosterior

ANSWER_POSTERIOR = Recipe(
    name="answer_posterior",
    paper=Paper("Critica's own: verdicts in the light of who gave the same answer"),
    critic=LeaveOneOut(),
    advantage=Standardized(Outcome(scale="none")),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    correction=AnswerPosterior(),
    wing="supervision",
    provenance={
        "critic": OurChoice("the siblings already speak through the correction; their mean is what remains to subtract"),
        "advantage": OurChoice(
            "no division by the group's spread: the posterior gives a group the weight that its verdicts deserve, and"
            " a group of which little is known would get as much as any"
        ),
        "correction.estimate": OurChoice("all rates are fitted to answers and verdicts, so nothing has to be known"),
        "correction.kept": OurChoice("half of the evidence is younger than 14 steps: the policy, and its prior, move"),
    },
)
