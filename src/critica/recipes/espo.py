"""ESPO: PPO that stops writing an answer when its tokens surprise the policy and the critic expects little of it."""

from dataclasses import replace

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.bodies import SharedTrunk
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import LambdaReturn
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe
from critica.rollout.early_stop import EarlyStop

ESPO = Recipe(
    name="espo",
    paper=Paper("ESPO: Early-Stopping Proximal Policy Optimization", "2605.29860"),
    critic=ScalarCritic(body=SharedTrunk()),
    target=LambdaReturn(discount=1.0, decay=0.95),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    control=EarlyStop(),
    learner=replace(Learner(), critic_warmup_steps=0),
    wing="value critics",
    provenance={
        "critic.body": OurChoice("the value of a state must cost nothing while the state decodes", paper="not stated"),
        "control.failure": PaperSays("r_fail = -1.0"),
        "control.target": PaperSays("target stop rate 0.25"),
        "control.threshold": PaperSays("beta starts at 7.0, steered with eta 0.1"),
        "control.smoothing": PaperSays("a_s = 0.9"),
        "control.memory": PaperSays("a_e = 0.99"),
        "control.warmup_steps": OurChoice("the paper forces it on after a tenth of the run at the latest", paper="loss < 0.5"),
        "control.audit": OurChoice("the paper reports a false-stop rate but not how to see it in a run", paper="none"),
    },
)
