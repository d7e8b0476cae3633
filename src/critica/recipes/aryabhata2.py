"""Aryabhata 2: group-relative policy gradient whose groups grow when most prompts have stopped to tell anything."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.curricula.growing import GrowingGroups
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe, Sampling
from critica.records.losses import TokenMean

ARYABHATA2 = Recipe(
    name="aryabhata2",
    paper=Paper("Aryabhata 2", "2605.28829"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.28), reduction=TokenMean()),
    curriculum=GrowingGroups(doublings=3, share=0.5, window=20),
    sampling=Sampling(prompts_per_step=16, samples_per_prompt=8),
    provenance={
        "curriculum": PaperSays("abstract: progressively larger rollout groups in prolonged training"),
        "curriculum.doublings": OurChoice("not published; 8, 16, 32 and 64 samples, in steps of 128 rollouts"),
        "curriculum.share": OurChoice("not published; when half of the prompts are silent, siblings are worth more"),
        "curriculum.window": OurChoice("not published; 20 steps of 16 prompts tell 0.5 from 0.4"),
        "advantage": PaperSays("group-relative advantage (Aryabhata 1.0, digest)"),
        "objective.surrogate": OurChoice("not published; clip-higher as in DAPO"),
    },
)
