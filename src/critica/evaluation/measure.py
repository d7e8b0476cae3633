"""What a step was like: the only place that compares what was told with what is true."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critica.evaluation.metrics import declared, metric
from critica.evaluation.supervision_panel import supervision_metrics
from critica.functional.node_differences import moving_share
from critica.functional.statistics import bias, brier, expected_calibration_error, explained_variance, rank_correlation
from critica.records.arrays import Advantages, Categorical, Metric, Quantiles, RewardBatch, TokenBatch, ValuePrediction
from critica.records.run import LEDGER_STATES, LedgerEntry
from critica.records.supervision import Reward
from critica.records.words import StopReason

CORRECT = 0.999


@dataclass(frozen=True, slots=True)
class Panel:
    """A step's metrics, each declared in the glossary."""

    metrics: tuple[Metric, ...]

    def __getitem__(self, name: str) -> float:
        for item in self.metrics:
            if item.name == name:
                return item.value
        raise KeyError(f"the panel has no metric {name!r}; it has: {', '.join(item.name for item in self.metrics)}")


def measure(
    batch: TokenBatch,
    rewards: Sequence[Reward],
    told: RewardBatch,
    values: ValuePrediction,
    credit: Advantages,
    reports: Sequence[Metric] = (),
    *,
    ledger: Sequence[LedgerEntry] = (),
    sources: Sequence[str] = (),
) -> Panel:
    """All metrics of a step; `reports` are the learner's own.

    `rewards` are matched to rows by trajectory id; a row's clean value is the sum over its sources. `ledger` gives
    the counts of filtered and failed samples, `sources` (one name per row) accuracy by task source. The critic's
    numbers are over sampled tokens that have a value, against the row's whole undiscounted outcome.
    Raises `UndeclaredMetric` for a report whose name the glossary does not hold.
    """
    clean, flipped = clean_outcomes(batch, rewards)
    parts = [
        *_reward_metrics(told, clean, flipped),
        *supervision_metrics(batch, rewards, told),
        *_source_metrics(clean, sources),
        *_critic_metrics(batch, told, values, clean),
        *_law_metrics(values),
        *_credit_metrics(batch, credit),
        *_length_metrics(batch, clean),
        *_ledger_metrics(ledger),
        *reports,
    ]
    return Panel(declared(parts))


def clean_outcomes(batch: TokenBatch, rewards: Sequence[Reward]) -> tuple[Float[Tensor, "N"], Bool[Tensor, "N"]]:
    """Each row's outcome before injected noise (NaN where a source gave none), and whether noise changed it."""
    found: dict[str, list[Reward]] = {name: [] for name in batch.trajectory_ids}
    for reward in rewards:
        if reward.trajectory_id in found:
            found[reward.trajectory_id].append(reward)
    rows = [found[name] for name in batch.trajectory_ids]
    clean = [math.fsum(reward.clean_value for reward in row) if row else math.nan for row in rows]
    flipped = [any(reward.tampering is not None and reward.tampering.flipped for reward in row) for row in rows]
    return torch.tensor(clean, dtype=torch.float64), torch.tensor(flipped)


def _reward_metrics(told: RewardBatch, clean: Float[Tensor, "N"], flipped: Bool[Tensor, "N"]) -> list[Metric]:
    total = told.total.double()
    known, true = total[told.all_known], clean[~clean.isnan()]
    spread = float(known.std(correction=0)) if known.numel() else math.nan
    parts = [
        _mean("reward/told", known),
        metric("reward/told_std", spread),
        _mean("reward/clean", true),
        _mean("reward/unknown", (~told.all_known).double()),
        _mean("accuracy/sampled", (true >= CORRECT).double()),
        _mean("noise/flipped_share", flipped.double()),
    ]
    if len(told.objectives) > 1:
        for index, name in enumerate(told.objectives):
            parts.append(_mean(f"reward/source/{name}", told.outcome[told.known[:, index], index].double()))
    return parts


def _source_metrics(clean: Float[Tensor, "N"], sources: Sequence[str]) -> list[Metric]:
    if sources and len(sources) != clean.shape[0]:
        raise ValueError(f"measure: {len(sources)} source names for {clean.shape[0]} rows")
    found: dict[str, list[float]] = {}
    for source, value in zip(sources, clean.tolist(), strict=False):
        if not math.isnan(value):
            found.setdefault(source, []).append(float(value >= CORRECT))
    return [metric(f"accuracy/source/{name}", sum(part), len(part)) for name, part in sorted(found.items())]


def _critic_metrics(
    batch: TokenBatch, told: RewardBatch, values: ValuePrediction, clean: Float[Tensor, "N"]
) -> list[Metric]:
    mask = values.mask & batch.sampled_mask
    expected = values.mean.double()
    low, high = sum(told.low), sum(told.high)
    parts = _against("", expected, told.total.double(), mask, low, high)
    parts += _against("_clean", expected, clean, mask, low, high)
    seen = expected[mask]
    rows = mask.any(-1)
    first = mask.int().argmax(-1)
    last = mask.shape[1] - 1 - mask.flip(-1).int().argmax(-1)
    return [
        *parts,
        _mean("critic/value_mean", seen),
        metric("critic/moving_share", *moving_share(expected, mask)),
        metric("critic/value_std", float(seen.std(correction=0)) if seen.numel() else math.nan),
        _mean("critic/value_first", expected.gather(1, first[:, None])[rows, 0]),
        _mean("critic/value_last", expected.gather(1, last[:, None])[rows, 0]),
    ]


def _against(
    suffix: str,
    expected: Float[Tensor, "N T"],
    outcome: Float[Tensor, "N"],
    mask: Bool[Tensor, "N T"],
    low: float,
    high: float,
) -> list[Metric]:
    """The critic's quality against one outcome per row, over the masked tokens of the rows that have one."""
    keep = mask & ~outcome.isnan()[:, None]
    value = expected[keep].numpy()
    truth = outcome[:, None].expand_as(expected)[keep].numpy()
    scale = high - low
    scaled = ((value - low) / scale, (truth - low) / scale) if scale > 0 else (np.empty(0), np.empty(0))
    return [
        metric(f"critic/explained_variance{suffix}", explained_variance(value, truth)),
        metric(f"critic/bias{suffix}", bias(value, truth)),
        metric(f"critic/brier{suffix}", brier(value, truth)),
        metric(f"critic/ece{suffix}", expected_calibration_error(*scaled) * scale),
        metric(f"critic/rank_correlation{suffix}", rank_correlation(value, truth)),
    ]


def _law_metrics(values: ValuePrediction) -> list[Metric]:
    """Spread and disagreement, for laws that have them."""
    match values.law:
        case Quantiles(levels=levels, values=curves):
            seen = curves[values.mask].double()
            near = [int((levels - level).abs().argmin()) for level in (0.1, 0.9)]
            center = seen.mean(1)
            spread, members = center[:, near[1]] - center[:, near[0]], seen.mean(-1)
            parts = [_mean("critic/quantile_spread", spread)] if levels.shape[0] > 1 else []
        case Categorical(atoms=atoms, probs=probs):
            members = (probs[values.mask].double() * atoms.double()).sum(-1)
            parts = []
        case _:
            return []
    if members.shape[-1] > 1:
        parts.append(_mean("critic/disagreement", members.std(-1)))
    return parts


def _credit_metrics(batch: TokenBatch, credit: Advantages) -> list[Metric]:
    trained = credit.mask & batch.sampled_mask
    given = credit.advantage[trained].double()
    return [
        _mean("advantage/mean", given),
        metric("advantage/std", float(given.std(correction=0)) if given.numel() else math.nan),
        metric("advantage/max_abs", float(given.abs().max()) if given.numel() else math.nan),
        metric("samples/zero_variance", float(credit.zero_variance.sum())),
        metric("tokens/trained", float(trained.sum())),
    ]


def _length_metrics(batch: TokenBatch, clean: Float[Tensor, "N"]) -> list[Metric]:
    lengths = batch.sampled_mask.sum(-1).double()
    valid = int(batch.valid_mask.sum())
    known = ~clean.isnan()
    return [
        metric("tokens/sampled", float(lengths.sum())),
        metric("tokens/prompt", valid - float(lengths.sum())),
        metric("tokens/padding", batch.valid_mask.numel() - valid, batch.valid_mask.numel()),
        _mean("length/mean", lengths),
        metric("length/max", float(lengths.max()) if lengths.numel() else math.nan),
        _mean("length/correct", lengths[known & (clean >= CORRECT)]),
        _mean("length/wrong", lengths[known & (clean < CORRECT)]),
        metric("length/limit_share", sum(stop == StopReason.TOKEN_LIMIT for stop in batch.stop), len(batch.stop)),
        *_sampling(batch),
    ]


def _sampling(batch: TokenBatch) -> list[Metric]:
    """What stop strings and truncated sampling did, where there were any."""
    stopped = sum(stop == StopReason.STOP_STRING for stop in batch.stop)
    found = [metric("length/stop_share", stopped, len(batch.stop))] if stopped else []
    counts = [kept.arrays()[0] for kept in batch.kept]
    cut, drawn = (sum(int(part.sum()) for part in counts), sum(int((part > 0).sum()) for part in counts))
    return [*found, metric("sampling/kept_tokens", cut, drawn)] if drawn else found


def _ledger_metrics(ledger: Sequence[LedgerEntry]) -> list[Metric]:
    if not ledger:
        return []
    samples = [entry.state for entry in ledger if entry.kind == "sample"]
    prompts = sum(entry.kind == "prompt" and entry.state == "trained" for entry in ledger)
    return [metric(f"samples/{state}", samples.count(state)) for state in LEDGER_STATES] + [
        metric("prompts/trained", prompts)
    ]


def _mean(name: str, values: Float[Tensor, "n"]) -> Metric:
    """The mean as total and count; NaN when there is nothing to count."""
    return metric(name, math.fsum(values.tolist()), values.numel())
