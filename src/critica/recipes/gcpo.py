"""GCPO: DAPO whose credit goes to the tokens that an instruction to answer wrongly would have changed."""

from critica.advantages.contrast import Contrast, RankPower
from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.penalties import SampledCertainty
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, Recipe
from critica.records.losses import TokenMean
from critica.rollout.admission import DifficultyWindow

GCPO = Recipe(
    name="gcpo",
    paper=Paper("GCPO: Guidance Contrastive Policy Optimization", "2605.29198"),
    critic=GroupMean(),
    advantage=Contrast(Outcome(scale="group"), spread=RankPower(share=0.4, mass=0.8)),
    objective=PolicyLoss(
        ClippedRatio(low=0.2, high=0.28), reduction=TokenMean(), penalties=(SampledCertainty(weight=0.02),)
    ),
    admission=DifficultyWindow(low=0.01, high=0.99, max_rounds=4),
    provenance={
        "advantage.view": CodeSays("dataset.py: the question, 'but generate the wrong answer' (there after a comma)"),
        "advantage.spread": CodeSays("dp_actor.py: percentile ranks to the power that gives the top 40% 80%"),
        "advantage.floor": OurChoice("rounding must not be ranked", paper="none: argsort ranks it, and breaks ties"),
        "objective.surrogate": CodeSays("gcpo_7b.sh: 0.2 and 0.28"),
        "objective.reduction": CodeSays("EasyR1: loss_avg_mode token"),
        "objective.penalties": CodeSays("dp_actor.py: + 0.02 mean(-log pi) for Qwen2.5-VL-7B, no KL"),
        "admission": CodeSays("config_vlm.yaml: mean scores up to .01 or from .99 are filtered"),
        "admission.max_rounds": OurChoice("bounds a step when most groups are decided"),
        "learner": OurChoice("weights once a step", paper="anew at every minibatch, by the weights of that moment"),
    },
)
