"""LADDER: each task with a tree of easier variants, learned from the easiest up, by GRPO."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.curricula.ladder import Ladder
from critica.environments.arithmetic import Arithmetic
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

LADDER = Recipe(
    name="ladder",
    paper=Paper("LADDER: Self-Improving LLMs Through Recursive Problem Decomposition", "2503.00735"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    environment=Arithmetic(difficulty=4),
    curriculum=Ladder(depth=2, branching=2),
    provenance={
        "curriculum": PaperSays("trees of easier variants of each problem, trained on by GRPO"),
        "curriculum.depth": OurChoice("arithmetic gets no easier after two steps or three", paper="about 3"),
        "curriculum.branching": OurChoice(
            "six variants and the task itself: a step's prompts", paper="not known to us"
        ),
        "environment": OurChoice("variants by rule, all solvable", paper="integrals; variants written by the model"),
        "objective": OurChoice("GRPO as everywhere here", paper="GRPO, settings not public"),
    },
)
