"""CME: the reward is how likely another, frozen language model finds the answer; GRPO otherwise."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans
from critica.rewards.cross_entropy_source import CrossEntropy

CME = Recipe(
    name="cme",
    paper=Paper("CME: cross-model entropy as a reward", "2605.29009"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(
        ClippedRatio(low=0.2, high=0.2), reduction=SequenceMeanOfTokenMeans(), penalties=(ReferenceKl(weight=0.04),)
    ),
    reward=CrossEntropy("pico"),
    wing="supervision",
    provenance={
        "reward": PaperSays("abstract: mean log-prob of the answer under a different frozen model"),
        "reward.path": OurChoice(
            "the one model that ships, frozen as it came: name another with reward.path", paper="a different model"
        ),
        "reward.low": OurChoice("a declared floor, so that one impossible token does not decide a group", paper="none"),
        "reward.most_repeated": OurChoice("a likelihood rewards loops", paper="no guard known to us"),
        "reward.dense": OurChoice("off: the paper's reward is one number an answer"),
        "advantage.scale": PaperSays("abstract: GRPO unchanged"),
        "objective.surrogate": PaperSays("abstract: GRPO unchanged"),
        "objective.penalties": OurChoice("GRPO's own coefficient keeps the policy near its start", paper="not public"),
    },
)
