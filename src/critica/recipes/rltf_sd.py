"""RLTF-SD: the policy learns to answer at once what it could answer only after a critique."""

from critica.advantages.feedback_credit import FeedbackCredit
from critica.advantages.gae import Gae
from critica.critics.turn_mean import TurnMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.rollout.feedback import Feedback

RLTF_SD = Recipe(
    name="rltf_sd",
    paper=Paper("Expanding the Capabilities of Reinforcement Learning via Text Feedback", "2602.02482"),
    critic=TurnMean(single="first"),
    advantage=FeedbackCredit(Gae(discount=1.0, decay=1.0), single=0.1, floor=-5.0),
    objective=PolicyLoss(PolicyGradient()),
    protocol=Feedback(discount=0.1, single_turn_rows=True),
    provenance={
        "critic.single": PaperSays(
            "the first turn's mean as the baseline of the second answer under the first context"
        ),
        "advantage.single": CodeSays(
            "lili-chen/rltf: rl_coef 0.1, constant on puzzles and rising from 0 in mathematics"
        ),
        "advantage.floor": CodeSays("lili-chen/rltf: tokens below a log-probability of -5 are masked"),
        "protocol.discount": CodeSays("lili-chen/rltf: gamma 0.1 in the scripts, read as the second verdict's weight"),
        "protocol.critic": OurChoice("a script that needs no judge", paper="Qwen3-235B-A22B-Instruct"),
        "objective.surrogate": CodeSays("the ratio of added rows is taken against themselves: 1, on-policy"),
        "objective.reduction": OurChoice("added rows and turns weigh by their tokens, in one stream"),
    },
)
