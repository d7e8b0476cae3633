"""DVPO: a quantile ensemble as critic, its two tails regularized apart, and GAE on every quantile."""

from dataclasses import replace

from critica.advantages.gae import QuantileGae
from critica.advantages.standardized import Standardized
from critica.critics.quantile import AsymmetricTail, QuantileCritic
from critica.critics.targets import LambdaMixture
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, Learner, OurChoice, Paper, PaperSays, Recipe

DVPO = Recipe(
    name="dvpo",
    paper=Paper("DVPO: Distributional Value Modeling-based Policy Optimization", "2512.03847"),
    critic=QuantileCritic(heads=3, quantiles=20, tail=AsymmetricTail(lower=0.1, upper=0.1)),
    target=LambdaMixture(discount=1.0, decay=0.95),
    advantage=Standardized(QuantileGae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    learner=replace(Learner(), critic_warmup_steps=0),
    wing="value critics",
    provenance={
        "critic.heads": CodeSays("the circulating re-implementation uses 3"),
        "critic.quantiles": OurChoice("a 0/1 outcome needs no finer law", paper="200"),
        "critic.tail.lower": CodeSays("0.1 in the re-implementation; the paper's sweep finds 0.1 best"),
        "critic.tail.upper": CodeSays("0.1 in the re-implementation"),
        "critic.huber": OurChoice("at 1 and returns in [0, 1] the loss would be an expectile's", paper="1"),
        "critic.mean": OurChoice("fits the mean directly: narrow laws pull it to the median meanwhile", paper="0"),
        "critic.tail.curvature": OurChoice("a 0/1 return's quantile function is a step", paper="on"),
        "target": OurChoice("the exact mixture; the paper's quantile-wise average is target=quantile_lambda", paper="eq. 2"),
        "target.decay": OurChoice("as the advantage's", paper="not stated"),
        "advantage.inner": PaperSays("eq. 2"),
        "advantage.inner.discount": OurChoice("an answer's reward does not fade with its length", paper="0.99"),
    },
)
