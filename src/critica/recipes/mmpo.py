"""MMPO: an agent that reads in pieces is paid, step by step, for how sure its memory leaves it of the answer."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.environments.recall import Recall
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rollout.combine import NormalizeThenSum
from critica.rollout.memory import Memory
from critica.rollout.place import Placement

MMPO = Recipe(
    name="mmpo",
    paper=Paper("MMPO: belief entropy for memory policies", "2605.30159"),
    critic=GroupMean(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    environment=Recall(),
    protocol=Memory(probes=4),
    placement=Placement(combination=NormalizeThenSum(weights=(1.0, 0.1), unit="group")),
    provenance={
        "protocol": PaperSays("abstract: memories that leave the model uncertain of the task's state are penalized"),
        "protocol.probes": OurChoice("four short answers, grouped by what they say", paper="not public"),
        "protocol.gated": OurChoice("off; on, confidence in wrong answers is not paid", paper="not public"),
        "placement.combination": OurChoice(
            "both standardized over siblings of a step, 0.1 of belief", paper="not public"
        ),
        "advantage": OurChoice("GRPO's: the combination has divided by the group's spread already", paper="not public"),
        "environment": OurChoice("facts that fit a small policy", paper="contexts of up to 1.75M tokens"),
    },
)
