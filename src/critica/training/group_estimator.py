"""What a recipe's critic, advantage and objective make of a group's outcomes, with everything else stripped away.

Answers are one decision each: the policy picks one of a few answers by its first token, and what follows is certain.
So what an estimator does to a prompt is the numbers that multiply the answers' score functions, read off the real
parts by differentiating their loss.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critica.advantages.token_reward import TokenReward
from critica.critics.base import ValueCritic
from critica.critics.counted import (
    GroupMean,
    GroupMeanCritic,
    LeaveOneOut,
    LeaveOneOutCritic,
    NoBaseline,
    NoBaselineCritic,
)
from critica.critics.greedy_answer import GreedyAnswer, GreedyAnswerCritic
from critica.critics.length_weighted import LengthWeighted, LengthWeightedCritic
from critica.critics.tempo import PrefixTree, PrefixTreeCritic
from critica.functional.reduce import denominator, reduce
from critica.objectives.base import TokenScores
from critica.objectives.policy_loss import PolicyLoss
from critica.recipes.base import Recipe
from critica.records.arrays import RewardBatch, TokenBatch
from critica.records.evidence import Continuations, Evidence
from critica.records.losses import Constant
from critica.records.words import StopReason
from critica.rewards.several import Several
from critica.rollout.combine import NormalizeThenSum, Sum
from critica.updaters.gradient import Adam

# Critics that know a step's outcomes and no more, each live and with no memory of earlier steps.
COUNTING: Mapping[type, Callable[[Any], ValueCritic]] = MappingProxyType(
    {
        NoBaseline: lambda part: NoBaselineCritic(),
        GroupMean: lambda part: GroupMeanCritic(),
        LeaveOneOut: lambda part: LeaveOneOutCritic(),
        LengthWeighted: lambda part: LengthWeightedCritic(),
        GreedyAnswer: lambda part: GreedyAnswerCritic(),
        PrefixTree: PrefixTreeCritic,
    }
)


class NotEnumerable(ValueError):
    """The recipe's credit depends on more than what a group was told."""


@dataclass(frozen=True, slots=True)
class GreedyOutcomes:
    """Says what the greedy answer to each row's prompt earns."""

    outcome: tuple[float, ...]

    def outcomes(self, states: Sequence[tuple[int, int]], count: int, greedy: bool = False) -> Float[np.ndarray, "n k"]:
        """Of the asked rows; only greedy ones are known."""
        if not greedy:
            raise NotEnumerable("fresh samples of the policy are no part of a group")
        return np.array([self.outcome[row] for row, _ in states], dtype=np.float64)[:, None]


@dataclass(frozen=True, slots=True)
class GroupEstimator:
    """The recipe's estimate of a step's gradient, as a number for each answer.

    `pulls`[i] multiplies grad log pi(answer i); with one prompt in the step, their sum of products is the estimate, and
    with more it is scaled so that a prompt counts as if it were alone. A denominator in tokens (`Constant`) counts
    as 1. Penalties are left out (at the reference they pull nowhere), and so are corrections, admission, and costs by
    length or token.
    """

    recipe: Recipe
    objective: PolicyLoss = field(init=False)

    def __post_init__(self) -> None:
        recipe, objective = self.recipe, self.recipe.objective
        if not isinstance(objective, PolicyLoss):
            raise NotEnumerable(f"{recipe.name}: {type(objective).__name__} is no policy gradient with credit")
        if type(recipe.critic) not in COUNTING:
            raise NotEnumerable(f"{recipe.name}: {type(recipe.critic).__name__} looks at more than outcomes")
        if not recipe.protocol.single:
            raise NotEnumerable(f"{recipe.name}: answers of several turns are no single decisions")
        if recipe.advantage.needs or recipe.advantage.views or isinstance(recipe.advantage, TokenReward):
            raise NotEnumerable(f"{recipe.name}: {type(recipe.advantage).__name__} looks into the answers")
        if not isinstance(recipe.learner.policy, Adam) or not recipe.curriculum.learns:
            raise NotEnumerable(f"{recipe.name}: its policy follows no gradient of single answers")
        reduction = Constant(1) if isinstance(objective.reduction, Constant) else objective.reduction
        object.__setattr__(self, "objective", replace(objective, penalties=(), reduction=reduction))

    def pulls(
        self,
        outcomes: Sequence[Sequence[float]],
        lengths: Sequence[Sequence[int]] = (),
        greedy: Sequence[float] = (),
    ) -> list[list[float]]:
        """Of each prompt's answers in a step of these prompts. `greedy`: what each prompt's greedy answer earns."""
        told_of = [value for group in outcomes for value in group]
        index = torch.tensor([number for number, group in enumerate(outcomes) for _ in group])
        tokens = [count for group in lengths for count in group] or [1] * len(told_of)
        batch = step_batch(tokens, index)
        told = self._told(torch.tensor(told_of, dtype=torch.float64), batch)
        best = tuple(greedy[number] if greedy else 0.0 for number in index.tolist())
        evidence = Evidence(Continuations(GreedyOutcomes(best)))
        critic = COUNTING[type(self.recipe.critic)](self.recipe.critic)
        values = critic.predict(batch, told, evidence)
        credit = self.recipe.advantage.estimate(batch, told, values, evidence)
        leaf = batch.behavior_logprobs.clone().requires_grad_()
        scores = TokenScores(leaf, leaf.detach(), torch.zeros_like(leaf))
        terms, _ = self.objective.terms(scores, batch, credit, evidence, told)
        masks = self.objective.masks(credit, told)
        counts = [denominator(masks[term.name], term.reduction) for term in terms]
        parts = [reduce(term, max(count, 1.0)) for term, count in zip(terms, counts, strict=True)]
        gradient = torch.autograd.grad(torch.stack(parts).sum(), leaf)[0]
        flat = (-gradient[:, 1] * len(outcomes)).tolist()
        made, start = [], 0
        for group in outcomes:
            made.append(flat[start : start + len(group)])
            start += len(group)
        return made

    def _told(self, outcome: Float[Tensor, "N"], batch: TokenBatch) -> RewardBatch:
        """What is told if every source says the same."""
        reward, rule = self.recipe.reward, self.recipe.placement.combination
        named = len(rule.weights) if isinstance(rule, Sum | NormalizeThenSum) else 1
        count = max(1, named, len(reward.sources) if isinstance(reward, Several) else 1)
        cells = outcome[:, None].expand(-1, count).clone()
        known = torch.ones_like(cells, dtype=torch.bool)
        cells = rule.apply(cells, known, batch.group_index).outcome
        per_token = torch.zeros(*batch.token_ids.shape, count, dtype=torch.float64)
        per_token[torch.arange(batch.rows), batch.lengths - 1] = cells
        names = tuple(f"source{number}" for number in range(count))
        return RewardBatch(names, cells, known, known.double(), per_token, (0.0,) * count, (1.0,) * count)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for recipes that make the same of the same outcomes; surrogates agree where the ratio is 1."""
        reward = self.recipe.reward
        sources = len(reward.sources) if isinstance(reward, Several) else 1
        combination = self.recipe.placement.combination
        return self.recipe.critic, self.recipe.advantage, self.objective.reduction, combination, sources

    @property
    def asks_greedy(self) -> bool:
        """Whether what a prompt's greedy answer earns has a say."""
        return isinstance(self.recipe.critic, GreedyAnswer)

    def couples_prompts(self, size: int) -> bool:
        """Whether a prompt's credit depends on how the step's other prompts fared."""
        mixed = [1.0] * (size // 2) + [0.0] * (size - size // 2)
        others = [[1.0] * right + [0.0] * (size - right) for right in range(size + 1)]
        found = [self.pulls([mixed, other], greedy=(0.0, 0.0))[0] for other in others]
        return any(abs(a - b) > 1e-12 for one in found[1:] for a, b in zip(found[0], one, strict=True))


def step_batch(tokens: Sequence[int], group_index: Tensor) -> TokenBatch:
    """Rows of one context token and an answer of so many tokens, each with tokens of its own."""
    rows, width = len(tokens), 1 + max(tokens)
    place = torch.arange(width)[None, :]
    length = torch.tensor(tokens)[:, None]
    valid = place <= length
    sampled = valid & (place > 0)
    index = torch.arange(rows)
    zero = torch.zeros(rows, dtype=torch.long)
    logprobs = torch.where(sampled, torch.tensor(-1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64))
    return TokenBatch(
        (index[:, None] + 1).expand(rows, width) * sampled, valid, sampled, torch.where(valid, sampled.long(), -1),
        torch.where(sampled, place - 1, -1), torch.ones(rows, width, dtype=torch.float64), logprobs, zero + 1,
        group_index, group_index, zero, zero - 1, index, zero,
        (StopReason.END_OF_TEXT,) * rows, tuple(f"answer{number}" for number in range(rows)),
    )  # fmt: skip
