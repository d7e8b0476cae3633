"""EKSFT: a cold start that leaves alone what the policy is unsure of, so that reinforcement finds entropy to work with."""

from dataclasses import replace

from critica.objectives.eksft import SelectiveCrossEntropy
from critica.recipes.base import CodeSays, Learner, OurChoice, Paper, PaperSays
from critica.recipes.sft import SFT
from critica.updaters.gradient import Adam

EKSFT = replace(
    SFT,
    name="eksft",
    paper=Paper("EKSFT: Entropy-KL Selective Fine-Tuning", "2605.29303"),
    objective=SelectiveCrossEntropy(ratio=0.2, entropy_weight=0.05, kl_weight=0.05),
    learner=replace(Learner(), policy=Adam(weight_decay=0.1, beta1=0.9, beta2=0.95)),
    provenance={
        "objective": PaperSays("cross-entropy outside the union of the two sets, entropy up and KL down inside"),
        "objective.ratio": CodeSays("README and launcher: 0.2, union; the dataclass defaults say intersection"),
        "objective.entropy_weight": CodeSays(
            "launcher: 0.05; the adjustment by 5% never adds up there and is left out"
        ),
        "objective.kl_weight": CodeSays("launcher: 0.05"),
        "learner.policy": CodeSays("weight decay 0.1, betas 0.9 and 0.95"),
        "learner.policy.learning_rate": OurChoice(
            "by the size of the model", paper="1e-5, cosine, 1% warm-up, 8 epochs"
        ),
        "sampling.prompts_per_step": OurChoice("a common batch", paper="64: 8 GPUs x 8 accumulated x 1"),
    },
)
