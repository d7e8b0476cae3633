"""AlignDistil: two models learn from better and worse answers, one upside down; the policy is distilled from both."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.pair_targets import SiblingPairs
from critica.critics.preference_models import PreferenceModels
from critica.curricula.critic_then_policy import CriticThenPolicy
from critica.objectives.align_distil import Distillation
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe
from critica.updaters.gradient import Adam

ALIGN_DISTIL = Recipe(
    name="align_distil",
    paper=Paper("AlignDistil: Token-Level Language Model Alignment as Adaptive Policy Distillation", "2503.02832"),
    critic=PreferenceModels(beta=0.1),
    target=SiblingPairs(),
    advantage=Outcome("none"),
    objective=Distillation(variant="adaptive", beta=0.1, slope=15.0),
    curriculum=CriticThenPolicy(),
    learner=replace(Learner(), critic_warmup_steps=60, critic=Adam()),
    wing="value critics",
    provenance={
        "critic.beta": PaperSays("0.1, for DPO and reverse DPO"),
        "critic.teacher": OurChoice("taught in this run, on its own answers", paper="trained before, on UltraFeedback"),
        "target": OurChoice("siblings with different told outcomes", paper="human preference pairs"),
        "advantage": OurChoice("it only says which tokens are trained"),
        "objective.beta": PaperSays("0.1"),
        "objective.slope": PaperSays("k = 15 on-policy, 10 off-policy"),
        "curriculum": PaperSays("the two models first, then the distillation"),
        "learner.critic_warmup_steps": OurChoice(
            "until the pairs are told apart on the shipped tasks", paper="one epoch"
        ),
    },
)
