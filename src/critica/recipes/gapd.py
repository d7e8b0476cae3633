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
        "objective.penalties": PaperSays("abstract: the current policy with the aligned gold action is the teacher"),
        "objective.penalties.1.view": PaperSays("abstract: states are matched by the entities explored so far"),
        "objective.penalties.1.view.matcher.least": OurChoice("equal sets only", paper="not known to us"),
        "objective.penalties.1.divergence": OurChoice("symmetric and bounded", paper="not known to us"),
        "objective.penalties.1.top": OurChoice("as SDPO's published settings", paper="not known to us"),
        "objective.penalties.1.weight": OurChoice("0.1, small beside the policy's loss", paper="not known to us"),
        "objective.surrogate": OurChoice("as in the recipe grpo", paper="not known to us"),
    },
)
