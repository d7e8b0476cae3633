"""Numca: samples that have computed the same numbers share a value, and credit is measured from there."""

from critica.advantages.nodes import NodeGae
from critica.critics.numca import NumberSets
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean

NUMCA = Recipe(
    name="numca",
    paper=Paper("Hista and Numca: Estimate State Value Effectively for LLM Reinforcement Learning", "2605.29782"),
    critic=NumberSets(interval_tokens=1),
    advantage=NodeGae(decay=1.0, scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.28), reduction=TokenMean()),
    wing="value critics",
    provenance={
        "critic": PaperSays("section 4: a state is the set of numbers so far"),
        "critic.interval_tokens": OurChoice("the tasks here take few tokens, and merging looks ahead", paper="50"),
        "critic.drop_last": CodeSays("src/rl/utils/numca_dict.py leaves the last number out"),
        "critic.leave_one_out": OurChoice("off, as published", paper="none"),
        "critic.half_life_steps": OurChoice("the policy that earned it moves on", paper="kept forever"),
        "critic.states": OurChoice("bounds a checkpoint to about a megabyte", paper="unbounded"),
        "advantage.decay": CodeSays("gae_lambda 1.0"),
        "advantage.epsilon": CodeSays("numca_trainer.py adds 1e-4 to the group's standard deviation"),
        "objective.surrogate": CodeSays("the DAPO loss with 0.28 above"),
        "sampling.samples_per_prompt": OurChoice("what a small machine affords", paper="32"),
    },
)
