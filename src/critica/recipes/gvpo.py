"""GVPO: within a group, log-ratios are regressed on outcomes, both without their mean; no clip and no KL term."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.regression import GroupRegression
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe

GVPO = Recipe(
    name="gvpo",
    paper=Paper("GVPO: Group Variance Policy Optimization for Large Language Model Post-Training", "2504.19599"),
    critic=GroupMean(),
    advantage=Outcome("none"),
    objective=GroupRegression(beta=0.1, initial_share=0.0),
    provenance={
        "critic": OurChoice("it marks groups that tell nothing: the loss centers outcomes itself"),
        "advantage": OurChoice("it only says which rows take part"),
        "objective": PaperSays("the squared gap of centered rewards, implicit and told"),
        "objective.beta": CodeSays("gvpo_core_algos.py: 0.1"),
        "objective.initial_share": CodeSays(
            "gvpo_core_algos.py: the log-ratio is against the policy before the update"
        ),
        "learner.updates_per_epoch": OurChoice(
            "one update, at which the gradient is beta times RLOO's; raise it, or policy_epochs, to see the regression",
            paper="not known to us",
        ),
    },
)
