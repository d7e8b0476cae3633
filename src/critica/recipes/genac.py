"""GenAC: a second language model reads the answer so far and the actor's record, reasons, and states the value."""

from dataclasses import replace

from critica.advantages.nodes import NodeGae
from critica.advantages.standardized import Standardized
from critica.critics.generative import GenerativeCritic
from critica.critics.language import StatedValue
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import Learner, OurChoice, Paper, PaperSays, Recipe

GENAC = Recipe(
    name="genac",
    paper=Paper(
        "Bringing Value Models Back: Generative Critics for Value Modeling in LLM Reinforcement Learning", "2604.10701"
    ),
    critic=StatedValue(GenerativeCritic(samples=4, reading="expected", format_steps=20)),
    advantage=Standardized(NodeGae(decay=1.0, scale="none")),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    learner=replace(Learner(), critic_warmup_steps=30),
    wing="value critics",
    provenance={
        "critic": PaperSays(
            "a generative critic reasons before it gives a value; joint training with the actor by PPO"
        ),
        "critic.critic.template": PaperSays("in-context conditioning on the current actor; the words are ours"),
        "critic.critic.format_steps": OurChoice(
            "imitates statements made from outcomes; a stronger model is not at hand",
            paper="SFT on synthetic reasoning traces",
        ),
        "critic.critic.samples": OurChoice(
            "REINFORCE needs siblings for its baseline", paper="REINFORCE; number not known to us"
        ),
        "critic.critic.reading": OurChoice("the noise of the last sampled digits is gone", paper="not known to us"),
        "critic.critic.judge_after": OurChoice(
            "line ends: where a step of reasoning is complete", paper="not known to us"
        ),
        "learner.critic_warmup_steps": OurChoice(
            "the format stage and ten steps of reinforcement before the actor moves",
            paper="RL pretraining of the critic; length not known to us",
        ),
        "advantage": OurChoice("outcome minus the value of the node, as PPO at decay 1", paper="not known to us"),
    },
)
