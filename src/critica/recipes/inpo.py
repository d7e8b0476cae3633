"""INPO: mirror descent against oneself, as a squared loss on ordered pairs, pulled to the last and the first policy."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.pair_rules import SquaredGap
from critica.objectives.preference import PairLoss
from critica.recipes.base import CodeSays, Learner, OurChoice, Paper, PaperSays, Recipe

INPO = Recipe(
    name="inpo",
    paper=Paper("Iterative Nash Policy Optimization: Aligning LLMs with General Preferences via No-Regret Learning", "2407.00617"),
    critic=GroupMean(),
    advantage=Outcome("none"),
    objective=PairLoss(SquaredGap(beta=0.1), initial_share=1 / 3),
    learner=replace(Learner(), policy_epochs=2),
    provenance={
        "critic": OurChoice("it marks groups that tell nothing, and nothing else: no value enters the loss"),
        "advantage": OurChoice("it only says which rows take part"),
        "objective.rule": PaperSays("the squared loss on ordered pairs with margin 1 / (2 eta); beta is eta"),
        "objective.rule.beta": OurChoice("eta 0.1 asks for gaps of 5 nats", paper="0.0075, for long answers"),
        "objective.initial_share": CodeSays("tau / eta = 1/3 (`ratio` of the authors' trainer)"),
        "objective.pairs": OurChoice(
            "orders of told outcomes, ties left out. Win rates of a judge of pairs (reward=judge_ranking,"
            " compare=pairs, alone=0, told=wins) are regressed by objective=group_regression with beta=eta and the same"
            " initial_share: the same minimizer"
        ),
        "learner.policy_epochs": OurChoice("2: in the first pass the policy is the last iterate itself"),
    },
)  # fmt: skip
