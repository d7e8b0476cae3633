"""OISD: an inner layer is drawn toward what the policy ends with where that fared well, and away from it elsewhere."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from critica.functional.distillation import readout_divergence
from critica.objectives.base import TokenPenalty, TokenScores
from critica.records.arrays import Advantages, Metric, TokenBatch, scatter_sampled
from critica.records.evidence import Evidence
from critica.records.views import refuse_depth


@dataclass(frozen=True, slots=True)
class LayerDistillation(TokenPenalty):
    """weight * A_t J_t, J_t the Jensen-Shannon divergence of an inner layer's law and the detached final one, in nats.

    The inner law is read by the policy's own final norm and head (logit lens), both as they are: the term's gradient
    reaches the layers up to `depth` and the embeddings, nothing above, and no teacher. A is the advantage, cut to
    +-`largest_advantage`. Where it is negative the layer is pushed away from the final law; J is at most ln 2, so that
    this ends by itself. Weight 0 is the objective without the term, to the bit; depth 1 has J = 0.

    On-Policy Internal Self-Distillation (arXiv 2605.29089): one inner layer, GRPO's signed advantages, JSD. Depth,
    weight and bound are ours, as are the stopped norm and head. Not built: the paper's second term, which aligns
    attention maps and needs them in memory, [N heads T T].

    The same forward pass, but no shared one: a critic's prediction does not save the update its own. Costs two products
    with the head's weight a token, logits a piece of the tokens at a time. Only for model families whose layers can be
    read. Read at temperature 1.
    """

    weight: float = 0.1
    depth: float = 1 / 6
    largest_advantage: float = 2.0

    def __post_init__(self) -> None:
        refuse_depth(self.depth)
        if self.weight < 0 or not self.largest_advantage > 0:
            raise ValueError("the weight of a layer's distillation is at least 0, and its largest advantage above 0")

    @property
    def name(self) -> str:
        return "layer_distillation"

    @property
    def depths(self) -> tuple[float, ...]:
        return (self.depth,)

    def measured(
        self, scores: TokenScores, batch: TokenBatch, credit: Advantages, evidence: Evidence
    ) -> tuple[Float[Tensor, "N T"], tuple[Metric, ...]]:
        inner = scores.inner[self.depth]
        apart = readout_divergence(inner.states, inner.final, inner.head)
        signed = credit.advantage.clamp(-self.largest_advantage, self.largest_advantage)
        metrics = (Metric("policy/layer_divergence", float(apart.detach().sum()), float(len(apart))),)
        return signed * scatter_sampled(apart, batch.sampled_mask), metrics
