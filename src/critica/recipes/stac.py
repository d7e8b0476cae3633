"""STAC: a critic that knows the spread of its own targets, and bootstraps from its mean less a part of that spread."""

from critica.advantages.gae import Gae
from critica.advantages.risk import MinusSpread
from critica.advantages.standardized import Standardized
from critica.critics.gaussian import GaussianCritic
from critica.critics.targets import LambdaReturn
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe

STAC = Recipe(
    name="stac",
    paper=Paper("Stochastic Actor-Critic: Mitigating Overestimation via Temporal Aleatoric Uncertainty", "2601.00737"),
    critic=GaussianCritic(dropout=0.01),
    target=LambdaReturn(discount=1.0, decay=0.95, risk=MinusSpread(beta=0.5)),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    wing="value critics",
    provenance={
        "critic": PaperSays("abstract: one distributional critic, dropout; a Gaussian is our reading of it"),
        "critic.dropout": CodeSays("0.01-0.05 in a public policy in its style"),
        "critic.balance": OurChoice("a wide spread does not silence the mean (arXiv 2203.09168)", paper="not stated"),
        "target.risk": PaperSays("abstract: aleatoric spread of the targets scales the pessimism, in the updates"),
        "target.risk.beta": OurChoice("a half of a standard deviation", paper="not found"),
        "target.decay": OurChoice("state values and an end reward: one-step targets would take a token an update", paper="0"),
        "objective": OurChoice("PPO's: the paper's actor controls joints, ours writes tokens", paper="deterministic control"),
    },
)
