"""Prompt-level specifications: a rubric and checks for each prompt take over from a global grade within 800 steps.

`--set reward.specs=specs.jsonl` names specifications made before training. Without any the rubric is one criterion and
the check one line: the answer ends on a digit or a letter. The judge is scripted (see rlr3).
"""

from critica.advantages.outcome import Outcome
from critica.critics.counted import GroupMean
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, PaperSays, Recipe
from critica.rewards.judge_criteria import Criterion
from critica.rewards.prompt_spec import PromptSpec
from critica.rewards.schedule import Schedule
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rewards.spec_file import SpecChecks

PROMPT_SPEC = Recipe(
    name="prompt_spec",
    paper=Paper("Prompt-Level Reward Specifications", "2605.29275"),
    critic=GroupMean(),
    advantage=Outcome(scale="group"),
    objective=PolicyLoss(ClippedRatio(low=0.2, high=0.2)),
    reward=PromptSpec(
        judge=ScriptedJudge(matrix=((0.9, 0.1), (0.1, 0.9))),
        criteria=(Criterion("solves", "Does the response solve the task?", choices=("no", "partly", "yes")),),
        checkers=(SpecChecks(common=("def check(response):\n    return response.strip()[-1:].isalnum()",)),),
        fading=Schedule(1.0, 0.0, 800),
    ),
    wing="supervision",
    provenance={
        "reward.criteria": PaperSays("atomic criteria with values 0, .5 and 1, averaged by weight"),
        "reward.checkers": PaperSays("the mean of binary code checkers"),
        "reward.fading": PaperSays("the global score's weight falls from 1 to 0 over 800 steps"),
        "reward.weights": OurChoice("rubric and checks alike", paper="the mixture is not public"),
        "reward.judge": OurChoice("scripted, wrong one time in ten: runs anywhere", paper="Qwen3.5-35B-A3B"),
        "objective.surrogate": OurChoice("the ratio of tokens", paper="GSPO, the ratio of sequences"),
    },
)
