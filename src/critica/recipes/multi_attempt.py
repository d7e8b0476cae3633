"""Multi-attempt RL: a wrong answer is said to be wrong and may be tried again; PPO over the whole exchange."""

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import LambdaReturn
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.rollout.attempts import MultiAttempt

MULTI_ATTEMPT = Recipe(
    name="multi_attempt",
    paper=Paper("Learning from Failures in Multi-Attempt Reinforcement Learning", "2503.04808"),
    critic=ScalarCritic(),
    target=LambdaReturn(discount=1.0, decay=1.0),
    advantage=Standardized(Gae(discount=1.0, decay=0.99)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), penalties=(ReferenceKl(0.01),)),
    protocol=MultiAttempt(most=5, wrong=-0.5, none=-1.0),
    provenance={
        "protocol.most": PaperSays("attempts are drawn from 1 to 5 for each question"),
        "protocol.wrong": PaperSays("-0.5 for a wrong answer in the right form, -1 for none, +1 for a right one"),
        "protocol.feedback": OurChoice("short: the number of attempts left is what the policy has to know"),
        "protocol": CodeSays(
            "DualityRL/multi-attempt: its attempt_discount is overwritten by +1, so that none is here"
        ),
        "advantage.inner.decay": CodeSays("the launcher's lambd 0.99, gamma 1"),
        "target.decay": OurChoice("an outcome's own value is the least biased target of a new critic", paper="0.99"),
        "objective.penalties": CodeSays("k3 in the loss, 0.01"),
        "objective.reduction": OurChoice("tokens of all rows weigh alike", paper="a sum over tokens"),
        "sampling.samples_per_prompt": OurChoice("as in this library's other recipes", paper="1"),
        "learner.policy.learning_rate": OurChoice("of small policies; PPO on a 1.5B model", paper="5e-7, critic 1e-5"),
    },
)
