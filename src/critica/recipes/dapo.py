"""DAPO: GRPO with clip-higher, token-level loss, prompts that vary, and a soft length limit."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import TokenMean
from critica.rollout.admission import Informative
from critica.rollout.place import Placement, SoftOverlong

DAPO = Recipe(
    name="dapo",
    paper=Paper("DAPO: An Open-Source LLM Reinforcement Learning System at Scale", "2503.14476"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.28), reduction=TokenMean()),
    placement=Placement(overlong=SoftOverlong(limit_tokens=0, buffer_tokens=1, penalty=1.0)),
    admission=Informative(max_rounds=4),
    provenance={
        "objective.surrogate": PaperSays("section 3.1: 0.2 and 0.28"),
        "objective.reduction": PaperSays("section 3.3: token-level loss"),
        "admission": PaperSays("section 3.2: groups that are all right or all wrong are drawn again"),
        "admission.max_rounds": OurChoice("bounds a step when most groups are decided", paper="unbounded"),
        "placement.overlong": OurChoice("off: the tasks here end by themselves; set limit_tokens to use eq. 13", paper="20480"),
        "objective.penalties": PaperSays("section 2.3: no KL term"),
    },
)
