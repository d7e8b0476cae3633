"""Distributionally robust DPO: the pairs' loss under the worst mix of prompts near the one that was drawn."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.pair_rules import Logistic
from critica.objectives.pair_weights import WorstMix
from critica.objectives.preference import PairLoss
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

DR_DPO = Recipe(
    name="dr_dpo",
    paper=Paper("Distributionally Robust Reinforcement Learning with Human Feedback", "2503.00539"),
    critic=GroupMean(),
    advantage=Outcome("none"),
    objective=PairLoss(Logistic(beta=0.1), weights=WorstMix("kl", radius=0.1)),
    provenance={
        "critic": OurChoice("it marks groups that tell nothing, and nothing else: no value enters the loss"),
        "advantage": OurChoice("it only says which rows take part"),
        "objective.rule": PaperSays("abstract: a robust version of DPO"),
        "objective.weights": PaperSays("abstract: an ambiguity set around the distribution of training prompts"),
        "objective.weights.ball": OurChoice("KL, smooth in the losses; tv, chi2 and worst_share are there", paper="not known to us"),
        "objective.weights.radius": OurChoice(
            "0.1 nats: the worst prompts count about half as much again. Against wrong labels take weights=tilt, below"
            " 0, which leans the other way (Dr. DPO, arXiv 2407.07880)",
            paper="not known to us",
        ),
    },
)  # fmt: skip
