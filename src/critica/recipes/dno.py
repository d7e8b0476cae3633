"""DNO: each step regresses gaps of log-ratios on gaps of win rates against the policy itself: self-play to Nash."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.pair_rules import SoftLogistic
from critica.objectives.preference import PairLoss
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe

DNO = Recipe(
    name="dno",
    paper=Paper("Direct Nash Optimization: Teaching Language Models to Self-Improve with General Preferences", "2404.03715"),
    critic=GroupMean(),
    advantage=Outcome("none"),
    objective=PairLoss(SoftLogistic(eta=0.1), compare="wins", initial_share=0.0),
    learner=replace(Learner(), policy_epochs=2),
    provenance={
        "critic": OurChoice("it marks groups that tell nothing, and nothing else: no value enters the loss"),
        "advantage": OurChoice("it only says which rows take part"),
        "objective.rule": PaperSays("algorithm 1: the gap of rewards is the label, the log-ratio is to the last iterate"),
        "objective.rule.eta": OurChoice("as DPO's beta; a win rate moves by 1 at most", paper="not known to us"),
        "objective.compare": PaperSays("algorithm 1: the reward is the expected win rate against the last iterate; here"
                                       " counted over siblings. A judge of pairs tells it itself: set compare=outcomes, and"
                                       " reward=judge_ranking with compare=pairs, alone=0, told=wins"),
        "objective.margin": OurChoice("0: all pairs", paper="the practical form keeps large margins alone"),
        "objective.pairs": OurChoice("siblings alone", paper="siblings, and one answer of a stronger model"),
        "learner.policy_epochs": OurChoice("2: in the first pass every log-ratio is 0 and the loss a policy gradient"),
    },
)  # fmt: skip
