"""Cross-entropy unlearning as the negative half of a policy loss: what was bad is replaced, not driven to zero."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.functional.ratios import leveled, log_ratio
from critica.functional.unlearning import unlearning_losses
from critica.objectives.base import Laws, Objective, TokenScores
from critica.objectives.mismatch import Provenance, weighed
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.surrogates import ClippedRatio
from critica.records.arrays import Advantages, Metric, RewardBatch, TokenBatch, scatter_sampled
from critica.records.evidence import Evidence
from critica.records.losses import LossTerm
from critica.records.views import ViewSpec


@dataclass(frozen=True, slots=True)
class Unlearning(Objective):
    """Tokens with A >= 0 by `positive`; those with A < 0 by |A| times the cross-entropy to the law without them.

    As long as their ratio (of the level and center of `positive`) is at least 1 - `low`: below, a token has been
    pushed down enough for this step. Weights of a mismatch, penalties and the reduction are those of `positive`.

    A policy gradient pushes a bad token with |A| (1 - p): hardest where it is already rare, without end. Unlearning
    pushes with |A| p, and what the token loses goes to the others in proportion. As the half of a policy loss that is
    biased: a token that has nothing to do with the outcome is raised with A (1 - p) as often as it is pushed with
    |A| p, and so ends at p = 1/2, sure tokens of wrong answers (most of which are right) first. `spare_sure` multiplies
    by min(1, (1 - p) / p): the push is |A| min(p, 1 - p), the policy gradient's own above p = 1/2, and fades below.

    Use it where negative samples destabilize a run (many updates a batch, mostly wrong answers). Not where a gradient
    of the return must be unbiased: below p = 1/2 bad tokens are pushed less than they deserve. Costs the
    product with the head once more for tokens of negative credit.

    Source: CE-U (arXiv 2503.01224), there for unlearning texts (`spare_sure` off, no `low`); the rest is our choice.
    """

    positive: PolicyLoss = field(default_factory=lambda: PolicyLoss(ClippedRatio()))
    low: float = 0.2
    spare_sure: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.low <= 1:
            raise ValueError(f"low bounds how far a ratio may fall, in (0, 1] (1: no bound), got {self.low}")

    @property
    def needs(self) -> frozenset[type]:
        """Evidence that the positive half reads."""
        return self.positive.needs

    @property
    def views(self) -> tuple[ViewSpec, ...]:
        """Readings that it looks at."""
        return self.positive.views

    @property
    def depths(self) -> tuple[float, ...]:
        """How far up it reads the policy."""
        return self.positive.depths

    @property
    def needs_entropy_gradient(self) -> bool:
        return self.positive.needs_entropy_gradient

    @property
    def reads_laws(self) -> bool:
        return True

    def masks(self, credit: Advantages, told: RewardBatch) -> Mapping[str, Bool[Tensor, "N T"]]:
        """Those of the positive half: tokens that are pushed down count in its denominator."""
        return self.positive.masks(credit, told)

    def terms(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence, told: RewardBatch
    ) -> tuple[tuple[LossTerm, ...], tuple[Metric, ...]]:
        """The positive half's terms, with the values of tokens of negative credit replaced."""
        terms, metrics = self.positive.terms(scores, batch, credit, evidence, told)
        bad = credit.mask & batch.sampled_mask & (credit.advantage < 0)
        pushed, force = self._pushed(scores, batch, credit, bad)
        made = [
            replace(term, values=torch.where(bad, pushed, term.values)) if term.name == "policy" else term
            for term in terms
        ]
        return tuple(made), (*metrics, Metric("policy/unlearning_force", force, float(bad.sum())))

    def _pushed(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, bad: Bool[Tensor, "N T"]
    ) -> tuple[Float[Tensor, "N T"], float]:
        """|A| CE inside the trust region, weighed for the mismatch; and the sum of p over these tokens."""

        def read(logits: Tensor, heat: Tensor, tokens: Tensor) -> tuple[Tensor]:
            divisor = torch.where(heat == 0, torch.ones_like(heat), heat).to(logits.dtype)
            return (unlearning_losses(logits / divisor[:, None], tokens),)

        chosen = bad[batch.sampled_mask]
        laws = Laws(scores.laws.states[chosen], scores.laws.head)
        (losses,) = laws.read(read, batch.temperature[bad], batch.token_ids[bad])
        flat = losses.new_zeros(len(chosen)).masked_scatter(chosen, losses)
        center = scores.proximal_logprobs if self.positive.center == "proximal" else batch.behavior_logprobs
        ratio = leveled(log_ratio(scores.policy_logprobs.detach(), center), credit.mask, self.positive.level).exp()
        values = scatter_sampled(flat, batch.sampled_mask) * credit.advantage.abs() * (ratio >= 1 - self.low)
        if self.spare_sure:
            values = values * (-scores.policy_logprobs.detach()).expm1().clamp(max=1.0)  # (1 - p) / p
        provenance = Provenance(
            scores.policy_logprobs.detach(), scores.proximal_logprobs, batch.behavior_logprobs, credit.advantage,
            credit.mask,
        )  # fmt: skip
        weighted, _ = weighed(values, self.positive.mismatch, provenance)
        return weighted.to(scores.policy_logprobs.dtype), float(scores.policy_logprobs.detach()[bad].exp().sum())
