"""TRACE: GRPO on the outcome and three tenths of how well the answer is argued, sentence by sentence."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans
from critica.rewards.trace_source import Trace
from critica.rollout.combine import Sum
from critica.rollout.place import Placement

TRACE = Recipe(
    name="trace",
    paper=Paper("TRACE: argument structure as a process reward", "2605.29656"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(
        ClippedRatio(low=0.2, high=0.2), reduction=SequenceMeanOfTokenMeans(), penalties=(ReferenceKl(weight=0.04),)
    ),
    reward=Trace(),
    placement=Placement(combination=Sum((1.0, 0.3))),
    wing="supervision",
    provenance={
        "reward.state_share": PaperSays("TRACE = .7 V_state + .3 C_trans (a public note on the paper)"),
        "reward.classifier": OurChoice(
            "weights cannot ship; a list of connectives", paper="DeBERTa-v3-base, fine-tuned"
        ),
        "reward.then": PaperSays("accuracy beside TRACE (a public note on the paper)"),
        "placement.combination.weights": OurChoice("structure breaks ties between outcomes", paper="not public"),
        "advantage.scale": OurChoice("GRPO", paper="not public"),
        "objective.penalties": OurChoice("GRPO's own coefficient", paper="not public"),
    },
)
