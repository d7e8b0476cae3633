"""One run of the payback bench: trained in this process, measured on the same held-out prompts as it goes."""

import time
from dataclasses import dataclass
from functools import cache

from critica.benches.pico_trial import held_out_accuracy, held_out_tasks, run_in_memory
from critica.environments.catalogue import pico
from critica.policies.base import Policy
from critica.recipes.base import Recipe
from critica.records.run import StepRecord
from critica.training.interrupt import Interrupt
from critica.training.progress import Silent


@dataclass(frozen=True, slots=True)
class Point:
    """A run after `step` steps: samples drawn, CPU seconds of training so far, accuracy at temperature 1."""

    step: int
    samples: int
    cpu_seconds: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A finished run. `points` begin at step 0; `greedy` is the last policy's accuracy."""

    noise: str
    arm: str
    samples_per_prompt: int
    seed: int
    points: tuple[Point, ...]
    greedy: float

    @property
    def key(self) -> tuple[str, int, str, int]:
        """(noise, seed, arm, samples a prompt)."""
        return self.noise, self.seed, self.arm, self.samples_per_prompt


def accuracy(policy: Policy, prompts: int, temperature: float) -> float:
    """Clean accuracy on so many held-out prompts of pico's own tasks."""
    return held_out_accuracy(policy, held_out_tasks(pico, prompts), temperature)


@cache
def untrained_accuracy(prompts: int) -> float:
    """Where every run starts."""
    from critica.policies.language_model import LanguagePolicy

    return accuracy(LanguagePolicy.load("pico"), prompts, 1.0)


class Probe(Silent):
    """Told of each finished step, it counts the CPU seconds since the last and now and then measures the policy.

    Its own seconds are not counted.
    """

    def __init__(self, policy: Policy, recipe: Recipe, every: int, prompts: int) -> None:
        self.policy, self.recipe, self.every, self.prompts = policy, recipe, every, prompts
        self.points = [Point(0, 0, 0.0, untrained_accuracy(prompts))]
        self.spent = 0.0
        self.mark = time.process_time()

    def step(self, record: StepRecord) -> None:
        self.spent += time.process_time() - self.mark
        if record.step % self.every == 0 or record.step == self.recipe.steps:
            sampling = self.recipe.sampling
            drawn = record.step * sampling.prompts_per_step * sampling.samples_per_prompt
            found = accuracy(self.policy, self.prompts, 1.0)
            self.points.append(Point(record.step, drawn, round(self.spent, 4), found))
        self.mark = time.process_time()


def train(recipe: Recipe, every: int, prompts: int) -> tuple[tuple[Point, ...], float]:
    """(points along the run, greedy accuracy at its end). CPU seconds are this process's: sampling, scoring, critic,
    update and bookkeeping, but neither evaluation nor the making of models and the last checkpoint."""
    probes: list[Probe] = []
    greedy: list[float] = []

    def watch(policy: Policy, interrupt: Interrupt) -> Probe:
        probes.append(Probe(policy, recipe, every, prompts))
        return probes[0]

    run_in_memory(recipe, watch, lambda policy: greedy.append(accuracy(policy, prompts, 0.0)))
    return tuple(probes[0].points), greedy[0]
