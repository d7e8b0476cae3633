"""What the supervision was like: how often it erred, in whose favor, who agreed with whom, and what it cost."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.evaluation.metrics import metric
from critica.functional.groups import group_mean
from critica.records.arrays import Metric, RewardBatch, TokenBatch
from critica.records.supervision import Failed, Reward, Scored, by_trajectory

CHANGED = 1e-3


def supervision_metrics(batch: TokenBatch, rewards: Sequence[Reward], told: RewardBatch) -> list[Metric]:
    """The supervision's share of the panel. What it knows of the truth exists only where noise was injected."""
    return [
        *_errors(rewards),
        *_corrections(rewards),
        *_favor(batch, rewards, told),
        *_objectives(batch, told),
        *_service(rewards),
    ]


def _errors(rewards: Sequence[Reward]) -> list[Metric]:
    """How often what was said differs from the clean value, by class, and by how much it flatters."""
    rows = [
        (reward.said_value, reward.clean_value)
        for reward in rewards
        if reward.tampering is not None and not math.isnan(reward.said_value)
    ]
    if not rows:
        return []
    said, clean = torch.tensor(rows, dtype=torch.float64).T
    made = [metric("noise/hacking_gap", float((said - clean).sum()), len(rows))]
    values = clean.unique()
    if values.numel() == 2 and bool(torch.isin(said, values).all()):
        low, high = values
        made += [
            _share("noise/false_positives", said[clean == low] == high),
            _share("noise/false_negatives", said[clean == high] == low),
        ]
    return made


def _corrections(rewards: Sequence[Reward]) -> list[Metric]:
    """What a correction did, where there was one: how much it changed, and the error against the clean value."""
    rows = [
        (reward.outcome.value, reward.said_value, reward.clean_value)
        for reward in rewards
        if reward.correction is not None and isinstance(reward.outcome, Scored)
    ]
    if not rows:
        return []
    told, said, clean = torch.tensor(rows, dtype=torch.float64).T
    return [
        _share("correction/changed_share", (told - said).abs() > CHANGED),
        metric("correction/error_said", float((said - clean).abs().sum()), len(rows)),
        metric("correction/error_told", float((told - clean).abs().sum()), len(rows)),
    ]


def _favor(batch: TokenBatch, rewards: Sequence[Reward], told: RewardBatch) -> list[Metric]:
    """Whether longer answers are told better, and whether they are better."""
    known = told.all_known
    lengths = batch.sampled_mask.sum(-1).double()
    found = by_trajectory(rewards)
    clean = torch.tensor([
        math.fsum(reward.clean_value for reward in found[name]) if name in found else math.nan
        for name in batch.trajectory_ids
    ], dtype=torch.float64)  # fmt: skip
    return [
        metric("noise/length_correlation", _correlation(lengths[known], told.total[known].double())),
        metric("noise/length_correlation_clean", _correlation(lengths[~clean.isnan()], clean[~clean.isnan()])),
    ]


def _objectives(batch: TokenBatch, told: RewardBatch) -> list[Metric]:
    """Whose differences between siblings make up the signal, and whether objectives agree."""
    if len(told.objectives) < 2:
        return []
    known = told.all_known
    parts = [
        (told.outcome[:, j] - group_mean(told.outcome[:, j], known, batch.group_index))[known].abs().double().sum()
        for j in range(len(told.objectives))
    ]
    whole = float(sum(parts))
    made = [
        metric(f"advantage/share/{name}", float(part), whole) for name, part in zip(told.objectives, parts, strict=True)
    ]
    spreads = told.outcome[known].double().std(dim=-1)
    return [*made, metric("reward/disagreement", float(spreads.sum()), int(known.sum()))]


def _service(rewards: Sequence[Reward]) -> list[Metric]:
    """Who failed, and what it cost."""
    failed = sum(isinstance(reward.outcome, Failed) for reward in rewards)
    made = [metric("reward/failed", failed, len(rewards))]
    cost = math.fsum(reward.cost for reward in rewards)
    return [*made, metric("reward/cost", cost, 1)] if cost else made


def _share(name: str, which: Bool[Tensor, "n"]) -> Metric:
    """How many of them, as total and count."""
    return metric(name, float(which.sum()), which.numel())


def _correlation(one: Float[Tensor, "n"], other: Float[Tensor, "n"]) -> float:
    """Pearson's; NaN where one of them does not vary."""
    if one.numel() < 2 or float(one.std()) == 0 or float(other.std()) == 0:
        return math.nan
    return float(np.corrcoef(one.numpy(), other.numpy())[0, 1])
