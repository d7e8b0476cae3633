"""Sentence-level rewards: a reward head read at the ends of sentences, taught by the group's better and worse answers."""

from dataclasses import replace

from critica.advantages.shaped import ShapedOutcome
from critica.advantages.standardized import Standardized
from critica.critics.pair_targets import SiblingPairs
from critica.critics.sentence_reward import SentenceReward
from critica.functional.steps import Steps
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe

SENTENCE_REWARD = Recipe(
    name="sentence_reward",
    paper=Paper(
        "Sentence-level Reward Model can Generalize Better for Aligning LLM from Human Preference", "2503.04793"
    ),
    critic=SentenceReward(steps=Steps("tokens", 4)),
    target=SiblingPairs(),
    advantage=Standardized(ShapedOutcome(weight=0.5, decay=1.0)),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    learner=replace(Learner(), critic_warmup_steps=20),
    wing="value critics",
    provenance={
        "critic": PaperSays("abstract: rewards at the ends of sentences, by difference, aggregated by attention"),
        "critic.steps": OurChoice("the shipped policy writes about nine tokens and no sentences", paper="sentences"),
        "critic.attention": OurChoice(
            "query after the answer, keys after sentences", paper="form and width not public"
        ),
        "target": OurChoice("siblings with different outcomes", paper="human preference pairs, Bradley-Terry"),
        "advantage.inner": PaperSays("abstract: differences as dense rewards in RL"),
        "advantage.inner.weight": OurChoice(
            "half a standard deviation beside the outcome", paper="the reward is the model's alone"
        ),
        "objective.surrogate": OurChoice("PPO's clip", paper="not known to us"),
    },
)
