"""SAPO: a trust region without an edge: a sigmoid of the ratio fades each token's gradient."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import SoftClip
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans

SAPO = Recipe(
    name="sapo",
    paper=Paper("Soft Adaptive Policy Optimization", "2511.20347"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(SoftClip(positive=1.0, negative=1.05), reduction=SequenceMeanOfTokenMeans()),
    learner=replace(Learner(), updates_per_epoch=4),
    provenance={
        "critic": PaperSays("group-relative, as GRPO and GSPO"),
        "objective.surrogate": PaperSays("temperatures 1.0 and 1.05"),
        "objective.reduction": PaperSays("mean over answers of token means"),
        "learner.updates_per_epoch": PaperSays("four mini-batches of each batch of answers"),
        "sampling.samples_per_prompt": OurChoice("as the other recipes", paper="not known to us"),
    },
)
