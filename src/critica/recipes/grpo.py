"""GRPO: the outcome against its group, in units of the group's own spread, under a clipped ratio."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans

GRPO = Recipe(
    name="grpo",
    paper=Paper("DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models", "2402.03300"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(
        ClippedRatio(low=0.2, high=0.2),
        reduction=SequenceMeanOfTokenMeans(),
        penalties=(ReferenceKl(weight=0.04, estimator="k3"),),
    ),
    provenance={
        "critic": PaperSays("section 4.1.1: the group's mean, the sample's own outcome included"),
        "advantage.scale": PaperSays("section 4.1.2, outcome supervision"),
        "advantage.epsilon": CodeSays("verl core_algos.py uses 1e-6, TRL 1e-4"),
        "objective.surrogate": OurChoice("the usual clip; the paper does not state it", paper="not stated"),
        "objective.reduction": PaperSays("eq. 3: mean over outputs of token means"),
        "objective.penalties": PaperSays("section 4.2: coefficient 0.04, estimator of eq. 4"),
        "sampling.samples_per_prompt": OurChoice("what a small machine affords", paper="64"),
    },
)
