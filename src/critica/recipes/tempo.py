"""TEMPO: a group read as a tree; where samples part ways, the token that parted gets what the value did there."""

from critica.advantages.tempo import TreeDifference
from critica.critics.tempo import PrefixTree
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

TEMPO = Recipe(
    name="tempo",
    paper=Paper("Exploiting Tree Structure for Credit Assignment in RL Training of LLMs", "2509.18314"),
    critic=PrefixTree(),
    advantage=TreeDifference(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.28), reduction=TokenMean()),
    wing="value critics",
    provenance={
        "critic": PaperSays("V of a prefix is the mean reward of the samples that share it"),
        "critic.shrinkage": OurChoice("off, as published; above 0 a lone leaf is not its own outcome", paper="none"),
        "critic.leave_one_out": OurChoice("off, as published", paper="none"),
        "advantage.branch": CodeSays("verl/trainer/ppo/core_algos.py of fatebreaker/tempo adds the bracket with weight 1"),
        "advantage.scale": CodeSays("group standard deviation plus 1e-6"),
        "objective.surrogate": CodeSays("train_math_tempo.sh: 0.2 and 0.28"),
        "objective.reduction": CodeSays("verl's default, token-mean"),
        "objective.penalties": CodeSays("train_math_tempo.sh: no KL term, no entropy bonus"),
        "sampling.samples_per_prompt": OurChoice("as this library's other group recipes", paper="7"),
    },
)
