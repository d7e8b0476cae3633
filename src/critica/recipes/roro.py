"""RoRo: every step of an answer is judged by a rubric, beside the outcome; each step's share lands on the step.

In the paper a step is a choice of model and has its price: set reward.cost and reward.costs for steps that begin with
`[NAME]`. Here a step is what stands between semicolons. The judge is scripted (see rlr3): of an unfinished answer it
says what the environment says of it, so on most tasks only the last step is met.
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rewards.step_rubric import StepRubric

RORO = Recipe(
    name="roro",
    paper=Paper("RoRo: step-wise model routing by rubric and judge"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    reward=StepRubric(judge=ScriptedJudge(matrix=((0.9, 0.1), (0.1, 0.9)))),
    wing="supervision",
    provenance={
        "reward": PaperSays("digest: a judge scores steps by task criteria, added to the outcome, under GRPO"),
        "reward.share": OurChoice("steps weigh half of the outcome", paper="not public"),
        "reward.cost": OurChoice("0: there are no routes on these tasks", paper="the price of the models called"),
        "reward.criteria": OurChoice(
            "one for all tasks; reward.written=3 has the judge write them", paper="a Rubricor writes them for each task"
        ),
        "reward.separator": OurChoice("semicolons, as the shipped policy writes its steps", paper="routing decisions"),
        "reward.judge": OurChoice("scripted, wrong one time in ten: runs anywhere"),
        "objective.surrogate": OurChoice("PPO's clip", paper="not known to us"),
    },
)
