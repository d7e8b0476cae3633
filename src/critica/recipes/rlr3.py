"""RLR^3: a rubric whose essential criteria come first, copied and verified where a rule can decide, judged elsewhere.

The judge is scripted: it knows the environment's verdict and errs one time in ten. Name a real one with
`--set reward.judge=http --set reward.judge.model=NAME --set reward.judge.url=http://…/v1`; tasks may bring criteria of
their own in a column `rubric`.
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rewards.judge_criteria import Criterion
from critica.rewards.rubric import Rubric
from critica.rewards.scripted_judge import ScriptedJudge

RLR3 = Recipe(
    name="rlr3",
    paper=Paper("Robust Rubric Rewards", "2605.30244"),
    critic=GroupMean(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    reward=Rubric(
        judge=ScriptedJudge(matrix=((0.9, 0.1), (0.1, 0.9))),
        criteria=(
            Criterion("answer", "The final answer that the response gives", route="extract_then_verify"),
            Criterion("sound", "Does the response lead to a right answer?", tier="additional"),
        ),
    ),
    wing="supervision",
    provenance={
        "reward.criteria": PaperSays(
            "abstract: extract then verify, or judge; essential criteria before additional ones"
        ),
        "reward.judge_sees": PaperSays("abstract: minimal exposure"),
        "reward.extractor_sees": PaperSays("abstract: the extractor never sees the ground truth"),
        "reward.bonus": OurChoice("additional criteria weigh a third of essential ones", paper="equations not public"),
        "reward.saturate": OurChoice("4p(1-p) of the group", paper="saturation is mitigated, form not public"),
        "reward.judge": OurChoice("scripted, wrong one time in ten: runs anywhere", paper="a trained generative judge"),
        "advantage.scale": OurChoice("the score is in deviations of its group already"),
        "objective.surrogate": OurChoice("PPO's clip", paper="not known to us"),
    },
)
