"""BPCO: a critic bounded to the reward's range, Monte-Carlo targets, one answer a prompt, and credit left as it is."""

from dataclasses import replace

from critica.advantages.gae import Gae, LengthAdaptive
from critica.critics.bounded import BoundedCritic
from critica.critics.targets import MonteCarlo
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedShift
from critica.recipes.base import CodeSays, Learner, OurChoice, Paper, PaperSays, Recipe, Sampling
from critica.records.losses import SequenceMeanOfTokenSums

BPCO = Recipe(
    name="bpco",
    paper=Paper("BPCO: Best Practice Critic Optimization", "2608.23566"),
    critic=BoundedCritic(),
    target=MonteCarlo(),
    advantage=Gae(discount=1.0, decay=LengthAdaptive(alpha=0.4)),
    objective=PolicyLoss(ClippedShift(width=0.2), SequenceMeanOfTokenSums()),
    sampling=Sampling(prompts_per_step=128, samples_per_prompt=1),
    learner=replace(Learner(), critic_warmup_steps=15),
    wing="value critics",
    provenance={
        "critic": PaperSays("V = low + (high - low) (1/2 + atan(z) / pi), as a public re-implementation has it"),
        "target": PaperSays("the critic's decay is 1"),
        "advantage": PaperSays("not normalized"),
        "advantage.decay.alpha": CodeSays("0.4 in the re-implementation"),
        "objective.surrogate": PaperSays("DPPO's region |policy - behavior probability| <= 0.2"),
        "objective.reduction": PaperSays("tokens summed, sequences averaged"),
        "sampling.samples_per_prompt": PaperSays("one answer a prompt"),
        "sampling.prompts_per_step": OurChoice("as many samples a step as the other recipes", paper="not found"),
        "learner.critic_warmup_steps": PaperSays("15 updates of the critic alone"),
    },
)
