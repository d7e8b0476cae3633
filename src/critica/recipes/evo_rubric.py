"""EvoRubric: criteria are written as answers come, and those that tell answers apart as their peers do are remembered.

The judge is scripted (see rlr3) and writes three criteria of its own. What is missing is half of the paper: there the
policy itself alternates as writer and reasoner, and its writing is rewarded too, by agreement * spread for each
criterion that survives and -1 for what cannot be read. Here the writer is another model that never learns, so criteria
get better by selection alone: the pool keeps what told answers apart, and nobody writes with it in mind. Training the
writer takes groups of criteria beside groups of answers in one step, each judged by what became of the other; rewards
here are asked about answers once these are all written, and a source that compares siblings cannot yet be asked about
a second kind of them. `EvoRubricSource.judged` holds what each criterion would have earned.
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rewards.evo_rubric import EvoRubric
from critica.rewards.judge_criteria import Criterion
from critica.rewards.scripted_judge import ScriptedJudge

EVO_RUBRIC = Recipe(
    name="evo_rubric",
    paper=Paper("EvoRubric", "2605.29847"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    reward=EvoRubric(
        judge=ScriptedJudge(
            matrix=((0.9, 0.1), (0.1, 0.9)),
            proposals=(
                "Is the final answer right?",
                "Would a careful reader accept the result?",
                "Is the response as long as it should be?",
            ),
        ),
        criteria=(Criterion("expert", "Does the response solve the task?"),),
    ),
    wing="supervision",
    provenance={
        "reward": PaperSays("abstract: meta-verifier, zero-variance pruning, leave-one-out consensus, memory pool"),
        "reward.criteria": PaperSays("abstract: works on top of expert rubrics"),
        "reward.agreement": OurChoice(
            "rank correlation of .2 with the peers' mean, the worst leaving first", paper="equations not public"
        ),
        "reward.pool": OurChoice("16 criteria a prompt", paper="size not public"),
        "reward.similarity": OurChoice("cosine of hashed letter n-grams", paper="an embedding"),
        "reward.judge": OurChoice(
            "scripted, and a writer that is not trained", paper="one policy alternates as writer and reasoner"
        ),
        "objective.surrogate": OurChoice("PPO's clip", paper="not known to us"),
    },
)
