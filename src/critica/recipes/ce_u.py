"""CE-U: bad tokens are drawn to the law without them, instead of being driven to probability 0."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.objectives.unlearning import Unlearning
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

CE_U = Recipe(
    name="ce_u",
    paper=Paper("CE-U: Cross Entropy Unlearning", "2503.01224"),
    critic=GroupMean(),
    advantage=Outcome("none"),
    objective=Unlearning(PolicyLoss(ClippedRatio(low=0.2, high=0.2)), low=0.2),
    provenance={
        "critic": OurChoice("as in GRPO; the paper unlearns texts and names GRPO's negative term as the same problem"),
        "advantage": OurChoice("no division by a spread: the force on a token is already at most |A|"),
        "objective": PaperSays("the soft target: the law with the token's logit at minus infinity, detached"),
        "objective.positive": OurChoice("what is good is reinforced as in PPO", paper="cross-entropy to the text"),
        "objective.spare_sure": OurChoice(
            "without it tokens that decide nothing drift to probability 1/2: sure ones are pushed down hardest", paper="off"
        ),
        "objective.low": OurChoice("a token that fell by a fifth is left alone for the step, as PPO's clip does", paper="none"),
    },
)  # fmt: skip
