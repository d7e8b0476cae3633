"""RLTF-FM: beside its two answers the policy learns the critique itself, as a text it could have written."""

from critica.advantages.feedback_credit import FeedbackCredit
from critica.advantages.gae import Gae
from critica.critics.turn_mean import TurnMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.rollout.feedback import Feedback

RLTF_FM = Recipe(
    name="rltf_fm",
    paper=Paper("Expanding the Capabilities of Reinforcement Learning via Text Feedback", "2602.02482"),
    critic=TurnMean(),
    advantage=FeedbackCredit(Gae(discount=1.0, decay=1.0), imitation=0.1),
    objective=PolicyLoss(PolicyGradient()),
    protocol=Feedback(discount=0.1, critique_rows=True),
    provenance={
        "advantage.imitation": PaperSays("the auxiliary cross-entropy has weight 0.1"),
        "protocol.discount": CodeSays("lili-chen/rltf: gamma 0.1 in the scripts, read as the second verdict's weight"),
        "protocol.critic": OurChoice("a script that needs no judge", paper="Qwen3-235B-A22B-Instruct"),
        "critic": OurChoice("the mean of the siblings that came to the same turn", paper="group RL on both turns"),
        "objective.reduction": OurChoice("critiques and turns weigh by their tokens, in one stream"),
    },
)
