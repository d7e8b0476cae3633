"""Reward-model training: Bradley-Terry on preference pairs, stopped by held-out accuracy, resumed to the same bits."""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from critica.functional.bradley_terry import orders_right, pair_losses
from critica.functional.random import torch_generator
from critica.policies.numerics import configure, training_matmuls
from critica.records.checks import NonFiniteNumbers
from critica.rewards.reward_model_network import Level, RewardNetwork
from critica.rewards.reward_model_text import Reading
from critica.store.lock import WriterLock
from critica.training.optimizer import Optimizer
from critica.training.reward_folder import (
    CannotFitReward,
    Judgment,
    checkpoints_of,
    claim,
    is_finished,
    judgments_to_json,
    publish,
    read_report,
    start_network,
)
from critica.training.reward_learning import backward, named_weights, read_answers, score_answers
from critica.training.reward_pairs import Pair, PairFile, read_pairs, slices_of, split_by_prompt
from critica.training.reward_poison import TargetedPreferenceFlip
from critica.training.reward_robust import Robust, Weigher
from critica.training.reward_slices import read_margins, read_slices
from critica.updaters.gradient import Adam, rate_by_size


@dataclass(frozen=True, slots=True)
class RewardPlan:
    """At most `updates` updates of `pairs` pairs each, judged every `judge_every` on held-out prompts.

    The fit ends when `patience` judgments in a row were no better than the best (more pairs ordered right, or as many
    at a lower loss); the best weights are kept. `learning_rate` 0: by the size of the model.
    """

    updates: int = 400
    pairs: int = 16
    judge_every: int = 10
    patience: int = 5
    held_out: float = 0.2
    seed: int = 0
    learning_rate: float = 0.0
    tokens_per_batch: int = 8192

    def __post_init__(self) -> None:
        if min(self.updates, self.pairs, self.judge_every, self.patience, self.tokens_per_batch) < 1:
            raise CannotFitReward("updates, pairs, judge_every, patience and tokens_per_batch must be at least 1")
        if not 0 < self.held_out < 1 or self.learning_rate < 0:
            raise CannotFitReward(f"held_out lies between 0 and 1, and a learning rate is not negative: {self}")


@dataclass(frozen=True, slots=True)
class RewardKind:
    """What is fitted: the level, the width of a sentence model's attention (0: none), the loss, and pairs to exchange.

    `flip` exchanges pairs of the training part on purpose (SELECTOR:FRACTION); the held-out part stays as it is.
    """

    level: Level = "sequence"
    attention: int = 16
    robust: str = "none"
    slices: tuple[str, ...] = ()
    flip: str = ""


@dataclass(slots=True)
class Fit:
    """A fit in progress. `texts` holds the readings of all answers: chosen and rejected of pair 0, of pair 1, …"""

    plan: RewardPlan
    network: RewardNetwork
    pairs: tuple[Pair, ...]
    texts: tuple[tuple[Reading, ...], tuple[str, ...]]
    train: list[int]
    held_out: list[int]
    weigher: Weigher
    optimizer: Optimizer
    history: list[Judgment] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def update(self) -> int:
        """Updates judged so far."""
        return self.history[-1].update if self.history else 0

    @property
    def best_judgment(self) -> Judgment:
        """The first of the most accurate, at the least loss."""
        return min(self.history, key=lambda judgment: (-judgment.accuracy, judgment.loss, judgment.update))

    @property
    def why_stopped(self) -> str:
        """Why the fit is over; empty while it is not."""
        if self.history and self.history[-1].update >= self.plan.updates:
            return f"all {self.plan.updates} updates were made"
        since = sum(judgment.update > self.best_judgment.update for judgment in self.history) if self.history else 0
        return f"{since} judgments in a row were no better" if since >= self.plan.patience else ""


def fit_reward_model(
    pairs: Path | str,
    model: str,
    out: Path | str,
    kind: RewardKind = RewardKind(),
    plan: RewardPlan = RewardPlan(),
    notify: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Fit `model` to the pairs and write a folder that `RewardModel` opens; the report of it.

    `out` holding the same fit unfinished is gone on with. Raises `CannotFitReward`, `BadPairs`.
    """
    configure(len(os.sched_getaffinity(0)))
    out, file = Path(out), read_pairs(pairs)
    told = {"pairs": file.sha256, "model": model, "kind": asdict(kind), "plan": asdict(plan)}
    continues = claim(out, json.loads(json.dumps(told)))
    if is_finished(out):
        notify(f"{out} is finished; nothing is left to do")
        return read_report(out)
    lock = WriterLock(out)
    try:
        with training_matmuls():
            fit, flips = _prepare(file, model, kind, plan)
            if continues and checkpoints_of(out).steps:
                _load(fit, checkpoints_of(out).latest(allow_fallback=True).path)
                notify(f"going on after update {fit.update}")
            _run(fit, out, notify)
            return _finish(fit, out, file, model, kind, flips)
    finally:
        lock.release()


def _prepare(file: PairFile, model: str, kind: RewardKind, plan: RewardPlan) -> tuple[Fit, int]:
    train, held_out = split_by_prompt(file.pairs, plan.held_out, plan.seed)
    pairs, flips = list(file.pairs), 0
    if kind.flip:
        flipped = TargetedPreferenceFlip.parse(kind.flip, plan.seed).apply([pairs[row] for row in train])
        flips = sum(flipped.flipped)
        for row, pair in zip(train, flipped.pairs, strict=True):
            pairs[row] = pair
    weigher = Weigher(Robust.parse(kind.robust), pairs)
    network = start_network(model, kind.level, kind.attention, plan.seed)
    if network.level != kind.level:
        raise CannotFitReward(f"{model} judges by {network.level}: go on with --level {network.level}")
    texts = read_answers(network, pairs)
    size = sum(weight.numel() for weight in network.parameters())
    adam = Adam(plan.learning_rate or rate_by_size(size), head_factor=10.0)
    optimizer = Optimizer(named_weights(network), adam)
    return Fit(plan, network, tuple(pairs), texts, train, held_out, weigher, optimizer), flips


def _of(fit: Fit, rows: Sequence[int]) -> tuple[list[Reading], list[str]]:
    places = [2 * row + side for row in rows for side in (0, 1)]
    return [fit.texts[0][i] for i in places], [fit.texts[1][i] for i in places]


def _run(fit: Fit, out: Path, notify: Callable[[str], None]) -> None:
    """Judge, update until the next judgment, save; until there is a reason to stop."""
    if not fit.history:
        _judge(fit, out, 0, notify)
    while not fit.why_stopped:
        last = min(fit.update + fit.plan.judge_every, fit.plan.updates)
        for update in range(fit.update + 1, last + 1):
            _teach(fit, update)
        _judge(fit, out, last, notify)


def _teach(fit: Fit, update: int) -> None:
    """One update; an epoch deals out every training pair once, in an order of its own."""
    size = min(fit.plan.pairs, len(fit.train))
    per_epoch = len(fit.train) // size
    epoch, part = divmod(update - 1, per_epoch)
    order = torch.randperm(len(fit.train), generator=torch_generator(fit.plan.seed, "reward fit/order", epoch))
    rows = [fit.train[i] for i in order[part * size : (part + 1) * size].tolist()]
    try:
        backward(fit.network, fit.weigher, _of(fit, rows), rows, fit.plan.tokens_per_batch)
        fit.optimizer.clip()
    except NonFiniteNumbers as error:
        raise CannotFitReward(f"update {update}: {error}: try a lower --learning-rate in a new folder") from error
    fit.optimizer.apply()


def _judge(fit: Fit, out: Path, update: int, notify: Callable[[str], None]) -> None:
    """The held-out pairs now; kept if it is the best; everything saved."""
    margins = read_margins(score_answers(fit.network, _of(fit, fit.held_out), fit.plan.tokens_per_batch))
    judgment = Judgment(update, float(orders_right(margins).mean()), float(pair_losses(margins).mean()))
    if not math.isfinite(judgment.loss):
        raise CannotFitReward(f"after update {update} the held-out loss is not finite: try a lower --learning-rate")
    fit.history.append(judgment)
    if fit.best_judgment is judgment:
        fit.best = {name: weight.detach().clone() for name, weight in named_weights(fit.network)}
    checkpoints_of(out).write(update, lambda folder: _save(fit, folder))
    best = "  best" if fit.best_judgment is judgment else ""
    notify(f"update {update}  held-out accuracy {judgment.accuracy:.4f}  loss {judgment.loss:.4f}{best}")


def _save(fit: Fit, folder: Path) -> None:
    save_file({name: weight.detach().contiguous() for name, weight in named_weights(fit.network)},
              folder / "weights.safetensors")  # fmt: skip
    save_file({name: weight.contiguous() for name, weight in fit.best.items()}, folder / "best.safetensors")
    save_file(fit.optimizer.tensors(), folder / "optimizer.safetensors")
    save_file({"weights": fit.weigher.weights}, folder / "robust.safetensors")
    (folder / "progress.json").write_text(json.dumps(judgments_to_json(fit.history)))


def _load(fit: Fit, folder: Path) -> None:
    _put(fit, load_file(folder / "weights.safetensors"))
    fit.optimizer.load_tensors(load_file(folder / "optimizer.safetensors"))
    fit.best = load_file(folder / "best.safetensors")
    fit.weigher.weights = load_file(folder / "robust.safetensors")["weights"]
    fit.history = [Judgment(**item) for item in json.loads((folder / "progress.json").read_text())]


@torch.no_grad()
def _put(fit: Fit, weights: dict[str, Tensor]) -> None:
    for name, weight in named_weights(fit.network):
        weight.copy_(weights[name])


def _finish(fit: Fit, out: Path, file: PairFile, model: str, kind: RewardKind, flips: int) -> dict[str, Any]:
    """Publish the best weights and the report, whose slices are read on held-out pairs as the file has them."""
    _put(fit, fit.best)
    pairs = [fit.pairs[row] for row in fit.held_out]
    margins = read_margins(score_answers(fit.network, _of(fit, fit.held_out), fit.plan.tokens_per_batch))
    place = {row: k for k, row in enumerate(fit.held_out)}
    slices = {
        name: inside for name, rows in slices_of(fit.pairs, kind.slices).items()
        if (inside := [place[row] for row in rows if row in place])
    }  # fmt: skip
    readings = read_slices(margins, pairs, slices, fit.plan.seed)
    best = fit.best_judgment
    report = {
        "pairs": file.path, "pairs_sha256": file.sha256, "model": model, "kind": asdict(kind),
        "training_pairs": len(fit.train), "held_out_pairs": len(fit.held_out), "exchanged_on_purpose": flips,
        "updates": fit.update, "best_update": best.update, "accuracy": best.accuracy, "loss": best.loss,
        "why_stopped": fit.why_stopped, "slices": [reading.to_json() for reading in readings],
        "slice_weights": dict(zip(fit.weigher.names, fit.weigher.weights.tolist(), strict=True))
        if fit.weigher.robust.kind == "group_dro" else {},
        "history": judgments_to_json(fit.history), "plan": asdict(fit.plan),
    }  # fmt: skip
    report = json.loads(json.dumps(_finite(report)))
    publish(out, fit.network, report)
    return report


def _finite(content: Any) -> Any:
    """The same with null where a number is not finite: strict JSON."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    return [_finite(item) for item in content] if isinstance(content, list | tuple) else content
