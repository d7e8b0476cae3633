"""Decoupled Q-chunking for tokens: the critic backs up over whole chunks, the policy learns token by token."""

from critica.advantages.nodes import NodeGae
from critica.advantages.standardized import Standardized
from critica.critics.chunk import ChunkCritic
from critica.critics.chunk_targets import ChunkBackup
from critica.critics.lagged import Lagged
from critica.functional.steps import Steps
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

DQC = Recipe(
    name="dqc",
    paper=Paper("Decoupled Q-Chunking", "2512.10926"),
    critic=Lagged(
        ChunkCritic(steps=Steps("tokens", 4), backup="expectile", backup_level=0.5, distill_level=0.5), rate=0.1
    ),
    target=ChunkBackup(discount=1.0, partial_tokens=1),
    advantage=Standardized(NodeGae(decay=0.95, scale="none")),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    wing="value critics",
    provenance={
        "critic": PaperSays("a chunk critic, a partial critic distilled from it, and a value by implicit backup"),
        "critic.critic.steps": OurChoice("answers of the shipped tasks have about nine tokens", paper="25, also 5"),
        "critic.critic.backup": OurChoice("the policy that samples is judged, so the mean", paper="quantile"),
        "critic.critic.backup_level": OurChoice(
            "likewise: above it the value is of best-of-N", paper="0.9, tuned in 0.5-0.97"
        ),
        "critic.critic.distill_level": PaperSays("0.5 or 0.8"),
        "critic.rate": OurChoice("hundreds of updates instead of a million", paper="0.005"),
        "target.partial_tokens": PaperSays("1 or 5"),
        "target.discount": OurChoice("answers end by themselves", paper="0.999"),
        "advantage": OurChoice("a policy gradient over chunks", paper="best of 32 samples of a cloned policy under Q"),
    },
)
