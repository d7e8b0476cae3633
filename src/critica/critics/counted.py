"""Critics that count instead of learning: the mean of the group, with or without the sample itself."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.functional.groups import group_mean, group_sizes, leave_one_out_mean
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Evidence


def flat_prediction(
    batch: TokenBatch,
    value: Float[Tensor, "N"],
    defined: Bool[Tensor, "N"],
    support: Tensor,
    own: bool,
    siblings: bool,
) -> ValuePrediction:
    """One value per trajectory, said at each of its sampled tokens; rows without one are not spoken about."""
    mask = batch.sampled_mask & defined[:, None]
    value = value.where(defined, 0.0).to(batch.behavior_logprobs.dtype)
    mean = value[:, None].expand(mask.shape).where(mask, 0.0)
    counts = support.to(mean.dtype)[:, None].expand(mask.shape).where(mask, 0.0)
    return ValuePrediction(
        mean, mask, bootstrap=value * 0, support=counts, uses_own_outcome=own, uses_siblings=siblings
    )


@dataclass(frozen=True, slots=True)
class NoBaseline(CriticPart):
    """V = 0: expects nothing (plain REINFORCE).

    Use it as the reference that any baseline must beat; not to train with: every answer is pushed by its whole reward.
    Costs nothing.
    """

    def build(self, context: CriticContext) -> ValueCritic:
        return NoBaselineCritic()


class NoBaselineCritic(ValueCritic):
    """Says zero everywhere."""

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        zero = told.per_token.sum(dim=(1, 2)) * 0
        return flat_prediction(batch, zero, zero == 0, zero, own=False, siblings=False)


@dataclass(frozen=True, slots=True)
class GroupMean(CriticPart):
    """V = mean outcome of the known samples of the prompt, the sample's own included (GRPO's baseline).

    Its own outcome makes it biased by the factor 1 - 1/G, and a single known sample gets advantage 0. Use it with eight
    samples a prompt or more and nothing to learn first; not with few samples, whose mean is mostly chance, nor where
    single tokens must be told apart: it is one number an answer. Costs one sum.
    """

    group_based: ClassVar[bool] = True
    flat: ClassVar[bool] = True

    def build(self, context: CriticContext) -> ValueCritic:
        return GroupMeanCritic()


class GroupMeanCritic(ValueCritic):
    """The group's mean of what was told."""

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        returns, known = told.per_token.sum(dim=(1, 2)), told.all_known
        mean = group_mean(returns, known, batch.group_index)
        support = group_sizes(known, batch.group_index)
        return flat_prediction(batch, mean, known, support, own=True, siblings=True)


@dataclass(frozen=True, slots=True)
class LeaveOneOut(CriticPart):
    """V_i = mean outcome of the other known samples of the prompt (RLOO, arXiv 2402.14740): unbiased.

    Use it in place of the group's mean with two to eight samples a prompt, where that one's bias is large; not with a
    single sample, which has no others, nor where single tokens must be told apart. Costs one sum.
    """

    group_based: ClassVar[bool] = True
    flat: ClassVar[bool] = True

    def build(self, context: CriticContext) -> ValueCritic:
        return LeaveOneOutCritic()


class LeaveOneOutCritic(ValueCritic):
    """The mean of the siblings; undefined, and so silent, with fewer than two known outcomes."""

    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        returns, known = told.per_token.sum(dim=(1, 2)), told.all_known
        mean, defined = leave_one_out_mean(returns, known, batch.group_index)
        support = group_sizes(known, batch.group_index) - 1
        return flat_prediction(batch, mean, defined & known, support, own=False, siblings=True)
