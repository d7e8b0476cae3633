"""PEO, its first phase: one policy an aspect, by DPO; `critica policy mix` then interpolates and extrapolates them."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.pair_rules import Logistic
from critica.objectives.preference import PairLoss
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

PEO = Recipe(
    name="peo",
    paper=Paper("PEO: Improving Bi-Factorial Preference Alignment with Post-Training Policy Extrapolation", "2503.01233"),
    critic=GroupMean(),
    advantage=Outcome("none"),
    objective=PairLoss(Logistic(beta=0.1), pairs="extremes"),
    provenance={
        "reward": OurChoice(
            "the environment's; set reward to one aspect a run (a judge's criterion, a check), all from one policy",
            paper="pairs about helpfulness, and about harmlessness",
        ),
        "critic": OurChoice("it marks groups that tell nothing, and nothing else: no value enters the loss"),
        "advantage": OurChoice("it only says which rows take part"),
        "objective": PaperSays("abstract: aspect-specific learning from pairwise data"),
        "objective.pairs": OurChoice("the best against the worst answer of a prompt: one clear pair", paper="pairs of a file"),
    },
)  # fmt: skip
