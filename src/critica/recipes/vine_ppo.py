"""VinePPO: no value network; what a stretch of tokens is worth is measured by going on before and after it."""

from critica.advantages.nodes import NodeGae
from critica.advantages.standardized import Standardized
from critica.critics.monte_carlo import MonteCarloRollouts
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe

VINE_PPO = Recipe(
    name="vine_ppo",
    paper=Paper("VinePPO: Refining Credit Assignment in RL Training of LLMs", "2410.01679"),
    critic=MonteCarloRollouts(continuations=4, boundary="tokens", gap_tokens=4, nodes=8),
    advantage=Standardized(NodeGae(decay=0.0, scale="none")),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    wing="value critics",
    provenance={
        "critic": PaperSays("section 4: the mean outcome of K fresh continuations of a state, undiscounted"),
        "critic.continuations": OurChoice("what a small machine affords", paper="9; 1 and 3 as ablations"),
        "critic.boundary": OurChoice("the answers here are one line", paper="reasoning steps: lines, or parts of a formula"),
        "critic.gap_tokens": OurChoice("answers here take some ten tokens", paper="a reasoning step"),
        "critic.nodes": OurChoice("bounds the cost of a step", paper="every step; the released code can stop after 20"),
        "critic.first": CodeSays("math_episode_generator_with_mc_advantages.py: equal prefixes are estimated once"),
        "advantage.inner.decay": PaperSays("section 4: A = r + V(next state) - V(state), one step at a time"),
        "advantage": CodeSays("configs/trainers/ppo_MATH.jsonnet: whiten_advantages"),
        "objective.surrogate": CodeSays("configs/trainers/ppo_MATH.jsonnet: cliprange 0.2"),
        "objective.penalties": OurChoice("nothing pulls back, as in the other value recipes here", paper="KL in the loss, coefficient 1e-4 in the released configs"),
        "learner.policy_epochs": OurChoice("one pass, as everywhere here", paper="2 passes, updates of 64 answers"),
        "sampling.samples_per_prompt": OurChoice("as everywhere here", paper="8 for each of 64 prompts, temperature 0.6"),
    },
)
