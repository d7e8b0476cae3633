"""SG-SRL: no reference answers; paid is how much of the source an answer carries over, with a guard against length.

The scorer is ours and lexical (character trigrams), so it is for answers in the source's own language; the paper's is a
cross-lingual reranker. Tasks with a source apart from their prompt: `--set reward.source=info.text`.
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rewards.source_relevance import SourceRelevance

SG_SRL = Recipe(
    name="sg_srl",
    paper=Paper("SG-SRL, source-grounded and reference-free", "2605.29502"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    reward=SourceRelevance(),
    wing="supervision",
    provenance={
        "reward": PaperSays("abstract: the relevance of source and generation, without references"),
        "reward.relevance": OurChoice(
            "trigrams of the source that the answer holds", paper="a cross-lingual reranker, or an encoder"
        ),
        "reward.guard": OurChoice(
            "a penalty from the first step on", paper="verbosity is repaired by a stage of supervised learning"
        ),
        "reward.longest": OurChoice("twice the source's length"),
        "objective.surrogate": OurChoice("PPO's clip", paper="not known to us"),
    },
)
