"""Q#: the policy stays as it is; a critic of its reward-to-go is fitted and guides what it writes."""

from dataclasses import replace

from critica.advantages.outcome import Outcome
from critica.critics.bodies import OwnBody
from critica.critics.categorical import CategoricalCritic
from critica.critics.reference_tail import ReferenceTail
from critica.critics.taught_ends import TaughtEnds
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.recipes.base import CodeSays, Learner, OurChoice, Paper, PaperSays, Recipe
from critica.rollout.guidance import ValueGuidance

NEVER = 1_000_000  # steps of critic warm-up: more than any run has

Q_SHARP = Recipe(
    name="q_sharp",
    paper=Paper("Q#: Provably Optimal Distributional RL for LLM Post-Training", "2502.20548"),
    critic=TaughtEnds(CategoricalCritic(atoms=2, encoding="two_hot", body=OwnBody())),
    target=ReferenceTail(roll_in=16),
    control=ValueGuidance(eta=0.1, top_k=8, roll_in=16),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(PolicyGradient()),
    learner=replace(Learner(), critic_warmup_steps=NEVER),
    wing="value critics",
    provenance={
        "critic": PaperSays(
            "V-type: the reward-to-go law of the state after each candidate; Bernoulli for 0/1 rewards"
        ),
        "critic.critic.body": OurChoice(
            "the policy is frozen, so a body of its own is what can learn", paper="a 1B model"
        ),
        "critic.critic.atoms": CodeSays(
            "loss_type bce; mle has 11 atoms: set critic.critic.atoms=11 for graded rewards"
        ),
        "target": PaperSays("algorithm 1: only tokens from the switch on are pi_ref's, and targets"),
        "target.roll_in": OurChoice(
            "the length of pico's answers; the switch is uniform on 1..roll_in", paper="the horizon"
        ),
        "control.eta": PaperSays("eta = 0.1"),
        "control.top_k": OurChoice(
            "each candidate costs a decode step of the critic; 8 hold nearly all of pico's mass", paper="20 in code"
        ),
        "control.keeps_rest": OurChoice(
            "a token that is no candidate keeps its probability", paper="its Q* counts as 0 in code"
        ),
        "learner.critic_warmup_steps": PaperSays("the policy is never trained"),
        "learner.critic_epochs": OurChoice(
            "every step is one iteration with the critic as it is; two suffice there", paper="2 iterations"
        ),
    },
)
