"""Hista: the policy's own hidden states say which samples are alike, and the alike share a value."""

from critica.advantages.nodes import NodeGae
from critica.critics.hista import HiddenNeighbors
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

HISTA = Recipe(
    name="hista",
    paper=Paper("Hista and Numca: Estimate State Value Effectively for LLM Reinforcement Learning", "2605.29782"),
    critic=HiddenNeighbors(interval_tokens=6, window_tokens=2),
    advantage=NodeGae(decay=1.0, scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.28), reduction=TokenMean()),
    wing="value critics",
    provenance={
        "critic": PaperSays("section 5: weighted nearest prefixes by MinDistance"),
        "critic.interval_tokens": OurChoice("the tasks here take few tokens", paper="50"),
        "critic.window_tokens": OurChoice("likewise", paper="5"),
        "critic.smoothing": CodeSays("0.7 in every script; smoothing starts from zero here, the released one over-scales"),
        "critic.most": CodeSays("66"),
        "critic.fewest": CodeSays("6"),
        "critic.floor": OurChoice("a share of the median distance carries over between models; 0.25 to 0.5 measured alike on digit games", paper="5.0, raw"),
        "critic.leave_one_out": OurChoice("off, as published", paper="none"),
        "advantage.decay": CodeSays("lambda 1.0"),
        "advantage.epsilon": OurChoice("as Numca's", paper="not stated"),
        "objective.surrogate": CodeSays("the DAPO loss with 0.28 above"),
        "sampling.samples_per_prompt": OurChoice("what a small machine affords", paper="32"),
    },
)
