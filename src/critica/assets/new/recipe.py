"""A recipe of one's own: a sentence that picks parts.

    critica train my_recipe.py:MY_RECIPE --steps 20 --run runs/mine
    critica plan my_recipe.py:MY_RECIPE
"""

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.categorical import CategoricalCritic
from critica.critics.targets import CategoricalLambda
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

MY_RECIPE = Recipe(
    name="my_recipe",
    paper=Paper("PPO with a categorical critic that stays near its reference"),
    critic=CategoricalCritic(),
    target=CategoricalLambda(),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.28), penalties=(ReferenceKl(weight=0.01, estimator="k2"),)),
    provenance={
        "objective.surrogate": PaperSays("clip-higher, arXiv 2503.14476"),
        "objective.penalties": OurChoice("enough to stay readable; to be tuned"),
    },
)
