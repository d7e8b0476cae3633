"""CodeRL: an actor whose every token is credited by how surely a critic of endings foresees what became of the answer.

Its subject is programs: `reward=program_outcome` runs them in the sandbox and tells the four endings apart. The policy
that ships cannot write any, so the defaults here are the same method with the two endings that its tasks have; for
programs: --environment tasks.jsonl --set reward=program_outcome --set critic.rewards=[-1.0,-0.6,-0.3,1.0].
Critical sampling, its inference half, is `critica evaluate RUN --critical-sampling RUN --samples 8`.
"""

from critica.advantages.outcome_confidence import OutcomeConfidence
from critica.critics.outcome_classes import OutcomeClasses
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import PolicyGradient
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe

CODE_RL = Recipe(
    name="code_rl",
    paper=Paper("CodeRL: Mastering Code Generation through Pretrained Models and Deep RL", "2207.01780"),
    critic=OutcomeClasses(rewards=(0.0, 1.0), pooling="none"),
    advantage=OutcomeConfidence(),
    objective=PolicyLoss(PolicyGradient()),
    wing="value critics",
    provenance={
        "critic.rewards": OurChoice(
            "pico's tasks end right or wrong; program_outcome has the four", paper="-1, -0.6, -0.3, 1"
        ),
        "critic.pooling": OurChoice("a loss at every token makes the law by token a chance", paper="max over tokens"),
        "advantage": PaperSays("section 3.3: the critic's softmax at the true outcome times the relative return"),
        "objective.surrogate": PaperSays("REINFORCE; the cross-entropy on ground-truth programs is left out"),
        "sampling.samples_per_prompt": OurChoice(
            "the others of the group are the baseline", paper="20, and one greedy"
        ),
    },
)
