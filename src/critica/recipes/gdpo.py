"""GDPO: every reward in deviations of its own group before they are added, and the sum in deviations of the step."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans
from critica.rewards.several import Several
from critica.rewards.verifiers import EnvironmentScorer
from critica.rollout.combine import NormalizeThenSum
from critica.rollout.place import Placement

GDPO = Recipe(
    name="gdpo",
    paper=Paper("GDPO: Group reward-Decoupled Normalization Policy Optimization for Multi-reward RL", "2601.05242"),
    critic=GroupMean(),
    advantage=Outcome(scale="batch"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), reduction=SequenceMeanOfTokenMeans()),
    reward=Several(sources=(EnvironmentScorer(), EnvironmentScorer(threshold=None)), names=("right", "partial")),
    placement=Placement(combination=NormalizeThenSum()),
    provenance={
        "placement.combination": PaperSays("each reward is normalized within its group on its own, then summed"),
        "advantage.scale": PaperSays("the sum is normalized over the batch of answers: its mean is 0 already"),
        "advantage": CodeSays("TRL: multi_objective_aggregation=normalize_then_sum"),
        "reward": OurChoice("right, and the environment's own partial credit", paper="correctness, format and length of tool calls"),
        "objective.surrogate": OurChoice("PPO's clip", paper="not known to us"),
        "objective.reduction": OurChoice("as GRPO", paper="not known to us"),
    },
)
