"""An evolution strategy at work: the noise of each member, the update they earn, the learner that applies it."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from critica.curricula.base import Stage
from critica.functional.evolution import grid_step, member_fitness, noise_on_grid, on_grid, population_scores
from critica.functional.random import generator
from critica.policies.base import TrainablePolicy
from critica.records.arrays import Metric
from critica.rollout.samples import place_of
from critica.training.lesson import Lesson
from critica.updaters.evolution import EvolutionStrategy

PURPOSE = "training.evolution"
FINEST = 64  # the grid must hold at least so many steps a standard deviation of noise


class Evolution:
    """The named parameters that a population surrounds; between calls they hold the middle of it, on their grids."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], settings: EvolutionStrategy, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.names, self.parameters = zip(*parameters, strict=True)
        self.updates = 0
        self._grids: list[float] = []
        self._settle()
        self._start = [p.detach().clone() for p in self.parameters] if settings.anchor.needs_start else []

    @property
    def owned(self) -> tuple[nn.Parameter, ...]:
        """Every tensor that an update moves."""
        return self.parameters

    @torch.no_grad()
    def _settle(self) -> None:
        """Put every weight on its tensor's grid; nothing changes for weights that are on it."""
        self._grids = [grid_step(weight, self.settings.sigma) for weight in self.parameters]
        for name, weight, grid in zip(self.names, self.parameters, self._grids, strict=True):
            if grid * FINEST > self.settings.sigma:
                raise ValueError(
                    f"{name} holds weights of {float(weight.detach().abs().amax()):g} in {weight.dtype}, between which"
                    f" noise of sigma={self.settings.sigma:g} is too coarse: set policy.dtype=float32, or a larger"
                    " learner.policy.sigma"
                )
            weight.copy_(on_grid(weight, grid))

    def _noise(self, place: int, step: int, member: int) -> Tensor:
        """sigma * eps of one tensor, of one member."""
        weight = self.parameters[place]
        draws = generator(self.seed, PURPOSE, step, member, self.names[place])
        normals = torch.from_numpy(draws.standard_normal(tuple(weight.shape), dtype=np.float32))
        return noise_on_grid(normals.to(weight.device, weight.dtype), self.settings.sigma, self._grids[place])

    @contextmanager
    def perturbed(self, step: int, member: int) -> Iterator[None]:
        """The weights of this member inside, those of the middle again afterwards, to the bit."""
        self._shift(step, member, 1)
        try:
            yield
        finally:
            self._shift(step, member, -1)

    @torch.no_grad()
    def _shift(self, step: int, member: int, sign: int) -> None:
        for place, weight in enumerate(self.parameters):
            weight.add_(self._noise(place, step, member), alpha=sign)

    @torch.no_grad()
    def apply(self, step: int, scores: Iterable[tuple[int, float]]) -> tuple[float, float]:
        """theta += rate / N sum z eps over these (member, z), then the anchor's pull.

        Returns the L2 norm of the change, and how far the weights are from their start (NaN where it is not kept).
        """
        told = list(scores)
        rate = self.settings.learning_rate / (len(told) * self.settings.sigma) if told else 0.0
        moved, away = 0.0, 0.0
        for place, weight in enumerate(self.parameters):
            total = torch.zeros_like(weight)
            for member, score in told:
                if score:
                    total.add_(self._noise(place, step, member), alpha=score)
            new = on_grid(weight + total.mul_(rate), self._grids[place])
            if self._start:
                offset = self.settings.anchor.pulled(new.sub_(self._start[place]), self.settings.learning_rate)
                away += float(offset.double().square().sum())
                new = offset.add_(self._start[place])
            moved += float((new - weight).double().square().sum())
            weight.copy_(new)
        self._settle()
        self.updates += 1
        return math.sqrt(moved), math.sqrt(away) if self._start else math.nan

    def reset(self) -> None:
        """As it was before its first update, for weights that somebody put back."""
        self.updates = 0
        self._settle()

    def forget_gradients(self) -> None:
        """There are none."""

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.settings.learning_rate

    def tensors(self) -> dict[str, Tensor]:
        """The number of updates, and the first weights where an anchor pulls to them."""
        start = {f"start|{name}": weight.clone() for name, weight in zip(self.names, self._start, strict=False)}
        return {"updates": torch.tensor(self.updates), **start}

    def load_tensors(self, kept: dict[str, Tensor]) -> None:
        """Restore what `tensors` gave, after the weights. An anchor set since then pulls to the run's first policy."""
        self.updates = int(kept["updates"])
        for place, name in enumerate(self.names[: len(self._start)]):
            if f"start|{name}" in kept:
                self._start[place].copy_(kept[f"start|{name}"])
        self._settle()


class EvolutionLearner:
    """Stands where the gradient learner stands: told the same lesson, it moves the policy by what members earned.

    The objective and the advantage are not read: outcomes of whole answers are. The critic neither learns nor is it
    asked, but for the books, where prompts on which all members fared alike are masked.
    """

    def __init__(self, policy: TrainablePolicy, evolution: Evolution) -> None:
        self.policy, self.evolution = policy, evolution
        self.applied = False

    def update(self, lesson: Lesson, stage: Stage, step: int) -> tuple[Metric, ...]:
        """One update from the told outcomes (costs per token included) of this step's population."""
        self.applied = False
        if not stage.policy:
            return ()
        members = torch.tensor([place_of(name) for name in lesson.batch.trajectory_ids], device=lesson.batch.device)
        returns, known = lesson.told.per_token.sum(dim=(1, 2)), lesson.told.all_known
        fitness, heard = member_fitness(returns, known, lesson.batch.group_index, members, int(members.max()) + 1)
        scores = population_scores(fitness, heard)
        numbers = heard.nonzero().flatten().tolist()
        moved, away = self.evolution.apply(step, [(n, float(scores[n])) for n in numbers])
        self.applied = True
        self.policy.version = step
        spread = float(fitness[heard].std()) if len(numbers) > 1 else 0.0
        reports = [
            Metric("evolution/members", float(len(numbers)), 1.0),
            Metric("evolution/fitness_std", spread, 1.0),
            Metric("evolution/update_norm", moved, 1.0),
            Metric("learning_rate/policy", self.evolution.rate, 1.0),
        ]
        return (*reports, Metric("evolution/drift", away, 1.0)) if math.isfinite(away) else tuple(reports)

    def abandon(self) -> None:
        """Nothing is left over from a step that is given up."""
