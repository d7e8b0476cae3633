"""EvoRubric: criteria are written as answers come, and those that tell answers apart as their peers do are remembered.

The judge is scripted (see rlr3) and writes three criteria of its own; here it is not trained to write better ones.
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rewards.evo_rubric import EvoRubric
from critica.rewards.judge_criteria import Criterion
from critica.rewards.scripted_judge import ScriptedJudge

EVO_RUBRIC = Recipe(
    name="evo_rubric",
    paper=Paper("EvoRubric", "2605.29847"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    reward=EvoRubric(
        judge=ScriptedJudge(
            matrix=((0.9, 0.1), (0.1, 0.9)),
            proposals=(
                "Is the final answer right?",
                "Would a careful reader accept the result?",
                "Is the response as long as it should be?",
            ),
        ),
        criteria=(Criterion("expert", "Does the response solve the task?"),),
    ),
    wing="supervision",
    provenance={
        "reward": PaperSays("abstract: meta-verifier, zero-variance pruning, leave-one-out consensus, memory pool"),
        "reward.criteria": PaperSays("abstract: works on top of expert rubrics"),
        "reward.agreement": OurChoice(
            "rank correlation of .2 with the peers' mean, the worst leaving first", paper="equations not public"
        ),
        "reward.pool": OurChoice("16 criteria a prompt", paper="size not public"),
        "reward.similarity": OurChoice("cosine of hashed letter n-grams", paper="an embedding"),
        "reward.judge": OurChoice(
            "scripted, and a writer that is not trained", paper="one policy alternates as writer and reasoner"
        ),
        "objective.surrogate": OurChoice("PPO's clip", paper="not known to us"),
    },
)
