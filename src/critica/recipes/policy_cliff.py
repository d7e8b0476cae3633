"""The Policy Cliff: policy gradient with as much entropy as the noise of the reward asks for."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import LeaveOneOut
from critica.objectives.noise_entropy import NoiseEntropy
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, Recipe
from critica.records.losses import TokenMean

POLICY_CLIFF = Recipe(
    name="policy_cliff",
    paper=Paper("The Policy Cliff: A Theoretical Analysis of Reward-Policy Maps in LLMs", "2507.20150"),
    critic=LeaveOneOut(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(
        ClippedRatio(low=0.2, high=0.2), reduction=TokenMean(),
        penalties=(NoiseEntropy(noise=0.01, allowed_log_ratio=2.0),),
    ),
    provenance={
        "objective.penalties": OurChoice(
            "entropy makes the map from rewards to policies continuous (paper, no value given): noise 0.01 is an accurate"
            " verifier, state your source's rate of wrong verdicts; 2 nats let it make an answer 7 times likelier"
        ),
        "advantage.scale": OurChoice("unscaled, else the entropy's price would be in units of a spread"),
        "critic": OurChoice("unbiased: the entropy is weighed against the expected reward itself"),
    },
)  # fmt: skip
