"""PostTime: revise, keep or ignore a prior numeric forecast; paid is what the forecast adds to the prior.

Tasks hold `prior` and `truth` (--environment tasks.jsonl); the paper's own reward is not in its abstract, so the formula
is ours. Its supervised first phase and its data are left out. Shown is a small policy that learns to leave a poor prior
(tests/training/test_supervision_recipes.py), not a language model.
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rewards.post_time import RelativeForecast

POST_TIME = Recipe(
    name="post_time",
    paper=Paper("PostTime", "2605.29401"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    reward=RelativeForecast(),
    wing="supervision",
    provenance={
        "reward": OurChoice(
            "1 - err / err(prior), clipped to [-1, 1]: copying the prior pays nothing", paper="not in the abstract"
        ),
        "reward.parsed": OurChoice("0.1 for a forecast that can be read"),
        "reward.unparsed": OurChoice("-1, below every forecast"),
        "critic": PaperSays("reinforcement learning from verifiable rewards"),
        "objective": OurChoice("GRPO's", paper="not in the abstract"),
    },
)
