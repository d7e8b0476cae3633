"""Q(s, a) for every token a at once: a law of the reward-to-go per token, read before any is written."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.critics.bodies import Body, SharedTrunk
from critica.critics.learned import LearnedCritic
from critica.critics.teaching import target_samples
from critica.functional.categorical import atom_grid, cross_entropy, two_hot
from critica.functional.random import torch_generator
from critica.policies.base import TrainablePolicy
from critica.records.arrays import Categorical, Law, TokenBatch, ValuePrediction, ValueTargets, scatter_sampled
from critica.records.losses import LossTerm, TokenMean

HELD = 1 << 22  # numbers of [states V K] held at a time when a value is worked out


@dataclass(frozen=True, slots=True)
class TokenValues(CriticPart):
    """Z(s, a) = softmax over `atoms` numbers, from one row of weights per token and atom (Q#'s Q-type head).

    Fitted by maximum likelihood on the tokens that were written (each target two-hot on the atoms; two atoms on 0/1
    outcomes are a coin). It reads the policy's own states, through a ReLU layer of `hidden` units if that is above 0,
    so that guidance costs one small product per candidate while the policy decodes and no forward pass of anything.
    V(s) = sum_a pi(a | s) E[Z(s, a)] under the policy as it is. All rows start at zero: one law for every token, with
    which guidance is the policy itself.

    Use it to guide cheaply. Q#'s authors find heads of this type 1 to 2 points behind a model that reads each candidate
    (`critic=taught_ends` around a critic with a body of its own), which here costs a decode step per candidate. The
    output layer has V x K rows: at V = 150,000, D = 4,096 and K = 2 that is 1.2e9 weights; take the other then, or
    hidden=256. Not for outcomes beyond the declared range, to which they are clamped.
    """

    atoms: int = 2
    hidden: int = 0
    distributional: ClassVar[bool] = True
    law: ClassVar[type[Law]] = Categorical
    regularizers: ClassVar[tuple[()]] = ()

    def __post_init__(self) -> None:
        if self.atoms < 2:
            raise ValueError(f"a law needs at least 2 atoms, got {self.atoms}")
        if self.hidden < 0:
            raise ValueError(f"hidden counts units, got {self.hidden}; 0 is a linear head")

    @property
    def body(self) -> Body:
        """The policy's own states, always: that is what makes it free while decoding."""
        return SharedTrunk()

    def build(self, context: CriticContext) -> ValueCritic:
        return LiveTokenValues(self, context)


class LiveTokenValues(LearnedCritic):
    """A token-value critic with weights."""

    def __init__(self, part: TokenValues, context: CriticContext) -> None:
        policy, width = context.policy, context.policy.width
        weight = next(iter(policy.model.parameters()))
        with torch.no_grad():
            self.vocabulary = policy.logits(weight.new_zeros(1, width)).shape[-1]
        super().__init__(
            part.body, None, _head(width, part.hidden, self.vocabulary * part.atoms, context.seed), context
        )
        self.policy: TrainablePolicy = policy
        self.atoms = atom_grid(context.reward_low, context.reward_high, part.atoms)

    def token_logits(self, states: Float[Tensor, "n D"], tokens: Int[Tensor, "n k"]) -> Float[Tensor, "n k K"]:
        """The law's logits for these tokens alone: k products of length D and K each, not V."""
        inner, output = self._split(self.full(states))
        rows = output.weight.view(self.vocabulary, len(self.atoms), -1)[tokens]
        bias = output.bias.view(self.vocabulary, -1)[tokens]
        return torch.einsum("nkad,nd->nka", rows, inner) + bias

    def _split(self, states: Float[Tensor, "n D"]) -> tuple[Float[Tensor, "n H"], nn.Linear]:
        """What the output layer reads, and that layer."""
        layers = list(self.head.children())
        output = layers[-1]
        assert isinstance(output, nn.Linear)
        for layer in layers[:-1]:
            states = layer(states)
        return states, output

    def read(self, batch: TokenBatch, states: Float[Tensor, "S D"], ends: Float[Tensor, "N D"]) -> ValuePrediction:
        probs = self._value_laws(states, batch.temperature[batch.sampled_mask])
        final = self._value_laws(ends, ends.new_ones(len(ends)))
        atoms = self.atoms.to(probs)
        return ValuePrediction(
            scatter_sampled(probs @ atoms, batch.sampled_mask),
            batch.sampled_mask,
            bootstrap=final @ atoms,
            law=Categorical(atoms, scatter_sampled(probs[:, None], batch.sampled_mask)),
            bootstrap_law=Categorical(atoms, final[:, None, None]),
        )

    def _value_laws(self, states: Float[Tensor, "n D"], temperature: Float[Tensor, "n"]) -> Float[Tensor, "n K"]:
        """sum_a pi(a | s) law(s, a), in pieces that fit."""
        size = max(1, HELD // (self.vocabulary * len(self.atoms)))
        weight = next(iter(self.policy.model.parameters()))
        made = [states.new_empty(0, len(self.atoms))]
        for piece, heat in zip(states.split(size), temperature.split(size), strict=True):
            divisor = torch.where(heat == 0, torch.ones_like(heat), heat)
            odds = self.policy.logits(piece.to(weight.dtype)).to(piece.dtype) / divisor[:, None].to(piece.dtype)
            laws = self.head(piece).view(len(piece), self.vocabulary, -1).softmax(-1)
            made.append(torch.einsum("nv,nvk->nk", odds.softmax(-1), laws))
        return torch.cat(made)

    def fit(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        taught = targets.mask[batch.sampled_mask]
        logits = self.token_logits(states[taught], batch.token_ids[targets.mask][:, None]).squeeze(1)
        samples, weights = target_samples(targets)
        law = two_hot(samples.to(logits), weights.to(logits), self.atoms.to(logits))
        error = scatter_sampled(cross_entropy(logits, law), targets.mask)
        return (LossTerm("value", error, targets.mask, 1.0, TokenMean()),)


def _head(width: int, hidden: int, rows: int, seed: int) -> nn.Module:
    """A ReLU layer of drawn weights, if asked for, before an output layer of zeros."""
    output = nn.Linear(hidden or width, rows)
    nn.init.zeros_(output.weight)
    nn.init.zeros_(output.bias)
    if not hidden:
        return nn.Sequential(output)
    first, bound = nn.Linear(width, hidden), width**-0.5
    with torch.no_grad():
        first.weight.uniform_(-bound, bound, generator=torch_generator(seed, "critic/hidden"))
        first.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), output)
