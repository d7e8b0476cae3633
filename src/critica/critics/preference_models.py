"""Two language models taught by the group's better and worse answers, one upside down: dense rewards, and teachers."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from critica.critics.base import CriticContext, ValueCritic
from critica.critics.pair_targets import PreferencePart
from critica.functional.comparisons import bradley_terry
from critica.functional.logprobs import token_logprobs
from critica.policies.base import TrainablePolicy
from critica.policies.batching import microbatches
from critica.records.arrays import Pairs, RewardBatch, TokenBatch, ValuePrediction, ValueTargets, scatter_sampled
from critica.records.evidence import Evidence
from critica.records.losses import LossTerm, TokenMean

NAMES = ("teacher", "anti_teacher")
TOKENS = 16384  # grid cells read at once


@dataclass(frozen=True, slots=True)
class PreferenceModels(PreferencePart):
    """pi_d and pi_r: V before token t is beta sum_{s < t} (log pi_d - log pi_r)[token s], an implicit dense reward.

    pi_d is taught by DPO (arXiv 2305.18290) on pairs of a group's answers, pi_r on the same pairs upside down
    (AlignDistil, arXiv 2503.02832), both at `beta`. The reference is the policy that wrote the answers, which must
    stand still meanwhile: use curriculum=critic_then_policy, target=sibling_pairs. `teacher` and `anti_teacher` are
    folders of models that were so trained elsewhere, with the policy's tokenizer: then nothing is learned here. Values
    are log-odds, not rewards: only differences and ranks mean anything. Use it where
    pairs of answers can be ranked and a reward for every token is wanted; not for calibrated values.
    Costs two copies of the policy, with gradients.
    """

    beta: float = 0.1
    teacher: str = ""
    anti_teacher: str = ""
    flat: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta must be above 0, got {self.beta}")
        if bool(self.teacher) != bool(self.anti_teacher):
            raise ValueError(
                "name both folders, critic.teacher and critic.anti_teacher, or none: then both are taught here"
            )

    def build(self, context: CriticContext) -> ValueCritic:
        if self.teacher:
            from critica.policies.language_model import LanguagePolicy  # heavy, and a plan never needs it

            found = tuple(
                LanguagePolicy.load(path, None, "cpu").frozen_copy() for path in (self.teacher, self.anti_teacher)
            )
            return FrozenPair(self.beta, found)
        return LearningPair(self.beta, tuple(trainable_copy(context.policy) for _ in NAMES))


def trainable_copy(policy: TrainablePolicy) -> TrainablePolicy:
    """The same model with weights of its own; what is trained of the policy (its adapters, say) is trained of it."""
    made = policy.frozen_copy()
    for mine, weight in zip(made.model.parameters(), policy.model.parameters(), strict=True):
        mine.requires_grad_(weight.requires_grad)
    return made


class FrozenPair(ValueCritic):
    """Both models, read."""

    def __init__(self, beta: float, models: tuple[TrainablePolicy, ...]) -> None:
        self.beta, self.models = beta, models

    @property
    def views(self) -> tuple[tuple[str, TrainablePolicy], ...]:
        """The models by name, for objectives that compare the policy with them."""
        return tuple(zip(NAMES, self.models, strict=True))

    @torch.no_grad()
    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        logs = [self._read(model, batch) for model in self.models]
        dense = self.beta * (logs[0] - logs[1])
        after = dense.cumsum(-1)
        mean = torch.where(batch.sampled_mask, after - dense, torch.zeros_like(after))
        scores = torch.stack([self._score(log, batch) for log in logs], -1)
        return ValuePrediction(mean, batch.sampled_mask, after[:, -1], scores=scores)

    def _read(self, model: TrainablePolicy, batch: TokenBatch) -> Float[Tensor, "N T"]:
        """Log-probs of the sampled tokens, in pieces: logits of a whole step would not fit."""
        found = torch.zeros_like(batch.behavior_logprobs)
        for rows in microbatches(batch, torch.arange(batch.rows, device=batch.device), TOKENS):
            piece = batch.select(rows)
            found[rows, : piece.token_ids.shape[1]] = self._logprobs(model, piece, model.sampled_states(piece)).to(
                found
            )
        return found

    def _logprobs(self, model: TrainablePolicy, batch: TokenBatch, states: Tensor) -> Float[Tensor, "N T"]:
        mask = batch.sampled_mask
        flat = token_logprobs(model.logits(states), batch.token_ids[mask], batch.temperature[mask])
        return scatter_sampled(flat, mask)

    def _score(self, logprobs: Float[Tensor, "N T"], batch: TokenBatch) -> Float[Tensor, "N"]:
        """DPO's implicit reward of each answer: beta (log pi - log pi_ref)."""
        return self.beta * (logprobs - batch.behavior_logprobs.to(logprobs)).sum(-1)


class LearningPair(FrozenPair):
    """Both models, taught. Their states stand side by side, so that one pass of the learner trains both."""

    has_body, shapes_trunk, trunk_weight = True, False, 1.0

    def states(self, batch: TokenBatch) -> Float[Tensor, "S D"]:
        """The two models' states before each sampled token, joined along D, with gradient."""
        return torch.cat([model.sampled_states(batch) for model in self.models], -1)

    def loss(
        self, states: Float[Tensor, "S D"], batch: TokenBatch, targets: ValueTargets, values: ValuePrediction
    ) -> tuple[LossTerm, ...]:
        """DPO for the first model, and for the second with better and worse exchanged."""
        if not isinstance(targets, Pairs):
            raise TypeError(f"preference models learn from comparisons, not {type(targets).__name__};"
                            " set target=sibling_pairs")  # fmt: skip
        terms = []
        for place, (name, model) in enumerate(self.views):
            own = states.split(model.width, -1)[place]
            score = self._score(self._logprobs(model, batch, own), batch)
            better = targets.better.to(score) if place == 0 else 1 - targets.better.to(score)
            loss = bradley_terry(score, targets.opponents[..., place].to(score), better, targets.weights.to(score))
            grid = torch.where(targets.mask, loss[:, None], torch.zeros_like(loss[:, None]))
            terms.append(LossTerm(f"dpo_{name}", grid, targets.mask, 1.0, TokenMean()))
        return tuple(terms)

    def trainable(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Every parameter of both."""
        for name, model in self.views:
            yield from ((f"body.{name}.{path}", weight) for path, weight in model.trainable())

    def save(self, folder: Path) -> None:
        """A transformers folder each."""
        for name, model in self.views:
            model.save(folder / name)

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""
        for name, model in self.views:
            model.restore(folder / name)
