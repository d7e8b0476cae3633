"""DistractionIF: do the task, and ignore what looks like an instruction inside the reference text.

Tasks hold `distractors`, each with its own detector (--environment tasks.jsonl); `reward.then` decides whether the task
is done. The paper says GRPO; its reward is not in its abstract, so the conjunction is ours. Shown is a small policy that
learns to do a task without the planted one (tests/training/test_supervision_recipes.py), not a language model.
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rewards.distraction import Distraction

DISTRACTION_IF = Recipe(
    name="distraction_if",
    paper=Paper("DistractionIF", "2605.29491"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    reward=Distraction(),
    wing="supervision",
    provenance={
        "critic": PaperSays("GRPO"),
        "reward": OurChoice("the task done and no distractor executed", paper="not in the abstract"),
        "objective": OurChoice("GRPO's clip"),
    },
)
