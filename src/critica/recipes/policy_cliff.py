"""The Policy Cliff: policy gradient with as much entropy as the noise of the reward asks for."""

from critica.advantages.outcome import Outcome
from critica.critics.counted import LeaveOneOut
from critica.objectives.noise_entropy import NoiseEntropy
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.recipes.base import OurChoice, Paper, Recipe
from critica.records.losses import TokenMean
from critica.rewards.corrections import Watched
from critica.rewards.rates import Audited

POLICY_CLIFF = Recipe(
    name="policy_cliff",
    paper=Paper("The Policy Cliff: A Theoretical Analysis of Reward-Policy Maps in LLMs", "2507.20150"),
    critic=LeaveOneOut(),
    advantage=Outcome(scale="none"),
    objective=PolicyLoss(
        ClippedRatio(low=0.2, high=0.2), reduction=TokenMean(),
        penalties=(NoiseEntropy(noise=0.05, allowed_log_ratio=2.0, source="audited"),),
    ),
    correction=Watched(Audited(share=0.05, prior=0.01, strength=50.0)),
    provenance={
        "objective.penalties": OurChoice(
            "entropy makes the map from rewards to policies continuous (paper, no value given): by the error rates that"
            " audits find, counted up to 0.05; 2 nats let such an error make an answer 7 times likelier"
        ),
        "correction": OurChoice(
            "nothing is corrected: a twentieth of the verdicts is checked by the environment's scorer, and until then"
            " the source is taken for an accurate verifier (0.01, as sure as 50 checks of each kind)"
        ),
        "advantage.scale": OurChoice("unscaled, else the entropy's price would be in units of a spread"),
        "critic": OurChoice("unbiased: the entropy is weighed against the expected reward itself"),
    },
)  # fmt: skip
