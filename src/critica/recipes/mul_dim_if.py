"""MulDimIF: follow constraints that code can check; the reward is how many hold, compared within the group.

`environment=constrained` writes small prompts of its kinds; for the published data: --environment tasks.jsonl with a
column `constraints`. Training pays the count, `--reward constraints:all` is its test. Shown is a small policy whose
constraints hold more and more often (tests/training/test_supervision_recipes.py); the policy that ships writes sums and
not sentences.
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.environments.constrained import Constrained
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, Recipe, Sampling
from critica.rewards.constraints import Constraints

MUL_DIM_IF = Recipe(
    name="mul_dim_if",
    paper=Paper(
        "A Multi-Dimensional Constraint Framework for Evaluating and Improving Instruction Following", "2505.07591"
    ),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2), penalties=(ReferenceKl(weight=0.001),)),
    environment=Constrained(),
    reward=Constraints(pay="count"),
    sampling=Sampling(temperature=0.7),
    wing="supervision",
    provenance={
        "reward.pay": CodeSays("the number of satisfied constraints in training; all of them in the test"),
        "reward": OurChoice(
            "a constraint that cannot be read is missing, not failed", paper="unread ones count as failed"
        ),
        "objective.penalties": CodeSays("GRPO with a low-variance KL of weight .001"),
        "sampling.temperature": CodeSays("0.7"),
        "sampling.samples_per_prompt": OurChoice("8, as everywhere here", paper="32"),
        "sampling.prompts_per_step": OurChoice("16, as everywhere here", paper="32"),
        "learner.policy": OurChoice("the library's rate for small models", paper="1e-6"),
        "environment": OurChoice(
            "small prompts of the same kinds", paper="7,906 prompts in three patterns and four levels"
        ),
    },
)
