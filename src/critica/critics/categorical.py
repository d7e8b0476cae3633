"""The categorical critic: probabilities of fixed atoms over the reward's range, fitted by cross-entropy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, OwnBody
from critica.critics.learned import LearnedCritic, read_width
from critica.critics.regularizers import Regularizer, build_regularizers, check_regularizers
from critica.critics.teaching import target_samples
from critica.functional.categorical import Encoding, atom_grid, cross_entropy, hl_gauss, two_hot
from critica.policies.base import Backbone
from critica.records.arrays import Categorical, Law, TokenBatch, ValuePrediction, ValueTargets, scatter_sampled
from critica.records.losses import LossTerm, TokenMean


@dataclass(frozen=True, slots=True)
class CategoricalCritic(CriticPart):
    """p(s) = softmax(W h + b) over `atoms` numbers from the lowest to the highest reward; V(s) = sum_k p_k a_k.

    Trained by cross-entropy to the target, coded by `encoding`: `two_hot` shares each sample between its neighbors (on
    a law of samples that is C51's projection, arXiv 1707.06887), `hl_gauss` spreads it by a Gaussian of `sigma` atom
    spacings (arXiv 1806.04613, 2403.03950). All zeros at the start: a uniform law, V in the middle of the range.

    Use it where squared errors train badly (rare large returns, unscaled targets): the gradient is bounded. Not where
    returns leave the declared range: they are clamped to it. Two atoms on 0/1 outcomes are a coin's maximum
    likelihood, without a law beyond the mean. It costs K outputs in the head; `target=categorical_lambda` gives it the
    law of the lambda-return. `regularizers` stand between body and head.
    """

    atoms: int = 51
    encoding: Literal["two_hot", "hl_gauss"] = "hl_gauss"
    sigma: float = 0.75
    body: Body = field(default_factory=OwnBody)
    regularizers: tuple[Regularizer, ...] = ()
    distributional: ClassVar[bool] = True
    law: ClassVar[type[Law]] = Categorical

    def __post_init__(self) -> None:
        if self.atoms < 2:
            raise ValueError(f"a categorical critic needs at least 2 atoms, got {self.atoms}")
        if not self.sigma > 0:
            raise ValueError(
                f"sigma must be above 0 atom spacings, got {self.sigma}; encoding=two_hot is coding without smoothing"
            )
        check_regularizers(self.regularizers, self.body)

    def build(self, context: CriticContext) -> ValueCritic:
        reader = self.body.build(context.policy)
        layers, width = build_regularizers(self.regularizers, context, read_width(reader, context))
        head = nn.Linear(width, self.atoms)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return LiveCategoricalCritic(self, reader, head, context, layers)


class LiveCategoricalCritic(LearnedCritic):
    """A categorical critic with weights."""

    def __init__(
        self,
        part: CategoricalCritic,
        reader: Backbone | None,
        head: nn.Linear,
        context: CriticContext,
        layers: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__(part.body, reader, head, context, layers)
        self.atoms = atom_grid(context.reward_low, context.reward_high, part.atoms)
        smooth = part.sigma * float(self.atoms[1] - self.atoms[0])
        self.encode: Encoding = two_hot if part.encoding == "two_hot" else partial(hl_gauss, sigma=smooth)

    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        probs, final = self.head(states).softmax(-1), self.head(ends).softmax(-1)
        atoms = self.atoms.to(probs)
        return ValuePrediction(
            scatter_sampled(probs @ atoms, batch.sampled_mask),
            batch.sampled_mask,
            bootstrap=final @ atoms,
            law=Categorical(atoms, scatter_sampled(probs[:, None], batch.sampled_mask)),
            bootstrap_law=Categorical(atoms, final[:, None, None]),
        )

    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        logits = self.head(states)[targets.mask[batch.sampled_mask]]
        samples, weights = target_samples(targets)
        law = self.encode(samples.to(logits), weights.to(logits), self.atoms.to(logits))
        error = scatter_sampled(cross_entropy(logits, law), targets.mask)
        return (LossTerm("value", error, targets.mask, 1.0, TokenMean()),)
