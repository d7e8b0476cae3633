"""PPO: a learned value at every token, GAE, and the clipped ratio."""

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import LambdaReturn
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe

PPO = Recipe(
    name="ppo",
    paper=Paper("Proximal Policy Optimization Algorithms", "1707.06347"),
    critic=ScalarCritic(clip=0.2),
    target=LambdaReturn(discount=1.0, decay=0.95),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    wing="value critics",
    provenance={
        "critic.clip": CodeSays("TRL's PPO trainer and OpenAI baselines use 0.2"),
        "target.decay": PaperSays("table 3"),
        "advantage.inner.decay": PaperSays("table 3"),
        "advantage.inner.discount": OurChoice("an answer's reward does not fade with its length", paper="0.99"),
        "objective.surrogate": PaperSays("table 1: 0.2 was best"),
        "learner.policy_epochs": OurChoice("one pass keeps every update on-policy; raise it to reuse samples", paper="3-15"),
    },
)
