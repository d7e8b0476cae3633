"""RLHS: the judge speaks after the consequences of an answer were played out, not when it sounds good.

The judge is scripted (see rlr3) and plays both world and judge.
"""

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import LambdaReturn
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rewards.hindsight import Hindsight
from critica.rewards.scripted_judge import ScriptedJudge

RLHS = Recipe(
    name="rlhs",
    paper=Paper("RLHS: Mitigating Misalignment in RLHF with Hindsight Simulation", "2501.08617"),
    critic=ScalarCritic(),
    target=LambdaReturn(discount=1.0, decay=0.95),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    reward=Hindsight(judge=ScriptedJudge(matrix=((0.9, 0.1), (0.1, 0.9)))),
    wing="supervision",
    provenance={
        "reward": PaperSays("abstract: feedback after the consequences are simulated"),
        "reward.judge": OurChoice("scripted, one model for world and judge", paper="language models simulate both"),
        "critic": PaperSays("abstract: works with PPO; also with DPO, which is not here"),
        "target": OurChoice("PPO's usual decay"),
        "advantage": OurChoice("PPO's usual decay"),
    },
)
