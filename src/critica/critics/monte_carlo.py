"""The value of a state, measured: what fresh continuations of it by the policy are told."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from critica.critics.base import CriticContext, CriticPart, ValueCritic
from critica.functional.boundaries import Boundary, boundaries, spaced
from critica.functional.groups import group_sizes, leave_one_out_mean
from critica.policies.base import TrainablePolicy
from critica.records.arrays import RewardBatch, TokenBatch, ValuePrediction
from critica.records.evidence import Continuations, Evidence


@dataclass(frozen=True, slots=True)
class MonteCarloRollouts(CriticPart):
    """V(s) = 1/k sum_i R(prefix s + fresh continuation i), k = `continuations`, at some states of each answer.

    VinePPO (arXiv 2410.01679, section 4), which is SVEB's MCS@k (arXiv 2605.29782) used for training. Between two such
    states the value is held: they are the nodes, and `advantage=node_gae` with decay 0 is VinePPO's credit. Nodes:
    the first token, then every `boundary` at least `gap_tokens` after the last one, the first `nodes` of them (0: all;
    the last one then reaches to the end). So where a node lies depends on what was written before it alone; spreading
    a fixed number over an answer's length would look ahead, and bias the gradient.

    `first`, the value of the prompt: `fresh` continuations, once a prompt, or its `siblings`' mean without the sample
    itself, which costs nothing. The sample's own outcome is never used: unbiased for any k, with variance
    Var(R | s) / k. Continuations are told by training's own source, noise included. One that could not be scored
    does not count; a state none of which could be is no node. `support` is the count.

    Use it where answers are short or sampling is cheap and every other critic must be trained first: nothing is
    learned and nothing is stale. Not where the reward costs money: it is asked k times a node. Costs k continuations
    of each distinct node, and says so (`continuations/tokens`). A decode control or a cost per token, which the
    continuations would not know, is refused.
    """

    continuations: int = 4
    boundary: Boundary = "tokens"
    gap_tokens: int = 4
    nodes: int = 8
    first: Literal["fresh", "siblings"] = "fresh"

    def __post_init__(self) -> None:
        if self.continuations < 1 or self.gap_tokens < 1 or self.nodes < 0:
            raise ValueError("continuations and gap_tokens must be at least 1, and nodes at least 0 (0: all)")

    @property
    def group_based(self) -> bool:  # type: ignore[override]
        """Whether the prompt's value comes from siblings."""
        return self.first == "siblings"

    def build(self, context: CriticContext) -> ValueCritic:
        return MonteCarloCritic(self, context.policy)


class MonteCarloCritic(ValueCritic):
    """Asks for continuations; remembers nothing."""

    needs = frozenset({Continuations})

    def __init__(self, part: MonteCarloRollouts, policy: TrainablePolicy) -> None:
        self.part, self.policy = part, policy

    @torch.no_grad()
    def predict(self, batch: TokenBatch, told: RewardBatch, evidence: Evidence) -> ValuePrediction:
        live = evidence[Continuations].live
        known = told.all_known.tolist()
        nodes = [places if fine else () for places, fine in zip(self.nodes(batch), known, strict=True)]
        fresh = self.part.first == "fresh"
        states = [(row, place) for row, places in enumerate(nodes) for place in places if fresh or place]
        outcomes = live.outcomes(states, self.part.continuations) if states else np.zeros((0, 1))
        value, support = measured(outcomes)
        found = {state: (value[i], support[i]) for i, state in enumerate(states)}
        if not fresh:
            found |= first_by_siblings(batch, told)
        return self._prediction(batch, nodes, found)

    def nodes(self, batch: TokenBatch) -> list[tuple[int, ...]]:
        """The states of each row that are measured, as numbers of sampled tokens before them."""
        rule, most = self.part.boundary, self.part.nodes or None
        if rule == "tokens":
            found = [tuple(range(length)) for length in batch.sampled_mask.sum(-1).tolist()]
        else:
            grid = zip(self.policy.token_texts(batch), batch.sampled_mask.tolist(), strict=True)
            written = [[text for text, mine in zip(row, mask, strict=False) if mine] for row, mask in grid]
            found = [boundaries(pieces, rule) for pieces in written]
        return [spaced(places, self.part.gap_tokens)[:most] for places in found]

    def _prediction(
        self,
        batch: TokenBatch,
        nodes: list[tuple[int, ...]],
        found: dict[tuple[int, int], tuple[float, float]],
    ) -> ValuePrediction:
        """Each node's value held until the next; places without a value are no nodes."""
        grid = torch.zeros(3, *batch.token_ids.shape, dtype=torch.float64, device=batch.device)  # value, support, node
        for row, places in enumerate(nodes):
            columns = batch.sampled_mask[row].nonzero().squeeze(-1)
            known = [place for place in places if found.get((row, place), (0.0, 0.0))[1] > 0]
            for node, place in enumerate(known):
                value, support = found[row, place]
                cells = columns[place:]
                grid[0, row, cells], grid[1, row, cells], grid[2, row, cells] = value, support, node
        dtype, mask = batch.behavior_logprobs.dtype, batch.sampled_mask & (grid[1] > 0)
        return ValuePrediction(
            grid[0].to(dtype).where(mask, 0.0), mask, bootstrap=batch.behavior_logprobs.new_zeros(batch.rows),
            support=grid[1].to(dtype), nodes=torch.where(batch.sampled_mask, grid[2].long(), -1),
        )  # fmt: skip


def measured(outcomes: Float[np.ndarray, "n k"]) -> tuple[list[float], list[float]]:
    """The mean of the known outcomes of each state (0 of none), and how many are known."""
    known = ~np.isnan(outcomes)
    count = known.sum(1)
    mean = np.where(known, outcomes, 0.0).sum(1) / np.maximum(count, 1)
    return mean.tolist(), count.astype(float).tolist()


def first_by_siblings(batch: TokenBatch, told: RewardBatch) -> dict[tuple[int, int], tuple[float, float]]:
    """The mean return of each row's siblings, itself left out, as the value of its first state."""
    returns, known = told.per_token.double().sum(dim=(1, 2)), told.all_known
    mean, defined = leave_one_out_mean(returns, known, batch.group_index)
    others = (group_sizes(known, batch.group_index) - 1).where(defined, 0)
    return {(row, 0): pair for row, pair in enumerate(zip(mean.tolist(), others.double().tolist(), strict=True))}
