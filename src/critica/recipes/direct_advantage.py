"""Direct Advantage Policy Optimization: first a critic of steps, then a policy regressed on what it says of them."""

from dataclasses import replace

from critica.advantages.step_tilt import StepTilt
from critica.critics.chunk_targets import StepStarts
from critica.critics.success import SuccessCritic
from critica.critics.targets import MonteCarlo
from critica.curricula.critic_then_policy import CriticThenPolicy
from critica.functional.steps import Steps
from critica.objectives.direct_advantage import LogRatioRegression
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe

DIRECT_ADVANTAGE = Recipe(
    name="direct_advantage",
    paper=Paper(
        "Improving Multi-Step Reasoning Abilities of Large Language Models with Direct Advantage Policy Optimization",
        "2412.18279",
    ),
    critic=SuccessCritic(steps=Steps("tokens", 4)),
    target=StepStarts(MonteCarlo()),
    advantage=StepTilt(beta=0.1),
    objective=LogRatioRegression(),
    curriculum=CriticThenPolicy(),
    learner=replace(Learner(), critic_warmup_steps=60),
    wing="value critics",
    provenance={
        "critic": PaperSays("abstract: a critic predicts the accuracy of every step, trained before and apart"),
        "critic.steps": OurChoice(
            "the shipped policy writes about nine tokens on one line", paper="reasoning steps, lines"
        ),
        "target": OurChoice(
            "one continuation of each step, the answer itself: many prompts instead", paper="samples at each state"
        ),
        "advantage": PaperSays("abstract: advantages of steps, V after less V before"),
        "advantage.beta": OurChoice("on a game of 81 answers 0.1 reached 0.84 of 1 where 0.5 reached 0.53", paper="not known to us"),
        "advantage.partition": OurChoice("off, as published as far as known", paper="not known to us"),
        "objective": PaperSays("abstract and summaries: squared loss of the log-ratio to the reference"),
        "curriculum": PaperSays(
            "abstract: the critic first, then the actor; here the answers are sampled anew meanwhile"
        ),
        "learner.critic_warmup_steps": OurChoice("until Brier levels off on the shipped tasks", paper="not stated"),
    },
)
