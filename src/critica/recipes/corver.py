"""CorVer: each token is credited with the outcome and with what a corpus says of its own sentence."""

from critica.advantages.token_reward import TokenReward
from critica.critics.counted import GroupMean
from critica.objectives.penalties import ReferenceKl
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import CodeSays, OurChoice, Paper, PaperSays, Recipe
from critica.records.losses import SequenceMeanOfTokenMeans
from critica.rewards.corver import FACTS, CorVer

CORVER = Recipe(
    name="corver",
    paper=Paper("CorVer: corpus co-occurrence as a token-level verifier", "2605.29648"),
    critic=GroupMean(),
    advantage=TokenReward(FACTS),
    objective=PolicyLoss(
        ClippedRatio(low=0.2, high=0.2), reduction=SequenceMeanOfTokenMeans(), penalties=(ReferenceKl(weight=0.001),)
    ),
    reward=CorVer(),
    wing="supervision",
    provenance={
        "reward.bounds": CodeSays("shichengf/CorVer: 0, 1 to 4, 5 to 19, from 20 on"),
        "reward.worths": CodeSays("shichengf/CorVer: -.3, -.1, 0, .1; 0 where nothing is looked up"),
        "reward.judge_weight": CodeSays("shichengf/CorVer: beta 1.0 through the environment (function default .3)"),
        "reward.window": CodeSays("shichengf/CorVer: 1000 tokens; here words"),
        "reward.corpus": OurChoice(
            "a few lines that ship: name a text file of yours", paper="Wikipedia by Infini-gram"
        ),
        "reward.then": OurChoice(
            "the task's own scorer; tags are not rewarded", paper="string match, and a format reward"
        ),
        "advantage": PaperSays("token-level credit, group-normalized by the rows' means"),
        "advantage.epsilon": CodeSays("shichengf/CorVer: 1e-4"),
        "objective.penalties": CodeSays("shichengf/CorVer: KL .001"),
        "sampling.samples_per_prompt": OurChoice("what a small machine affords", paper="16"),
    },
)
