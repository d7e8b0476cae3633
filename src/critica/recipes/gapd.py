"""GAPD: GRPO, and the policy's own law after the next right action was told, distilled into the policy without it."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.gold_actions import GoldActions, ReachedAnchors
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.objectives.view_distillation import ViewDistillation
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans

GAPD = Recipe(
    name="gapd",
    paper=Paper("GAPD: Gold-Action Policy Distillation", "2605.29584"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(
        ClippedRatio(low=0.2, high=0.2),
        reduction=SequenceMeanOfTokenMeans(),
        penalties=(
            ReferenceKl(weight=0.04, estimator="k3"),
            ViewDistillation(view=GoldActions(matcher=ReachedAnchors(least=1.0)), divergence="jsd", mix=0.5, top=100),
        ),
    ),
    provenance={
        "advantage": PaperSays("abstract: on top of reinforcement learning from the outcome"),
        "objective.penalties": OurChoice(
            "a bounded divergence on the teacher's 100 likeliest tokens, as SDPO's published settings; weight 0.1; states"
            " match where all that they reached is equal",
            paper="the current policy with the aligned gold action is the teacher; divergence and weights not known to us",
        ),
        "objective.surrogate": OurChoice("as in the recipe grpo", paper="not known to us"),
    },
)
