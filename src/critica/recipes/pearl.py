"""PEARL: every dimension of a judge's grade is put on five levels and standardized by itself before they are added.

So no dimension dominates by its spread alone. The judge is scripted (see rlr3). The paper's tutor talks with a simulated
student; here an answer is one turn.
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rewards.judge_criteria import GRADES, Criterion
from critica.rewards.judge_reward import JudgeReward
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rollout.combine import NormalizeThenSum
from critica.rollout.place import Placement

PEARL = Recipe(
    name="pearl",
    paper=Paper("PEARL", "2605.29582"),
    critic=GroupMean(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    reward=JudgeReward(
        judge=ScriptedJudge(matrix=((0.9, 0.1), (0.1, 0.9))),
        criteria=(
            Criterion("correctness", "How right is what the response says?", choices=GRADES),
            Criterion("pedagogy", "How well does it lead the reader to the answer?", choices=GRADES),
        ),
        apart=True,
    ),
    placement=Placement(combination=NormalizeThenSum(levels=5)),
    wing="supervision",
    provenance={
        "reward.criteria": PaperSays("abstract: pedagogy and correctness, by a generative reward model"),
        "placement.combination": PaperSays(
            "abstract: discretized inside each dimension, normalized by dimension, then summed"
        ),
        "placement.combination.levels": OurChoice("five", paper="number of levels not public"),
        "advantage.scale": OurChoice("each dimension is in deviations of its group already"),
        "reward.judge": OurChoice("scripted, wrong one time in ten: runs anywhere", paper="a generative reward model"),
        "objective.surrogate": OurChoice("PPO's clip", paper="not known to us"),
    },
)
