"""RetroAct: one policy in two roles, a planner that tries and a reflector whose advice is paid by the next trial."""

from dataclasses import replace

from critica.advantages.feedback_credit import FeedbackCredit
from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedWeight
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe
from critica.rollout.retrospect import Retrospect

RETRO_ACT = Recipe(
    name="retro_act",
    paper=Paper("Improving Retrospective Language Agents via Joint Policy Gradient Optimization", "2503.01490"),
    critic=GroupMean(),
    advantage=FeedbackCredit(Outcome(scale="none"), imitation=0.1),
    objective=PolicyLoss(ClippedWeight(low=0.0, high=2.0), center="behavior", mismatch=()),
    protocol=Retrospect(trials=2, expert=True),
    learner=replace(Learner(), policy_epochs=2),
    provenance={
        "objective": PaperSays("off-policy joint policy gradient with imitation; its formula is not public to us"),
        "objective.surrogate": OurChoice("sg[min(pi / mu, 2)] A log pi: truncated where the sampler lags behind"),
        "advantage.imitation": OurChoice("0.1 of the cross-entropy of an expert's answer", paper="not public"),
        "protocol": OurChoice("a reflection earns the next trial's verdict less the last one's", paper="not public"),
        "protocol.expert": OurChoice("the planner's alone: environments here write no reflections", paper="both roles"),
        "critic": OurChoice("siblings of one task, role and trial", paper="not public"),
        "learner.policy_epochs": OurChoice(
            "two passes, so that the second is off-policy", paper="replayed trajectories"
        ),
    },
)
