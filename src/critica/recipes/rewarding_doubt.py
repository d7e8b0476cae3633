"""Rewarding Doubt: the policy states how sure it is, and a proper score of the logarithm pays it for being honest.

The prompts must ask for a line such as `Confidence: 7` (0 to 10); `reward.then` decides what is right, here the
environment's own scorer. The policy that ships states nothing, so on its tasks every answer is malformed: shown is a
small policy that learns to state what its answers deserve (tests/training/test_supervision_recipes.py), not a language
model. RLCR is the same with `--reward doubt:brier`.
"""

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import LambdaReturn
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.rewards.proper_scoring import ProperScoring

REWARDING_DOUBT = Recipe(
    name="rewarding_doubt",
    paper=Paper("Rewarding Doubt: Calibrated Confidence Expression of Large Language Models", "2503.02623"),
    critic=ScalarCritic(),
    target=LambdaReturn(discount=1.0, decay=0.95),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), penalties=(ReferenceKl(weight=0.05),)),
    reward=ProperScoring(rule="log"),
    wing="supervision",
    provenance={
        "reward.rule": PaperSays("the logarithmic scoring rule; q clipped to [.001, .999]"),
        "reward.bonus": CodeSays("a quarter of the scale for being right, all times 10"),
        "reward.malformed": CodeSays("-30 for a text without a confidence"),
        "reward.steps": PaperSays("confidence is a number from 0 to 10"),
        "objective.penalties": OurChoice(
            "in the loss, where its size can be seen", paper="KL of .05 at first, in the reward"
        ),
        "critic": OurChoice("the policy's own body", paper="PPO's value head"),
        "sampling": OurChoice("as everywhere here"),
    },
)
