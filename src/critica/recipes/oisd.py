"""OISD: GRPO, and an early layer that learns to have in mind what the last one says where that went well."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.layer_distillation import LayerDistillation
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans

OISD = Recipe(
    name="oisd",
    paper=Paper("OISD: On-Policy Internal Self-Distillation", "2605.29089"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(
        ClippedRatio(low=0.2, high=0.2),
        reduction=SequenceMeanOfTokenMeans(),
        penalties=(
            ReferenceKl(weight=0.04, estimator="k3"),
            LayerDistillation(weight=0.1, depth=1 / 6, largest_advantage=2.0),
        ),
    ),
    provenance={
        "advantage": PaperSays("abstract: GRPO, whose signed advantages also weigh the alignment"),
        "objective.penalties": OurChoice(
            "weight 0.1, credit cut to +-2, a sixth of the way up: small beside the policy's loss, and bounded",
            paper="the final layer is the detached teacher of layer 6 of Qwen3; weights not known to us",
        ),
        "objective.surrogate": OurChoice("as in the recipe grpo", paper="not known to us"),
    },
)
