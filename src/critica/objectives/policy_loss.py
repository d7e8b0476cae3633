"""The policy's loss: ratio level x surrogate x mismatch x reduction, plus penalties with weights of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool
from torch import Tensor

from critica.functional.ratios import Level, leveled, log_ratio
from critica.objectives.base import Objective, Penalty, TokenPenalty, TokenScores
from critica.objectives.mismatch import Mismatch, Provenance, Truncated, weighed
from critica.objectives.surrogates import GeometricMean, Ratios, Surrogate
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch
from critica.records.evidence import Evidence
from critica.records.losses import LossTerm, Reduction, TokenMean
from critica.records.views import ViewSpec


@dataclass(frozen=True, slots=True)
class PolicyLoss(Objective):
    """Terms per token, reduced elsewhere with denominators of the whole optimizer step.

    `level` says what one ratio speaks of: a token (PPO), or a row by the mean (GSPO) or the sum of its log ratios.
    `center` is what it is taken against: the policy at the start of the step, or the sampler itself. The weights of
    all `mismatch` rules are multiplied; () switches the correction off.
    """

    surrogate: Surrogate
    reduction: Reduction = TokenMean()
    level: Level = "token"
    center: Literal["proximal", "behavior"] = "proximal"
    mismatch: tuple[Mismatch, ...] = (Truncated(),)
    penalties: tuple[Penalty, ...] = ()

    def __post_init__(self) -> None:
        if self.center == "behavior" and any(rule.bounds for rule in self.mismatch):
            raise ValueError(
                "center=behavior takes every ratio against the sampler, so that a mismatch weight would count the"
                " same gap twice: set objective.mismatch=[]"
            )
        if isinstance(self.surrogate, GeometricMean) and self.level != "token":
            raise ValueError("a geometric mean is a row's ratio already: set objective.level=token")
        names = [penalty.name for penalty in self.penalties]
        if len(names) != len(set(names)):
            raise ValueError(f"each penalty may stand once in an objective, got {', '.join(names)}")

    @property
    def needs(self) -> frozenset[type]:
        """Evidence that the penalties read."""
        return frozenset().union(*(penalty.needs for penalty in self.penalties))

    @property
    def views(self) -> tuple[ViewSpec, ...]:
        """Readings that the penalties look at."""
        return tuple(spec for penalty in self.penalties for spec in penalty.views)

    @property
    def depths(self) -> tuple[float, ...]:
        """How far up the penalties read the policy."""
        return tuple(dict.fromkeys(depth for penalty in self.penalties for depth in penalty.depths))

    @property
    def reads_laws(self) -> bool:
        """Whether any penalty reads whole laws."""
        return any(penalty.reads_laws for penalty in self.penalties)

    @property
    def needs_entropy_gradient(self) -> bool:
        """Whether any penalty differentiates the entropy."""
        return any(penalty.needs_entropy_gradient for penalty in self.penalties)

    @property
    def bounds_mismatch(self) -> bool:
        """Whether a sampler that disagrees with the trainer can only do so much harm."""
        return self.center == "behavior" or any(rule.bounds for rule in self.mismatch)

    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """The tokens that count in each term, known before any forward pass: denominators are taken from them."""
        found = {"policy": credit.mask}
        for penalty in self.penalties:
            found[penalty.name] = credit.mask & penalty.rows(told)[:, None]
        return found

    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        """Loss terms of these rows and what to report about them."""
        masks = self.masks(credit, told)
        mask, policy = masks["policy"], scores.policy_logprobs
        center = scores.proximal_logprobs if self.center == "proximal" else batch.behavior_logprobs
        ratios = Ratios(policy, center, leveled(log_ratio(policy, center), mask, self.level))
        values, metrics = self.surrogate.values(ratios, credit.advantage, mask)
        provenance = Provenance(
            policy.detach(), scores.proximal_logprobs, batch.behavior_logprobs, credit.advantage, mask
        )
        values, dropped = weighed(values, self.mismatch, provenance)
        terms = [LossTerm("policy", values, mask, 1.0, self.reduction)]
        for penalty in self.penalties:
            if isinstance(penalty, TokenPenalty):
                values, said = penalty.measured(scores, batch, credit, evidence)
                metrics = (*metrics, *said)
            else:
                values = penalty.values(scores, evidence)
            terms.append(LossTerm(penalty.name, values, masks[penalty.name], penalty.weight, self.reduction))
        return tuple(terms), (*metrics, *dropped)
