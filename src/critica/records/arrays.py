"""What was said, as aligned arrays. Index t speaks about token t; values at t were expected before it was written."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critica.records.checks import require, require_finite, require_shape
from critica.records.kept_tokens import KeptTokens
from critica.records.words import StopReason


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Every trajectory of a step, right-padded, prompt included.

    `sampled_mask` was recorded at generation and is never derived from token ids. `node_index` numbers the
    sampled tokens' nodes within a trajectory (-1 on context and padding). `prefix_length` is the number of
    leading context tokens shared by the rows of a group. `behavior_logprobs` are what the sampler said, also when
    that is no number: such a batch is recorded and never learned from. `kept` has one entry a row, which tokens each
    sampled one was drawn among; empty if no sampling was truncated.
    """

    token_ids: Int[Tensor, "N T"]
    valid_mask: Bool[Tensor, "N T"]
    sampled_mask: Bool[Tensor, "N T"]
    turn_index: Int[Tensor, "N T"]
    node_index: Int[Tensor, "N T"]
    temperature: Float[Tensor, "N T"]
    behavior_logprobs: Float[Tensor, "N T"]
    prefix_length: Int[Tensor, "N"]
    group_index: Int[Tensor, "N"]
    task_index: Int[Tensor, "N"]
    role_index: Int[Tensor, "N"]
    parent_index: Int[Tensor, "N"]
    episode_index: Int[Tensor, "N"]
    policy_version: Int[Tensor, "N"]
    stop: tuple[StopReason, ...]
    trajectory_ids: tuple[str, ...]
    kept: tuple[KeptTokens, ...] = ()

    def __post_init__(self) -> None:
        rows, width = self.token_ids.shape
        for name in ("valid_mask", "sampled_mask", "turn_index", "node_index", "temperature", "behavior_logprobs"):
            require_shape(self, name, getattr(self, name), (rows, width))
        for name in ("prefix_length", "group_index", "task_index", "role_index", "parent_index", "episode_index"):
            require_shape(self, name, getattr(self, name), (rows,))
        require(len(self.stop) == rows, self, f"{len(self.stop)} stop reasons for {rows} rows")
        require(len(self.trajectory_ids) == rows, self, f"{len(self.trajectory_ids)} ids for {rows} rows")
        require(len(self.kept) in (0, rows), self, f"{len(self.kept)} rows of kept tokens for {rows} rows")
        require(not bool((self.sampled_mask & ~self.valid_mask).any()), self, "a sampled token is padding")
        require(not bool(self.sampled_mask[:, :1].any()), self, "the first token is sampled: nothing precedes it")
        require(bool((self.behavior_logprobs[~self.sampled_mask] == 0).all()), self, "context tokens carry log-probs")

    @property
    def rows(self) -> int:
        """N, the number of trajectories."""
        return self.token_ids.shape[0]

    @property
    def device(self) -> torch.device:
        """Where these arrays are, and all that is made of them."""
        return self.token_ids.device

    @property
    def lengths(self) -> Int[Tensor, "N"]:
        """Valid tokens of each row."""
        return self.valid_mask.sum(-1)

    def select(self, rows: Int[Tensor, "n"]) -> "TokenBatch":
        """These rows, trimmed to the longest of them."""
        width = int(self.valid_mask[rows].sum(-1).max())
        parts = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                value = value[rows]
                parts[item.name] = value[:, :width] if value.dim() == 2 else value
            else:
                parts[item.name] = tuple(value[i] for i in rows.tolist()) if value else ()
        return replace(self, **parts)


@dataclass(frozen=True, slots=True)
class RewardBatch:
    """What training was told. Unknown cells of `outcome` are NaN and `known` is false there.

    `outcome` is the scalar said about the whole trajectory; `per_token` is where it was placed (zeros elsewhere),
    including per-token costs such as KL. `low`, `high` bound every objective: the range that its source declared.
    """

    objectives: tuple[str, ...]
    outcome: Float[Tensor, "N J"]
    known: Bool[Tensor, "N J"]
    confidence: Float[Tensor, "N J"]
    per_token: Float[Tensor, "N T J"]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        rows, count = self.outcome.shape
        require(len(self.objectives) == count, self, f"{count} columns for objectives {self.objectives}")
        require_shape(self, "known", self.known, (rows, count))
        require_shape(self, "confidence", self.confidence, (rows, count))
        require(self.per_token.shape[0] == rows and self.per_token.shape[2] == count, self, "per_token is not N T J")
        require(
            bool((self.outcome.isnan() == ~self.known).all()), self, "NaN and `known` disagree: missing is not zero"
        )
        require_finite(self, "per_token", self.per_token)

    @property
    def total(self) -> Float[Tensor, "N"]:
        """Sum over objectives; NaN where any is unknown."""
        return self.outcome.sum(-1)

    @property
    def paid(self) -> Float[Tensor, "N T"]:
        """Rewards per token, summed over objectives; rows without an outcome are paid nothing and never trained on."""
        return self.per_token.sum(-1).where(self.all_known[:, None], 0.0)

    @property
    def all_known(self) -> Bool[Tensor, "N"]:
        """Rows whose every objective has an outcome."""
        return self.known.all(-1)


@dataclass(frozen=True, slots=True)
class Point:
    """The law is a point at the mean."""


@dataclass(frozen=True, slots=True)
class Bernoulli:
    """The return is 1 with probability `mean`, else 0."""


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Standard deviation at each token."""

    spread: Float[Tensor, "N T"]


@dataclass(frozen=True, slots=True)
class Categorical:
    """Probabilities of fixed atoms, by ensemble member."""

    atoms: Float[Tensor, "K"]
    probs: Float[Tensor, "N T M K"]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Values of the inverse distribution function at `levels`, by ensemble member, non-decreasing in K."""

    levels: Float[Tensor, "K"]
    values: Float[Tensor, "N T M K"]

    def __post_init__(self) -> None:
        require(self.values.shape[-1] == self.levels.shape[0], self, "levels and values disagree on K")
        require(bool((self.levels.diff() > 0).all()), self, "levels do not increase")
        require_finite(self, "values", self.values)


Law = Point | Bernoulli | Gaussian | Categorical | Quantiles


@dataclass(frozen=True, slots=True)
class ValuePrediction:
    """What was expected. `mean[n, t] = V(tokens_<t)`; zero where the critic says nothing (`mask` false).

    `bootstrap` and `bootstrap_law` are the expectation after the last token. `support` is how many samples stand
    behind a counted value (None for a learned one). `uses_siblings`: the value compares samples of one prompt, so
    that a group in which all fared alike tells nothing. `nodes` numbers states coarser than tokens, in place of the
    batch's `node_index`: a node's value is that of its first token. `scores` are what a preference model says of each
    whole answer, one column a model, for critics that learn from comparisons.
    """

    mean: Float[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]
    bootstrap: Float[Tensor, "N"]
    law: Law = Point()
    bootstrap_law: Law = Point()
    support: Float[Tensor, "N T"] | None = None
    uses_own_outcome: bool = False
    uses_siblings: bool = False
    nodes: Int[Tensor, "N T"] | None = None
    scores: Float[Tensor, "N K"] | None = None

    def __post_init__(self) -> None:
        rows, width = self.mean.shape
        require_shape(self, "mask", self.mask, (rows, width))
        require_shape(self, "bootstrap", self.bootstrap, (rows,))
        require_finite(self, "mean", self.mean)
        require_finite(self, "bootstrap", self.bootstrap)
        require(not self.mean.requires_grad, self, "a prediction carries no gradient")

    def node_index(self, batch: TokenBatch) -> Int[Tensor, "N T"]:
        """The nodes over which credit is passed: the critic's own, or the batch's."""
        return batch.node_index if self.nodes is None else self.nodes


@dataclass(frozen=True, slots=True)
class Scalar:
    """One target per token."""

    values: Float[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]

    def __post_init__(self) -> None:
        require_shape(self, "mask", self.mask, tuple(self.values.shape))
        require_finite(self, "values", self.values)
        require(not self.values.requires_grad, self, "a target carries no gradient")


@dataclass(frozen=True, slots=True)
class Samples:
    """S weighted samples of the target law at each token; weights sum to one over S."""

    values: Float[Tensor, "N T S"]
    weights: Float[Tensor, "N T S"]
    mask: Bool[Tensor, "N T"]

    def __post_init__(self) -> None:
        require_shape(self, "weights", self.weights, tuple(self.values.shape))
        require_shape(self, "mask", self.mask, tuple(self.values.shape[:2]))
        require_finite(self, "values", self.values)
        require(not self.values.requires_grad, self, "a target carries no gradient")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Comparisons of each answer with S others: `opponents` are their scores, by each of K models, when predicted.

    `better` is 1 where this answer was told to be the better one and 0 where the worse; `weights` (0: no comparison)
    sum to one over S in every row that has any. `mask` marks one token of such a row, its last sampled one.
    """

    opponents: Float[Tensor, "N S K"]
    better: Float[Tensor, "N S"]
    weights: Float[Tensor, "N S"]
    mask: Bool[Tensor, "N T"]

    def __post_init__(self) -> None:
        require_shape(self, "better", self.better, tuple(self.opponents.shape[:2]))
        require_shape(self, "weights", self.weights, tuple(self.opponents.shape[:2]))
        require_finite(self, "opponents", self.opponents)
        require(not self.opponents.requires_grad, self, "a target carries no gradient")


ValueTargets = Scalar | Samples | Pairs


@dataclass(frozen=True, slots=True)
class Advantages:
    """Credit for each token and the name of the rule that gave it.

    `mask` says which tokens are trained on; `zero_variance` marks rows whose group told nothing. `nodes` numbers the
    steps that credit was given to as wholes, for objectives that judge a step's log-probability; None: to tokens.
    """

    advantage: Float[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]
    zero_variance: Bool[Tensor, "N"]
    rule: str
    nodes: Int[Tensor, "N T"] | None = None

    def __post_init__(self) -> None:
        require_shape(self, "mask", self.mask, tuple(self.advantage.shape))
        require_shape(self, "zero_variance", self.zero_variance, (self.advantage.shape[0],))
        require_finite(self, "advantage", self.advantage)
        require(bool((self.advantage[~self.mask] == 0).all()), self, "an unmasked token carries credit")
        require(not self.advantage.requires_grad, self, "credit carries no gradient")


@dataclass(frozen=True, slots=True)
class Metric:
    """A named mean kept as total and count, so that merging is exact over micro-batches and ranks."""

    name: str
    total: float
    count: float

    @property
    def value(self) -> float:
        """total / count; NaN when nothing was counted."""
        return self.total / self.count if self.count else float("nan")

    def __add__(self, other: "Metric") -> "Metric":
        require(self.name == other.name, self, f"cannot add {self.name!r} and {other.name!r}")
        return Metric(self.name, self.total + other.total, self.count + other.count)


def merge_metrics(parts: Sequence[Metric]) -> tuple[Metric, ...]:
    """Add metrics of the same name, in order of first appearance."""
    merged: dict[str, Metric] = {}
    for part in parts:
        merged[part.name] = merged[part.name] + part if part.name in merged else part
    return tuple(merged.values())


def scatter_sampled(flat: Float[Tensor, "S *K"], sampled_mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T *K"]:
    """Put values of the sampled tokens, in row-major order, back on the grid; zeros elsewhere. Differentiable."""
    grid = flat.new_zeros((*sampled_mask.shape, *flat.shape[1:]))
    return grid.masked_scatter(
        sampled_mask.reshape(*sampled_mask.shape, *([1] * (flat.dim() - 1))).expand_as(grid), flat
    )
