"""ProAct's MC-PPO: a value of nine tenths random play from the very state, and one tenth network."""

from dataclasses import replace

from critica.advantages.gae import Gae
from critica.advantages.standardized import Standardized
from critica.critics.blend import Blend
from critica.critics.scalar import ScalarCritic
from critica.critics.simulator import SimulatorRollouts
from critica.critics.targets import LambdaReturn
from critica.environments.digit_sum import DigitSum
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, Learner, OurChoice, Paper, PaperSays, Recipe

PROACT = Recipe(
    name="proact",
    paper=Paper("ProAct: Agentic Lookahead in Interactive Environments", "2602.05327"),
    critic=Blend(weight=0.9, first=SimulatorRollouts(rollouts=1000, discount=1.0), second=ScalarCritic()),
    target=LambdaReturn(discount=1.0, decay=0.0),
    advantage=Standardized(Gae(discount=1.0, decay=0.0)),
    objective=PolicyLoss(ClippedRatio(low=0.4, high=0.4)),
    environment=DigitSum(),
    learner=replace(Learner(), critic_warmup_steps=0),
    wing="value critics",
    provenance={
        "critic.weight": CodeSays("examples/proact/mc_ppo_2048.yaml: mc_value_weight 0.9"),
        "critic.first": PaperSays("the MC-Critic: mean discounted return of a uniformly random policy"),
        "critic.first.rollouts": CodeSays("step_grpo_workflow.py: 1000 rollouts of up to 1000 steps"),
        "critic.first.discount": OurChoice("a token game pays at its end alone, whatever its length", paper="0.9 on 2048, 0.95 on Sokoban"),
        "critic.second": OurChoice("read before the turn's first token", paper="near the end of the turn's own answer, where it sees the action"),
        "target": CodeSays("the network is trained towards A + the blended value; every token of a turn here, one there"),
        "advantage.inner.decay": CodeSays("mc_ppo_2048.yaml: turn_lambda 0"),
        "advantage": CodeSays("mc_ppo_2048.yaml: adv_norm over the batch"),
        "objective.surrogate": CodeSays("mc_ppo_2048.yaml: eps_clip 0.4"),
        "environment": OurChoice("a game whose states can be restored and whose values are computable", paper="2048 and Sokoban"),
        "learner": OurChoice("one pass, as everywhere here", paper="10 epochs over 8 turns a device"),
    },
)
