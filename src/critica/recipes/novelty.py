"""Novelty: GSPO with a bonus for right answers that the reference would hardly have written."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans
from critica.rollout.novelty import Novelty
from critica.rollout.place import Placement

NOVELTY = Recipe(
    name="novelty",
    paper=Paper("When RL suppresses its own vocabulary", "2605.29190"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(
        ClippedRatio(low=3e-4, high=4e-4), reduction=SequenceMeanOfTokenMeans(), level="sequence_mean"
    ),
    placement=Placement(novelty=Novelty(coefficient=0.25)),
    learner=replace(Learner(), updates_per_epoch=4),
    provenance={
        "objective.level": PaperSays("GSPO: one ratio an answer"),
        "objective.surrogate": PaperSays("GSPO (2507.18071): clip 3e-4 and 4e-4"),
        "learner.updates_per_epoch": PaperSays("GSPO: four mini-batches of each rollout batch"),
        "placement.novelty": PaperSays("diverse right answers are rewarded, by perplexity under the reference"),
        "placement.novelty.coefficient": OurChoice("neither formula nor coefficient is published"),
    },
)
