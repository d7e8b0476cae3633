"""VC-PPO: PPO whose critic is pretrained on Monte-Carlo returns and keeps a decay of its own."""

from dataclasses import replace

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import MonteCarlo
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe

VC_PPO = Recipe(
    name="vc_ppo",
    paper=Paper("What's Behind PPO's Collapse in Long-CoT? Value Optimization Holds the Secret", "2503.01491"),
    critic=ScalarCritic(),
    target=MonteCarlo(),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    learner=replace(Learner(), critic_warmup_steps=50),
    wing="value critics",
    provenance={
        "target": PaperSays("decoupled GAE: critic decay 1.0, so the target is the outcome itself"),
        "advantage.inner.decay": PaperSays("actor decay 0.95"),
        "learner.critic_warmup_steps": OurChoice("VAPO, which builds on it, pretrains 50 steps", paper="until it converges"),
        "critic.clip": OurChoice("off: a pretrained critic needs no brake", paper="not stated"),
    },
)
