"""Surprise: PPO whose critic reads the policy's own doubts, knows early, and weighs next to nothing."""

from dataclasses import replace

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.surprise import SurpriseCritic
from critica.critics.targets import MonteCarlo
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import Learner, OurChoice, Paper, Recipe

SURPRISE = Recipe(
    name="surprise",
    paper=Paper("Critica's own: a value from the policy's doubts"),
    critic=SurpriseCritic(),
    target=MonteCarlo(),
    advantage=Standardized(Gae(discount=1.0, decay=0.95)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    learner=replace(Learner(), critic_epochs=8),
    wing="value critics",
    provenance={
        "critic": OurChoice("on frozen pico 512 answers suffice for what a transformer of its own learns from 16,000"),
        "target": OurChoice("the outcome itself: few weights and many passes make its variance harmless"),
        "advantage": OurChoice("VC-PPO's, so that only the critic differs"),
        "learner.critic_epochs": OurChoice("eight passes cost less than one of a critic with a body"),
    },
)
