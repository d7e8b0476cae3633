"""Power sampling: answers from p^4 by Metropolis-Hastings over their ends; nothing is trained.

As a recipe it is a way of writing and a curriculum in which nobody learns: `critica train power_sampling` writes,
scores and records answers in a run folder (every one masked(watching) in its ledger), to be read, compared, or used as
demonstrations; no weight of the policy moves. Critic, advantage and objective are idle. To measure held-out accuracy
use `critica evaluate TARGET --power 4`.
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import NoBaseline
from critica.curricula.watching import Watching
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.policies.power_sampling import PowerSampling
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe, Safety, Sampling

POWER_SAMPLING = Recipe(
    name="power_sampling",
    paper=Paper("Reasoning with Sampling: Your Base Model is Smarter Than You Think", "2510.14901"),
    critic=NoBaseline(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(PolicyGradient()),
    decoding=PowerSampling(power=4.0, moves=10, blocks=16, even=1.0),
    curriculum=Watching(),
    sampling=Sampling(prompts_per_step=16, samples_per_prompt=4),
    safety=Safety(rehearsal=False),
    steps=1,
    provenance={
        "decoding.power": PaperSays("section 5: 4 on reasoning tasks"),
        "decoding.moves": CodeSays("power_samp_math.py: mcmc_steps 10"),
        "decoding.blocks": CodeSays("power_samp_utils.py: 16 stretches of the token limit"),
        "decoding.even": PaperSays("algorithm 1: the cut is uniform; below 1 cuts prefer decision points (ours)"),
        "curriculum": OurChoice("nothing is trained"),
        "safety.rehearsal": OurChoice("there is no update to rehearse"),
        "sampling": OurChoice("enough answers to a prompt to see how alike they are"),
    },
)
