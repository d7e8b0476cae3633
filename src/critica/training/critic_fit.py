"""Value pretraining: fit a critic to stored rollouts, stop when held-out prompts say so, resume to the same bits."""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from critica.critics.base import CriticContext, Trainable, ValueCritic
from critica.critics.learned import LearnedCritic
from critica.curricula.base import Stage
from critica.functional.random import stream_key, torch_generator
from critica.policies.body_mode import device_of
from critica.policies.language_model import LanguagePolicy
from critica.policies.numerics import configure, training_matmuls
from critica.recipes.base import Recipe
from critica.records.arrays import RewardBatch, TokenBatch
from critica.records.checks import NonFiniteNumbers
from critica.records.devices import moved
from critica.records.evidence import Evidence, HiddenStates
from critica.store.lock import WriterLock
from critica.training.answer_file import is_answer_file, read_answers
from critica.training.assemble import refuse_double_ownership, refuse_half_precision
from critica.training.critic_card import Judgment, card
from critica.training.critic_data import StoredRollouts, StoredRow, batch_of, read_stored
from critica.training.critic_folder import (
    CriticFolder,
    CriticManifest,
    checkpoints_of,
    is_critic_folder,
    publish,
)
from critica.training.critic_plan import COUNTS, USUAL, CannotFit, FitPlan, claim, recipe_for
from critica.training.guard import no_credit
from critica.training.learner import Learner, Schedule
from critica.training.lesson import Lesson
from critica.training.observe import Observer
from critica.training.optimizer import Optimizer
from critica.training.streams import seed_step
from critica.updaters.gradient import Adam

STAGE = Stage("critic_fit", policy=False, critic=True)
JUDGE_ROWS = 512  # held-out rows of one prediction


@dataclass(slots=True)
class Fit:
    """A fit in progress."""

    recipe: Recipe
    plan: FitPlan
    data: StoredRollouts
    critic: LearnedCritic
    observer: Observer
    learner: Learner
    optimizer: Optimizer
    history: list[Judgment] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def update(self) -> int:
        """Updates judged so far."""
        return self.history[-1].update if self.history else 0

    @property
    def best_judgment(self) -> Judgment:
        """The first of the lowest errors."""
        return min(self.history, key=lambda judgment: (judgment.error, judgment.update))

    @property
    def why_stopped(self) -> str:
        """Why the fit is over; empty while it is not."""
        if self.history and self.history[-1].update >= self.plan.updates:
            return f"all {self.plan.updates} updates were made"
        since = sum(judgment.update > self.best_judgment.update for judgment in self.history) if self.history else 0
        return f"{since} judgments in a row were no better" if since >= self.plan.patience else ""


def fit_critic(
    source: Path | str,
    out: Path | str,
    critic: str = "",
    policy: str = "",
    plan: FitPlan = USUAL,
    settings: Sequence[str] = (),
    notify: Callable[[str], None] = lambda message: None,
) -> CriticFolder:
    """Fit `critic` (a short name, FILE.py:NAME, or by default the run's own) to the rollouts of `source`.

    `source` is a run folder, a folder of its Parquet files, or a file of scored answers from anywhere (`answer_file`).

    `policy` is whose states a critic reads or starts from (default: the newest of the run, else what its recipe
    names). `out` holding the same fit unfinished is gone on with. Raises `CannotFit`, `NoRollouts`, `ConfigError`.
    """
    configure(len(os.sched_getaffinity(0)))
    source, out = Path(source), Path(out)
    recipe = recipe_for(source, critic, policy, plan, settings)
    continues = claim(out, recipe, source, plan)
    if is_critic_folder(out):
        notify(f"{out} is finished; nothing is left to do")
        return CriticFolder.open(out)
    lock = WriterLock(out)
    try:
        with training_matmuls():
            fit = _prepare(recipe, plan, source)
            if continues and checkpoints_of(out).steps:
                _load(fit, checkpoints_of(out).latest(allow_fallback=True).path)
                notify(f"going on after update {fit.update}")
            _run(fit, out, notify)
            return _finish(fit, out, source)
    finally:
        lock.release()


def _prepare(recipe: Recipe, plan: FitPlan, source: Path) -> Fit:
    seed_step(plan.seed, 0)
    policy = LanguagePolicy.of(recipe.policy)
    data = (
        read_answers(source, policy, plan.held_out, plan.seed, recipe.learner.tokens_per_microbatch)
        if is_answer_file(source)
        else read_stored(source, plan.held_out, plan.seed)
    )
    critic = recipe.critic.build(CriticContext(policy, stream_key(plan.seed, "critic") % 2**63, data.low, data.high))
    live = _learnable(critic)
    observer = Observer(policy, live.needs, recipe.learner.tokens_per_microbatch)
    live.tokens = observer.kept.tokens = live.kept.tokens = recipe.learner.tokens_per_microbatch
    policy_optimizer = Optimizer(policy.trainable(), Adam())  # it moves nothing here: the critic alone learns
    optimizer = Optimizer(live.trainable(), recipe.learner.critic)
    refuse_double_ownership((policy_optimizer, optimizer))
    refuse_half_precision((optimizer, None))
    schedule = Schedule(1, 1, 1, recipe.learner.tokens_per_microbatch)
    learner = Learner(policy, live, recipe.objective, (policy_optimizer, optimizer), schedule, plan.seed, observer.kept)
    return Fit(recipe, plan, data, live, observer, learner, optimizer)


def _learnable(critic: ValueCritic) -> LearnedCritic:
    if not isinstance(critic, Trainable):
        raise CannotFit(f"{type(critic).__name__} {COUNTS}")
    if not isinstance(critic, LearnedCritic) or critic.needs - {HiddenStates}:
        raise CannotFit(
            f"{type(critic).__name__} needs more than stored tokens hold: only a critic built on LearnedCritic that"
            " reads tokens or hidden states can be fitted to rollouts"
        )
    return critic


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
    """One update on stored prompts; an epoch deals out every group once, in an order of its own."""
    groups, size = fit.data.train, min(fit.plan.groups, len(fit.data.train))
    per_epoch = len(groups) // size
    epoch, part = divmod(update - 1, per_epoch)
    order = torch.randperm(len(groups), generator=torch_generator(fit.plan.seed, "critic fit/order", epoch))
    rows = [row for index in order[part * size : (part + 1) * size].tolist() for row in groups[index]]
    seed_step(fit.plan.seed, update)
    lesson = _lesson(fit, rows, f"{epoch}:")
    try:
        fit.learner.update(lesson, STAGE, update)
    except NonFiniteNumbers as error:
        raise CannotFit(
            f"update {update}: {error}. The weights are as they were at the last judgment in the folder's checkpoints;"
            " try a lower learner.critic.learning_rate in a new folder"
        ) from error


def _arrays(fit: Fit, rows: Sequence[StoredRow], prefix: str = "") -> tuple[TokenBatch, RewardBatch]:
    """The rows where the models are."""
    return moved(batch_of(rows, fit.data.low, fit.data.high, prefix), device_of(fit.observer.policy.model))


def _lesson(fit: Fit, rows: Sequence[StoredRow], prefix: str = "") -> Lesson:
    batch, told = _arrays(fit, rows, prefix)
    evidence = fit.observer.observe((), batch) if fit.critic.needs else Evidence()
    values = fit.critic.predict(batch, told, evidence)
    targets = fit.recipe.target.build(batch, told, values)
    return Lesson(batch, told, no_credit(batch), targets, values, evidence)


def _judge(fit: Fit, out: Path, update: int, notify: Callable[[str], None]) -> None:
    """The held-out error now; kept if it is the best; everything saved."""
    error, count = 0.0, 0
    for rows in _pieces([row for group in fit.data.held_out for row in group]):
        batch, told = _arrays(fit, rows)
        evidence = fit.observer.observe((), batch) if fit.critic.needs else Evidence()
        values = fit.critic.predict(batch, told, evidence)
        fit.critic.kept.forget()
        fit.observer.kept.forget()
        gaps = (values.mean - told.total[:, None])[values.mask].double()
        error, count = error + float(gaps.square().sum()), count + gaps.numel()
    judgment = Judgment(update, error / max(1, count))
    if not math.isfinite(judgment.error):
        raise CannotFit(f"after update {update} the held-out error is not finite: try a lower learning rate")
    fit.history.append(judgment)
    if fit.best_judgment is judgment:
        fit.best = {name: weight.detach().clone() for name, weight in fit.critic.trainable()}
    checkpoints_of(out).write(update, lambda folder: _save(fit, folder))
    notify(f"update {update}  held-out error {judgment.error:.5f}{'  best' if fit.best_judgment is judgment else ''}")


def _pieces(rows: Sequence[StoredRow]) -> Iterator[Sequence[StoredRow]]:
    return (rows[start : start + JUDGE_ROWS] for start in range(0, len(rows), JUDGE_ROWS))


def _save(fit: Fit, folder: Path) -> None:
    fit.critic.save(folder / "critic")
    save_file(fit.optimizer.tensors(), folder / "critic_optimizer.safetensors")
    save_file({name: weight.contiguous() for name, weight in fit.best.items()}, folder / "best.safetensors")
    (folder / "progress.json").write_text(json.dumps([asdict(judgment) for judgment in fit.history]))


def _load(fit: Fit, folder: Path) -> None:
    fit.critic.load(folder / "critic")
    fit.optimizer.load_tensors(load_file(folder / "critic_optimizer.safetensors"))
    fit.best = load_file(folder / "best.safetensors")
    fit.history = [Judgment(**item) for item in json.loads((folder / "progress.json").read_text())]


@contextmanager
def _best_weights(fit: Fit) -> Iterator[None]:
    """The critic as it was at its best, then as it is."""
    current = {name: weight.detach().clone() for name, weight in fit.critic.trainable()}
    try:
        _put(fit, fit.best)
        yield
    finally:
        _put(fit, current)


@torch.no_grad()
def _put(fit: Fit, weights: dict[str, Tensor]) -> None:
    for name, weight in fit.critic.trainable():
        weight.copy_(weights[name])


def _finish(fit: Fit, out: Path, source: Path) -> CriticFolder:
    """Publish the best weights, the card and the manifest."""
    best, data = fit.best_judgment, fit.data
    manifest = CriticManifest(
        source=str(source),
        policy=fit.recipe.policy.path,
        critic=type(fit.recipe.critic).__name__,
        rows=data.rows,
        prompts=len({group[0].prompt for group in (*data.train, *data.held_out)}),
        held_out_prompts=len({group[0].prompt for group in data.held_out}),
        low=data.low,
        high=data.high,
        seed=fit.plan.seed,
        updates=fit.update,
        best_update=best.update,
        best_error=best.error,
        first_error=fit.history[0].error,
        constant_error=constant_error(data),
        why_stopped=fit.why_stopped,
    )
    with _best_weights(fit):
        publish(out, manifest, card(manifest, fit.history), fit.critic.save)
    return CriticFolder.open(out)


def constant_error(data: StoredRollouts) -> float:
    """Held-out mean square error, per token, of the mean told reward of the training tokens."""

    def weighed(groups: Sequence[Sequence[StoredRow]]) -> tuple[Tensor, Tensor]:
        rows = [row for group in groups for row in group]
        told = torch.tensor([row.told for row in rows], dtype=torch.float64)
        return told, torch.tensor([sum(row.sampled) for row in rows], dtype=torch.float64)

    (told, tokens), (other, count) = weighed(data.train), weighed(data.held_out)
    middle = (told * tokens).sum() / tokens.sum()
    return float(((other - middle).square() * count).sum() / count.sum())
