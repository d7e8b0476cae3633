"""GMPO: GRPO with the geometric mean of a row's token ratios, each clipped in log space, in place of their mean."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import GeometricMean
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans

GMPO = Recipe(
    name="gmpo",
    paper=Paper("Geometric-Mean Policy Optimization", "2507.20673"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(GeometricMean(low=0.4, high=0.4), reduction=SequenceMeanOfTokenMeans()),
    learner=replace(Learner(), updates_per_epoch=4),
    provenance={
        "critic": PaperSays("as GRPO"),
        "objective.surrogate": PaperSays("clipped token by token to (e^-0.4, e^0.4)"),
        "objective.reduction": PaperSays("a mean over answers of their geometric means"),
        "learner.updates_per_epoch": OurChoice("four, as GSPO: with one no ratio differs from 1", paper="several gradient steps a batch"),
    },
)
