"""DPO: of two siblings the one that was told to be better gains on the other, as measured from the initial policy."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.pair_rules import Logistic
from critica.objectives.preference import PairLoss
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

DPO = Recipe(
    name="dpo",
    paper=Paper("Direct Preference Optimization: Your Language Model is Secretly a Reward Model", "2305.18290"),
    critic=GroupMean(),
    advantage=Outcome("none"),
    objective=PairLoss(Logistic(beta=0.1)),
    provenance={
        "critic": OurChoice("it marks groups that tell nothing, and nothing else: no value enters the loss"),
        "advantage": OurChoice("it only says which rows take part"),
        "objective.rule": PaperSays("eq. 7"),
        "objective.rule.beta": PaperSays("appendix B: 0.1"),
        "objective.rule.wrong_labels": OurChoice(
            "0, the plain loss; set it to the rate of flipped pairs where that is known"
        ),
        "objective.initial_share": PaperSays(
            "the reference stays fixed; here it is the policy that the run begins with"
        ),
        "objective.pairs": OurChoice(
            "every two siblings with different outcomes, sampled anew each step", paper="a file of human preferences"
        ),
    },
)
