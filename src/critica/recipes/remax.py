"""ReMax: REINFORCE against what the policy's own greedy answer earns: one more answer a prompt, and no siblings."""

from critica.advantages.outcome import Outcome
from critica.critics.greedy_answer import GreedyAnswer
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe, Sampling
from critica.records.losses import SequenceMeanOfTokenSums

REMAX = Recipe(
    name="remax",
    paper=Paper("ReMax: A Simple, Effective, and Efficient RL Method for Aligning Large Language Models", "2310.10505"),
    critic=GreedyAnswer(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(PolicyGradient(), reduction=SequenceMeanOfTokenSums()),
    sampling=Sampling(prompts_per_step=128, samples_per_prompt=1),
    provenance={
        "critic": PaperSays("algorithm 1: the reward of the greedy response"),
        "objective.surrogate": PaperSays("eq. 4: the score function, no ratio"),
        "objective.reduction": PaperSays("eq. 4: the log-probability of the whole response"),
        "sampling.samples_per_prompt": PaperSays("one response a prompt"),
        "sampling.prompts_per_step": OurChoice("as many answers a step as the other recipes", paper="not compared"),
        "placement.reference_kl": OurChoice("greedy answers know no cost per token here", paper="a KL cost in the reward"),
    },
)
