"""VAPO: VC-PPO with a decay that follows the answer's length, clip-higher, and imitation of right answers."""

from dataclasses import replace

from critica.advantages.gae import Gae, LengthAdaptive
from critica.advantages.standardized import Standardized
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import MonteCarlo
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.positive_example import PositiveExamples
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

VAPO = Recipe(
    name="vapo",
    paper=Paper("VAPO: Efficient and Reliable RL for Advanced Reasoning Tasks", "2504.05118"),
    critic=ScalarCritic(),
    target=MonteCarlo(),
    advantage=Standardized(Gae(discount=1.0, decay=LengthAdaptive(alpha=0.05))),
    objective=PolicyLoss(
        ClippedRatio(low=0.2, high=0.28), reduction=TokenMean(), penalties=(PositiveExamples(weight=0.1),)
    ),
    learner=replace(Learner(), critic_warmup_steps=50),
    wing="value critics",
    provenance={
        "target": PaperSays("decoupled GAE: critic decay 1.0, so the target is the outcome itself"),
        "advantage.inner.decay": PaperSays("length-adaptive, alpha = 0.05; below 20 tokens it is clamped to 0"),
        "objective.surrogate": PaperSays("clip-higher: 0.2 and 0.28"),
        "objective.reduction": PaperSays("token-level loss"),
        "objective.penalties": PaperSays("positive-example loss, weight 0.1"),
        "learner.critic_warmup_steps": PaperSays("50 steps of value pretraining"),
        "critic": OurChoice("the policy's own body: there is no reward model here", paper="initialized from a reward model"),
        "sampling": OurChoice("as everywhere here", paper="512 prompts x 16 samples"),
    },
)
